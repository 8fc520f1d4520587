#pragma once
// Global memory of a simulated device: buffers apart from each other, and for each byte whether it was ever written
// and by whom.
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace lathe::sim {

/// One buffer. Fresh bytes hold a pattern that no test wants.
struct Block {
  Block(uint64_t address_, uint64_t bytes_);
  uint64_t address, bytes;
  std::unique_ptr<std::byte[]> data;
  std::unique_ptr<uint8_t[]> written;  ///< 0xff: the byte was written at least once

  struct Writer {
    uint32_t window = 0, thread = 0, group = 0, epoch = 0;
  };
  static constexpr uint64_t kPage = 4096;
  std::vector<std::unique_ptr<std::array<Writer, kPage>>> writers;  ///< a page is made when it is first written
};

class Memory {
 public:
  explicit Memory(uint64_t room) : room_(room) {}
  /// Null when there is no room. Addresses are multiples of 256, far apart and never given twice.
  std::shared_ptr<Block> alloc(uint64_t bytes);
  void free(const Block& block);
  /// The buffer that holds all of address .. address + bytes, or null.
  Block* find(uint64_t address, uint64_t bytes);

  /// Launches that may overlap are one window: what they write is in no order.
  void next_window() { window_++; }
  struct Who {
    uint32_t thread;
    uint32_t group;  ///< number of the thread's first in its workgroup
    uint32_t epoch;  ///< barriers for global memory that the workgroup has passed: what differs in it is in order
  };
  /// Writes for the thread. None, or the address of a byte that another thread of the window wrote otherwise, in no
  /// order with this.
  struct Clash {
    uint64_t address;
    uint32_t thread;
  };
  std::optional<Clash> store(Block& block, uint64_t address, std::span<const std::byte> bytes, const Who& who);

 private:
  uint64_t room_, used_ = 0, next_ = uint64_t{1} << 36;
  uint32_t window_ = 1;
  std::map<uint64_t, std::shared_ptr<Block>> blocks_;  ///< by address
  Block* last_ = nullptr;                              ///< found; most accesses go where the one before went
};

}  // namespace lathe::sim
