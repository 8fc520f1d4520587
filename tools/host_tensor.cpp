#include "tools/host_tensor.h"

#include <fmt/format.h>

#include <cstring>

namespace lathe::tools {
namespace {

int64_t count_of(const Coord& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return n;
}

/// `width` bytes at `at`, little-endian.
uint64_t bits_at(const std::byte* at, size_t width) {
  uint64_t raw = 0;
  std::memcpy(&raw, at, width);
  return raw;
}

bool is_whole(Type t) { return t.is_int() || t.kind == Kind::boolean; }

double file_value(Type type, uint64_t raw) {
  double value = 0;
  if (type != model::kF64) return decode(type, raw);
  std::memcpy(&value, &raw, sizeof value);
  return value;
}

/// Bits of a row of the last dimension as a device stores it.
int64_t row_bits(Type elem, const Coord& shape) {
  const int64_t bits = (shape.empty() ? 1 : shape.back()) * elem.bits;
  return (bits + 7) / 8 * 8;
}

/// Bit address of every element, in order: visit(index, bit).
template <class Visit>
void each_element(Type elem, const Coord& shape, const Visit& visit) {
  const int64_t columns = shape.empty() ? 1 : shape.back(), row = row_bits(elem, shape), count = count_of(shape);
  for (int64_t i = 0; i < count; i++) visit(static_cast<size_t>(i), i / columns * row + i % columns * elem.bits);
}

Type file_type(Type elem) {
  if (elem == types::u32) return types::i64;
  if (elem.is_int() && elem.bits <= 8) return elem.kind == Kind::uint ? types::u8 : types::i8;
  if (elem == types::f16 || is_whole(elem)) return elem;
  return types::f32;
}

}  // namespace

Result<tile::HostTensor> from_file(const model::Tensor& t, Type elem, const std::string& name) {
  if (is_whole(t.type) != is_whole(elem))
    return bad_input(fmt::format("'{}' is {}, the file holds {}", name, to_string(elem), model::type_name(t.type)));
  const auto width = static_cast<size_t>(model::element_bytes(t.type));
  tile::HostTensor out{elem, t.shape, {}};
  out.raw.resize(t.data.size() / width);
  for (size_t i = 0; i < out.raw.size(); i++) {
    const uint64_t raw = bits_at(t.data.data() + i * width, width);
    if (!is_whole(elem)) {
      out.raw[i] = encode(elem, file_value(t.type, raw));
      continue;
    }
    const int64_t value = decode_int(t.type, t.type.kind == Kind::boolean ? raw != 0 : raw);
    out.raw[i] = encode_int(elem, value);
    if (decode_int(elem, out.raw[i]) != value)
      return bad_input(fmt::format("'{}': element {} is {}, which {} does not hold", name, i, value, to_string(elem)));
  }
  return out;
}

model::Tensor to_file(const tile::HostTensor& t) {
  const Type type = file_type(t.elem);
  const auto width = static_cast<size_t>(model::element_bytes(type));
  model::Tensor out{type, t.shape, std::vector<std::byte>(t.raw.size() * width)};
  for (size_t i = 0; i < t.raw.size(); i++) {
    uint64_t raw = t.raw[i];
    if (type != t.elem)
      raw = is_whole(type) ? encode_int(type, decode_int(t.elem, raw)) : encode(type, decode(t.elem, raw));
    std::memcpy(out.data.data() + i * width, &raw, width);
  }
  return out;
}

int64_t device_bytes(Type elem, const Coord& shape) {
  const int64_t columns = shape.empty() ? 1 : shape.back();
  return columns == 0 ? 0 : count_of(shape) / columns * row_bits(elem, shape) / 8;
}

std::vector<std::byte> to_bytes(const tile::HostTensor& t) {
  std::vector<std::byte> out(static_cast<size_t>(device_bytes(t.elem, t.shape)));
  const size_t width = t.elem.bits / 8u;
  each_element(t.elem, t.shape, [&](size_t i, int64_t bit) {
    std::byte* const at = out.data() + bit / 8;
    if (width > 0)
      std::memcpy(at, &t.raw[i], width);
    else
      *at |= static_cast<std::byte>(t.raw[i] << bit % 8);
  });
  return out;
}

void take_bytes(tile::HostTensor& t, std::span<const std::byte> bytes) {
  t.raw.resize(static_cast<size_t>(count_of(t.shape)));
  const size_t width = t.elem.bits / 8u;
  each_element(t.elem, t.shape, [&](size_t i, int64_t bit) {
    const uint64_t raw = bits_at(bytes.data() + bit / 8, std::max<size_t>(width, 1));
    t.raw[i] = width > 0 ? raw : (raw >> bit % 8) & ((1u << t.elem.bits) - 1);
  });
}

}  // namespace lathe::tools
