#include "engine/host_memory.h"

#include <cstring>

namespace lathe {
namespace {

/// Not 0: a kernel that takes the end of a row's last byte for elements is found out.
constexpr std::byte kPadding{0xff};

int64_t count_of(const Coord& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return n;
}

/// Bits of a row of the last dimension as a device stores it.
int64_t row_bits(Type elem, const Coord& shape) {
  const int64_t bits = (shape.empty() ? 1 : shape.back()) * elem.bits;
  return (bits + 7) / 8 * 8;
}

/// The bytes that hold an element.
struct Place {
  size_t byte, bytes;
  int shift;  ///< its lowest bit within them
};

/// visit(index, place) for every element, in order.
template <class Visit>
void each_element(Type elem, const Coord& shape, const Visit& visit) {
  const int64_t columns = shape.empty() ? 1 : shape.back(), row = row_bits(elem, shape), count = count_of(shape);
  for (int64_t i = 0; i < count; i++) {
    const int64_t bit = i / columns * row + i % columns * elem.bits, shift = bit % 8;
    visit(static_cast<size_t>(i), Place{static_cast<size_t>(bit / 8), static_cast<size_t>((shift + elem.bits + 7) / 8),
                                        static_cast<int>(shift)});
  }
}

}  // namespace

int64_t device_bytes(Type elem, const Coord& shape) {
  const int64_t columns = shape.empty() ? 1 : shape.back();
  return columns == 0 ? 0 : count_of(shape) / columns * row_bits(elem, shape) / 8;
}

std::vector<std::byte> to_bytes(const tile::HostTensor& t) {
  std::vector<std::byte> out(static_cast<size_t>(device_bytes(t.elem, t.shape)), kPadding);
  const uint64_t element = t.elem.bits < 64 ? (uint64_t{1} << t.elem.bits) - 1 : ~uint64_t{0};
  each_element(t.elem, t.shape, [&](size_t i, const Place& at) {
    uint64_t word = 0;
    std::memcpy(&word, out.data() + at.byte, at.bytes);
    word &= ~(element << at.shift);
    word |= encode_int(t.elem, static_cast<int64_t>(t.raw[i])) << at.shift;
    std::memcpy(out.data() + at.byte, &word, at.bytes);
  });
  return out;
}

void take_bytes(tile::HostTensor& t, std::span<const std::byte> bytes) {
  t.raw.resize(static_cast<size_t>(count_of(t.shape)));
  each_element(t.elem, t.shape, [&](size_t i, const Place& at) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at.byte, at.bytes);
    t.raw[i] = encode_int(t.elem, static_cast<int64_t>(word >> at.shift));
  });
}

}  // namespace lathe
