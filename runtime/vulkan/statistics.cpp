// VK_KHR_pipeline_executable_properties: figures under the driver's own names, the common ones found among them.
#include <algorithm>
#include <array>
#include <string_view>

#include "runtime/vulkan/program.h"

namespace lathe::runtime::vulkan {
namespace {

/// Names that drivers give to the registers of a thread, and to what they spilled: RADV, NVK, Honeykrisp, Turnip, ANV,
/// NVIDIA.
constexpr std::array<std::string_view, 6> kRegisters{"VGPRs",          "Number of GPRs",     "GPRs",
                                                     "Registers used", "Max live registers", "Register Count"};
constexpr std::array<std::string_view, 7> kSpills{"Spilled VGPRs", "Spilled SGPRs", "Spills to memory", "Spills",
                                                  "STP Count",     "Spill count",   "Local Memory Size"};

double value_of(const VkPipelineExecutableStatisticKHR& s) {
  switch (s.format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
      return s.value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
      return static_cast<double>(s.value.i64);
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
      return static_cast<double>(s.value.u64);
    default:
      return s.value.f64;
  }
}

std::vector<VkPipelineExecutableStatisticKHR> statistics_of(Core& core, VkPipeline pipeline, uint32_t executable) {
  const VkPipelineExecutableInfoKHR which{VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, nullptr, pipeline,
                                          executable};
  uint32_t count = 0;
  if (core.vk.vkGetPipelineExecutableStatisticsKHR(core.device, &which, &count, nullptr) < VK_SUCCESS) return {};
  std::vector<VkPipelineExecutableStatisticKHR> all(count, {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR});
  if (core.vk.vkGetPipelineExecutableStatisticsKHR(core.device, &which, &count, all.data()) < VK_SUCCESS) return {};
  all.resize(count);
  return all;
}

}  // namespace

ProgramStats driver_statistics(Core& core, VkPipeline pipeline) {
  ProgramStats stats;
  const VkPipelineInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
  uint32_t executables = 0;
  if (core.vk.vkGetPipelineExecutablePropertiesKHR(core.device, &info, &executables, nullptr) < VK_SUCCESS)
    return stats;
  for (uint32_t e = 0; e < executables; ++e) {
    for (const VkPipelineExecutableStatisticKHR& s : statistics_of(core, pipeline, e)) {
      const std::string_view name = s.name;
      const double value = value_of(s);
      stats.driver.emplace_back(name, value);
      if (std::ranges::count(kRegisters, name)) stats.registers = std::max(stats.registers, static_cast<int>(value));
      if (std::ranges::count(kSpills, name))
        // NVIDIA's 580 driver puts something else into the upper half of "Local Memory Size".
        stats.spills = std::max<int64_t>(stats.spills, 0) + (static_cast<int64_t>(value) & 0xffffffff);
    }
  }
  return stats;
}

}  // namespace lathe::runtime::vulkan
