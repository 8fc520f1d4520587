#pragma once
// Vulkan's devices. No Vulkan header is needed to include this.
#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace lathe::runtime::vulkan {

/// The devices that can run our programs; a line in `absent` for each that cannot, or for why there is no Vulkan.
std::vector<DeviceInfo> list(std::vector<std::string>* absent);
/// The device of that number in the driver's order.
Result<std::unique_ptr<Device>> open(int index, const DeviceOptions& options);

}  // namespace lathe::runtime::vulkan
