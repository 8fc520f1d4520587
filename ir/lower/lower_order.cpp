// Accesses of views in the order of the program: a thread that reads what another of its workgroup has written, or
// writes what another reads or writes, comes after a barrier. Two parameters are two pieces of memory.
#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr uint8_t kReads = 1, kWrites = 2, kAdds = 4;

/// How the operation touches a view, or 0.
uint8_t touch_of(tile::Op op) {
  switch (op) {
    case tile::Op::load:
    case tile::Op::gather:
    case tile::Op::issue:
      return kReads;
    case tile::Op::store:
    case tile::Op::scatter:
      return kWrites;
    case tile::Op::atomic_add:
      return kAdds;
    default:
      return 0;  // arrive orders itself
  }
}

/// What must not be under way when a view is touched so.
uint8_t against(uint8_t touch) {
  if (touch == kReads) return kWrites | kAdds;
  return touch == kAdds ? kReads | kWrites : kReads | kWrites | kAdds;
}

}  // namespace

void Lowering::order_views(const Inst& i) {
  const uint8_t touch = touch_of(i.op);
  if (touch == 0 || type(i.args[0]).form != tile::Form::view || type(i.args[0]).packed) return;
  const auto touched = touched_views_.find(i.args[0]);
  if (touched != touched_views_.end() && touched->second & against(touch)) global_barrier();
  touched_views_[i.args[0]] |= touch;
}

void Lowering::global_barrier() {
  b_.effect(Op::barrier, {}, {.imm = 1});
  pending_reads_.clear();
  pending_writes_.clear();
  touched_views_.clear();
}

/// What the turn before may have left under way.
void Lowering::touch_views_of(BlockId body) {
  f_.walk(body, [&](BlockId, size_t, InstId id) {
    const Inst& i = f_.inst(id);
    if (const uint8_t touch = touch_of(i.op); touch != 0) touched_views_[i.args[0]] |= touch;
  });
}

void Lowering::touch_views(const TouchedViews& also) {
  for (const auto& [view, touch] : also) touched_views_[view] |= touch;
}

}  // namespace lathe
