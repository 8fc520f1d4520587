// Scalars, and the one table of what an element operation becomes.
#include <fmt/format.h>
#include <bit>
#include <cmath>
#include <numeric>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

/// Thread operation for a tile operation: on floats, on signed, on unsigned integers (and bool). Rows with Op::yield:
/// none.
struct ElementRow {
  tile::Op op;
  thread::Op flt, sint, uint;
};
constexpr auto kNo = thread::Op::yield;
constexpr ElementRow kElementRows[] = {
    {tile::Op::add, thread::Op::add, thread::Op::add, thread::Op::add},
    {tile::Op::sub, thread::Op::sub, thread::Op::sub, thread::Op::sub},
    {tile::Op::mul, thread::Op::mul, thread::Op::mul, thread::Op::mul},
    {tile::Op::div, thread::Op::fdiv, thread::Op::div_s, thread::Op::div_u},
    {tile::Op::rem, kNo, thread::Op::rem_s, thread::Op::rem_u},
    {tile::Op::min, thread::Op::fmin, thread::Op::min_s, thread::Op::min_u},
    {tile::Op::max, thread::Op::fmax, thread::Op::max_s, thread::Op::max_u},
    {tile::Op::band, kNo, thread::Op::band, thread::Op::band},
    {tile::Op::bor, kNo, thread::Op::bor, thread::Op::bor},
    {tile::Op::bxor, kNo, thread::Op::bxor, thread::Op::bxor},
    {tile::Op::bnot, kNo, thread::Op::bnot, thread::Op::bnot},
    {tile::Op::shl, kNo, thread::Op::shl, thread::Op::shl},
    {tile::Op::shr, kNo, thread::Op::shr_s, thread::Op::shr_u},
    {tile::Op::fma, thread::Op::fma, kNo, kNo},
    {tile::Op::neg, thread::Op::neg, thread::Op::neg, thread::Op::neg},
    {tile::Op::abs, thread::Op::abs, thread::Op::abs, kNo},
    {tile::Op::exp2, thread::Op::exp2, kNo, kNo},
    {tile::Op::log2, thread::Op::log2, kNo, kNo},
    {tile::Op::sqrt, thread::Op::sqrt, kNo, kNo},
    {tile::Op::rsqrt, thread::Op::rsqrt, kNo, kNo},
    {tile::Op::lt, thread::Op::flt, thread::Op::lt_s, thread::Op::lt_u},
    {tile::Op::le, thread::Op::fle, thread::Op::le_s, thread::Op::le_u},
    {tile::Op::eq, thread::Op::eq, thread::Op::eq, thread::Op::eq},
    {tile::Op::ne, thread::Op::ne, thread::Op::ne, thread::Op::ne},
};

}  // namespace

/// Of the operations on 16-bit floats; the others widen them to f32.
bool Lowering::works_on_halves(tile::Op op, lathe::Type elem) const {
  const bool arithmetic =
      op == tile::Op::add || op == tile::Op::sub || op == tile::Op::mul || op == tile::Op::fma || op == tile::Op::neg;
  return arithmetic && (elem == types::f16 || (elem == types::bf16 && t_.bf16_arithmetic));
}

