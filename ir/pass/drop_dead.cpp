// What nobody uses leaves the tile program.
#include <map>
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

/// A value that a loop carries and neither its body nor what follows reads; true if there was one.
bool drop_carried(Func& f) {
  std::map<ValueId, int> uses;
  std::vector<InstId> loops;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    for (const ValueId a : f.inst(id).args) uses[a]++;
    if (f.inst(id).op == Op::loop) loops.push_back(id);
  });
  bool dropped = false;
  for (const InstId id : loops) {
    Func::Inst& loop = f.inst(id);
    auto& params = f.blocks[loop.blocks[0]].params;
    auto& next = f.inst(f.blocks[loop.blocks[0]].insts.back()).args;
    for (size_t c = loop.results.size(); c-- > 0;) {
      if (uses[params[c + 1]] || uses[loop.results[c]]) continue;
      const auto at = static_cast<std::ptrdiff_t>(c);
      loop.args.erase(loop.args.begin() + 3 + at);
      loop.results.erase(loop.results.begin() + at);
      params.erase(params.begin() + 1 + at);
      next.erase(next.begin() + at);
      dropped = true;
    }
  }
  return dropped;
}

}  // namespace

void drop_dead(Func& f) {
  std::set<ValueId> sizes;
  for (const Param& p : f.params) {
    sizes.insert(p.sizes.begin(), p.sizes.end());
    sizes.insert(p.strides.begin(), p.strides.end());
  }
  do {
    std::set<ValueId> used = sizes;
    sweep(f, f.body, used);
  } while (drop_carried(f));
}

}  // namespace lathe::tile
