#include "bench/tuning.h"

#include <algorithm>
#include <array>
#include <future>
#include <map>
#include <thread>

#include "model/schedule_space.h"

namespace lathe::bench {
namespace {

/// Of one turn, by one subgroup: a longer loop leaves the instruction cache, and some drivers compile it for minutes.
constexpr double kMostTurn = 4000;
bool is_short(const Schedule& s, const WorkgroupCounts& counts) {
  return counts.turn <= kMostTurn * s.split[0] * s.split[1] * s.split[2];
}

/// Lets few of the same tiles pass, since estimates of like schedules err alike.
class Variety {
 public:
  explicit Variety(int most) : most_(most) {}
  bool takes(const Schedule& s) { return seen_[{s.tile_n, s.tile_m, s.split[0] * s.split[1] * s.split[2]}]++ < most_; }

 private:
  int most_;
  std::map<std::array<int64_t, 3>, int> seen_;
};

/// How k is shared among workgroups does not change what one of them does in a turn.
std::string key_of(Schedule s, const Format& format) {
  s.k_groups = 1;
  return format.name + " " + to_string(s);
}

/// Which walks of k the compiler refuses, or read another order than is stored: tried a few times, then no more.
class Refusals {
 public:
  bool expects(const Schedule& s) const {
    constexpr int kEnough = 6;
    const auto seen = seen_.find({s.tile_k, s.split[2]});
    return seen == seen_.end() || seen->second.taken || seen->second.refused < kEnough;
  }
  void add(const Schedule& s, bool taken) {
    Seen& seen = seen_[{s.tile_k, s.split[2]}];
    seen.taken = seen.taken || taken;
    seen.refused += !taken;
  }

 private:
  struct Seen {
    int refused = 0;
    bool taken = false;
  };
  std::map<std::pair<int64_t, int>, Seen> seen_;
};

double agreement_of(const std::vector<std::pair<double, double>>& pairs) {
  int same = 0, all = 0;
  for (size_t i = 0; i < pairs.size(); i++)
    for (size_t j = 0; j < i; j++) {
      all++;
      same += (pairs[i].first < pairs[j].first) == (pairs[i].second < pairs[j].second);
    }
  return all == 0 ? 1 : static_cast<double>(same) / all;
}

}  // namespace

Choice TunedCase::choice() const {
  return {api, device_name, weights, best.shape.k, best.shape.n, best.m, best.schedule};
}

std::vector<Tuner::Candidate> Tuner::guessed(const Problem& problem, int64_t m) const {
  const Format& f = problem.format();
  const Target& target = bench_.target();
  const Machine machine = machine_of(bench_.device());
  std::vector<Candidate> out;
  for (const Schedule& s : schedule_space(target, f.weights, f.activation, m, problem.shape().n, problem.shape().k)) {
    const WorkgroupCounts counts = guess(s, target, f.weights);
    if (is_short(s, counts)) out.push_back({s, estimate_us(s, counts, machine, target, f.weights, problem.shape(), m)});
  }
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  return out;
}

void Tuner::count(std::span<const Candidate> candidates, const Format& format) {
  std::map<std::string, std::future<std::optional<WorkgroupCounts>>> under_way;
  for (const Candidate& c : candidates)
    if (const std::string key = key_of(c.schedule, format); !counts_.contains(key) && !under_way.contains(key))
      under_way[key] = std::async(std::launch::async, [&, s = c.schedule] {
        const auto counts = simulate(s, bench_.target(), format);
        return counts ? std::optional(*counts) : std::nullopt;
      });
  for (auto& [key, counts] : under_way) counts_[key] = counts.get();
}

std::vector<Tuner::Candidate> Tuner::simulated(const std::vector<Candidate>& candidates, const Problem& problem,
                                               int64_t m) {
  constexpr int kAlike = 6, kAlikeMeasured = 3;
  constexpr size_t kMostRefused = 2;  ///< for each that is not
  const Format& f = problem.format();
  const Machine machine = machine_of(bench_.device());
  const auto wanted = static_cast<size_t>(options_.simulated);
  const size_t limit = wanted * (1 + kMostRefused);
  const size_t at_once = std::max(1u, std::thread::hardware_concurrency());
  std::vector<Candidate> out;
  size_t tried = 0;
  Variety variety(kAlike);
  Refusals refusals;
  for (auto next = candidates.begin(); next != candidates.end() && tried < limit && out.size() < wanted;) {
    std::vector<Candidate> part;
    for (; next != candidates.end() && part.size() < at_once; ++next)
      if (refusals.expects(next->schedule)) part.push_back(*next);
    tried += part.size();
    count(part, f);
    for (const Candidate& c : part) refusals.add(c.schedule, counts_[key_of(c.schedule, f)].has_value());
    for (const Candidate& c : part)
      if (const auto& counts = counts_[key_of(c.schedule, f)];
          counts && is_short(c.schedule, *counts) && variety.takes(c.schedule))
        out.push_back(
            {c.schedule, estimate_us(c.schedule, *counts, machine, bench_.target(), f.weights, problem.shape(), m)});
  }
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  Variety measured(kAlikeMeasured);
  std::stable_partition(out.begin(), out.end(), [&](const Candidate& c) { return measured.takes(c.schedule); });
  return out;
}

Result<TunedCase> Tuner::tune(const Problem& problem, int64_t m) {
  TunedCase t;
  const runtime::DeviceInfo& info = bench_.device().info();
  t.api = info.api, t.device_name = info.name;
  t.weights = weights_name(problem.format().weights, problem.format().activation);
  t.chosen = bench_.run(m, bench_.untuned(m));
  if (!t.chosen.measured()) return bad_input(t.chosen.error);
  std::vector<Candidate> candidates = guessed(problem, m);
  t.space = candidates.size();
  candidates = simulated(candidates, problem, m);
  t.simulated = static_cast<int>(candidates.size());
  candidates.resize(std::min(candidates.size(), static_cast<size_t>(options_.measured)));
  t.best = t.chosen;
  std::vector<std::pair<double, double>> seen;
  for (const Candidate& c : candidates) {
    const Row row = bench_.run(m, c.schedule);
    if (!row.measured()) continue;  // the device's own compiler may refuse, and what is wrong is not taken
    t.measured++;
    seen.emplace_back(c.estimate, row.us.median);
    if (row.us.median < t.best.us.median) t.best = row;
  }
  t.agreement = agreement_of(seen);
  // A lucky moment is no reason: what is taken must be ahead twice, beside the other.
  if (t.best.schedule != t.chosen.schedule) {
    const Row again = bench_.run(m, parse_schedule(t.best.schedule)), old = bench_.run(m, bench_.untuned(m));
    const bool ahead = again.measured() && old.measured() && again.us.median < old.us.median;
    if (ahead) t.chosen = old;
    t.best = ahead ? again : t.chosen;
  }
  return t;
}

}  // namespace lathe::bench
