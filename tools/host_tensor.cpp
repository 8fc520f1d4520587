#include "tools/host_tensor.h"

#include <fmt/format.h>

#include <cstring>

namespace lathe::tools {
namespace {

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

}  // namespace lathe::tools
