#include "runtime/vulkan/memory.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace lathe::runtime::vulkan {
namespace {

constexpr uint64_t kAlignment = 256;
constexpr uint64_t kStagingBytes = 64 << 20;

struct MemoryFlags {
  VkMemoryPropertyFlags required, preferred;
};

MemoryFlags flags_of(Place place) {
  constexpr VkMemoryPropertyFlags mapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  switch (place) {
    case Place::device:
      return {0, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT};
    case Place::shared:
      return {mapped, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT};
    case Place::readback:
      return {mapped, VK_MEMORY_PROPERTY_HOST_CACHED_BIT};
  }
  return {};
}

/// Sizes no allocation can have; maxMemoryAllocationSize is left to the driver, many give more.
Result<Unit> check_size(const DeviceInfo& info, uint64_t bytes) {
  const uint64_t largest = std::min(info.memory_bytes, info.facts.vulkan.max_buffer_bytes);
  if (bytes <= largest) return Unit{};
  return fail(Error::Code::out_of_memory,
              fmt::format("{}: a buffer of {} bytes is more than the {} bytes it can have", info.id, bytes, largest));
}

Result<BufferHandle> create_buffer(const std::shared_ptr<Core>& core, uint64_t bytes) {
  VkBufferCreateInfo create{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  create.size = bytes;
  create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  VkBuffer buffer = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkCreateBuffer(core->device, &create, nullptr, &buffer), "vkCreateBuffer",
                  fmt::format("{}: no buffer of {} bytes", core->info.id, bytes)));
  return BufferHandle(core, buffer);
}

Result<DeviceMemory> allocate(const std::shared_ptr<Core>& core, VkBuffer buffer, Place place) {
  VkMemoryRequirements needs;
  core->vk.vkGetBufferMemoryRequirements(core->device, buffer, &needs);
  const MemoryFlags flags = flags_of(place);
  const int type = core->memory_type(needs.memoryTypeBits, flags.required, flags.preferred);
  if (type < 0) return fail(Error::Code::unsupported, core->info.id + ": no fitting type of memory");
  const VkMemoryAllocateFlagsInfo address{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, nullptr,
                                          VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
  const VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &address, needs.size,
                                  static_cast<uint32_t>(type)};
  VkDeviceMemory memory = VK_NULL_HANDLE;
  TRY(core->check(core->vk.vkAllocateMemory(core->device, &info, nullptr, &memory), "vkAllocateMemory",
                  fmt::format("{}: {} bytes cannot be allocated; one allocation is good for {}", core->info.id,
                              needs.size, core->info.facts.vulkan.max_allocation_bytes)));
  return DeviceMemory(core, memory);
}

}  // namespace

