#pragma once
// A compute pipeline from SPIR-V words.
#include <memory>

#include "runtime/vulkan/core.h"

namespace lathe::runtime::vulkan {

/// Shared by the program and by the graphs and queues that recorded it.
struct Pipeline {
  PipelineLayout layout;
  PipelineHandle pipeline;
};

class VulkanProgram final : public Program {
 public:
  static Result<std::unique_ptr<Program>> create(const std::shared_ptr<Core>& core, std::span<const std::byte> code,
                                                 const ProgramInfo& info);
  VulkanProgram(std::shared_ptr<const Pipeline> pipeline, const ProgramInfo& info, ProgramStats stats)
      : Program(info, std::move(stats)), pipeline_(std::move(pipeline)) {}
  const std::shared_ptr<const Pipeline>& pipeline() const { return pipeline_; }
  const Core& core() const { return pipeline_->pipeline.core(); }

 private:
  std::shared_ptr<const Pipeline> pipeline_;
};

/// What the driver tells of a pipeline made with the capture flags that `info` asks for.
ProgramStats driver_statistics(Core& core, VkPipeline pipeline, const ProgramInfo& info);

}  // namespace lathe::runtime::vulkan
