#include "model/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "model/half.h"

namespace lathe::model {
namespace {

struct F16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};
struct Bool {
  uint8_t byte;
};

/// Calls f(From{}) with the C++ type that holds an element of `type`; false when there is none.
template <class F>
bool with_type(Type type, const F& f) {
  if (type == types::f32) return f(float{}), true;
  if (type == kF64) return f(double{}), true;
  if (type == types::f16) return f(F16{}), true;
  if (type == types::bf16) return f(Bf16{}), true;
  if (type == types::i8) return f(int8_t{}), true;
  if (type == types::u8) return f(uint8_t{}), true;
  if (type == types::boolean) return f(Bool{}), true;
  if (type == types::i32) return f(int32_t{}), true;
  if (type == types::i64) return f(int64_t{}), true;
  return false;
}

float to_f32(float v) { return v; }
float to_f32(double v) { return static_cast<float>(v); }
float to_f32(F16 v) { return f32_from_f16(v.bits); }
float to_f32(Bf16 v) { return std::bit_cast<float>(uint32_t{v.bits} << 16); }
float to_f32(Bool v) { return v.byte ? 1.0f : 0.0f; }
template <class Int>
float to_f32(Int v) {
  return static_cast<float>(v);
}

uint16_t to_f16(F16 v) { return v.bits; }
// Not by way of f32, which would round twice. An i64 that a double cannot hold is far beyond f16.
uint16_t to_f16(double v) { return static_cast<uint16_t>(encode(types::f16, v)); }
uint16_t to_f16(int64_t v) { return to_f16(static_cast<double>(v)); }
uint16_t to_f16(int32_t v) { return to_f16(static_cast<double>(v)); }
template <class T>
uint16_t to_f16(T v) {
  return f16_from_f32(to_f32(v));
}

template <class From, class To, class F>
void each(const std::vector<std::byte>& from, std::vector<std::byte>& to, const F& f) {
  const size_t count = from.size() / sizeof(From);
  for (size_t i = 0; i < count; i++) {
    From value;
    std::memcpy(&value, from.data() + i * sizeof(From), sizeof(From));
    const To result = f(value);
    std::memcpy(to.data() + i * sizeof(To), &result, sizeof(To));
  }
}

}  // namespace

std::optional<int64_t> element_count(std::span<const int64_t> shape, Type t) {
  const int64_t most = std::numeric_limits<int64_t>::max() / element_bytes(t);
  if (std::any_of(shape.begin(), shape.end(), [](int64_t extent) { return extent < 0; })) return std::nullopt;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t count = 1;
  for (const int64_t extent : shape) {
    if (count > most / extent) return std::nullopt;
    count *= extent;
  }
  return count;
}

std::string to_string(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string type_name(Type t) { return t == kF64 ? "f64" : lathe::to_string(t); }

Result<Tensor> convert(const Tensor& t, Type to) {
  const auto count = element_count(t.shape, t.type);
  if (!count || static_cast<uint64_t>(*count * element_bytes(t.type)) != t.data.size()) {
    return internal_error(
        fmt::format("a tensor {} of {} holds {} bytes", to_string(t.shape), type_name(t.type), t.data.size()));
  }
  if (to == t.type) return t;
  Tensor out{to, t.shape, std::vector<std::byte>(static_cast<size_t>(*count * element_bytes(to)))};
  const bool known = (to == types::f32 || to == types::f16) && with_type(t.type, [&](auto tag) {
                       using From = decltype(tag);
                       if (to == types::f32)
                         each<From, float>(t.data, out.data, [](From v) { return to_f32(v); });
                       else
                         each<From, uint16_t>(t.data, out.data, [](From v) { return to_f16(v); });
                     });
  if (!known) return unsupported(fmt::format("no conversion from {} to {}", type_name(t.type), type_name(to)));
  return out;
}

std::vector<float> f32_values(const Tensor& t) {
  std::vector<float> out(t.data.size() / sizeof(float));
  if (!out.empty()) std::memcpy(out.data(), t.data.data(), out.size() * sizeof(float));
  return out;
}

}  // namespace lathe::model
