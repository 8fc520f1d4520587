#include "fuzz/facts.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lathe::fuzz {
namespace {

using tile::Op;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Elements from any of the operands.
Fact joined(const std::vector<Fact>& args) {
  Fact out{0, 1, true};
  for (const Fact& f : args) out = {std::max(out.most, f.most), std::min(out.grain, f.grain), out.certain && f.certain};
  return out;
}

Fact sum_of(const Fact& a, const Fact& b) {
  return {a.most + b.most, std::min(a.grain, b.grain), a.certain && b.certain};
}
Fact product_of(const Fact& a, const Fact& b) { return {a.most * b.most, a.grain * b.grain, a.certain && b.certain}; }
Fact times(const Fact& a, int64_t n) { return {a.most * static_cast<double>(n), a.grain, a.certain}; }

Fact arithmetic(Op op, const std::vector<tile::Type>& types, const std::vector<Fact>& args, const tile::Attr& attr) {
  switch (op) {
    case Op::add:
    case Op::sub:
      return sum_of(args[0], args[1]);
    case Op::mul:
      return product_of(args[0], args[1]);
    case Op::fma:
      return sum_of(product_of(args[0], args[1]), args[2]);
    case Op::div:
      return {2 * args[0].most, types[0].elem.is_float() ? 0.0 : 1.0, args[0].certain && args[1].certain};
    case Op::exp:
      return {std::exp(args[0].most), 0, false};
    case Op::exp2:
      return {std::exp2(args[0].most), 0, false};
    case Op::log2:
      return {3 + std::abs(std::log2(std::max(args[0].most, 1.0))), 0, false};
    case Op::sqrt:
      return {std::sqrt(args[0].most), 0, false};
    case Op::rsqrt:
      return {3, 0, false};
    case Op::lt:
    case Op::le:
    case Op::eq:
    case Op::ne:
      return {1, 1, joined(args).certain};
    case Op::cast:
      return types[0].elem.is_float() ? args[0] : Fact{args[0].most, 1, args[0].certain};
    case Op::cast_minus:
      return {args[0].most + static_cast<double>(std::abs(attr.imm)), 1, args[0].certain};
    case Op::constant: {
      const double v = attr.elem.is_float() ? attr.num : static_cast<double>(attr.imm);
      int exponent = 0;
      const bool whole =
          std::ldexp(std::frexp(v, &exponent), 8) == std::nearbyint(std::ldexp(std::frexp(v, &exponent), 8));
      return {std::abs(v), whole ? std::ldexp(1.0, std::min(0, exponent - 8)) : 0, true};
    }
    case Op::iota:
      return {static_cast<double>(attr.shape[static_cast<size_t>(attr.imm)]), 1, true};
    case Op::reduce:
    case Op::scan:
      return attr.kind == 0 ? times(args[0], types[0].shape[static_cast<size_t>(attr.imm)]) : args[0];
    case Op::mma:
      return sum_of(times(product_of(args[0], args[1]), types[0].shape[1]), args[2]);
    case Op::mma_scaled:
      return sum_of(times(product_of(product_of(args[0], args[1]), args[2]), types[0].shape[1]), args[3]);
    case Op::view:
      return {kInfinity, 0, args[0].certain};
    default:
      return joined(args);
  }
}

}  // namespace

double largest_whole(Type elem) {
  if (elem.is_float()) return kInfinity;
  return std::ldexp(1.0, elem.kind == Kind::sint ? elem.bits - 1 : elem.bits);
}

Fact any_value(Type elem) { return {largest_whole(elem), elem.is_float() ? 0.0 : 1.0, true}; }

Fact fact_of(Op op, const std::vector<tile::Type>& types, const std::vector<Fact>& args, const tile::Attr& attr,
             const tile::Type& result) {
  Fact f = arithmetic(op, types, args, attr);
  const Type elem = result.elem;
  if (!elem.is_float()) {
    const bool negative_unsigned = elem.kind == Kind::uint && (op == Op::sub || op == Op::neg || op == Op::cast ||
                                                               op == Op::cast_minus || op == Op::bnot);
    const bool bitwise = op == Op::bnot || op == Op::bor || op == Op::bxor || op == Op::band || op == Op::shl;
    if (f.most >= largest_whole(elem) || negative_unsigned || bitwise) f.most = largest_whole(elem);
    f.grain = 1;
    return f;
  }
  if (f.grain > 0 && !is_exact(elem, f)) {  // rounded: once is the same everywhere, a sum or a fused product is not
    f.grain = 0;
    const tile::Rounding r = tile::info(op).rounding;
    if (r == tile::Rounding::sum || r == tile::Rounding::approx || op == Op::fma) f.certain = false;
  } else if (f.grain == 0) {
    const tile::Rounding r = tile::info(op).rounding;
    const bool picks = (op == Op::reduce || op == Op::scan) && attr.kind != 0;
    if (((r == tile::Rounding::sum && !picks) || r == tile::Rounding::approx || op == Op::fma)) f.certain = false;
  }
  return f;
}

bool is_exact(Type elem, const Fact& f) {
  if (!elem.is_float()) return true;
  return f.grain >= std::ldexp(1.0, -8) && f.most <= f.grain * std::ldexp(1.0, elem.man + 1) && f.most < 0x1p14;
}

bool in_range(Type elem, const Fact& f) {
  if (!elem.is_float()) return true;
  return f.most <= (elem == types::f16 ? 0x1p11 : 0x1p24);
}

}  // namespace lathe::fuzz
