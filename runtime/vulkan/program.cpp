#include "runtime/vulkan/program.h"

#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "runtime/vulkan/spirv_words.h"

namespace lathe::runtime::vulkan {
namespace {

uint32_t push_constant_bytes(const ProgramInfo& info) {
  if (info.param_slots == 0) return 0;
  return info.params_in_push_constants ? info.param_slots * 8 : 8;
}

/// What the driver would answer with undefined behaviour instead of an error.
Result<Unit> check_info(const DeviceInfo& device, const ProgramInfo& info) {
  const Facts& facts = device.facts;
  const VulkanFacts& v = facts.vulkan;
  const auto refuse = [&](Error::Code code, const std::string& why) {
    return fail(code, fmt::format("{}: {}: {}", device.id, info.entry, why));
  };
  if (info.shared_bytes) return refuse(Error::Code::bad_input, "Vulkan has no dynamic shared memory");
  if (info.threads == 0) return refuse(Error::Code::bad_input, "a workgroup of no threads");
  if (info.threads > facts.max_threads)
    return refuse(Error::Code::unsupported, fmt::format("{} threads, at most {}", info.threads, facts.max_threads));
  if (info.param_slots > 4096 || push_constant_bytes(info) > v.max_push_constant_bytes) {
    return refuse(Error::Code::unsupported, fmt::format("{} parameter slots; push constants hold {} bytes, a parameter "
                                                        "buffer 4096 slots",
                                                        info.param_slots, v.max_push_constant_bytes));
  }
  const uint32_t size = info.subgroup_size;
  if (size == 0) return Unit{};
  if (info.threads % size)
    return refuse(Error::Code::bad_input, fmt::format("{} threads are no whole subgroups of {}", info.threads, size));
  const bool in_range = std::has_single_bit(size) && size >= v.subgroup_size_min && size <= v.subgroup_size_max;
  if (!in_range || (!v.can_require_subgroup_size && v.subgroup_size_min != v.subgroup_size_max)) {
    return refuse(Error::Code::unsupported, fmt::format("subgroups of {} cannot be required (sizes {} .. {})", size,
                                                        v.subgroup_size_min, v.subgroup_size_max));
  }
  if (v.can_require_subgroup_size && v.max_workgroup_subgroups && info.threads / size > v.max_workgroup_subgroups) {
    return refuse(Error::Code::unsupported, fmt::format("{} subgroups of {} in a workgroup, at most {}",
                                                        info.threads / size, size, v.max_workgroup_subgroups));
  }
  return Unit{};
}

std::string cache_key(const Core& core, std::span<const std::byte> code, const ProgramInfo& info) {
  const VulkanFacts& v = core.info.facts.vulkan;
  return hash_key({"vulkan pipeline",
                   {reinterpret_cast<const char*>(code.data()), code.size()},
                   info.entry,
                   fmt::format("{} {} {} {}", info.subgroup_size, info.statistics, info.texts, v.driver_version),
                   core.info.driver,
                   core.info.name,
                   v.device_uuid,
                   v.pipeline_cache_uuid});
}

/// The driver's own header (length, version, vendor, device, UUID) must name this driver, or the bytes are not shown to
/// it.
bool is_of_this_driver(const VulkanFacts& v, std::span<const std::byte> bytes) {
  VkPipelineCacheHeaderVersionOne header;
  if (bytes.size() < sizeof(header)) return false;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::string uuid;
  for (uint8_t b : header.pipelineCacheUUID) uuid += fmt::format("{:02x}", b);
  return header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && uuid == v.pipeline_cache_uuid;
}

/// The driver's binary of one program: read from the disk cache before the pipeline is made, written after it.
class DriverBinary {
 public:
  static Result<DriverBinary> open(const std::shared_ptr<Core>& core, std::string key) {
    DriverBinary binary;
    if (!core->options.cache) return binary;
    std::optional<std::vector<std::byte>> bytes = core->options.cache->get(key);
    if (bytes && !is_of_this_driver(core->info.facts.vulkan, *bytes)) bytes.reset();
    VkPipelineCacheCreateInfo create{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    create.initialDataSize = bytes ? bytes->size() : 0;
    create.pInitialData = bytes ? bytes->data() : nullptr;
    VkPipelineCache cache = VK_NULL_HANDLE;
    TRY(core->check(core->vk.vkCreatePipelineCache(core->device, &create, nullptr, &cache), "vkCreatePipelineCache",
                    "no pipeline cache"));
    binary.cache_ = PipelineCache(core, cache);
    binary.key_ = std::move(key);
    binary.fresh_ = !bytes;
    return binary;
  }
  VkPipelineCache get() const { return cache_.get(); }
  void save() const {
    if (!fresh_) return;
    Core& core = cache_.core();
    size_t size = 0;
    if (core.vk.vkGetPipelineCacheData(core.device, cache_.get(), &size, nullptr) != VK_SUCCESS) return;
    std::vector<std::byte> bytes(size);
    if (core.vk.vkGetPipelineCacheData(core.device, cache_.get(), &size, bytes.data()) != VK_SUCCESS) return;
    core.options.cache->put(key_, std::span(bytes).first(size));
  }

 private:
  PipelineCache cache_;
  std::string key_;
  bool fresh_ = false;
};

Result<PipelineLayout> create_layout(const std::shared_ptr<Core>& core, const ProgramInfo& info) {
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_constant_bytes(info)};
  VkPipelineLayoutCreateInfo create{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  create.pushConstantRangeCount = range.size ? 1 : 0;
  create.pPushConstantRanges = &range;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreatePipelineLayout(core->device, &create, nullptr, &layout), "vkCreatePipelineLayout",
                  "no pipeline layout"));
  return PipelineLayout(core, layout);
}

Result<ShaderModule> create_module(const std::shared_ptr<Core>& core, std::span<const uint32_t> words) {
  VkShaderModuleCreateInfo create{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  create.codeSize = words.size_bytes();
  create.pCode = words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreateShaderModule(core->device, &create, nullptr, &module), "vkCreateShaderModule",
                  "the driver refuses the SPIR-V module"));
  return ShaderModule(core, module);
}

