#include "bench/timing.h"

#include <algorithm>
#include <numeric>

namespace lathe::bench {

Result<std::vector<double>> timed(runtime::Graph& graph, const Timing& timing) {
  constexpr double kMostBusy = 1000, kLeastUs = 1;
  TRY(lift(graph.replay()));
  TRY_ASSIGN(const double second, lift(graph.replay()));
  const double once = std::max(second, kLeastUs);
  const int replays = static_cast<int>(
      std::clamp(timing.budget_us / once, static_cast<double>(timing.least), static_cast<double>(timing.most)));
  // With the clock down a replay took longer than it will: then too few were asked for, and it is done again.
  for (int busy = static_cast<int>(std::clamp(timing.busy_us / once, 1.0, kMostBusy));; busy *= 2) {
    TRY_ASSIGN(std::vector<double> us, lift(graph.time_us(busy + replays)));
    const auto measured = us.begin() + busy;
    if (std::accumulate(us.begin(), measured, 0.0) >= timing.busy_us / 2 || 2 * busy > kMostBusy)
      return std::vector<double>(measured, us.end());
  }
}

}  // namespace lathe::bench
