#pragma once
// NVIDIA's devices through the CUDA driver. No CUDA header is needed to include this.
#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace lathe::runtime::cuda {

/// A line in `absent` for why there is no CUDA, or for each device that cannot be asked.
std::vector<DeviceInfo> list(std::vector<std::string>* absent);
/// The device of that number in the driver's order. Its primary context is retained as long as anything of it is in
/// use.
Result<std::unique_ptr<Device>> open(int index, const DeviceOptions& options);

}  // namespace lathe::runtime::cuda
