#pragma once
// The process's one Vulkan instance.
#include <vector>

#include "runtime/result.h"
#include "runtime/vulkan/new_extensions.h"

namespace lathe::runtime::vulkan {

/// "vkX: VK_ERROR_Y" as an error of the code that results.def gives it, after `what` ("cannot do Z").
tl::unexpected<Error> vulkan_error(VkResult result, const char* call, const std::string& what);

/// Made at the first call and kept until the process ends. Error: why there is no Vulkan here.
Result<VkInstance> instance();
/// In the loader's order.
Result<std::vector<VkPhysicalDevice>> physical_devices();

}  // namespace lathe::runtime::vulkan
