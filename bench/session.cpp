#include "bench/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "bench/cublas.h"

namespace lathe::bench {
namespace {

class Session {
 public:
  Session(const SessionOptions& options, const Listener& listener) : options_(options), listener_(listener) {}

  /// Cases of one device, format and shape.
  Result<Unit> measure(std::span<const Case> cases) {
    const Case& first = cases.front();
    if (first.device != device_) TRY(open(first.device));
    int64_t most = 0;
    for (const Case& c : cases) most = std::max(most, c.m);
    listener_.progress(fmt::format("{}: {} weights, {}", device_, first.format.name, to_string(first.shape)));
    problem_ = std::make_unique<Problem>(first.format, first.shape, most);
    if (const auto set = bench_->set(*problem_); !set) {
      for (const Case& c : cases) listener_.row(refused(c, set.error().text));
      return Unit{};
    }
    const bool with_peer = cublas_ && set_peer(first.shape);
    std::vector<std::pair<int64_t, std::optional<Schedule>>> asked;
    for (const Case& c : cases) asked.emplace_back(c.m, c.schedule);
    bench_->prepare(asked);
    for (const Case& c : cases) {
      Row ours = bench_->run(c.m, c.schedule);
      std::optional<Row> peer;
      if (with_peer && !c.schedule && compared_.insert({c.shape.k, c.shape.n, c.m}).second) peer = cublas_->run(c.m);
      if (peer) listener_.row(*peer);
      listener_.row(ours);
    }
    return Unit{};
  }

 private:
  Result<Unit> open(const std::string& id) {
    cublas_.reset(), bench_.reset(), problem_.reset(), compared_.clear();
    listener_.progress(id + ": opened and asked what it can do");
    TRY_ASSIGN(bench_, MatmulBench::open(id, options_.probe, options_.rotation));
    device_ = id;
    const runtime::DeviceInfo& info = bench_->device().info();
    listener_.device(row_of(info));
    if (!options_.peer || info.api != "cuda") return Unit{};
    if (auto peer = Cublas::open(bench_->device(), options_.cublas, options_.rotation)) {
      cublas_ = std::move(*peer);
      listener_.note(fmt::format("{}: peer {}", id, cublas_->version()));
    } else {
      listener_.note(fmt::format("{}: no peer: {}", id, peer.error().text));
    }
    return Unit{};
  }

  static Row refused(const Case& c, const std::string& why) {
    Row row{.by = std::string(kOurs), .device = c.device, .type = c.format.name, .shape = c.shape};
    row.m = c.m, row.error = why;
    return row;
  }

  bool set_peer(Shape shape) {
    const auto set = cublas_->set(*problem_);
    if (!set) listener_.note(fmt::format("{}: no peer at {}: {}", device_, to_string(shape), set.error().text));
    return set.has_value();
  }

  const SessionOptions& options_;
  const Listener& listener_;
  std::string device_;
  std::unique_ptr<Problem> problem_;
  std::unique_ptr<MatmulBench> bench_;
  std::unique_ptr<Cublas> cublas_;  // goes before the bench, whose device it is on
  std::set<std::array<int64_t, 3>> compared_;
};

}  // namespace

std::vector<Case> cases_of(const std::vector<std::string>& devices, const std::vector<Format>& formats,
                           const std::vector<Shape>& shapes, const std::vector<int64_t>& tokens) {
  std::vector<Case> cases;
  for (const std::string& device : devices)
    for (const Format& format : formats)
      for (const Shape shape : shapes)
        for (const int64_t m : tokens) cases.push_back({device, format, shape, m, std::nullopt});
  return cases;
}

Result<std::vector<Case>> read_sweep(const std::string& file, const Format& format) {
  std::ifstream in(file);
  if (!in) return bad_input(file + ": cannot be read");
  std::vector<Case> cases;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    number++;
    std::istringstream words(line);
    Case c{.device = {}, .format = format, .shape = {}, .m = 1, .schedule = Schedule{}};
    if (!(words >> c.device) || c.device.starts_with('#')) continue;
    Schedule& s = *c.schedule;
    int accumulator = 0;
    words >> c.shape.k >> c.shape.n >> c.m >> s.tile_n >> s.tile_m >> s.tile_k >> s.split[0] >> s.split[1] >>
        s.split[2] >> s.stages >> accumulator;
    const bool whole = static_cast<bool>(words);
    if (whole && !(words >> s.k_groups)) s.k_groups = 1;
    s.factor_on_accumulator = accumulator != 0;
    if (!whole || c.m < 1 || s.tile_n < 0 || !read_shape(to_string(c.shape)))
      return bad_input(fmt::format("{}:{}: no case of a sweep", file, number));
    if (s.tile_n == 0) c.schedule.reset();
    cases.push_back(c);
  }
  if (cases.empty()) return bad_input(file + ": no case in it");
  return cases;
}

Result<Unit> measure(const std::vector<Case>& cases, const SessionOptions& options, const Listener& listener) {
  Session session(options, listener);
  const auto alike = [](const Case& a, const Case& b) {
    return a.device == b.device && a.format == b.format && a.shape == b.shape;
  };
  for (auto first = cases.begin(); first != cases.end();) {
    const auto last = std::find_if(first, cases.end(), [&](const Case& c) { return !alike(*first, c); });
    TRY(session.measure({first, last}));
    first = last;
  }
  return Unit{};
}

}  // namespace lathe::bench
