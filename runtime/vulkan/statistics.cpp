// VK_KHR_pipeline_executable_properties: figures under the driver's own names, the common ones found among them.
#include <algorithm>
#include <string_view>

#include "runtime/vulkan/program.h"

namespace lathe::runtime::vulkan {
namespace {

enum class Take { sum, largest };
struct Name {
  int64_t ProgramStats::*figure;
  Take take;  ///< of several that say the same
  std::string_view name;
};
/// The names that drivers give to the figures: RADV, NVK, Honeykrisp, Turnip, ANV, NVIDIA.
constexpr Name kNames[] = {
    {&ProgramStats::registers, Take::largest, "VGPRs"},
    {&ProgramStats::registers, Take::largest, "Number of GPRs"},
    {&ProgramStats::registers, Take::largest, "GPRs"},
    {&ProgramStats::registers, Take::largest, "Registers used"},
    {&ProgramStats::registers, Take::largest, "Max live registers"},
    {&ProgramStats::registers, Take::largest, "Register Count"},
    {&ProgramStats::spills, Take::sum, "Spilled VGPRs"},
    {&ProgramStats::spills, Take::sum, "Spilled SGPRs"},
    {&ProgramStats::spills, Take::sum, "Spills to memory"},
    {&ProgramStats::spills, Take::sum, "Spills"},
    {&ProgramStats::spills, Take::sum, "STP Count"},
    {&ProgramStats::spills, Take::sum, "Spill count"},
    {&ProgramStats::spills, Take::sum, "Local Memory Size"},
    {&ProgramStats::scratch_bytes, Take::largest, "Scratch size"},
    {&ProgramStats::scratch_bytes, Take::largest, "SLM size"},
    {&ProgramStats::scratch_bytes, Take::largest, "Scratch"},
    {&ProgramStats::scratch_bytes, Take::largest, "Scratch Memory Size"},
    {&ProgramStats::shared_bytes, Take::largest, "LDS size"},
    {&ProgramStats::shared_bytes, Take::largest, "Workgroup Memory Size"},
    {&ProgramStats::code_bytes, Take::sum, "Code size"},
    {&ProgramStats::code_bytes, Take::sum, "Binary Size"},
    {&ProgramStats::occupancy, Take::largest, "Subgroups per SIMD"},
    {&ProgramStats::occupancy, Take::largest, "Max warps/SM"},
    {&ProgramStats::occupancy, Take::largest, "Max Waves Per Core"},
    {&ProgramStats::occupancy, Take::largest, "Threads"},
    {&ProgramStats::cycles, Take::largest, "Latency"},
    {&ProgramStats::cycles, Take::largest, "Static cycle count"},
    {&ProgramStats::cycles, Take::largest, "Cycles"},
};

void take_figure(ProgramStats& stats, std::string_view name, double value) {
  for (const Name& n : kNames) {
    if (n.name != name) continue;
    // NVIDIA's 580 driver puts something else into the upper half of "Local Memory Size".
    const auto whole = static_cast<int64_t>(value) & 0xffffffff;
    int64_t& figure = stats.*n.figure;
    figure = n.take == Take::sum ? std::max<int64_t>(figure, 0) + whole : std::max(figure, whole);
  }
}

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

std::vector<std::pair<std::string, std::string>> texts_of(Core& core, VkPipeline pipeline, uint32_t executable) {
  const VkPipelineExecutableInfoKHR which{VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, nullptr, pipeline,
                                          executable};
  const auto get = core.vk.vkGetPipelineExecutableInternalRepresentationsKHR;
  uint32_t count = 0;
  if (get(core.device, &which, &count, nullptr) < VK_SUCCESS) return {};
  std::vector<VkPipelineExecutableInternalRepresentationKHR> all(
      count, {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR});
  if (get(core.device, &which, &count, all.data()) < VK_SUCCESS) return {};  // sizes
  std::vector<std::string> buffers(count);
  for (uint32_t i = 0; i < count; ++i) {
    buffers[i].resize(all[i].dataSize);
    all[i].pData = buffers[i].data();
  }
  if (get(core.device, &which, &count, all.data()) < VK_SUCCESS) return {};
  std::vector<std::pair<std::string, std::string>> texts;
  for (uint32_t i = 0; i < count; ++i)
    if (all[i].isText) texts.emplace_back(all[i].name, std::string(buffers[i].c_str()));
  return texts;
}

}  // namespace

ProgramStats driver_statistics(Core& core, VkPipeline pipeline, const ProgramInfo& asked) {
  ProgramStats stats;
  const VkPipelineInfoKHR info{VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
  uint32_t executables = 0;
  if (core.vk.vkGetPipelineExecutablePropertiesKHR(core.device, &info, &executables, nullptr) < VK_SUCCESS)
    return stats;
  for (uint32_t e = 0; e < executables; ++e) {
    if (asked.texts) std::ranges::move(texts_of(core, pipeline, e), std::back_inserter(stats.texts));
    if (!asked.statistics) continue;
    for (const VkPipelineExecutableStatisticKHR& s : statistics_of(core, pipeline, e)) {
      const std::string_view name = s.name;
      const double value = value_of(s);
      stats.driver.emplace_back(name, value);
      take_figure(stats, name, value);
    }
  }
  return stats;
}

}  // namespace lathe::runtime::vulkan
