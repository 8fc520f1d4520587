#pragma once
// Vulkan through volk, and the few declarations that drivers already understand and older headers lack.
#include <volk.h>

#ifndef VK_KHR_shader_bfloat16
inline constexpr auto VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR =
    static_cast<VkStructureType>(1000141000);
inline constexpr auto VK_COMPONENT_TYPE_BFLOAT16_KHR = static_cast<VkComponentTypeKHR>(1000141000);
struct VkPhysicalDeviceShaderBfloat16FeaturesKHR {
  VkStructureType sType;
  void* pNext;
  VkBool32 shaderBFloat16Type, shaderBFloat16DotProduct, shaderBFloat16CooperativeMatrix;
};
#endif

#ifndef VK_EXT_shader_float8
inline constexpr auto VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT8_FEATURES_EXT =
    static_cast<VkStructureType>(1000567000);
inline constexpr auto VK_COMPONENT_TYPE_FLOAT8_E4M3_EXT = static_cast<VkComponentTypeKHR>(1000491002);
inline constexpr auto VK_COMPONENT_TYPE_FLOAT8_E5M2_EXT = static_cast<VkComponentTypeKHR>(1000491003);
struct VkPhysicalDeviceShaderFloat8FeaturesEXT {
  VkStructureType sType;
  void* pNext;
  VkBool32 shaderFloat8, shaderFloat8CooperativeMatrix;
};
#endif
