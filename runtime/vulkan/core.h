#pragma once
// An opened Vulkan device: the driver's table, the one queue, waiting, and handles that destroy themselves.
#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "runtime/device.h"
#include "runtime/health.h"
#include "runtime/vulkan/new_extensions.h"

namespace lathe::runtime::vulkan {

/// Shared by everything made from the device; thread-safe.
class Core {
 public:
  static Result<std::shared_ptr<Core>> create(VkPhysicalDevice physical, DeviceInfo of, const DeviceOptions& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// VK_SUCCESS, or the error; a lost device is remembered. `what`: what could not be done.
  Result<Unit> check(VkResult result, const char* call, const std::string& what);
  /// Command buffers run in the order of submission; `done`, which nothing under way signals, is signalled after the
  /// last.
  Result<Unit> submit(std::span<const VkCommandBuffer> commands, VkFence done);
  /// Waits for the fence, options.timeout_s at most.
  Result<Unit> wait(VkFence done);
  /// Index of a memory type with the properties `required`, and `preferred` too where there is one; -1: none.
  int memory_type(uint32_t allowed_bits, VkMemoryPropertyFlags required, VkMemoryPropertyFlags preferred) const;

  VolkDeviceTable vk{};
  VkDevice device = VK_NULL_HANDLE;
  uint32_t family = 0;
  uint64_t timestamp_mask = 0;  ///< 0: no timestamps
  DeviceInfo info;
  DeviceOptions options;
  Health health;

 private:
  Core(DeviceInfo i, DeviceOptions o) : info(std::move(i)), options(std::move(o)) {}
  VkQueue queue_ = VK_NULL_HANDLE;
  std::mutex queue_mutex_;
  VkPhysicalDeviceMemoryProperties memory_{};
};

/// A device object and the function that destroys it. Nothing is destroyed on an abandoned device.
template <class T, auto Destroy>
class Handle {
 public:
  Handle() = default;
  Handle(std::shared_ptr<Core> core, T handle) : core_(std::move(core)), handle_(handle) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Handle() {
    if (handle_ && !core_->health.abandoned()) (core_->vk.*Destroy)(core_->device, handle_, nullptr);
  }
  T get() const { return handle_; }
  Core& core() const { return *core_; }

 private:
  void swap(Handle& other) {
    std::swap(core_, other.core_);
    std::swap(handle_, other.handle_);
  }
  std::shared_ptr<Core> core_;
  T handle_ = VK_NULL_HANDLE;
};

using Fence = Handle<VkFence, &VolkDeviceTable::vkDestroyFence>;
using CommandPool = Handle<VkCommandPool, &VolkDeviceTable::vkDestroyCommandPool>;
using QueryPool = Handle<VkQueryPool, &VolkDeviceTable::vkDestroyQueryPool>;
using ShaderModule = Handle<VkShaderModule, &VolkDeviceTable::vkDestroyShaderModule>;
using PipelineLayout = Handle<VkPipelineLayout, &VolkDeviceTable::vkDestroyPipelineLayout>;
using PipelineCache = Handle<VkPipelineCache, &VolkDeviceTable::vkDestroyPipelineCache>;
using PipelineHandle = Handle<VkPipeline, &VolkDeviceTable::vkDestroyPipeline>;
using BufferHandle = Handle<VkBuffer, &VolkDeviceTable::vkDestroyBuffer>;
using DeviceMemory = Handle<VkDeviceMemory, &VolkDeviceTable::vkFreeMemory>;

Result<Fence> make_fence(const std::shared_ptr<Core>& core);
/// Command buffers of the pool are re-recorded by beginning them again.
Result<CommandPool> make_command_pool(const std::shared_ptr<Core>& core);
/// Freed with the pool.
Result<std::vector<VkCommandBuffer>> make_commands(const CommandPool& pool, uint32_t count);
Result<Unit> begin(Core& core, VkCommandBuffer commands, VkCommandBufferUsageFlags usage);
Result<Unit> end(Core& core, VkCommandBuffer commands);

/// All earlier work of the queue ends before, and is visible to, what follows: kernels, copies or both.
void barrier(const Core& core, VkCommandBuffer commands, VkPipelineStageFlags from, VkPipelineStageFlags to);
inline constexpr VkPipelineStageFlags kKernels = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
inline constexpr VkPipelineStageFlags kCopies = VK_PIPELINE_STAGE_TRANSFER_BIT;

}  // namespace lathe::runtime::vulkan
