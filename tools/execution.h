#pragma once
// Runs any tile program on its arguments, by the interpreter or on a device.
#include <string>

#include "ir/tile.h"
#include "tools/binding.h"
#include "tools/place.h"

namespace lathe::tools {

struct Execution {
  std::string path, atoms;  ///< "interp", or "explicit", "probed", "assumed", "fma" and the matrix instructions
  double us = 0;            ///< one launch on the device; 0 unless asked for
  double compile_ms = 0;    ///< ours; 0 when found in the cache
  double driver_ms = 0;     ///< the driver's part of loading
  double ready_ms = 0;      ///< from the program's text to a launch that is ready, all together
  bool from_cache = false;
  std::vector<std::string> printed;  ///< lines of print
};

/// Runs once and puts what it stored into b.tensors. `timed`: afterwards runs it again, on device, for the median.
Result<Execution> execute(const Place& place, const tile::Func& f, Binding& b, bool timed);

}  // namespace lathe::tools
