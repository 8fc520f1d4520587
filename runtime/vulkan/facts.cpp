#include "runtime/vulkan/facts.h"

#include <fmt/format.h>

namespace lathe::runtime::vulkan {
namespace {

std::string hex(const uint8_t (&bytes)[VK_UUID_SIZE]) {
  std::string text;
  for (uint8_t b : bytes) text += fmt::format("{:02x}", b);
  return text;
}

std::string component_name(VkComponentTypeKHR type) {
  switch (static_cast<int64_t>(type)) {
    case VK_COMPONENT_TYPE_FLOAT16_KHR:
      return "f16";
    case VK_COMPONENT_TYPE_FLOAT32_KHR:
      return "f32";
    case VK_COMPONENT_TYPE_FLOAT64_KHR:
      return "f64";
    case VK_COMPONENT_TYPE_SINT8_KHR:
      return "i8";
    case VK_COMPONENT_TYPE_SINT16_KHR:
      return "i16";
    case VK_COMPONENT_TYPE_SINT32_KHR:
      return "i32";
    case VK_COMPONENT_TYPE_SINT64_KHR:
      return "i64";
    case VK_COMPONENT_TYPE_UINT8_KHR:
      return "u8";
    case VK_COMPONENT_TYPE_UINT16_KHR:
      return "u16";
    case VK_COMPONENT_TYPE_UINT32_KHR:
      return "u32";
    case VK_COMPONENT_TYPE_UINT64_KHR:
      return "u64";
    case VK_COMPONENT_TYPE_BFLOAT16_KHR:
      return "bf16";
    case VK_COMPONENT_TYPE_FLOAT8_E4M3_EXT:
      return "e4m3";
    case VK_COMPONENT_TYPE_FLOAT8_E5M2_EXT:
      return "e5m2";
    default:
      return fmt::format("type{}", static_cast<int64_t>(type));
  }
}

std::string scope_name(VkScopeKHR scope) {
  switch (scope) {
    case VK_SCOPE_SUBGROUP_KHR:
      return "subgroup";
    case VK_SCOPE_WORKGROUP_KHR:
      return "workgroup";
    case VK_SCOPE_DEVICE_KHR:
      return "device";
    default:
      return fmt::format("scope{}", static_cast<int>(scope));
  }
}

std::vector<MatrixConfig> matrix_configs(VkPhysicalDevice device) {
  uint32_t count = 0;
  if (!vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR ||
      vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, nullptr) != VK_SUCCESS)
    return {};
  std::vector<VkCooperativeMatrixPropertiesKHR> rows(count, {VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR});
  if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, rows.data()) != VK_SUCCESS) return {};
  rows.resize(count);
  std::vector<MatrixConfig> configs;
  for (const auto& r : rows) {
    configs.push_back({r.MSize, r.NSize, r.KSize, component_name(r.AType), component_name(r.BType),
                       component_name(r.CType), component_name(r.ResultType), r.saturatingAccumulation == VK_TRUE,
                       scope_name(r.scope)});
  }
  return configs;
}

