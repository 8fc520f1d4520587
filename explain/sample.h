#pragma once
// One launch of a compiled kernel on the simulated target, for its counters.
#include "explain/explain.h"

namespace lathe::explain {

/// Every view is filled with zeros and every scalar is 1: what is counted hangs on sizes alone, but where a program
/// branches on its data.
Result<sim::KernelCount> run_sample(const Subject& subject, const Sizes& sizes, const std::array<int64_t, 3>& grid);

}  // namespace lathe::explain
