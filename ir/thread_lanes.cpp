// Floats are computed in f64, which holds every f16, bf16 and f32 and the products of two of them; what f64 cannot hold
// is rounded to odd, so that the one rounding to the narrow type that follows is right.
#include "ir/thread_lanes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace lathe::thread {
namespace {

constexpr int kScalars = 8;
constexpr int kWidth[kScalars] = {1, 8, 16, 32, 64, 16, 16, 32};
constexpr int width(Scalar s) { return kWidth[static_cast<size_t>(s)]; }
constexpr bool floats(Scalar s) { return s == Scalar::f16 || s == Scalar::bf16 || s == Scalar::f32; }
constexpr uint64_t mask(int bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

constexpr int64_t as_signed(uint64_t raw, int bits) { return static_cast<int64_t>(raw << (64 - bits)) >> (64 - bits); }

lathe::Type element_of(Scalar s) {
  return s == Scalar::f16 ? types::f16 : s == Scalar::bf16 ? types::bf16 : types::f32;
}

inline double value_of(Scalar s, uint64_t raw) {
  const auto bits32 = static_cast<uint32_t>(raw);
  if (s == Scalar::f32) return std::bit_cast<float>(bits32);
  if (s == Scalar::bf16) return std::bit_cast<float>(bits32 << 16);
  // The exponent's range is moved by a multiplication, which makes subnormals normal.
  const uint32_t magnitude = (bits32 & 0x7fff) << 13;
  const float v = (bits32 & 0x7c00) == 0x7c00 ? std::bit_cast<float>(magnitude | 0x7f800000)
                                              : std::bit_cast<float>(magnitude) * 0x1p112F;
  return bits32 & 0x8000 ? -v : v;
}

inline uint64_t bits_of(Scalar s, double value) {
  if (s == Scalar::f32 && !std::isnan(value)) return std::bit_cast<uint32_t>(static_cast<float>(value));
  const int mantissa = s == Scalar::f16 ? 10 : 7, bias = s == Scalar::f16 ? 15 : 127, dropped = 52 - mantissa;
  const auto raw = std::bit_cast<uint64_t>(value);
  const int exponent = static_cast<int>(raw >> 52 & 0x7ff) - 1023;
  if (s == Scalar::f32 || exponent <= -bias || exponent > bias) return encode(element_of(s), value);
  const uint64_t magnitude = raw & mask(63);  // normal: a carry out of the mantissa is the next exponent
  const uint64_t rounded = (magnitude + mask(dropped - 1) + (magnitude >> dropped & 1)) >> dropped;
  return (raw >> 63) << 15 | (rounded - (static_cast<uint64_t>(1023 - bias) << mantissa));
}

/// A NaN that arises has one pattern: quiet, positive, no payload.
inline uint64_t result_bits(Scalar s, double value) {
  return bits_of(s, std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value);
}

// The exact sum of f64 a and b when it has 53 bits, else one of the two neighbours whose last bit is 1.
inline double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double of_b = sum - a, error = (a - (sum - of_b)) + (b - of_b);
  if (error == 0 || (std::bit_cast<uint64_t>(sum) & 1)) return sum;
  return std::nextafter(sum, error > 0 ? HUGE_VAL : -HUGE_VAL);
}

// Low bits that f64 cannot hold become one sticky bit.
inline double magnitude_to_odd(uint64_t m) {
  constexpr uint64_t kLow = mask(11);
  if (m >> 53 && m & kLow) m = (m & ~kLow) | (kLow + 1);
  return static_cast<double>(m);
}

inline double signed_to_odd(int64_t v) {
  return v < 0 ? -magnitude_to_odd(0 - static_cast<uint64_t>(v)) : magnitude_to_odd(static_cast<uint64_t>(v));
}

/// The smaller of a and b (the larger with `sign` -1); NaN loses, -0 is below +0.
inline double smaller(double a, double b, double sign) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) == (sign > 0) ? a : b;
  return (a < b) == (sign > 0) ? a : b;
}

// The operations, and which there are: a `default` is what has no such meaning. Each answers whether it has a value.

constexpr bool is_float_op(Op op) {
  switch (op) {
    case Op::neg:
    case Op::abs:
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::fdiv:
    case Op::fma:
    case Op::fmin:
    case Op::fmax:
    case Op::exp2:
    case Op::log2:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::eq:
    case Op::ne:
    case Op::flt:
    case Op::fle:
      return true;
    default:
      return false;
  }
}

