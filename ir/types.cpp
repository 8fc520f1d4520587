#include "ir/types.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace lathe {
namespace {

struct NamedType {
  std::string_view name;
  Type type;
};
constexpr NamedType kNamed[] = {
#define LATHE_TYPE(id, name, kind, bits, exp, man) {name, {kind, bits, exp, man}},
#include "ir/types.def"
};

constexpr uint64_t low_mask(int bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

// A double holds every value of our floats, so decoding only moves fields; NaN loses its payload.
double decode_float(Type t, uint64_t raw) {
  const uint64_t mantissa = raw & low_mask(t.man);
  const int exponent = static_cast<int>((raw >> t.man) & low_mask(t.exp));
  const bool negative = (raw >> (t.man + t.exp)) & 1;
  const int bias = (1 << (t.exp - 1)) - 1;
  double value;
  if (exponent == static_cast<int>(low_mask(t.exp))) {
    value = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<double>(mantissa), 1 - bias - t.man);
  } else {
    value = std::bit_cast<double>((static_cast<uint64_t>(exponent - bias + 1023) << 52) | (mantissa << (52 - t.man)));
  }
  return negative ? -value : value;
}

uint64_t encode_float(Type t, double value) {
  const uint64_t from = std::bit_cast<uint64_t>(value);
  const uint64_t sign = (from >> 63) << (t.man + t.exp), infinity = low_mask(t.exp) << t.man;
  if (std::isnan(value)) return sign | infinity | (uint64_t{1} << (t.man - 1));
  if (std::isinf(value)) return sign | infinity;
  const int from_exponent = static_cast<int>((from >> 52) & 0x7ff);
  if (from_exponent == 0) return sign;  // zero, or far below half of our smallest subnormal
  const uint64_t significand = (from & low_mask(52)) | (uint64_t{1} << 52);
  int exponent = from_exponent - 1023 + (1 << (t.exp - 1)) - 1, shift = 52 - t.man;
  if (exponent < 1) {
    shift += 1 - exponent;
    exponent = 1;
  }
  if (shift > 54) return sign;
  const uint64_t half = uint64_t{1} << (shift - 1), dropped = significand & low_mask(shift);
  uint64_t kept = significand >> shift;
  if (dropped > half || (dropped == half && (kept & 1))) ++kept;
  // `kept` holds the implicit one, which adds the last step of the exponent; so does a carry out of the mantissa.
  const uint64_t magnitude = (static_cast<uint64_t>(exponent - 1) << t.man) + kept;
  return sign | std::min(magnitude, infinity);
}

uint64_t encode_clamped(Type t, double value) {
  if (std::isnan(value)) return 0;
  const int magnitude_bits = t.kind == Kind::sint ? t.bits - 1 : t.bits;
  const double past = std::ldexp(1.0, magnitude_bits), whole = std::trunc(value);
  if (whole >= past) return low_mask(magnitude_bits);
  if (t.kind == Kind::uint) return whole <= 0 ? 0 : static_cast<uint64_t>(whole);
  const int64_t least = -static_cast<int64_t>(low_mask(magnitude_bits)) - 1;
  return static_cast<uint64_t>(whole <= -past ? least : static_cast<int64_t>(whole)) & low_mask(t.bits);
}

}  // namespace

std::string to_string(Type t) {
  for (const NamedType& row : kNamed) {
    if (row.type == t) return std::string(row.name);
  }
  if (t.is_float()) return fmt::format("f{}e{}m{}", t.bits, t.exp, t.man);
  return fmt::format("{}{}", t.kind == Kind::uint ? 'u' : 'i', t.bits);
}

std::optional<Type> parse_type(std::string_view text) {
  for (const NamedType& row : kNamed) {
    if (row.name == text) return row.type;
  }
  if (text.size() != 2 || text[1] < '1' || text[1] > '8') return std::nullopt;
  const int bits = text[1] - '0';
  if (text[0] == 'u') return types::uint_of(bits);
  if (text[0] == 'i' && bits >= 2) return types::sint_of(bits);
  return std::nullopt;
}

double decode(Type t, uint64_t raw) {
  if (t.is_float()) return decode_float(t, raw);
  if (t.kind == Kind::sint) return static_cast<double>(decode_int(t, raw));
  return static_cast<double>(raw & low_mask(t.bits));
}

uint64_t encode(Type t, double value) {
  if (t.is_float()) return encode_float(t, value);
  return t.kind == Kind::boolean ? value != 0 : encode_clamped(t, value);
}

int64_t decode_int(Type t, uint64_t raw) {
  raw &= low_mask(t.bits);
  const uint64_t sign = t.kind == Kind::sint ? uint64_t{1} << (t.bits - 1) : 0;
  return static_cast<int64_t>((raw ^ sign) - sign);
}

uint64_t encode_int(Type t, int64_t value) { return static_cast<uint64_t>(value) & low_mask(t.bits); }

}  // namespace lathe
