// Integer identities. Sums are kept with their constant outermost, so that addresses that differ by constants share the
// rest; rules that need bounds ask Facts.
#include <bit>

#include "ir/pass/fold.h"

namespace lathe::thread {
namespace {

/// k when c is 2^k as an unsigned number of the type.
std::optional<int> log2_of(Scalar s, int64_t c) {
  const uint64_t raw = static_cast<uint64_t>(c) & (~uint64_t{0} >> (64 - bits(s)));
  if (!std::has_single_bit(raw)) return std::nullopt;
  return std::countr_zero(raw);
}

int64_t wrapping_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t shifted(int64_t c, int64_t k) { return static_cast<int64_t>(static_cast<uint64_t>(c) << k); }

}  // namespace

Folder::Folded Folder::integer(Op op, Args& args) {
  if (commutes(op) && number(args[0]) && !number(args[1])) std::swap(args[0], args[1]);
  const ValueId x = args[0], y = args.size() > 1 ? args[1] : kNone;
  switch (op) {
    case Op::add:
      return add(x, y);
    case Op::sub:
      return sub(x, y);
    case Op::mul:
      return mul(x, y);
    case Op::neg:
      return operand_of(x, Op::neg);
    case Op::div_s:
    case Op::div_u:
      return divide(op, x, y);
    case Op::rem_s:
    case Op::rem_u:
      return remainder(op, x, y);
    case Op::min_s:
    case Op::max_s:
    case Op::min_u:
    case Op::max_u:
      return extreme(op, x, y);
    case Op::band:
    case Op::bor:
    case Op::bxor:
      return bitwise(op, x, y);
    case Op::shl:
    case Op::shr_u:
    case Op::shr_s:
      break;
    default:
      return std::nullopt;
  }
  const auto k = number(y);
  if (!k || *k < 0 || *k >= bits(type(x).scalar)) return std::nullopt;
  if (*k == 0) return x;
  if (type(x).lanes != 1) return std::nullopt;
  if (op == Op::shl) return shl(x, *k);
  if (op == Op::shr_u) return shr_u(x, *k);
  if (facts_.nonnegative(x)) return make(Op::shr_u, type(x), {x, y});
  return std::nullopt;
}

Folder::Folded Folder::add(ValueId x, ValueId y) {
  const Type t = type(x);
  const auto c = number(y);
  if (c && *c == 0) return x;
  if (const auto left = with_constant(x, Op::add)) {
    if (c) return add_constant(left->base, wrapping_add(left->by, *c));
    return add_constant(make(Op::add, t, {left->base, y}), left->by);
  }
  if (const auto right = with_constant(y, Op::add)) return add_constant(make(Op::add, t, {x, right->base}), right->by);
  return std::nullopt;
}

Folder::Folded Folder::sub(ValueId x, ValueId y) {
  const Type t = type(x);
  if (x == y) return constant(t, 0);
  if (const auto c = number(y)) return add_constant(x, wrapping_mul(*c, -1));
  const auto right = with_constant(y, Op::add);
  if (const auto c = number(x)) {
    if (*c == 0) return make(Op::neg, t, {y});
    if (right) return make(Op::sub, t, {constant(t, wrapping_add(*c, wrapping_mul(right->by, -1))), right->base});
    return std::nullopt;
  }
  if (const auto left = with_constant(x, Op::add)) return add_constant(make(Op::sub, t, {left->base, y}), left->by);
  if (right) return add_constant(make(Op::sub, t, {x, right->base}), wrapping_mul(right->by, -1));
  return std::nullopt;
}

Folder::Folded Folder::mul(ValueId x, ValueId y) {
  const Type t = type(x);
  const auto c = number(y);
  if (!c) return std::nullopt;
  if (*c == 0) return y;
  if (*c == 1) return x;
  if (const auto inner = with_constant(x, Op::mul))
    return make(Op::mul, t, {inner->base, constant(t, wrapping_mul(inner->by, *c))});
  if (const auto inner = with_constant(x, Op::shl))
    return make(Op::mul, t, {inner->base, constant(t, shifted(*c, inner->by))});
  if (const auto inner = with_constant(x, Op::add))
    return add_constant(make(Op::mul, t, {inner->base, y}), wrapping_mul(inner->by, *c));
  if (const auto k = log2_of(t.scalar, *c); k && t.lanes == 1) return make(Op::shl, t, {x, constant(kI32, *k)});
  return std::nullopt;
}

Folder::Folded Folder::shl(ValueId x, int64_t k) {
  const Type t = type(x);
  const int width = bits(t.scalar);
  if (const auto inner = with_constant(x, Op::shl))
    return inner->by + k < width ? make(Op::shl, t, {inner->base, constant(kI32, inner->by + k)}) : constant(t, 0);
  if (const auto inner = with_constant(x, Op::mul))
    return make(Op::mul, t, {inner->base, constant(t, shifted(inner->by, k))});
  if (const auto inner = with_constant(x, Op::add))
    return add_constant(make(Op::shl, t, {inner->base, constant(kI32, k)}), shifted(inner->by, k));
  if (const auto inner = with_constant(x, Op::shr_u); inner && inner->by == k)
    return make(Op::band, t, {inner->base, constant(t, shifted(-1, k))});
  return std::nullopt;
}

/// v = operand * 2^k or operand * c, neither negative, kept all its bits.
bool Folder::did_not_wrap(ValueId v, ValueId operand) const {
  return type(v).lanes == 1 && facts_.nonnegative(v) && facts_.nonnegative(operand);
}

Folder::Folded Folder::shr_u(ValueId x, int64_t k) {
  const Type t = type(x);
  const int width = bits(t.scalar);
  if (const auto inner = with_constant(x, Op::shr_u))
    return inner->by + k < width ? make(Op::shr_u, t, {inner->base, constant(kI32, inner->by + k)}) : constant(t, 0);
  if (const auto inner = with_constant(x, Op::shl)) {
    if (did_not_wrap(x, inner->base))
      return inner->by >= k ? make(Op::shl, t, {inner->base, constant(kI32, inner->by - k)})
                            : make(Op::shr_u, t, {inner->base, constant(kI32, k - inner->by)});
    if (inner->by == k)
      return make(Op::band, t, {inner->base, constant(t, static_cast<int64_t>(~uint64_t{0} >> (64 - width + k)))});
  }
  if (!facts_.nonnegative(x)) return std::nullopt;
  if (facts_.range(x).hi >> k == 0) return constant(t, 0);
  if (const auto inner = with_constant(x, Op::mul);
      inner && inner->by > 0 && inner->by % (int64_t{1} << k) == 0 && did_not_wrap(x, inner->base))
    return make(Op::mul, t, {inner->base, constant(t, inner->by >> k)});
  // (a multiple of 2^k, plus c) / 2^k
  if (const auto inner = with_constant(x, Op::add);
      inner && inner->by > 0 && facts_.nonnegative(inner->base) && facts_.multiple(inner->base) >= int64_t{1} << k)
    return add_constant(make(Op::shr_u, t, {inner->base, constant(kI32, k)}), inner->by >> k);
  return std::nullopt;
}

Folder::Folded Folder::divide(Op op, ValueId x, ValueId y) {
  const Type t = type(x);
  const auto c = number(y);
  if (c && *c == 1) return x;
  if (t.lanes != 1) return std::nullopt;
  const Range rx = facts_.range(x), ry = facts_.range(y);
  if (op == Op::div_s && rx.lo >= 0 && ry.lo > 0) return make(Op::div_u, t, {x, y});
  if (op == Op::div_s) return c && *c > 0 ? signed_shift(x, *c) : std::nullopt;
  if (rx.lo >= 0 && ry.lo > rx.hi) return constant(t, 0);
  if (!c) return std::nullopt;
  if (const auto k = log2_of(t.scalar, *c)) return make(Op::shr_u, t, {x, constant(kI32, *k)});
  if (const auto inner = with_constant(x, Op::mul);
      inner && *c > 0 && inner->by > 0 && inner->by % *c == 0 && did_not_wrap(x, inner->base))
    return make(Op::mul, t, {inner->base, constant(t, inner->by / *c)});
  return std::nullopt;
}

/// x / 2^k toward zero: of a negative x that 2^k does not divide, a shift alone would give one less.
Folder::Folded Folder::signed_shift(ValueId x, int64_t by) {
  const Type t = type(x);
  const auto k = log2_of(t.scalar, by);
  if (!k) return std::nullopt;
  const auto shift = [&](Op op, ValueId v, int64_t n) { return make(op, t, {v, constant(kI32, n)}); };
  if (facts_.multiple(x) % by == 0) return shift(Op::shr_s, x, *k);
  const int bits_of_t = bits(t.scalar);
  const ValueId missing = shift(Op::shr_u, shift(Op::shr_s, x, bits_of_t - 1), bits_of_t - *k);
  return shift(Op::shr_s, make(Op::add, t, {x, missing}), *k);
}

Folder::Folded Folder::remainder(Op op, ValueId x, ValueId y) {
  const Type t = type(x);
  const auto c = number(y);
  if (c && *c == 1) return constant(t, 0);
  if (t.lanes != 1) return std::nullopt;
  const Range rx = facts_.range(x), ry = facts_.range(y);
  if (rx.lo >= 0 && ry.lo > rx.hi) return x;
  if (op == Op::rem_s) return rx.lo >= 0 && ry.lo > 0 ? Folded(make(Op::rem_u, t, {x, y})) : std::nullopt;
  if (c && log2_of(t.scalar, *c)) return make(Op::band, t, {x, constant(t, wrapping_add(*c, -1))});
  return std::nullopt;
}

Folder::Folded Folder::extreme(Op op, ValueId x, ValueId y) {
  if (x == y) return x;
  if (type(x).lanes != 1) return std::nullopt;
  const Range rx = facts_.range(x), ry = facts_.range(y);
  const bool is_signed = op == Op::min_s || op == Op::max_s;
  if (!is_signed && (rx.lo < 0 || ry.lo < 0)) return std::nullopt;
  const bool smaller = op == Op::min_s || op == Op::min_u;
  if (rx.hi <= ry.lo) return smaller ? x : y;
  if (ry.hi <= rx.lo) return smaller ? y : x;
  return std::nullopt;
}

Folder::Folded Folder::bitwise(Op op, ValueId x, ValueId y) {
  const Type t = type(x);
  if (x == y) return op == Op::bxor ? constant(t, 0) : x;
  const auto c = number(y);
  if (!c) return std::nullopt;
  if (op == Op::band && *c == 0) return y;
  if (op != Op::band && *c == 0) return x;
  const bool ones = *c == canonical_bits(t.scalar, -1);
  if (ones && op == Op::band) return x;
  if (ones && op == Op::bor) return y;
  if (ones) return make(Op::bnot, t, {x});
  if (const auto inner = with_constant(x, op)) {
    const int64_t both = op == Op::band ? inner->by & *c : op == Op::bor ? inner->by | *c : inner->by ^ *c;
    return make(op, t, {inner->base, constant(t, both)});
  }
  return op == Op::band && t.lanes == 1 && t.scalar != Scalar::b1 ? masked(x, *c) : std::nullopt;
}

Folder::Folded Folder::masked(ValueId x, int64_t mask) {
  if (mask < 0) return std::nullopt;
  const Type t = type(x);
  if (facts_.multiple(x) > mask) return constant(t, 0);
  if (!std::has_single_bit(static_cast<uint64_t>(mask) + 1)) return std::nullopt;
  const Range r = facts_.range(x);
  if (r.lo >= 0 && r.hi <= mask) return x;
  if (const auto inner = with_constant(x, Op::add); inner && facts_.multiple(inner->base) > mask)
    return constant(t, inner->by & mask);
  return std::nullopt;
}

}  // namespace lathe::thread
