#pragma once
// What a physical device is and can do, asked once.
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/device.h"
#include "runtime/vulkan/new_extensions.h"

namespace lathe::runtime::vulkan {

inline constexpr uint32_t kNeverCore = UINT32_MAX;

/// The extensions a device has.
class Extensions {
 public:
  explicit Extensions(VkPhysicalDevice device);
  bool has(std::string_view name) const { return names_.contains(name); }

 private:
  std::set<std::string, std::less<>> names_;
};

/// The feature structures that the device knows, chained behind `core`: to ask, or to enable.
struct Features {
  VkPhysicalDeviceFeatures2 core{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
#define LATHE_VK_STRUCT(member, type, stype, since, extension) type member{stype};
#include "runtime/vulkan/features.def"
  std::vector<const char*> extensions;  ///< those the chained structures need enabled

  Features(uint32_t api_version, const Extensions& present);
  Features(const Features&) = delete;  // the chain points into the object
  Features& operator=(const Features&) = delete;
  void enable(const VulkanFacts& facts);
};

/// A queue family that computes, with timestamps where there is one; -1: none.
int compute_family(VkPhysicalDevice device, uint32_t* timestamp_bits);

/// unsupported, with the reason, where the device is below what the runtime needs: Vulkan 1.2, buffer device addresses,
/// a compute queue.
Result<DeviceInfo> describe(VkPhysicalDevice device, int index);

}  // namespace lathe::runtime::vulkan
