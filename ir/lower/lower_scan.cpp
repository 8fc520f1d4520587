// Running sums: along the run of a thread, then over the threads of a row by doubling: each adds what the thread 1, 2,
// 4,
// .. before it has so far.
#include "ir/lower/lowering.h"

namespace lathe {

/// The values of the thread `step` before, in groups of `group` neighbours; of any thread where a group has none.
std::vector<ValueId> Lowering::from_thread_before(std::vector<ValueId> values, int64_t step, int64_t group) {
  const ValueId back = b_.i32(-step), first = b_.i32(0);
  const bool words = b_.type(values[0]).scalar != thread::Scalar::i64;
  if (words && t_.fixed_subgroup_size && t_.subgroup_size % group == 0) {
    const ValueId lane = emit(Op::lane_id, {}, {.type = thread::kI32});
    const ValueId source = emit(Op::max_s, {emit(Op::add, {lane, back}), first});
    for (ValueId& v : values) v = emit(Op::shuffle_index, {v, source});
    return values;
  }
  const TT t = b_.type(values[0]), stored = words ? thread::kI32 : thread::kI64;
  const int bytes = words ? 4 : 8;
  const uint32_t id = array("scan", threads() * static_cast<int64_t>(values.size()) * bytes, bytes);
  const ValueId thread = emit(Op::thread_id, {}, {.type = thread::kI32});
  const auto at = [&](ValueId number) { return emit(Op::mul, {number, b_.i32(bytes)}); };
  const ValueId own = at(thread), before = at(emit(Op::max_s, {emit(Op::add, {thread, back}), first}));
  before_write(id);
  for (size_t v = 0; v < values.size(); v++)
    b_.effect(Op::store_shared, {own, t == stored ? values[v] : cvt(Op::bitcast, values[v], stored)},
              {.imm = static_cast<int64_t>(v) * threads() * bytes, .index = id});
  pending_writes_[id] = true;
  before_read(id);
  for (size_t v = 0; v < values.size(); v++) {
    values[v] = emit(Op::load_shared, {before},
                     {.type = stored, .imm = static_cast<int64_t>(v) * threads() * bytes, .index = id});
    if (t != stored) values[v] = cvt(Op::bitcast, values[v], t);
  }
  pending_reads_[id] = true;
  return values;
}

Result<Unit> Lowering::scan_tile(const Inst& i) {
  TileRegs& from = tiles_.at(i.args[0]);
  spread_fragments(from);
  const auto kind = static_cast<tile::ReduceKind>(i.attr.kind);
  const Layout& l = from.layout;
  const int64_t run = l.S().empty() || l.S().back().d != i.attr.imm ? 1 : l.S().back().n;
  const int64_t group = l.shape()[static_cast<size_t>(i.attr.imm)] / run, rows = l.slots() / run;
  const lathe::Type wide = from.elem.is_float() ? types::f32 : from.elem;
  std::vector<ValueId> x, ends;  // a row of slots after another
  for (int64_t s = 0; s < l.slots(); s++) {
    x.push_back(convert_scalar(element(from, s), from.elem, wide));
    if (s % run) {
      TRY_ASSIGN(x.back(), combine(kind, wide, x[static_cast<size_t>(s - 1)], x.back()));
    }
    if (s % run == run - 1) ends.push_back(x.back());
  }
  if (group > 1) {
    const ValueId digit = thread_digit(1, group);
    for (int64_t step = 1; step < group; step *= 2) {
      const auto before = from_thread_before(ends, step, group);
      const ValueId has = emit(Op::le_s, {b_.i32(step), digit});
      for (size_t r = 0; r < ends.size(); r++) {
        TRY_ASSIGN(const ValueId sum, combine(kind, wide, before[r], ends[r]));
        ends[r] = emit(Op::select, {has, sum, ends[r]});
      }
    }
    const auto before = from_thread_before(ends, 1, group);
    const ValueId has = emit(Op::ne, {digit, b_.i32(0)});
    for (int64_t s = 0; s < rows * run; s++) {
      ValueId& v = x[static_cast<size_t>(s)];
      TRY_ASSIGN(const ValueId sum, combine(kind, wide, before[static_cast<size_t>(s / run)], v));
      v = emit(Op::select, {has, sum, v});
    }
  }
  for (ValueId& v : x) v = convert_scalar(v, wide, from.elem);
  TRY_ASSIGN(tiles_[i.results[0]], exchange(assemble(from.elem, l, x), *type(i.results[0]).layout));
  return Unit{};
}

}  // namespace lathe