/// The property structures, chained behind `core` as far as the device knows them.
struct Properties {
  VkPhysicalDeviceProperties2 core{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  VkPhysicalDeviceIDProperties id{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
  VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceSubgroupProperties subgroup{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
  VkPhysicalDeviceMaintenance3Properties maintenance3{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
  VkPhysicalDeviceFloatControlsProperties floats{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES};
  VkPhysicalDeviceSubgroupSizeControlProperties sizes{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
  VkPhysicalDeviceMaintenance4Properties maintenance4{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES};
  VkPhysicalDeviceCooperativeMatrixPropertiesKHR matrix{
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR};

  Properties(VkPhysicalDevice device, uint32_t api, const Extensions& present) {
    chain(id), chain(driver), chain(subgroup), chain(maintenance3), chain(floats);
    const bool is_13 = api >= VK_API_VERSION_1_3;
    if (is_13 || present.has(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME)) chain(sizes);
    if (is_13 || present.has(VK_KHR_MAINTENANCE_4_EXTENSION_NAME)) chain(maintenance4);
    if (present.has(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) chain(matrix);
    vkGetPhysicalDeviceProperties2(device, &core);
  }

 private:
  template <class T>
  void chain(T& s) {
    s.pNext = core.pNext;
    core.pNext = &s;
  }
};

uint64_t device_memory_bytes(VkPhysicalDevice device) {
  VkPhysicalDeviceMemoryProperties memory;
  vkGetPhysicalDeviceMemoryProperties(device, &memory);
  uint64_t best = 0;
  for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      best = std::max(best, memory.memoryHeaps[i].size);
  return best;
}

void fill_subgroup_facts(const Properties& p, VulkanFacts& v) {
  const bool known = p.sizes.maxSubgroupSize != 0;
  v.subgroup_size_min = known ? p.sizes.minSubgroupSize : p.subgroup.subgroupSize;
  v.subgroup_size_max = known ? p.sizes.maxSubgroupSize : p.subgroup.subgroupSize;
  v.can_require_subgroup_size =
      v.subgroup_size_control && v.full_subgroups && (p.sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
  v.max_workgroup_subgroups = p.sizes.maxComputeWorkgroupSubgroups;
  if (p.subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) v.subgroup_operations = p.subgroup.supportedOperations;
}

VulkanFacts vulkan_facts(VkPhysicalDevice device, const Properties& p, const Extensions& present, uint32_t api) {
  VulkanFacts v;
  Features features(api, present);
  vkGetPhysicalDeviceFeatures2(device, &features.core);
#define LATHE_VK_FEATURE(fact, member, field, doc) v.fact = features.member.field == VK_TRUE;
#include "runtime/vulkan/features.def"
  v.api_version = api;
  v.driver_id = static_cast<uint32_t>(p.driver.driverID);
  // It has 255, and spills a quarter of the kernels that are cut for as many (Mesa 26.2).
  if (p.driver.driverID == VK_DRIVER_ID_MESA_NVK) v.lane_registers = 128;
  v.driver_version = p.core.properties.driverVersion;
  v.device_uuid = hex(p.id.deviceUUID);
  v.pipeline_cache_uuid = hex(p.core.properties.pipelineCacheUUID);
  fill_subgroup_facts(p, v);
  v.rte_f16 = p.floats.shaderRoundingModeRTEFloat16;
  v.rte_f32 = p.floats.shaderRoundingModeRTEFloat32;
  v.preserve_denorm_f16 = p.floats.shaderDenormPreserveFloat16;
  v.preserve_denorm_f32 = p.floats.shaderDenormPreserveFloat32;
  v.preserve_inf_nan_f16 = p.floats.shaderSignedZeroInfNanPreserveFloat16;
  v.preserve_inf_nan_f32 = p.floats.shaderSignedZeroInfNanPreserveFloat32;
  if (v.cooperative_matrix) v.matrices = matrix_configs(device);
  v.matrix_robust = v.cooperative_matrix && features.matrix.cooperativeMatrixRobustBufferAccess;
  const VkPhysicalDeviceLimits& limits = p.core.properties.limits;
  v.max_push_constant_bytes = limits.maxPushConstantsSize;
  v.max_storage_buffer_range = limits.maxStorageBufferRange;
  v.max_allocation_bytes = p.maintenance3.maxMemoryAllocationSize;
  v.max_buffer_bytes = p.maintenance4.maxBufferSize ? p.maintenance4.maxBufferSize : UINT64_MAX;
  return v;
}

}  // namespace

Extensions::Extensions(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> all(count);
  if (vkEnumerateDeviceExtensionProperties(device, nullptr, &count, all.data()) < VK_SUCCESS) count = 0;
  for (uint32_t i = 0; i < count; ++i) names_.insert(all[i].extensionName);
}

Features::Features(uint32_t api_version, const Extensions& present) {
#define LATHE_VK_STRUCT(member, type, stype, since, extension)  \
  if (api_version >= (since) || present.has(extension)) {       \
    member.pNext = core.pNext;                                  \
    core.pNext = &member;                                       \
    if (api_version < (since)) extensions.push_back(extension); \
  }
#include "runtime/vulkan/features.def"
}

void Features::enable(const VulkanFacts& facts) {
#define LATHE_VK_FEATURE(fact, member, field, doc) member.field = facts.fact;
#include "runtime/vulkan/features.def"
}

int compute_family(VkPhysicalDevice device, uint32_t* timestamp_bits) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  int found = -1;
  for (uint32_t i = 0; i < count; ++i) {
    if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT)) continue;
    if (found >= 0 && (*timestamp_bits || !families[i].timestampValidBits)) continue;
    found = static_cast<int>(i);
    *timestamp_bits = families[i].timestampValidBits;
  }
  return found;
}

Result<DeviceInfo> describe(VkPhysicalDevice device, int index) {
  VkPhysicalDeviceProperties basic;
  vkGetPhysicalDeviceProperties(device, &basic);
  DeviceInfo info{.id = fmt::format("vulkan:{}", index), .name = basic.deviceName, .api = "vulkan"};
  const auto lacks = [&](const char* what) {
    return fail(Error::Code::unsupported, fmt::format("{} ({}): lacks {}", info.id, info.name, what));
  };
  if (basic.apiVersion < VK_API_VERSION_1_2) return lacks("Vulkan 1.2");
  // Structures newer than the instance's own version may not be chained, whatever the device knows.
  const uint32_t api = std::min<uint32_t>({basic.apiVersion, volkGetInstanceVersion(), VK_API_VERSION_1_3});
  const Extensions present(device);
  const Properties p(device, api, present);
  VulkanFacts& v = info.facts.vulkan = vulkan_facts(device, p, present, api);
  uint32_t timestamp_bits = 0;
  if (!v.device_address) return lacks("buffer device addresses");
  if (compute_family(device, &timestamp_bits) < 0) return lacks("a compute queue");
  v.api_version = basic.apiVersion;
  v.timestamp_period_ns = timestamp_bits ? basic.limits.timestampPeriod : 0;
  info.driver = fmt::format("{} {}", p.driver.driverName, p.driver.driverInfo);
  info.memory_bytes = device_memory_bytes(device);
  info.software = basic.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  info.facts.subgroup_size = p.subgroup.subgroupSize;
  info.facts.max_threads =
      std::min(basic.limits.maxComputeWorkGroupInvocations, basic.limits.maxComputeWorkGroupSize[0]);
  info.facts.shared_bytes = basic.limits.maxComputeSharedMemorySize;
  const auto& grid = basic.limits.maxComputeWorkGroupCount;
  info.facts.max_grid = {grid[0], grid[1], grid[2]};
  return info;
}

}  // namespace lathe::runtime::vulkan
