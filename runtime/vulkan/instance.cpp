#include "runtime/vulkan/instance.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace lathe::runtime::vulkan {
namespace {

bool has_portability_enumeration() {
  uint32_t count = 0;
  vkEnumerateInstanceExtensionProperties(nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> all(count);
  vkEnumerateInstanceExtensionProperties(nullptr, &count, all.data());
  return std::any_of(all.begin(), all.begin() + count, [](const VkExtensionProperties& e) {
    return std::strcmp(e.extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0;
  });
}

Result<VkInstance> create_instance() {
  if (volkInitialize() != VK_SUCCESS)
    return fail(Error::Code::no_device, "Vulkan: the loader library is not installed");
  if (volkGetInstanceVersion() < VK_API_VERSION_1_2)
    return fail(Error::Code::no_device, "Vulkan: the loader is older than Vulkan 1.2");
  VkApplicationInfo app{VK_STRUCTURE_TYPE_APPLICATION_INFO};
  app.pEngineName = "lathe";
  app.apiVersion = std::min<uint32_t>(volkGetInstanceVersion(), VK_API_VERSION_1_3);
  VkInstanceCreateInfo create{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  create.pApplicationInfo = &app;
  const char* portability = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
  if (has_portability_enumeration()) {  // without it, drivers layered on another API stay hidden
    create.flags = VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    create.enabledExtensionCount = 1;
    create.ppEnabledExtensionNames = &portability;
  }
  VkInstance instance = VK_NULL_HANDLE;
  const VkResult r = vkCreateInstance(&create, nullptr, &instance);
  if (r != VK_SUCCESS) return vulkan_error(r, "vkCreateInstance", "Vulkan: no driver could be loaded");
  volkLoadInstanceOnly(instance);
  return instance;
}

}  // namespace

tl::unexpected<Error> vulkan_error(VkResult result, const char* call, const std::string& what) {
  switch (result) {
#define LATHE_VK_RESULT(name, code) \
  case name:                        \
    return fail(Error::Code::code, fmt::format("{} ({}: {})", what, call, #name));
#include "runtime/vulkan/results.def"
    default:
      return fail(Error::Code::internal, fmt::format("{} ({}: VkResult {})", what, call, int{result}));
  }
}

Result<VkInstance> instance() {
  static const Result<VkInstance> made = create_instance();
  return made;
}

Result<std::vector<VkPhysicalDevice>> physical_devices() {
  TRY_ASSIGN(const VkInstance vk, instance());
  std::vector<VkPhysicalDevice> devices;
  VkResult r = VK_INCOMPLETE;
  while (r == VK_INCOMPLETE) {  // a device may appear between the two calls
    uint32_t count = 0;
    r = vkEnumeratePhysicalDevices(vk, &count, nullptr);
    if (r != VK_SUCCESS) break;
    devices.resize(count);
    r = vkEnumeratePhysicalDevices(vk, &count, devices.data());
    devices.resize(count);
  }
  if (r != VK_SUCCESS) return vulkan_error(r, "vkEnumeratePhysicalDevices", "Vulkan: the devices cannot be listed");
  return devices;
}

}  // namespace lathe::runtime::vulkan
