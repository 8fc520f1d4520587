#include "bench/timing.h"

#include <algorithm>

namespace lathe::bench {

Result<std::vector<double>> timed(runtime::Graph& graph, const Timing& timing) {
  constexpr double kMostBusy = 1000, kLeastUs = 1;
  TRY(lift(graph.replay()));
  TRY_ASSIGN(const double measured, lift(graph.replay()));
  const double once = std::max(measured, kLeastUs);
  const int busy = static_cast<int>(std::clamp(timing.busy_us / once, 1.0, kMostBusy));
  const int replays = static_cast<int>(
      std::clamp(timing.budget_us / once, static_cast<double>(timing.least), static_cast<double>(timing.most)));
  TRY_ASSIGN(std::vector<double> us, lift(graph.time_us(busy + replays)));
  us.erase(us.begin(), us.begin() + busy);
  return us;
}

}  // namespace lathe::bench
