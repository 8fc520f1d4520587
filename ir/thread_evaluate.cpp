// The host meaning of every pure operation, on raw bits lane by lane. Floats are computed in f64, which holds every
// f16, bf16 and f32 and the products of two of them; what f64 cannot hold is rounded to odd, so that the one rounding
// to the narrow type that follows is right.
#include <bit>
#include <cmath>
#include <limits>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

using Lanes = std::vector<uint64_t>;

constexpr uint64_t mask(int bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

int64_t as_signed(uint64_t raw, int bits) { return static_cast<int64_t>(raw << (64 - bits)) >> (64 - bits); }

lathe::Type element_of(Scalar s) {
  return s == Scalar::f16 ? types::f16 : s == Scalar::bf16 ? types::bf16 : types::f32;
}

/// A NaN that arises has one pattern: quiet, positive, no payload.
uint64_t encode_result(Scalar s, double value) {
  return encode(element_of(s), std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value);
}

// The exact sum of f64 a and b when it has 53 bits, else one of the two neighbours whose last bit is 1.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double of_b = sum - a, error = (a - (sum - of_b)) + (b - of_b);
  if (error == 0 || (std::bit_cast<uint64_t>(sum) & 1)) return sum;
  return std::nextafter(sum, error > 0 ? HUGE_VAL : -HUGE_VAL);
}

// Low bits that f64 cannot hold become one sticky bit.
double magnitude_to_odd(uint64_t m) {
  constexpr uint64_t kLow = mask(11);
  if (m >> 53 && m & kLow) m = (m & ~kLow) | (kLow + 1);
  return static_cast<double>(m);
}

double signed_to_odd(int64_t v) {
  return v < 0 ? -magnitude_to_odd(0 - static_cast<uint64_t>(v)) : magnitude_to_odd(static_cast<uint64_t>(v));
}

/// The smaller of a and b (the larger with `sign` -1); NaN loses, -0 is below +0.
double smaller(double a, double b, double sign) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) == (sign > 0) ? a : b;
  return (a < b) == (sign > 0) ? a : b;
}

bool float_op(Op op, Scalar s, const uint64_t* x, uint64_t& out) {
  const lathe::Type t = element_of(s);
  const uint64_t sign = uint64_t{1} << (bits(s) - 1);
  const auto v = [&](int i) { return decode(t, x[i]); };
  double r;
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
      return false;
  }
  out = encode_result(s, r);
  return true;
}

bool divide(Op op, int bits, uint64_t x, uint64_t y, uint64_t& out) {
  if (y == 0) return false;
  const int64_t sx = as_signed(x, bits), sy = as_signed(y, bits);
  switch (op) {
    case Op::div_u:
      out = x / y;
      return true;
    case Op::rem_u:
      out = x % y;
      return true;
    case Op::div_s:
      out = sy == -1 ? 0 - x : static_cast<uint64_t>(sx / sy);
      return true;
    default:
      out = sy == -1 ? 0 : static_cast<uint64_t>(sx % sy);
      return true;
  }
}

bool integer_op(Op op, int bits, const uint64_t* x, uint64_t& out) {
  const auto s = [&](int i) { return as_signed(x[i], bits); };
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
      return divide(op, bits, x[0], x[1], out);
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
    case Op::bnot:
      out = ~x[0];
      return true;
    case Op::shl:
      out = shift_defined ? x[0] << x[1] : 0;
      return shift_defined;
    case Op::shr_u:
      out = shift_defined ? x[0] >> x[1] : 0;
      return shift_defined;
    case Op::shr_s:
      out = shift_defined ? static_cast<uint64_t>(s(0) >> x[1]) : 0;
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

bool convert(Op op, Scalar from, Scalar to, uint64_t x, uint64_t& out) {
  switch (op) {
    case Op::zext:
    case Op::trunc:
      out = x;
      return true;
    case Op::sext:
      out = static_cast<uint64_t>(as_signed(x, bits(from)));
      return true;
    case Op::fcvt:
      out = encode(element_of(to), decode(element_of(from), x));
      return true;
    case Op::s2f:
      out = encode(element_of(to), signed_to_odd(as_signed(x, bits(from))));
      return true;
    case Op::u2f:
      out = encode(element_of(to), magnitude_to_odd(x));
      return true;
    case Op::f2s:
      out = encode({Kind::sint, static_cast<uint8_t>(bits(to))}, decode(element_of(from), x));
      return true;
    default:
      return false;
  }
}

Lanes regroup(const Lanes& from, int from_bits, const Type& to) {
  Lanes out(to.lanes);
  const int to_bits = bits(to.scalar);
  for (int bit = 0; bit < to_bits * to.lanes; bit++) {
    const uint64_t one = (from[static_cast<size_t>(bit / from_bits)] >> (bit % from_bits)) & 1;
    out[static_cast<size_t>(bit / to_bits)] |= one << (bit % to_bits);
  }
  return out;
}

/// Operations that move lanes; false for those that work lane by lane.
bool rearrange(Op op, const Attr& attr, const Type& result, const std::vector<Type>& types,
               const std::vector<Lanes>& args, Lanes& out) {
  switch (op) {
    case Op::constant:
      out.assign(result.lanes, static_cast<uint64_t>(attr.imm) & mask(bits(result.scalar)));
      return true;
    case Op::vec:
      out.clear();
      for (const Lanes& a : args) out.push_back(a[0]);
      return true;
    case Op::get:
      out = {args[0][static_cast<size_t>(attr.imm)]};
      return true;
    case Op::select:
      out = args[0][0] & 1 ? args[1] : args[2];
      return true;
    case Op::bitcast:
      out = regroup(args[0], bits(types[0].scalar), result);
      return true;
    default:
      return false;
  }
}

}  // namespace

bool evaluate(Op op, const Attr& attr, Type result, const std::vector<Type>& types, const std::vector<Lanes>& args,
              Lanes& out) {
  if (info(op).effect != Effect::pure || result.is_frag()) return false;
  if (rearrange(op, attr, result, types, args, out)) return true;
  if (args.empty() || args.size() > 3 || types[0].is_frag()) return false;
  const Scalar from = types[0].scalar;
  out.assign(result.lanes, 0);
  for (size_t lane = 0; lane < out.size(); lane++) {
    uint64_t x[3] = {};
    for (size_t i = 0; i < args.size(); i++)
      x[i] = args[i][args[i].size() == 1 ? 0 : lane] & mask(bits(types[i].scalar));
    const bool defined = info(op).results == std::string_view("attr")
                             ? convert(op, from, result.scalar, x[0], out[lane])
                         : is_float(from) ? float_op(op, from, x, out[lane])
                                          : integer_op(op, bits(from), x, out[lane]);
    if (!defined) return false;
    out[lane] &= mask(bits(result.scalar));
  }
  return true;
}

}  // namespace lathe::thread
