#pragma once
// How long a launch takes on the device: the median of several, fewer when they are long.
#include <algorithm>
#include <vector>

#include "engine/result.h"
#include "runtime/device.h"

namespace lathe::tools {

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

inline Result<double> median_us(runtime::Device& device, const runtime::LaunchRecord& launch) {
  constexpr double kBudgetUs = 3e5;
  constexpr int kMostReplays = 50;
  TRY_ASSIGN(const auto graph, lift(device.record({&launch, 1})));
  TRY(lift(graph->replay()));
  TRY_ASSIGN(const double first, lift(graph->replay()));
  const int replays = static_cast<int>(std::clamp(kBudgetUs / std::max(first, 1.0), 3.0, double{kMostReplays}));
  TRY_ASSIGN(const auto times, lift(graph->time_us(replays)));
  return median(times);
}

}  // namespace lathe::tools
