#pragma once
// How long a recorded list of launches takes on a device that is kept busy, so that its clock does not sink.
#include <vector>

#include "engine/result.h"
#include "runtime/device.h"

namespace lathe::bench {

struct Timing {
  double busy_us = 20e3;    ///< what runs right before the measured replays, with no wait of the host in between
  double budget_us = 60e3;  ///< of the measured replays
  int least = 5, most = 25;
};

/// Microseconds of each measured replay. The first replay of all is not among them.
Result<std::vector<double>> timed(runtime::Graph& graph, const Timing& timing = {});

}  // namespace lathe::bench
