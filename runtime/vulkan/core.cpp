#include "runtime/vulkan/core.h"

#include <fmt/format.h>

#include "runtime/vulkan/facts.h"
#include "runtime/vulkan/instance.h"

namespace lathe::runtime::vulkan {
namespace {

Result<VkDevice> create_device(VkPhysicalDevice physical, const VulkanFacts& facts, uint32_t family) {
  const Extensions present(physical);
  Features features(std::min<uint32_t>({facts.api_version, volkGetInstanceVersion(), VK_API_VERSION_1_3}), present);
  features.enable(facts);
  const char* subset = "VK_KHR_portability_subset";  // must be enabled where it exists; its name is in a beta header
  if (present.has(subset)) features.extensions.push_back(subset);
  const float priority = 1;
  VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue.queueFamilyIndex = family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo create{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
  create.pNext = &features.core;
  create.queueCreateInfoCount = 1;
  create.pQueueCreateInfos = &queue;
  create.enabledExtensionCount = static_cast<uint32_t>(features.extensions.size());
  create.ppEnabledExtensionNames = features.extensions.data();
  VkDevice device = VK_NULL_HANDLE;
  const VkResult r = vkCreateDevice(physical, &create, nullptr, &device);
  if (r != VK_SUCCESS) return vulkan_error(r, "vkCreateDevice", "the device cannot be opened");
  return device;
}

VkAccessFlags written_by(VkPipelineStageFlags stages) {
  return ((stages & kKernels) ? VK_ACCESS_SHADER_WRITE_BIT : 0) |
         ((stages & kCopies) ? VK_ACCESS_TRANSFER_WRITE_BIT : 0);
}

VkAccessFlags used_by(VkPipelineStageFlags stages) {
  return written_by(stages) | ((stages & kKernels) ? VK_ACCESS_SHADER_READ_BIT : 0) |
         ((stages & kCopies) ? VK_ACCESS_TRANSFER_READ_BIT : 0) |
         ((stages & VK_PIPELINE_STAGE_HOST_BIT) ? VK_ACCESS_HOST_READ_BIT : 0);
}

}  // namespace

Result<std::shared_ptr<Core>> Core::create(VkPhysicalDevice physical, DeviceInfo of, const DeviceOptions& options) {
  std::shared_ptr<Core> core(new Core(std::move(of), options));
  uint32_t timestamp_bits = 0;
  core->family = static_cast<uint32_t>(compute_family(physical, &timestamp_bits));
  if (timestamp_bits) core->timestamp_mask = timestamp_bits >= 64 ? UINT64_MAX : (uint64_t{1} << timestamp_bits) - 1;
  vkGetPhysicalDeviceMemoryProperties(physical, &core->memory_);
  TRY_ASSIGN(core->device, create_device(physical, core->info.facts.vulkan, core->family));
  volkLoadDeviceTable(&core->vk, core->device);
  core->vk.vkGetDeviceQueue(core->device, core->family, 0, &core->queue_);
  return core;
}

Core::~Core() {
  if (device && !health.abandoned()) vk.vkDestroyDevice(device, nullptr);
}

Result<Unit> Core::check(VkResult result, const char* call, const std::string& what) {
  if (result == VK_SUCCESS) return Unit{};
  auto error = vulkan_error(result, call, what);
  if (result == VK_ERROR_DEVICE_LOST) health.lose(error.value().text);
  return error;
}

Result<Unit> Core::submit(std::span<const VkCommandBuffer> commands, VkFence done) {
  VkSubmitInfo work{VK_STRUCTURE_TYPE_SUBMIT_INFO};
  work.commandBufferCount = static_cast<uint32_t>(commands.size());
  work.pCommandBuffers = commands.data();
  // Here, not after the wait: a fence that could not be reset then would end the next wait at once.
  TRY(check(vk.vkResetFences(device, 1, &done), "vkResetFences", "a fence cannot be reset"));
  const std::lock_guard lock(queue_mutex_);
  return check(vk.vkQueueSubmit(queue_, 1, &work, done), "vkQueueSubmit", "work cannot be submitted");
}

Result<Unit> Core::wait(VkFence done) {
  const auto timeout_ns = static_cast<uint64_t>(options.timeout_s * 1e9);
  const VkResult r = vk.vkWaitForFences(device, 1, &done, VK_TRUE, timeout_ns);
  if (r == VK_TIMEOUT) {
    const std::string text = fmt::format("submitted work did not end within {} s", options.timeout_s);
    health.abandon(text);
    return fail(Error::Code::timeout, text + " (vkWaitForFences: VK_TIMEOUT)");
  }
  // Any other failure but a loss leaves it open whether the work still runs.
  if (r != VK_SUCCESS && r != VK_ERROR_DEVICE_LOST) health.abandon("waiting for submitted work failed");
  return check(r, "vkWaitForFences", "submitted work failed");
}

int Core::memory_type(uint32_t allowed_bits, VkMemoryPropertyFlags required, VkMemoryPropertyFlags preferred) const {
  for (const VkMemoryPropertyFlags wanted : {required | preferred, required}) {
    for (uint32_t i = 0; i < memory_.memoryTypeCount; ++i)
      if ((allowed_bits >> i & 1) && (memory_.memoryTypes[i].propertyFlags & wanted) == wanted)
        return static_cast<int>(i);
  }
  return -1;
}

Result<Fence> make_fence(const std::shared_ptr<Core>& core) {
  const VkFenceCreateInfo create{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  VkFence fence = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreateFence(core->device, &create, nullptr, &fence), "vkCreateFence", "no fence"));
  return Fence(core, fence);
}

Result<CommandPool> make_command_pool(const std::shared_ptr<Core>& core) {
  VkCommandPoolCreateInfo create{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  create.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  create.queueFamilyIndex = core->family;
  VkCommandPool pool = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreateCommandPool(core->device, &create, nullptr, &pool), "vkCreateCommandPool",
                  "no command pool"));
  return CommandPool(core, pool);
}

Result<std::vector<VkCommandBuffer>> make_commands(const CommandPool& pool, uint32_t count) {
  VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  allocate.commandPool = pool.get();
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = count;
  std::vector<VkCommandBuffer> commands(count);
  Core& core = pool.core();
  TRY(core.check(core.vk.vkAllocateCommandBuffers(core.device, &allocate, commands.data()), "vkAllocateCommandBuffers",
                 "no command buffer"));
  return commands;
}

Result<Unit> begin(Core& core, VkCommandBuffer commands, VkCommandBufferUsageFlags usage) {
  VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = usage;
  return core.check(core.vk.vkBeginCommandBuffer(commands, &info), "vkBeginCommandBuffer",
                    "commands cannot be recorded");
}

Result<Unit> end(Core& core, VkCommandBuffer commands) {
  return core.check(core.vk.vkEndCommandBuffer(commands), "vkEndCommandBuffer", "commands cannot be recorded");
}

void barrier(const Core& core, VkCommandBuffer commands, VkPipelineStageFlags from, VkPipelineStageFlags to) {
  VkMemoryBarrier memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  memory.srcAccessMask = written_by(from);
  memory.dstAccessMask = used_by(to);
  core.vk.vkCmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

}  // namespace lathe::runtime::vulkan
