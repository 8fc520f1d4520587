// Floats, conversions, vectors and fragments.
#include "ir/pass/fold.h"

namespace lathe::thread {

/// Only what keeps every bit: no reassociation, no x + 0 (which changes -0).
Folder::Folded Folder::floating(Op op, Args& args) {
  if (commutes(op) && float_bits(args[0]) && !float_bits(args[1])) std::swap(args[0], args[1]);
  if (op == Op::neg) return operand_of(args[0], Op::neg);
  if (args.size() != 2) return std::nullopt;
  if (op == Op::fmin || op == Op::fmax) return args[0] == args[1] ? Folded(args[0]) : std::nullopt;
  const auto c = float_bits(args[1]);
  if (!c) return std::nullopt;
  const Scalar s = type(args[0]).scalar;
  const uint64_t minus_zero = uint64_t{1} << (bits(s) - 1);
  const uint64_t one = s == Scalar::f16 ? 0x3c00 : s == Scalar::bf16 ? 0x3f80 : 0x3f800000;
  const bool neutral = op == Op::add   ? *c == minus_zero
                       : op == Op::sub ? *c == 0
                                       : (op == Op::mul || op == Op::fdiv) && *c == one;
  return neutral ? Folded(args[0]) : std::nullopt;
}

Folder::Folded Folder::convert(Op op, ValueId x, const Type& to) {
  switch (op) {
    case Op::zext:
    case Op::sext:
      return extend(op, x, to);
    case Op::trunc:
      return truncate(x, to);
    case Op::fcvt: {
      if (type(x) == to) return x;
      const Folded inner = operand_of(x, Op::fcvt);  // there and back
      return inner && type(*inner) == to && type(x).scalar == Scalar::f32 ? inner : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

Folder::Folded Folder::extend(Op op, ValueId x, const Type& to) {
  if (const Folded inner = operand_of(x, Op::zext)) return make(Op::zext, to, {*inner});
  const Type from = type(x);
  if (from.scalar == Scalar::b1 || from.lanes != 1) return std::nullopt;
  if (const Folded inner = operand_of(x, Op::sext); inner && op == Op::sext) return make(Op::sext, to, {*inner});
  const Range r = facts_.range(x);
  if (const Folded inner = operand_of(x, Op::trunc); inner && type(*inner) == to) {
    const Range whole = facts_.range(*inner);
    const bool index = whole.index && from.scalar == Scalar::i32;
    if (whole.lo >= 0 && (index || whole.hi >> (bits(from.scalar) - 1) == 0)) return inner;
    if (op == Op::zext)
      return make(Op::band, to, {*inner, constant(to, static_cast<int64_t>(~uint64_t{0} >> (64 - bits(from.scalar))))});
  }
  if (op == Op::sext && r.lo >= 0) return make(Op::zext, to, {x});
  // The constant part of an index comes out; what is left must not wrap in the narrow type.
  if (const auto inner = with_constant(x, Op::add)) {
    const Range base = facts_.range(inner->base);
    const int64_t most = static_cast<int64_t>(~uint64_t{0} >> (65 - bits(from.scalar)));
    const bool low = base.lo >= 0 && inner->by >= -base.lo;
    const bool high = inner->by <= 0 || (base.index && from.scalar == Scalar::i32) || base.hi <= most - inner->by;
    const bool below = inner->by >= 0 || base.lo >= -most - 1 - inner->by;
    if (op == Op::zext ? low : high && below) return add_constant(make(op, to, {inner->base}), inner->by);
  }
  return std::nullopt;
}

Folder::Folded Folder::truncate(ValueId x, const Type& to) {
  if (const Folded inner = operand_of(x, Op::trunc)) return make(Op::trunc, to, {*inner});
  for (const Op op : {Op::zext, Op::sext})
    if (const Folded inner = operand_of(x, op)) {
      const int had = bits(type(*inner).scalar), want = bits(to.scalar);
      return had == want ? *inner : make(had < want ? op : Op::trunc, to, {*inner});
    }
  // Narrow arithmetic is cheaper, and the constant part of an index comes out.
  for (const Op op : {Op::add, Op::mul, Op::shl})
    if (const auto inner = with_constant(x, op)) {
      if (op == Op::shl && inner->by >= bits(to.scalar)) return constant(to, 0);
      const ValueId narrow = make(Op::trunc, to, {inner->base});
      return make(op, to, {narrow, constant(op == Op::shl ? kI32 : to, inner->by)});
    }
  return std::nullopt;
}

Folder::Folded Folder::regroup(Op op, const Attr& attr, const Args& args, const Type& result) {
  if (op == Op::bitcast) {
    if (type(args[0]) == result) return args[0];
    const Folded inner = operand_of(args[0], Op::bitcast);
    return inner ? Folded(make(Op::bitcast, result, {*inner})) : std::nullopt;
  }
  if (op == Op::get) {
    const Inst* def = f_.def(args[0]);
    return def && def->op == Op::vec ? Folded(def->args[static_cast<size_t>(attr.imm)]) : std::nullopt;
  }
  const Folded whole = operand_of(args[0], Op::get);
  if (!whole || type(*whole) != result) return std::nullopt;
  for (size_t lane = 0; lane < args.size(); lane++) {
    const Inst* def = f_.def(args[lane]);
    if (!def || def->op != Op::get || def->args[0] != *whole || def->attr.imm != static_cast<int64_t>(lane))
      return std::nullopt;
  }
  return whole;
}

/// Elements of a fragment that was just made.
Folder::Folded Folder::fragment_element(const Attr& attr, ValueId fragment) {
  const Inst* def = f_.def(fragment);
  if (!def || (def->op != Op::frag_make && def->op != Op::frag_fill)) return std::nullopt;
  const Args parts = def->args;
  const Type t = attr.type, scalar = t.with_lanes(1);
  const bool fill = def->op == Op::frag_fill;
  const auto element = [&](int64_t e) -> ValueId {
    if (fill) return parts[0];
    size_t p = 0;
    for (; e >= type(parts[p]).lanes; p++) e -= type(parts[p]).lanes;
    return type(parts[p]).lanes == 1 ? parts[p] : make(Op::get, scalar, {parts[p]}, e);
  };
  if (t.lanes == 1) return element(attr.imm);
  return make(Op::vec, t, {element(attr.imm), element(attr.imm + 1)});
}

}  // namespace lathe::thread
