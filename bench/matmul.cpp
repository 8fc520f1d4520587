// Times the 4-bit matmul on a device: weights rotated past the L2 cache, results checked on sampled outputs before any
// time is printed. One line of JSON for each case.
//   lathe_bench --device cuda:0 --shape 4096x28672 --m 1,16,4096
//   lathe_bench --sweep FILE      lines "device K N M tile_n tile_m tile_k sn sm sk stages acc [k_groups]"; tile_n 0:
//   the chosen row
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "engine/open.h"
#include "engine/target_of.h"
#include "model/matmul.h"

namespace {

using namespace lathe;
using nlohmann::json;

struct Case {
  std::string device;
  int64_t k = 0, n = 0, m = 0;
  Schedule schedule;  ///< tile_n 0: let the table choose
};

/// Weights of one shape in several copies, so that a launch never finds its own in the cache.
struct Weights {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<std::unique_ptr<Matmul>> copies;
};

struct Bench {
  runtime::Device& device;
  Target target;
  kernels::WeightFormat format;
  uint64_t rotate_bytes;
  int64_t k = 0, n = 0;
  Weights weights;

  Result<Unit> set_shape(int64_t new_k, int64_t new_n) {
    if (new_k == k && new_n == n) return Unit{};
    k = new_k, n = new_n;
    weights = {};
    std::mt19937 random(7);
    weights.codes.resize(static_cast<size_t>(n * k));
    for (size_t i = 0; i < weights.codes.size(); i += 8) {
      uint32_t bits = random();
      for (size_t j = i; j < std::min(i + 8, weights.codes.size()); j++, bits >>= 4) weights.codes[j] = bits & 15;
    }
    const int64_t groups = (k + format.group - 1) / format.group;
    weights.scales.resize(static_cast<size_t>(n * groups));
    for (uint16_t& s : weights.scales) s = static_cast<uint16_t>(0x2000 + random() % 0x400);
    uint64_t held = 0;
    do {
      TRY_ASSIGN(auto copy, Matmul::create(device, target, format, types::f16, false));
      TRY(copy->store({n, k, groups, std::as_bytes(std::span(weights.codes)), weights.scales, {}}));
      held += copy->weight_bytes();
      weights.copies.push_back(std::move(copy));
    } while (held < rotate_bytes);
    return Unit{};
  }

  double weight(int64_t row, int64_t column) const {
    const int64_t groups = (k + format.group - 1) / format.group;
    const double s = decode(types::f16, weights.scales[static_cast<size_t>(row * groups + column / format.group)]);
    return (weights.codes[static_cast<size_t>(row * k + column)] - static_cast<double>(format.constant_zero)) * s;
  }

  /// Largest error of sampled outputs over the bound of a matmul with f16 operands and f32 sums; above 1 is wrong.
  double worst(const std::vector<uint16_t>& x, const std::vector<float>& y, int64_t m) const {
    double worst = 0;
    std::mt19937 random(3);
    for (int sample = 0; sample < 200; sample++) {
      const auto row = static_cast<int64_t>(random() % static_cast<uint64_t>(m)),
                 column = static_cast<int64_t>(random() % static_cast<uint64_t>(n));
      double exact = 0, size = 0;
      for (int64_t i = 0; i < k; i++) {
        const double p = decode(types::f16, x[static_cast<size_t>(row * k + i)]) * weight(column, i);
        exact += p, size += std::abs(p);
      }
      const double bound = (2 * 0x1p-11 + static_cast<double>(k) * 0x1p-24) * size + 0x1p-24 * std::abs(exact);
      worst = std::max(worst, std::abs(y[static_cast<size_t>(row * n + column)] - exact) / bound);
    }
    return worst;
  }

