// What nobody uses leaves the tile program.
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

/// Erases from the end of each block, so that one sweep is enough; `used` holds every operand seen so far.
void sweep(Func& f, BlockId block, std::set<ValueId>& used) {
  auto& insts = f.blocks[block].insts;
  for (size_t at = insts.size(); at-- > 0;) {
    const Func::Inst& inst = f.inst(insts[at]);
    const Effect effect = info(inst.op).effect;
    bool keep = effect == Effect::writes || effect == Effect::control;
    for (ValueId r : inst.results) keep = keep || used.contains(r);
    if (!keep) {
      insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    used.insert(inst.args.begin(), inst.args.end());
    for (BlockId inner : inst.blocks) sweep(f, inner, used);
  }
}

}  // namespace

void drop_dead(Func& f) {
  std::set<ValueId> used;
  for (const Param& p : f.params) {
    used.insert(p.sizes.begin(), p.sizes.end());
    used.insert(p.strides.begin(), p.strides.end());
  }
  sweep(f, f.body, used);
}

}  // namespace lathe::tile
