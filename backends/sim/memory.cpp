#include "backends/sim/memory.h"

#include <algorithm>
#include <cstring>

namespace lathe::sim {
namespace {

constexpr uint64_t kGap = uint64_t{1} << 20;  // what is added to one buffer's address by mistake reaches no other
constexpr int kFresh = 0xa5;

}  // namespace

Block::Block(uint64_t address_, uint64_t bytes_)
    : address(address_), bytes(bytes_), data(new std::byte[bytes_]), written(new uint8_t[bytes_]()) {
  std::memset(data.get(), kFresh, bytes);
  writers.resize(bytes / kPage + 1);
}

std::shared_ptr<Block> Memory::alloc(uint64_t bytes) {
  if (bytes > room_ - used_) return nullptr;
  auto block = std::make_shared<Block>(next_, bytes);
  blocks_[block->address] = block;
  used_ += bytes;
  next_ += (bytes + 2 * kGap - 1) / kGap * kGap;
  return block;
}

void Memory::free(const Block& block) {
  used_ -= block.bytes;
  last_ = nullptr;
  blocks_.erase(block.address);
}

Block* Memory::find(uint64_t address, uint64_t bytes) {
  const auto inside = [&](const Block& b) {
    return address >= b.address && address - b.address <= b.bytes && bytes <= b.bytes - (address - b.address);
  };
  if (last_ != nullptr && inside(*last_)) return last_;
  auto it = blocks_.upper_bound(address);
  if (it == blocks_.begin() || !inside(*(--it)->second)) return nullptr;
  return last_ = it->second.get();
}

std::optional<Memory::Clash> Memory::store(Block& b, uint64_t address, std::span<const std::byte> bytes,
                                           const Who& who) {
  const uint64_t first = address - b.address;
  std::optional<Clash> clash;
  for (size_t i = 0; i < bytes.size(); i++) {
    const uint64_t at = first + i;
    auto& page = b.writers[at / Block::kPage];
    if (!page) page = std::make_unique<std::array<Block::Writer, Block::kPage>>();
    Block::Writer& w = (*page)[at % Block::kPage];
    const bool ordered = w.thread == who.thread || (w.group == who.group && w.epoch != who.epoch);
    if (w.window == window_ && !ordered && b.data[at] != bytes[i]) clash = Clash{address + i, w.thread};
    w = {window_, who.thread, who.group, who.epoch};
  }
  std::memcpy(b.data.get() + first, bytes.data(), bytes.size());
  std::memset(b.written.get() + first, 0xff, bytes.size());
  return clash;
}

}  // namespace lathe::sim