template <Op op, Scalar s>
bool float_op(const uint64_t* x, uint64_t& out) {
  const uint64_t sign = uint64_t{1} << (width(s) - 1);
  const auto v = [x](int i) { return value_of(s, x[i]); };
  double r = 0;
  switch (op) {
    case Op::neg:
      out = x[0] ^ sign;
      return true;
    case Op::abs:
      out = x[0] & ~sign;
      return true;
    case Op::add:
      r = v(0) + v(1);
      break;
    case Op::sub:
      r = v(0) - v(1);
      break;
    case Op::mul:
      r = v(0) * v(1);
      break;
    case Op::fdiv:
      r = v(0) / v(1);
      break;
    case Op::fma:
      r = add_to_odd(v(0) * v(1), v(2));
      break;
    case Op::fmin:
      r = smaller(v(0), v(1), 1);
      break;
    case Op::fmax:
      r = smaller(v(0), v(1), -1);
      break;
    case Op::exp2:
      r = std::exp2(v(0));
      break;
    case Op::log2:
      r = std::log2(v(0));
      break;
    case Op::sqrt:
      r = std::sqrt(v(0));
      break;
    case Op::rsqrt:
      r = 1 / std::sqrt(v(0));
      break;
    case Op::eq:
      out = v(0) == v(1);
      return true;
    case Op::ne:
      out = v(0) != v(1);
      return true;
    case Op::flt:
      out = v(0) < v(1);
      return true;
    case Op::fle:
      out = v(0) <= v(1);
      return true;
    default:
      break;
  }
  out = result_bits(s, r);
  return true;
}

template <Op op, int bits>
bool divide(uint64_t x, uint64_t y, uint64_t& out) {
  out = 0;
  if (y == 0) return false;
  const int64_t sx = as_signed(x, bits), sy = as_signed(y, bits);
  if (op == Op::div_u) out = x / y;
  if (op == Op::rem_u) out = x % y;
  if (op == Op::div_s) out = sy == -1 ? 0 - x : static_cast<uint64_t>(sx / sy);
  if (op == Op::rem_s) out = sy == -1 ? 0 : static_cast<uint64_t>(sx % sy);
  return true;
}

constexpr bool is_integer_op(Op op) {
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div_s:
    case Op::div_u:
    case Op::rem_s:
    case Op::rem_u:
    case Op::neg:
    case Op::abs:
    case Op::min_s:
    case Op::max_s:
    case Op::min_u:
    case Op::max_u:
    case Op::band:
    case Op::bor:
    case Op::bxor:
    case Op::and_xor:
    case Op::bnot:
    case Op::shl:
    case Op::shr_u:
    case Op::shr_s:
    case Op::eq:
    case Op::ne:
    case Op::lt_s:
    case Op::le_s:
    case Op::lt_u:
    case Op::le_u:
      return true;
    default:
      return false;
  }
}

template <Op op, int bits>
bool integer_op(const uint64_t* x, uint64_t& out) {
  const auto s = [x](int i) { return as_signed(x[i], bits); };
  const bool shift_defined = x[1] < static_cast<uint64_t>(bits);
  switch (op) {
    case Op::add:
      out = x[0] + x[1];
      return true;
    case Op::sub:
      out = x[0] - x[1];
      return true;
    case Op::mul:
      out = x[0] * x[1];
      return true;
    case Op::div_s:
    case Op::div_u:
    case Op::rem_s:
    case Op::rem_u:
      return divide<op, bits>(x[0], x[1], out);
    case Op::neg:
      out = 0 - x[0];
      return true;
    case Op::abs:
      out = s(0) < 0 ? 0 - x[0] : x[0];
      return true;
    case Op::min_s:
      out = s(0) < s(1) ? x[0] : x[1];
      return true;
    case Op::max_s:
      out = s(0) < s(1) ? x[1] : x[0];
      return true;
    case Op::min_u:
      out = std::min(x[0], x[1]);
      return true;
    case Op::max_u:
      out = std::max(x[0], x[1]);
      return true;
    case Op::band:
      out = x[0] & x[1];
      return true;
    case Op::bor:
      out = x[0] | x[1];
      return true;
    case Op::bxor:
      out = x[0] ^ x[1];
      return true;
    case Op::and_xor:
      out = (x[0] & x[1]) ^ x[2];
      return true;
    case Op::bnot:
      out = ~x[0];
      return true;
    case Op::shl:
      out = shift_defined ? x[0] << (x[1] & 63) : 0;
      return shift_defined;
    case Op::shr_u:
      out = shift_defined ? x[0] >> (x[1] & 63) : 0;
      return shift_defined;
    case Op::shr_s:
      out = shift_defined ? static_cast<uint64_t>(s(0) >> (x[1] & 63)) : 0;
      return shift_defined;
    case Op::eq:
      out = x[0] == x[1];
      return true;
    case Op::ne:
      out = x[0] != x[1];
      return true;
    case Op::lt_s:
      out = s(0) < s(1);
      return true;
    case Op::le_s:
      out = s(0) <= s(1);
      return true;
    case Op::lt_u:
      out = x[0] < x[1];
      return true;
    case Op::le_u:
      out = x[0] <= x[1];
      return true;
    default:
      return false;
  }
}

