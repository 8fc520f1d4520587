// What crosses workgroups: atomics on views, and the counter that says who came last.
#include "ir/lower/lowering.h"

namespace lathe {

Result<Unit> Lowering::atomic_add(const Inst& i) {
  TileRegs& t = tiles_.at(i.args.back());
  const Layout& l = t.layout;
  if (type(i.args[0]).packed) return unsupported("atomic_add: a packed parameter is only read");
  spread_fragments(t);
  const ViewAddress a = view_address(i, l.shape().size());
  const ValueId mine = owner(l);
  for (const Access& access : plan_accesses(l, far_rows(l.shape()), 1)) {
    thread::Attr attr;
    const ValueId address = access_address(a, l, access.first, t.elem.bits, attr.imm);
    ValueId ok = in_bounds(a, l, access.first);
    if (mine != kNone) ok = emit(Op::band, {ok, mine});
    emit(Op::atomic_add, {address, element(t, access.slots[0]), ok}, attr);
  }
  return Unit{};
}

/// The barrier brings the workgroup's writes to thread 0, whose fence gives them to the device before it counts. What
/// it then sees, the fences after the second barrier show to every thread.
Result<Unit> Lowering::arrive(const Inst& i) {
  const size_t rank = type(i.args[0]).shape.size();
  const ViewAddress a = view_address(i, rank);
  const uint32_t id = array("arrive", 16, 4);
  const ValueId first = emit(Op::eq, {emit(Op::thread_id, {}, {.type = thread::kI32}), b_.i32(0)});
  const Layout one(Coord(rank, 1), {{threads(), Mode::kReplicate, 0}}, {});
  const ValueId counts = emit(Op::band, {first, in_bounds(a, one, Coord(rank, 0))});
  global_barrier();
  b_.effect(Op::fence, {});
  const ValueId before = emit(Op::atomic_add, {a.base, b_.i32(1), counts});
  b_.effect(Op::store_shared, {b_.i32(0), before, first}, {.index = id});
  global_barrier();
  const ValueId seen = emit(Op::load_shared, {b_.i32(0)}, {.type = thread::kI32, .index = id});
  b_.effect(Op::fence, {});
  pending_reads_[id] = true;
  scalars_[i.results[0]] = cvt(Op::zext, seen, thread::kI64);
  return Unit{};
}

}  // namespace lathe
