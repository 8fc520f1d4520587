// What nobody uses leaves the tile program: operations, loops and branches, and what loops carry for themselves alone.
#include <map>
#include <vector>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

class Liveness {
 public:
  explicit Liveness(Func& f)
      : f_(f),
        live_(f.insts.size()),
        needed_(f.values.size()),
        placed_(f.insts.size()),
        around_(f.insts.size(), kNone) {}

  void run() {
    index(f_.body, kNone);
    for (InstId id = 0; id < f_.insts.size(); id++)
      if (placed_[id] && info(f_.inst(id).op).effect == Effect::writes) keep(id);
    while (!work_.empty()) {
      const ValueId v = work_.back();
      work_.pop_back();
      trace(v);
    }
    sweep(f_.body);
  }

 private:
  void index(BlockId block, InstId around) {
    for (const InstId id : f_.blocks[block].insts) {
      placed_[id] = true;
      around_[id] = around;
      for (const BlockId inner : f_.inst(id).blocks) {
        const auto& params = f_.blocks[inner].params;
        for (size_t p = 0; p < params.size(); p++) param_of_[params[p]] = {id, p};
        index(inner, id);
      }
    }
  }

  void need(ValueId v) {
    if (needed_[v]) return;
    needed_[v] = true;
    work_.push_back(v);
  }
  const Func::Inst& yield_of(BlockId b) const { return f_.inst(f_.blocks[b].insts.back()); }

  /// The operation stays, and those around it.
  void keep(InstId id) {
    if (id == kNone || live_[id]) return;
    live_[id] = true;
    const Func::Inst& inst = f_.inst(id);
    keep(around_[id]);
    if (inst.op == Op::loop)
      for (size_t a = 0; a < 3; a++) need(inst.args[a]);
    else
      for (const ValueId a : inst.args) need(a);
    if (inst.op == Op::while_loop)  // carries all that it has
      for (const BlockId b : inst.blocks)
        for (const ValueId v : yield_of(b).args) need(v);
  }

  void trace(ValueId v) {
    if (const auto p = param_of_.find(v); p != param_of_.end()) {
      const auto [owner, at] = p->second;
      keep(owner);
      if (f_.inst(owner).op == Op::loop && at > 0) carried(owner, at - 1);
      return;
    }
    const InstId id = f_.values[v].def;
    if (id == kNone) return;
    keep(id);
    const Func::Inst& inst = f_.inst(id);
    for (size_t r = 0; r < inst.results.size(); r++) {
      if (inst.results[r] != v) continue;
      if (inst.op == Op::loop) carried(id, r);
      if (inst.op == Op::cond)
        for (const BlockId b : inst.blocks) need(yield_of(b).args[r]);
    }
  }
  void carried(InstId loop, size_t c) {
    const Func::Inst& inst = f_.inst(loop);
    need(inst.results[c]);
    need(inst.args[c + 3]);
    need(f_.blocks[inst.blocks[0]].params[c + 1]);
    need(yield_of(inst.blocks[0]).args[c]);
  }

  void sweep(BlockId block) {
    std::erase_if(f_.blocks[block].insts, [&](InstId id) { return f_.inst(id).op != Op::yield && !live_[id]; });
    for (const InstId id : f_.blocks[block].insts) {
      Func::Inst& inst = f_.inst(id);
      if (inst.op == Op::loop || inst.op == Op::cond)
        for (size_t r = inst.results.size(); r-- > 0;)
          if (!needed_[inst.results[r]]) drop_result(inst, r);
      for (const BlockId inner : inst.blocks) sweep(inner);
    }
  }
  void drop_result(Func::Inst& inst, size_t r) {
    const auto at = static_cast<std::ptrdiff_t>(r);
    inst.results.erase(inst.results.begin() + at);
    if (inst.op == Op::loop) {
      inst.args.erase(inst.args.begin() + 3 + at);
      auto& params = f_.blocks[inst.blocks[0]].params;
      params.erase(params.begin() + 1 + at);
    }
    for (const BlockId b : inst.blocks) {
      auto& next = f_.inst(f_.blocks[b].insts.back()).args;
      next.erase(next.begin() + at);
    }
  }

  Func& f_;
  std::vector<bool> live_, needed_, placed_;
  std::vector<InstId> around_;
  std::map<ValueId, std::pair<InstId, size_t>> param_of_;
  std::vector<ValueId> work_;
};

}  // namespace

void drop_dead(Func& f) { Liveness(f).run(); }

}  // namespace lathe::tile
