// Multiply-add is linear: zero points join the conversion that makes them exact, or move to the accumulator with the
// factors of their groups.
#include <algorithm>
#include <optional>

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

/// What a product's operand a is made of: values times factors s[m, g], or (values - z) * s of codes and zero points
/// z[m, g], which may leave them for the accumulator.
struct Factored {
  ValueId values = kNone, s = kNone, z = kNone;
};

bool is_code(const Type& t) { return t.is_tile() && t.elem.is_int() && t.elem.bits <= 8; }

/// The codes less zero points of the same groups as s, if v is that.
std::optional<Factored> less_zero_points(const Func& f, ValueId v, ValueId s) {
  const auto* sub = f.def(v);
  if (!sub || sub->op != Op::sub) return std::nullopt;
  const auto* cast = f.def(sub->args[0]);
  if (!cast || (cast->op != Op::cast && cast->op != Op::cast_minus) || !is_code(f.type(cast->args[0])))
    return std::nullopt;
  const ValueId z = repeated(f, sub->args[1]);
  if (z == kNone || f.type(z).shape != f.type(s).shape) return std::nullopt;
  return Factored{sub->args[0], s, z};
}

std::optional<Factored> factored(const Func& f, ValueId a) {
  const auto* product = f.def(a);
  if (!product || product->op != Op::mul) return std::nullopt;
  for (size_t side : {size_t{1}, size_t{0}}) {
    const ValueId s = repeated(f, product->args[side]), values = product->args[1 - side];
    if (s == kNone) continue;
    return less_zero_points(f, values, s).value_or(Factored{values, s, kNone});
  }
  return std::nullopt;
}

/// Puts instructions in front of another.
class Before {
 public:
  Before(Func& f, BlockId block, InstId at) : f_(f), block_(block), at_(at), loc_(f.inst(at).loc) {}
  ValueId make(Op op, Attr attr, std::vector<ValueId> args, Type type) {
    const InstId id = f_.add_inst(op, std::move(attr), std::move(args), {std::move(type)}, {}, loc_);
    auto& insts = f_.blocks[block_].insts;
    insts.insert(std::find(insts.begin(), insts.end(), at_), id);
    return f_.inst(id).results[0];
  }

 private:
  Func& f_;
  BlockId block_;
  InstId at_;
  Loc loc_;
};

/// c - z * s summed over k with b: the product of -1 everywhere with the factors z * s, exact in f32.
ValueId take_off_zero_points(Func& f, Before& before, const Factored& a, ValueId b, ValueId c) {
  const auto wide = [&](ValueId v) {
    const auto* cast = f.def(v);
    const bool whole = cast && cast->op == Op::cast && is_code(f.type(cast->args[0]));
    return before.make(Op::cast, {.elem = types::f32}, {whole ? cast->args[0] : v},
                       tile_of(types::f32, f.type(v).shape));
  };
  const Type values = tile_of(f.type(a.values).elem, f.type(a.values).shape),
             factors = tile_of(types::f32, f.type(a.s).shape);
  const ValueId one = before.make(Op::constant, {.elem = values.elem, .num = -1}, {}, scalar_of(values.elem));
  const ValueId ones = before.make(Op::fill, {.elem = values.elem, .shape = values.shape}, {one}, values);
  const ValueId zs = before.make(Op::mul, {}, {wide(a.z), wide(a.s)}, factors);
  return before.make(Op::mma_scaled, {}, {ones, zs, b, c}, f.type(c));
}

void move_factor(Func& f, BlockId block, InstId mma) {
  const auto a = factored(f, f.inst(mma).args[0]);
  if (!a) return;
  const ValueId b = f.inst(mma).args[1], c = f.inst(mma).args[2];
  Before before(f, block, mma);
  const ValueId start = a->z == kNone ? c : take_off_zero_points(f, before, *a, b, c);
  f.inst(mma).op = Op::mma_scaled;
  f.inst(mma).args = {a->values, a->s, b, start};
}

}  // namespace

void linearity(Func& f, Factor factor) {
  std::vector<std::pair<BlockId, InstId>> order;
  f.walk(f.body, [&](BlockId block, size_t, InstId id) { order.emplace_back(block, id); });
  for (const auto& [block, id] : order) {
    Func::Inst& inst = f.inst(id);
    if (inst.op == Op::sub && f.type(inst.results[0]).is_tile()) join_zero_point(f, inst);
    if (inst.op == Op::mma && factor == Factor::accumulator) move_factor(f, block, id);
  }
}

}  // namespace lathe::tile
