#pragma once
// Memory with a device address, and copies between it and the host through one staging buffer.
#include <memory>
#include <mutex>

#include "runtime/vulkan/core.h"

namespace lathe::runtime::vulkan {

enum class Place : uint8_t {
  device,    ///< the device's own memory
  shared,    ///< mapped; the device's own where some of that is mappable: small, written by the host
  readback,  ///< mapped, cached by the host where possible
};

/// A buffer with its memory. `bytes` of it may be used, from `address` on.
struct Memory {
  static Result<Memory> create(const std::shared_ptr<Core>& core, uint64_t bytes, Place place);
  DeviceMemory memory;  // destroyed after the buffer
  BufferHandle buffer;
  uint64_t address = 0;         ///< a multiple of 256
  uint64_t offset = 0;          ///< of `address` in the buffer
  std::byte* mapped = nullptr;  ///< of `address`; null for Place::device
};

class VulkanBuffer final : public Buffer {
 public:
  VulkanBuffer(Memory memory, uint64_t bytes, std::shared_ptr<MemoryUse> use)
      : Buffer(memory.address, bytes, std::move(use)), memory_(std::move(memory)) {}
  const Memory& memory() const { return memory_; }
  const Core& core() const { return memory_.buffer.core(); }

 private:
  Memory memory_;
};

/// Synchronous copies; thread-safe, one at a time.
class Staging {
 public:
  explicit Staging(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<Unit> upload(const Memory& to, uint64_t offset, std::span<const std::byte> from);
  Result<Unit> download(const Memory& from, uint64_t offset, std::span<std::byte> to);
  Result<Unit> fill(const Memory& memory, uint64_t offset, uint64_t bytes, std::byte value);

 private:
  Result<Unit> prepare(uint64_t bytes);
  Result<Unit> copy_in(const Memory& to, uint64_t offset, std::span<const std::byte> from);
  template <class Record>
  Result<Unit> transfer(Record record);

  std::shared_ptr<Core> core_;
  std::mutex mutex_;
  CommandPool pool_;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  Fence done_;
  Memory memory_;
  uint64_t bytes_ = 0;
};

}  // namespace lathe::runtime::vulkan
