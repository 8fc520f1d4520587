// Multiply-add is linear: zero points join the conversion that makes them exact, factors move to the accumulator.
#include <map>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

/// The literal a tile is filled with, if it is an integer value.
std::optional<int64_t> integer_fill(const Func& f, ValueId v) {
  const auto* fill = f.def(v);
  if (!fill || fill->op != Op::fill) return std::nullopt;
  const auto* c = f.def(fill->args[0]);
  if (!c || c->op != Op::constant) return std::nullopt;
  if (!c->attr.elem.is_float()) return c->attr.imm;
  const auto whole = static_cast<int64_t>(c->attr.num);
  if (static_cast<double>(whole) != c->attr.num) return std::nullopt;
  return whole;
}

/// cast(q) - z with q of at most 8 bits and |z| < 256 is exact in every float type of 8 or more significant bits.
void join_zero_point(Func& f, Func::Inst& sub) {
  const auto* cast = f.def(sub.args[0]);
  const auto z = integer_fill(f, sub.args[1]);
  if (!cast || cast->op != Op::cast || !z || *z < -128 || *z > 255) return;
  const Type& q = f.type(cast->args[0]);
  if (!q.is_tile() || !q.elem.is_int() || q.elem.bits > 8 || !cast->attr.elem.is_float()) return;
  Attr attr;
  attr.elem = cast->attr.elem;
  attr.imm = *z;
  const ValueId source = cast->args[0];
  sub.op = Op::cast_minus;
  sub.attr = attr;
  sub.args = {source};
}

/// s of a tile [m, k] made of s[m, g] with each column repeated k / g times, or kNone.
ValueId repeated(const Func& f, ValueId v) {
  const auto* top = f.def(v);
  if (!top || f.type(v).shape.size() != 2) return kNone;
  if (top->op == Op::repeat && top->attr.imm == 1) return top->args[0];
  const bool one_column = top->op == Op::broadcast && f.type(top->args[0]).shape == Coord{f.type(v).shape[0], 1};
  return one_column ? top->args[0] : kNone;
}

void move_factor(Func& f, Func::Inst& mma) {
  const auto* product = f.def(mma.args[0]);
  if (!product || product->op != Op::mul) return;
  for (size_t side : {size_t{1}, size_t{0}}) {
    const ValueId s = repeated(f, product->args[side]);
    if (s == kNone) continue;
    const ValueId a = product->args[1 - side];
    mma.op = Op::mma_scaled;
    mma.args = {a, s, mma.args[1], mma.args[2]};
    return;
  }
}

}  // namespace

void linearity(Func& f, Factor factor) {
  std::vector<InstId> order;
  f.walk(f.body, [&](BlockId, size_t, InstId id) { order.push_back(id); });
  for (InstId id : order) {
    Func::Inst& inst = f.inst(id);
    if (inst.op == Op::sub && f.type(inst.results[0]).is_tile()) join_zero_point(f, inst);
    if (inst.op == Op::mma && factor == Factor::accumulator) move_factor(f, inst);
  }
}

}  // namespace lathe::tile