/// `elem` is the type of the last operand (select's condition is bool).
Result<ValueId> Lowering::elementwise(tile::Op op, lathe::Type elem, const std::vector<ValueId>& args) {
  if (op == tile::Op::select) return emit(Op::select, args);
  if (elem.is_float() && elem.bits == 16 && !works_on_halves(op, elem)) {
    std::vector<ValueId> wide;
    for (const ValueId a : args) wide.push_back(convert_scalar(a, elem, types::f32));
    TRY_ASSIGN(const ValueId v, elementwise(op, types::f32, wide));
    return b_.type(v) == thread::kF32 ? convert_scalar(v, types::f32, elem) : v;
  }
  if (op == tile::Op::abs && elem.kind == Kind::uint) return args[0];
  if (op == tile::Op::exp) {  // e^x = 2^(x log2 e), the product in two parts: its error is that of one rounding
    const ValueId hi = emit(Op::mul, {args[0], b_.f32(1.44269504F)});
    const ValueId lo = emit(Op::mul, {args[0], b_.f32(1.92596299e-8F)});
    return emit(Op::exp2, {emit(Op::add, {hi, lo})});
  }
  if ((op == tile::Op::div || op == tile::Op::rem) && elem.is_int()) {  // x / 0 is 0 by definition
    const TT t = b_.type(args[1]);
    const ValueId zero = b_.constant(t, 0), is_zero = emit(Op::eq, {args[1], zero});
    const ValueId safe = emit(Op::select, {is_zero, b_.constant(t, 1), args[1]});
    const bool sign = elem.kind == Kind::sint;
    const Op quotient = op == tile::Op::div ? (sign ? Op::div_s : Op::div_u) : (sign ? Op::rem_s : Op::rem_u);
    return emit(Op::select, {is_zero, zero, emit(quotient, {args[0], safe})});
  }
  for (const ElementRow& row : kElementRows)
    if (row.op == op) {
      const Op lowered = elem.is_float() ? row.flt : elem.kind == Kind::sint ? row.sint : row.uint;
      if (lowered == kNo) break;
      if ((op == tile::Op::shl || op == tile::Op::shr) && elem.bits == 64)  // a count is i32 whatever it shifts
        return emit(lowered, {args[0], cvt(Op::trunc, args[1], thread::kI32)});
      return emit(lowered, args);
    }
  return internal_error(fmt::format("{} on {} has no lowering", tile::info(op).name, to_string(elem)));
}

ValueId Lowering::constant_of(lathe::Type elem, double num, int64_t integer) {
  const TT t{storage_scalar(elem)};
  if (!elem.is_float()) return b_.constant(t, elem.kind == Kind::boolean ? integer & 1 : integer);
  return b_.constant(t, static_cast<int64_t>(encode(elem, num)));
}

/// An integer under 32 bits in its i32 register: the bits above are those of its value.
ValueId Lowering::narrowed(ValueId v, lathe::Type to) {
  if (!to.is_int() || to.bits >= 32) return v;
  const ValueId count = b_.i32(32 - to.bits);
  return emit(to.kind == Kind::sint ? Op::shr_s : Op::shr_u, {emit(Op::shl, {v, count}), count});
}

ValueId Lowering::convert_scalar(ValueId v, lathe::Type from, lathe::Type to) {
  const TT want{storage_scalar(to)};
  auto clamp = [&](ValueId x) {  // a float out of range goes to the nearest end
    if (to.bits > 32 || (to.bits == 32 && to.kind == Kind::sint)) return x;
    const int64_t lo = to.kind == Kind::sint ? -(int64_t{1} << (to.bits - 1)) : 0;
    const int64_t hi = to.kind == Kind::sint ? -lo - 1 : (int64_t{1} << to.bits) - 1;
    return emit(Op::min_s, {emit(Op::max_s, {x, b_.constant(want, lo)}), b_.constant(want, hi)});
  };
  if (from == to) return v;
  if (from == types::bf16) return convert_scalar(cvt(Op::fcvt, v, thread::kF32), types::f32, to);
  if (to == types::bf16) return cvt(Op::fcvt, convert_scalar(v, from, types::f32), want);
  if (to.kind == Kind::boolean) return emit(Op::ne, {v, b_.constant(b_.type(v), 0)});
  if (from.is_float()) {
    if (to.is_float()) return cvt(Op::fcvt, v, want);
    const ValueId wide = convert_scalar(v, from, types::f32);
    if (to == types::u32) {  // the upper half of the range comes down by 2^31 and back
      const ValueId half_range = b_.f32(0x1p31F);
      const ValueId upper = emit(Op::bor, {cvt(Op::f2s, emit(Op::sub, {wide, half_range}), want), b_.i32(INT32_MIN)});
      const ValueId lower = emit(Op::max_s, {cvt(Op::f2s, wide, want), b_.i32(0)});
      return emit(Op::select, {emit(Op::fle, {half_range, wide}), upper, lower});
    }
    return clamp(cvt(Op::f2s, wide, want));
  }
  const bool sign = from.kind == Kind::sint;
  if (to.is_float()) {
    if (from.kind == Kind::boolean) v = cvt(Op::zext, v, thread::kI32);
    const ValueId wide = cvt(sign ? Op::s2f : Op::u2f, v, thread::kF32);
    return to.bits == 32 ? wide : convert_scalar(wide, types::f32, to);
  }
  if (from.kind == Kind::boolean) return narrowed(cvt(Op::zext, v, want), to);
  if (want.scalar == b_.type(v).scalar) return narrowed(v, to);
  if (want.scalar == thread::Scalar::i64) return cvt(sign ? Op::sext : Op::zext, v, want);
  return narrowed(cvt(Op::trunc, v, thread::kI32), to);
}

