#pragma once
// The best schedule for a shape, found by trying: candidates of the schedule space, most of them left out by an
// estimate, the rest measured beside the schedule that would be chosen.
#include <functional>

#include "bench/estimate.h"
#include "bench/matmul.h"
#include "model/choices.h"

namespace lathe::bench {

struct TuningOptions {
  int simulated = 96, measured = 24;  ///< candidates that are run on the simulator, and on the device
};

struct TunedCase {
  std::string api, device_name, weights;  ///< of the Choice
  Row chosen;                             ///< by the schedule that would be taken without tuning
  Row best;                               ///< the same row where nothing is faster
  size_t space = 0;
  int simulated = 0, measured = 0;
  /// How estimates and measurements agree: pairs of measured candidates in the same order in both, of all pairs.
  double agreement = 0;
  Choice choice() const;
};

class Tuner {
 public:
  Tuner(MatmulBench& bench, const TuningOptions& options) : bench_(bench), options_(options) {}
  /// Of the problem that the bench was set to.
  Result<TunedCase> tune(const Problem& problem, int64_t m);

 private:
  struct Candidate {
    Schedule schedule;
    double estimate = 0;
  };
  std::vector<Candidate> guessed(const Problem& problem, int64_t m) const;
  /// The best by the simulator's counts; what the compiler refuses is gone.
  std::vector<Candidate> simulated(const std::vector<Candidate>& candidates, const Problem& problem, int64_t m);
  /// Fills counts_, on all of the host's cores.
  void count(std::span<const Candidate> candidates, const Format& format);

  MatmulBench& bench_;
  TuningOptions options_;
  std::map<std::string, std::optional<WorkgroupCounts>> counts_;  ///< by format and schedule; none: refused
};

}  // namespace lathe::bench