Result<PipelineHandle> create_pipeline(const std::shared_ptr<Core>& core, const ProgramInfo& info,
                                       VkShaderModule module, VkPipelineLayout layout, VkPipelineCache cache) {
  const VulkanFacts& v = core->info.facts.vulkan;
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size{
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  size.requiredSubgroupSize = info.subgroup_size;
  VkComputePipelineCreateInfo create{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  create.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
  create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  create.stage.module = module;
  create.stage.pName = info.entry.c_str();
  if (info.subgroup_size && v.can_require_subgroup_size) create.stage.pNext = &size;
  if (info.subgroup_size && v.full_subgroups)
    create.stage.flags |= VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  if (info.statistics && v.pipeline_statistics) create.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
  if (info.texts && v.pipeline_statistics) create.flags |= VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
  create.layout = layout;
  VkPipeline pipeline = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreateComputePipelines(core->device, cache, 1, &create, nullptr, &pipeline),
                  "vkCreateComputePipelines",
                  fmt::format("{}: the driver cannot compile \"{}\"", core->info.id, info.entry)));
  return PipelineHandle(core, pipeline);
}

}  // namespace

Result<std::unique_ptr<Program>> VulkanProgram::create(const std::shared_ptr<Core>& core,
                                                       std::span<const std::byte> code, const ProgramInfo& info) {
  TRY(core->health.alive());
  TRY(check_info(core->info, info));
  TRY_ASSIGN(const std::vector<uint32_t> words, spirv_words(code, info.entry));
  TRY_ASSIGN(const DriverBinary binary, DriverBinary::open(core, cache_key(*core, code, info)));
  TRY_ASSIGN(const ShaderModule module, create_module(core, words));
  const auto pipeline = std::make_shared<Pipeline>();
  TRY_ASSIGN(pipeline->layout, create_layout(core, info));
  TRY_ASSIGN(pipeline->pipeline, create_pipeline(core, info, module.get(), pipeline->layout.get(), binary.get()));
  binary.save();
  ProgramStats stats;
  if ((info.statistics || info.texts) && core->info.facts.vulkan.pipeline_statistics)
    stats = driver_statistics(*core, pipeline->pipeline.get(), info);
  stats.max_threads = static_cast<int>(core->info.facts.max_threads);
  return std::make_unique<VulkanProgram>(pipeline, info, std::move(stats));
}

}  // namespace lathe::runtime::vulkan