Result<Memory> Memory::create(const std::shared_ptr<Core>& core, uint64_t bytes, Place place) {
  TRY(check_size(core->info, bytes));
  // Rounded up, and with room to align the address where the driver's own alignment is smaller.
  const uint64_t rounded = (std::max<uint64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  Memory m;
  for (const uint64_t slack : {uint64_t{0}, kAlignment}) {
    m = Memory{};
    TRY_ASSIGN(m.buffer, create_buffer(core, rounded + slack));
    TRY_ASSIGN(m.memory, allocate(core, m.buffer.get(), place));
    TRY(core->check(core->vk.vkBindBufferMemory(core->device, m.buffer.get(), m.memory.get(), 0), "vkBindBufferMemory",
                    "memory cannot be bound"));
    const VkBufferDeviceAddressInfo info{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, nullptr, m.buffer.get()};
    const uint64_t start = core->vk.vkGetBufferDeviceAddress(core->device, &info);
    m.offset = (kAlignment - start % kAlignment) % kAlignment;
    m.address = start + m.offset;
    if (m.offset <= slack) break;
  }
  if (place != Place::device) {
    void* mapped = nullptr;
    TRY(core->check(core->vk.vkMapMemory(core->device, m.memory.get(), 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory",
                    "memory cannot be mapped"));
    m.mapped = static_cast<std::byte*>(mapped) + m.offset;
  }
  return m;
}

/// Made at the first copy, and made larger, up to kStagingBytes, when a larger copy comes.
Result<Unit> Staging::prepare(uint64_t bytes) {
  TRY(core_->health.alive());
  if (!pool_.get()) {
    TRY_ASSIGN(done_, make_fence(core_));
    TRY_ASSIGN(CommandPool pool, make_command_pool(core_));
    TRY_ASSIGN(const std::vector<VkCommandBuffer> commands, make_commands(pool, 1));
    commands_ = commands[0];
    pool_ = std::move(pool);
  }
  if (bytes_ >= std::min(bytes, kStagingBytes)) return Unit{};
  const uint64_t wanted = std::clamp<uint64_t>(std::bit_ceil(std::min(bytes, kStagingBytes)), 64 << 10, kStagingBytes);
  TRY_ASSIGN(memory_, Memory::create(core_, wanted, Place::readback));
  bytes_ = wanted;
  return Unit{};
}

/// Runs what `record` puts into the command buffer, after all earlier work and before all later work, and waits.
template <class Record>
Result<Unit> Staging::transfer(Record record) {
  TRY(begin(*core_, commands_, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT));
  barrier(*core_, commands_, kKernels | kCopies, kCopies);
  record(commands_);
  barrier(*core_, commands_, kCopies, kKernels | kCopies | VK_PIPELINE_STAGE_HOST_BIT);
  TRY(end(*core_, commands_));
  TRY(core_->submit({&commands_, 1}, done_.get()));
  return core_->wait(done_.get());
}

Result<Unit> Staging::copy_in(const Memory& to, uint64_t offset, std::span<const std::byte> from) {
  TRY(prepare(from.size()));
  for (uint64_t at = 0; at < from.size(); at += bytes_) {
    const uint64_t chunk = std::min<uint64_t>(bytes_, from.size() - at);
    std::memcpy(memory_.mapped, from.data() + at, chunk);
    const VkBufferCopy region{memory_.offset, to.offset + offset + at, chunk};
    TRY(transfer([&](VkCommandBuffer commands) {
      core_->vk.vkCmdCopyBuffer(commands, memory_.buffer.get(), to.buffer.get(), 1, &region);
    }));
  }
  return Unit{};
}

Result<Unit> Staging::upload(const Memory& to, uint64_t offset, std::span<const std::byte> from) {
  const std::lock_guard lock(mutex_);
  return copy_in(to, offset, from);
}

Result<Unit> Staging::download(const Memory& from, uint64_t offset, std::span<std::byte> to) {
  const std::lock_guard lock(mutex_);
  TRY(prepare(to.size()));
  for (uint64_t at = 0; at < to.size(); at += bytes_) {
    const uint64_t chunk = std::min<uint64_t>(bytes_, to.size() - at);
    const VkBufferCopy region{from.offset + offset + at, memory_.offset, chunk};
    TRY(transfer([&](VkCommandBuffer commands) {
      core_->vk.vkCmdCopyBuffer(commands, from.buffer.get(), memory_.buffer.get(), 1, &region);
    }));
    std::memcpy(to.data() + at, memory_.mapped, chunk);
  }
  return Unit{};
}

/// The device fills whole words; up to three bytes before and after them are copied.
Result<Unit> Staging::fill(const Memory& memory, uint64_t offset, uint64_t bytes, std::byte value) {
  const std::lock_guard lock(mutex_);
  TRY(prepare(1));
  std::array<std::byte, 3> odd;
  odd.fill(value);
  const uint64_t head = std::min<uint64_t>((4 - offset % 4) % 4, bytes);
  const uint64_t words = (bytes - head) / 4 * 4, tail = bytes - head - words;
  TRY(copy_in(memory, offset, std::span(odd).first(head)));
  if (words) {
    const uint32_t word = std::to_integer<uint32_t>(value) * 0x01010101u;
    TRY(transfer([&](VkCommandBuffer commands) {
      core_->vk.vkCmdFillBuffer(commands, memory.buffer.get(), memory.offset + offset + head, words, word);
    }));
  }
  return copy_in(memory, offset + head + words, std::span(odd).first(tail));
}

}  // namespace lathe::runtime::vulkan