Result<Unit> Lowering::scalar_inst(const Inst& i) {
  const lathe::Type elem = type(i.results[0]).elem;
  if (i.op == tile::Op::constant) return Unit{};  // made by scalar(), where it is used
  ValueId& out = scalars_[i.results[0]];
  switch (i.op) {
    case tile::Op::group_id:
      out = cvt(Op::zext, emit(Op::group_id, {}, {.type = thread::kI32, .imm = i.attr.imm}), thread::kI64);
      return Unit{};
    case tile::Op::ceildiv: {
      const ValueId d = scalar(i.args[1]);
      const ValueId up = emit(Op::add, {scalar(i.args[0]), emit(Op::sub, {d, b_.i64(1)})});
      out = emit(Op::div_s, {up, d});
      return Unit{};
    }
    case tile::Op::cast:
      out = convert_scalar(scalar(i.args[0]), type(i.args[0]).elem, elem);
      return Unit{};
    default:
      break;
  }
  const lathe::Type from = type(i.args.back()).elem;
  std::vector<ValueId> args;
  for (ValueId a : i.args) args.push_back(scalar(a));
  TRY_ASSIGN(out, elementwise(i.op, from, args));
  if (elem.is_int() && elem.bits < 32) out = narrowed(out, elem);
  return Unit{};
}

/// The promises of the kernel: those outside branches and loops.
void Lowering::note_promises() {
  for (const InstId id : f_.blocks[f_.body].insts) {
    const Inst& i = f_.inst(id);
    if (i.op == tile::Op::assume_range) {
      Bounds& known = promised_bounds_.try_emplace(i.args[0], Bounds{INT64_MIN, INT64_MAX}).first->second;
      known = {std::max(known.least, i.attr.shape[0]), std::min(known.most, i.attr.shape[1])};
    }
  }
}

Lowering::Bounds Lowering::known_bounds(ValueId v) const {
  if (const auto p = promised_bounds_.find(v); p != promised_bounds_.end()) return p->second;
  const Inst* d = f_.def(v);
  if (d && d->op == tile::Op::constant) return {d->attr.imm, d->attr.imm};
  return {INT64_MIN, INT64_MAX};
}

bool Lowering::surely_inside(ValueId index, int64_t extent, ValueId size) const {
  const Bounds at = known_bounds(index), all = known_bounds(size);
  if (all.least >= extent && at.least >= 0 && at.most <= all.least - extent) return true;
  // Both are multiples of the extent: it is enough that index < size.
  if (tile::known_multiple(f_, index) % extent || tile::known_multiple(f_, size) % extent) return false;
  for (const auto& i : f_.insts)  // the index of a loop that ends at the size
    if (i.op == tile::Op::loop && !i.blocks.empty() && f_.blocks[i.blocks[0]].params[0] == index && i.args[1] == size)
      return known_bounds(i.args[0]).least >= 0;
  // group_id(d) * c where the grid has ceildiv(size, c) workgroups in d.
  const Inst* product = f_.def(index);
  const Inst* id = product && product->op == tile::Op::mul ? f_.def(product->args[0]) : nullptr;
  if (!id || id->op != tile::Op::group_id) return false;
  const auto& axes = f_.inst(f_.blocks[f_.grid].insts.back()).args;
  const auto axis = static_cast<size_t>(id->attr.imm);
  const Inst* count = axis < axes.size() ? f_.def(axes[axis]) : nullptr;
  if (!count || count->op != tile::Op::ceildiv || count->args[0] != size) return false;
  const Bounds by = known_bounds(count->args[1]), times = known_bounds(product->args[1]);
  return by.least == by.most && times.least == times.most && by.least == times.least;
}

}  // namespace lathe
