#pragma once
// Devices by id, those of the drivers and the simulated ones.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result.h"
#include "runtime/device.h"

namespace lathe {

/// What can be simulated, for help.
inline constexpr const char* kSimulatedIds = "sim:TARGET (as of --target), sim:FILE.json, sim:probe?seed=N";

/// "cuda:N", "vulkan:N", or "sim:" and what is simulated (backends/sim/device.h).
Result<std::unique_ptr<runtime::Device>> open_device(std::string_view id, const runtime::DeviceOptions& options = {});

}  // namespace lathe
