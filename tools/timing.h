#pragma once
// How long a launch takes on the device: the median of several, fewer when they are long.
#include "bench/spread.h"
#include "bench/timing.h"

namespace lathe::tools {

inline Result<double> median_us(runtime::Device& device, const runtime::LaunchRecord& launch) {
  TRY_ASSIGN(const auto graph, lift(device.record({&launch, 1})));
  TRY_ASSIGN(auto us, bench::timed(*graph, {.budget_us = 3e5, .least = 3, .most = 50}));
  return bench::spread_of(std::move(us)).median;
}

}  // namespace lathe::tools
