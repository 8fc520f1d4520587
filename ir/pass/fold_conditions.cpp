// Comparisons, negation of conditions, select.
#include "ir/pass/fold.h"

namespace lathe::thread {

Folder::Folded Folder::compare(Op op, Args& args) {
  const bool symmetric = op == Op::eq || op == Op::ne;
  if (symmetric && number(args[0]) && !number(args[1])) std::swap(args[0], args[1]);
  const ValueId x = args[0], y = args[1];
  const Type t = type(x), result{Scalar::b1, t.lanes};
  if (is_float(t.scalar)) return std::nullopt;
  if (x == y) return constant(result, op == Op::eq || op == Op::le_s || op == Op::le_u);
  if (t.lanes == 1 && t.scalar != Scalar::b1)
    if (const auto known = decided(op, x, y)) return constant(result, *known);
  return symmetric ? equality(op, x, y) : std::nullopt;
}

/// The outcome where the ranges do not overlap.
std::optional<bool> Folder::decided(Op op, ValueId x, ValueId y) const {
  const Range rx = facts_.range(x), ry = facts_.range(y);
  const bool is_unsigned = op == Op::lt_u || op == Op::le_u;
  if (is_unsigned && (rx.lo < 0 || ry.lo < 0)) return std::nullopt;
  const bool below = rx.hi<ry.lo, above = rx.lo> ry.hi;
  if (below || above) return op == Op::eq ? false : op == Op::ne ? true : below;
  const bool strict = op == Op::lt_s || op == Op::lt_u;
  if (op == Op::eq || op == Op::ne) return std::nullopt;
  if (strict && rx.lo == ry.hi) return false;
  if (!strict && rx.hi == ry.lo) return true;
  return std::nullopt;
}

Folder::Folded Folder::equality(Op op, ValueId x, ValueId y) {
  const Type t = type(x), result{Scalar::b1, t.lanes};
  const auto c = number(y);
  if (!c) return std::nullopt;
  const auto truth = [&](ValueId v, bool sense) -> ValueId { return sense ? v : make(Op::bnot, result, {v}); };
  if (t.scalar == Scalar::b1) return truth(x, (*c != 0) == (op == Op::eq));
  if (const Folded inner = operand_of(x, Op::zext); inner && *c == 0 && type(*inner).scalar == Scalar::b1)
    return truth(*inner, op == Op::ne);
  if (const auto inner = with_constant(x, Op::add))
    return make(
        op, result,
        {inner->base, constant(t, static_cast<int64_t>(static_cast<uint64_t>(*c) - static_cast<uint64_t>(inner->by)))});
  return std::nullopt;
}

Folder::Folded Folder::bnot(ValueId x) {
  const Inst* def = f_.def(x);
  if (def == nullptr) return std::nullopt;
  if (def->op == Op::bnot) return def->args[0];
  const Args args = def->args;
  const bool numbers = !args.empty() && !is_float(type(args[0]).scalar);
  const auto inverse = [&](Op op, ValueId a, ValueId b) { return make(op, Type(type(x)), {a, b}); };
  switch (def->op) {
    case Op::eq:
      return numbers ? Folded(inverse(Op::ne, args[0], args[1])) : std::nullopt;
    case Op::ne:
      return numbers ? Folded(inverse(Op::eq, args[0], args[1])) : std::nullopt;
    case Op::lt_s:
      return inverse(Op::le_s, args[1], args[0]);
    case Op::le_s:
      return inverse(Op::lt_s, args[1], args[0]);
    case Op::lt_u:
      return inverse(Op::le_u, args[1], args[0]);
    case Op::le_u:
      return inverse(Op::lt_u, args[1], args[0]);
    default:
      return std::nullopt;
  }
}

Folder::Folded Folder::select(ValueId c, ValueId x, ValueId y) {
  if (x == y) return x;
  if (const auto known = number(c)) return *known ? x : y;
  if (type(x) == kBool && number(x) && number(y)) return *number(x) ? c : make(Op::bnot, kBool, {c});
  if (const Folded inner = operand_of(c, Op::bnot)) return make(Op::select, Type(type(x)), {*inner, y, x});
  return std::nullopt;
}

}  // namespace lathe::thread
