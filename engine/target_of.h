#pragma once
// Target of a device: what its driver tells, and what only running it tells (lane maps, arithmetic facts).
#include "engine/result.h"
#include "ir/target.h"
#include "runtime/device.h"

namespace lathe {

/// What probing found, for `lathe devices` and for errors.
struct ProbeReport {
  std::vector<std::string> maps;  ///< one line a matrix configuration: accepted layouts, or why refused
  bool from_cache = false;
};

struct TargetOptions {
  bool probe = true;  ///< ask for lane maps; without it every matrix instruction of a Vulkan device is opaque
};

/// CUDA: the PTX target of its compute capability. Vulkan: from the driver's facts; each f16 matrix configuration is
/// probed by small dispatches and becomes an atom, opaque if one of its three lane maps is no layout. Kept in the
/// device's disk cache, keyed by driver and device. Measures whether f16 subnormals survive the matrix instruction.
Result<Target> target_of(runtime::Device& device, const TargetOptions& options = {}, ProbeReport* report = nullptr);

}  // namespace lathe