  Result<json> run(const Case& c) {
    TRY(set_shape(c.k, c.n));
    std::vector<uint16_t> x(static_cast<size_t>(c.m * k));
    std::mt19937 random(5);
    for (uint16_t& v : x) v = static_cast<uint16_t>(0x3000 + random() % 0xc00 + (random() % 2 ? 0x8000 : 0));
    TRY_ASSIGN(const auto dx, lift(device.alloc(x.size() * 2)));
    TRY_ASSIGN(const auto dy, lift(device.alloc(static_cast<uint64_t>(c.m * n) * 4)));
    TRY(lift(device.upload(*dx, 0, std::as_bytes(std::span(x)))));
    TRY(lift(device.fill(*dy, 0, dy->bytes(), std::byte{0xff})));
    const Schedule s = c.schedule.tile_n ? c.schedule : choose_schedule(weights.copies[0]->schedules(), c.m, n, k);
    const bool heavy = static_cast<double>(c.m * n) * static_cast<double>(k) > 1e11;
    const int turns = heavy ? 4 : 24;
    std::vector<runtime::LaunchRecord> launches;
    for (int i = 0; i < turns; i++) {
      auto& copy = *weights.copies[static_cast<size_t>(i) % weights.copies.size()];
      TRY_ASSIGN(const auto launch, copy.launch(s, c.m, dx->address(), dy->address()));
      launches.push_back(launch);
    }
    TRY(lift(device.run({launches.data(), 1})));
    std::vector<float> y(static_cast<size_t>(c.m * n));
    TRY(lift(device.download(*dy, 0, std::as_writable_bytes(std::span(y)))));
    const double error = worst(x, y, c.m);
    TRY_ASSIGN(const auto graph, lift(device.record(launches)));
    TRY(lift(graph->time_us(heavy ? 4 : 60)));  // brings the clock up; no wait between this and the measurement
    TRY_ASSIGN(auto times, lift(graph->time_us(heavy ? 5 : 25)));
    std::sort(times.begin(), times.end());
    const double us = times[times.size() / 2] / turns;
    const uint64_t bytes = weights.copies[0]->weight_bytes();
    const Kernel* kernel = weights.copies[0]->kernel_of(s, true);
    json j{{"device", c.device},
           {"k", k},
           {"n", n},
           {"m", c.m},
           {"schedule", to_string(s)},
           {"us", us},
           {"spread", (times.back() - times.front()) / times[times.size() / 2]},
           {"gb_s", static_cast<double>(bytes) / us * 1e-3},
           {"tflops", 2e-6 * static_cast<double>(c.m * n) * static_cast<double>(k) / us},
           {"error_over_bound", error},
           {"copies", weights.copies.size()}};
    if (kernel) {
      j["atoms"] = kernel->atoms();
      j["path"] = to_string(kernel->source());
      j["registers"] = kernel->program().stats().registers;
      j["spills"] = kernel->program().stats().spills;
      j["compile_ms"] = kernel->times().compile_ms;
      j["driver_ms"] = kernel->times().driver_ms;
    }
    return j;
  }
};

std::vector<Case> read_sweep(const std::string& file) {
  std::vector<Case> cases;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    Case c;
    int acc = 0;
    Schedule& s = c.schedule;
    if (words >> c.device >> c.k >> c.n >> c.m >> s.tile_n >> s.tile_m >> s.tile_k >> s.split[0] >> s.split[1] >>
        s.split[2] >> s.stages >> acc) {
      if (!(words >> s.k_groups)) s.k_groups = 1;
      s.factor_on_accumulator = acc != 0;
      cases.push_back(c);
    }
  }
  return cases;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("times the 4-bit matmul");
  std::string device = "cuda:0", shape = "4096x28672", sweep;
  std::vector<int64_t> tokens{1, 16, 4096};
  int64_t group = 128;
  double rotate_mb = 300;
  bool no_probe = false;
  app.add_option("--device", device);
  app.add_option("--shape", shape, "K x N");
  app.add_option("--m", tokens)->delimiter(',');
  app.add_option("--group", group);
  app.add_option("--rotate-mb", rotate_mb);
  app.add_option("--sweep", sweep);
  app.add_flag("--no-probe", no_probe, "Vulkan: use matrix instructions without their lane maps");
  CLI11_PARSE(app, argc, argv);
  std::vector<Case> cases;
  if (!sweep.empty()) {
    cases = read_sweep(sweep);
  } else {
    Case c{device, 0, 0, 0, {}};
    c.schedule.tile_n = 0;
    if (std::sscanf(shape.c_str(), "%ldx%ld", &c.k, &c.n) != 2)
      return fmt::print(stderr, "lathe_bench: --shape K x N\n"), 2;
    for (int64_t m : tokens) c.m = m, cases.push_back(c);
  }
  std::string open;
  std::unique_ptr<runtime::Device> handle;
  std::unique_ptr<Bench> bench;
  for (const Case& c : cases) {
    if (c.device != open) {
      bench.reset();
      handle.reset();
      auto d = open_device(c.device);
      if (!d) return fmt::print(stderr, "lathe_bench: {}\n", d.error().text), 2;
      handle = std::move(*d);
      auto t = target_of(*handle, {.probe = !no_probe});
      if (!t) return fmt::print(stderr, "lathe_bench: {}\n", t.error().text), 2;
      kernels::WeightFormat format;
      format.constant_zero = 8;
      format.group = group;
      bench.reset(new Bench{*handle, *t, format, static_cast<uint64_t>(rotate_mb * 1e6), 0, 0, {}});
      open = c.device;
    }
    auto j = bench->run(c);
    if (!j)
      fmt::print("{}\n",
                 json{{"device", c.device}, {"m", c.m}, {"schedule", to_string(c.schedule)}, {"error", j.error().text}}
                     .dump());
    else
      fmt::print("{}\n", j->dump());
    std::fflush(stdout);
  }
}
