#pragma once
// Launches in command buffers: a queue that records and submits as it goes, a graph recorded once.
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/one_user.h"
#include "runtime/vulkan/memory.h"
#include "runtime/vulkan/program.h"

namespace lathe::runtime::vulkan {

/// Mapped memory that the parameters of several launches are written to, one after another.
class ParamSpace {
 public:
  static Result<ParamSpace> create(const std::shared_ptr<Core>& core, uint64_t bytes);
  /// Bytes of the space that a launch of the program takes; 0 where push constants hold its parameters.
  static uint64_t bytes_of(const ProgramInfo& info);
  bool fits(const ProgramInfo& info) const { return used_ + bytes_of(info) <= bytes_; }
  /// The device address of the copied parameters; they fit.
  uint64_t put(const ProgramInfo& info, std::span<const uint64_t> params);
  void clear() { used_ = 0; }

 private:
  Memory memory_;
  uint64_t bytes_ = 0, used_ = 0;
};

class VulkanQueue final : public Queue {
 public:
  static Result<std::unique_ptr<Queue>> create(const std::shared_ptr<Core>& core);
  ~VulkanQueue() override;
  Result<Unit> launch(const Program& program, Dim3 grid, std::span<const uint64_t> params, After after) override;
  Result<Unit> sync() override;

 private:
  /// Launches that are submitted together.
  struct Batch {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    Fence done;
    ParamSpace params;
    std::vector<std::shared_ptr<const Pipeline>> programs;  ///< kept while the device may run them
    bool in_flight = false;
  };
  explicit VulkanQueue(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<Unit> open_batch();
  Result<Unit> submit_batch();
  Result<Unit> finish(Batch& batch);

  std::shared_ptr<Core> core_;
  CommandPool pool_;
  std::vector<Batch> batches_;
  size_t current_ = 0;
  bool recording_ = false;
  std::atomic<bool> busy_{false};
};

class VulkanGraph final : public Graph {
 public:
  static Result<std::unique_ptr<Graph>> create(const std::shared_ptr<Core>& core,
                                               std::span<const LaunchRecord> launches);
  Result<std::vector<double>> time_us(int replays) override;

 private:
  explicit VulkanGraph(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<Unit> record(std::span<const LaunchRecord> launches);
  Result<Unit> prepare_stamps(uint32_t replays);
  Result<std::vector<double>> read_stamps(uint32_t replays);

  std::shared_ptr<Core> core_;
  CommandPool pool_;
  Fence done_;
  ParamSpace params_;
  std::vector<std::shared_ptr<const Pipeline>> programs_;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  QueryPool stamps_;
  std::vector<VkCommandBuffer> stamp_commands_;  ///< number i writes timestamp i; one more than replays
  uint32_t stamped_replays_ = 0;                 ///< what stamp_commands_ is recorded for
  std::atomic<bool> busy_{false};
};

}  // namespace lathe::runtime::vulkan