constexpr bool is_conversion(Op op, Scalar from, Scalar to) {
  switch (op) {
    case Op::zext:
    case Op::sext:
    case Op::trunc:
      return !floats(from) && !floats(to);
    case Op::fcvt:
      return floats(from) && floats(to);
    case Op::s2f:
    case Op::u2f:
      return !floats(from) && floats(to);
    case Op::f2s:
      return floats(from) && !floats(to);
    default:
      return false;
  }
}

template <Op op, Scalar from, Scalar to>
void convert(uint64_t x, uint64_t& out) {
  switch (op) {
    case Op::sext:
      out = static_cast<uint64_t>(as_signed(x, width(from)));
      break;
    case Op::fcvt:
      out = bits_of(to, value_of(from, x));
      break;
    case Op::s2f:
      out = bits_of(to, signed_to_odd(as_signed(x, width(from))));
      break;
    case Op::u2f:
      out = bits_of(to, magnitude_to_odd(x));
      break;
    case Op::f2s:
      out = encode({Kind::sint, static_cast<uint8_t>(width(to))}, value_of(from, x));
      break;
    default:  // zext, trunc
      out = x;
  }
}

constexpr size_t kOperands[] = {
#define THREAD_OP(name, operands, results, effect, doc) std::string_view(operands).size(),
#include "ir/thread.def"
};

template <Op op, Scalar from, Scalar to>
uint64_t row(const uint64_t* const* x, uint64_t* out, int n) {
  constexpr size_t operands = kOperands[static_cast<size_t>(op)];
  uint64_t undefined = 0;
  for (int l = 0; l < n; l++) {
    uint64_t v[3] = {}, r = 0;
    for (size_t i = 0; i < operands; i++) v[i] = x[i][l];
    bool defined = true;
    if constexpr (op == Op::select)
      r = v[0] & 1 ? v[1] : v[2];
    else if constexpr (is_conversion(op, from, to))
      convert<op, from, to>(v[0], r);
    else if constexpr (floats(from))
      defined = float_op<op, from>(v, r);
    else
      defined = integer_op<op, width(from)>(v, r);
    out[l] = op == Op::select ? r : r & mask(width(to));
    undefined |= uint64_t{!defined} << l;
  }
  return undefined;
}

template <size_t index>
constexpr LaneRow row_at() {
  constexpr auto op = static_cast<Op>(index / kScalars / kScalars);
  constexpr auto from = static_cast<Scalar>(index / kScalars % kScalars), to = static_cast<Scalar>(index % kScalars);
  if constexpr (op == Op::select)  // moves bits of any type
    return row<op, Scalar::b1, Scalar::i64>;
  else if constexpr (is_conversion(op, from, to))
    return row<op, from, to>;
  else if constexpr ((to == from || to == Scalar::b1) && (floats(from) ? is_float_op(op) : is_integer_op(op)))
    return row<op, from, to>;
  else
    return nullptr;
}

template <size_t... index>
constexpr std::array<LaneRow, sizeof...(index)> make_rows(std::index_sequence<index...>) {
  return {row_at<index>()...};
}
constexpr auto kRows = make_rows(std::make_index_sequence<size_t{kOpCount} * kScalars * kScalars>());

}  // namespace

LaneRow lane_row(Op op, Scalar from, Scalar to) {
  return kRows[(static_cast<size_t>(op) * kScalars + static_cast<size_t>(from)) * kScalars + static_cast<size_t>(to)];
}

void regroup_rows(const uint64_t* const* x, int from_bits, uint64_t* const* out, int to_lanes, int to_bits, int n) {
  for (int to = 0; to < to_lanes; to++)
    for (int l = 0; l < n; l++) {
      uint64_t word = 0;
      if (to_bits >= from_bits)
        for (int part = 0, first = to * to_bits / from_bits; part < to_bits / from_bits; part++)
          word |= x[first + part][l] << (part * from_bits);
      else
        word = x[to * to_bits / from_bits][l] >> (to * to_bits % from_bits) & mask(to_bits);
      out[to][l] = word;
    }
}

void decode_row(Scalar s, const uint64_t* raw, double* out, int n) {
  if (s == Scalar::f16)
    for (int l = 0; l < n; l++) out[l] = value_of(Scalar::f16, raw[l]);
  else
    for (int l = 0; l < n; l++) out[l] = value_of(s, raw[l]);
}

void encode_row(Scalar s, const double* values, uint64_t* out, int n) {
  for (int l = 0; l < n; l++) out[l] = bits_of(s, values[l]);
}

}  // namespace lathe::thread
