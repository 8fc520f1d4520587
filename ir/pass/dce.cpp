// What nobody needs goes: instructions without effect, carried values of loops, results of branches. Starts from the
// instructions with an effect, so values that only feed each other go too.
#include "ir/thread.h"

namespace lathe::thread {
namespace {

class Dce {
 public:
  explicit Dce(Func& f)
      : f_(f),
        needed_(f.values.size(), false),
        live_(f.insts.size(), false),
        owner_(f.blocks.size(), kNone),
        block_(f.insts.size(), kNone),
        loop_of_(f.values.size(), kNone),
        slot_(f.values.size(), 0) {}

  void run() {
    index(f_.body);
    for (const InstId id : effects_) keep(id);
    while (!work_.empty()) {
      const ValueId v = work_.back();
      work_.pop_back();
      trace(v);
    }
    sweep(f_.body);
  }

 private:
  /// Where everything stands: which block an instruction is in, which loop or branch a value belongs to.
  void index(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) {
      const Func::Inst& i = f_.inst(id);
      block_[id] = b;
      const Effect effect = info(i.op).effect;
      if (effect == Effect::writes || effect == Effect::barrier) effects_.push_back(id);
      for (uint32_t r = 0; r < i.results.size(); r++) slot_[i.results[r]] = r;
      for (const BlockId nested : i.blocks) {
        owner_[nested] = id;
        const auto& params = f_.blocks[nested].params;
        for (uint32_t p = 0; p < params.size(); p++) {
          loop_of_[params[p]] = id;
          slot_[params[p]] = p;
        }
        index(nested);
      }
    }
  }

  void need(ValueId v) {
    if (needed_[v]) return;
    needed_[v] = true;
    work_.push_back(v);
  }

  /// The instruction stays, and so do the ones around it.
  void keep(InstId id) {
    if (live_[id]) return;
    live_[id] = true;
    const Func::Inst& i = f_.inst(id);
    const size_t own = i.op == Op::loop ? 3 : i.args.size();  // what a loop carries is needed one by one
    for (size_t a = 0; a < own; a++) need(i.args[a]);
    if (i.op == Op::while_loop)  // carries all that it has
      for (const BlockId b : i.blocks)
        for (const ValueId v : yielded(b)) need(v);
    if (owner_[block_[id]] != kNone) keep(owner_[block_[id]]);
  }

  const std::vector<ValueId>& yielded(BlockId b) const { return f_.inst(f_.blocks[b].insts.back()).args; }

  void trace(ValueId v) {
    const bool param = f_.values[v].def == kNone;
    const InstId id = param ? loop_of_[v] : f_.values[v].def;
    keep(id);
    const Func::Inst& i = f_.inst(id);
    if (i.op == Op::cond) {
      for (const BlockId b : i.blocks) need(yielded(b)[slot_[v]]);
    } else if (i.op == Op::loop && !(param && slot_[v] == 0)) {
      const uint32_t carried = param ? slot_[v] - 1 : slot_[v];
      need(i.args[carried + 3]);
      need(f_.blocks[i.blocks[0]].params[carried + 1]);
      need(yielded(i.blocks[0])[carried]);
    }
  }

  void sweep(BlockId b) {
    auto& insts = f_.blocks[b].insts;
    size_t kept = 0;
    for (const InstId id : insts) {
      Func::Inst& i = f_.inst(id);
      if (!live_[id] && i.op != Op::yield) continue;
      if (i.op == Op::loop) shrink_loop(i);
      if (i.op == Op::cond) shrink_cond(i);
      for (const BlockId nested : i.blocks) sweep(nested);
      insts[kept++] = id;
    }
    insts.resize(kept);
  }

  void shrink_loop(Func::Inst& i) {
    auto& params = f_.blocks[i.blocks[0]].params;
    auto& next = f_.inst(f_.blocks[i.blocks[0]].insts.back()).args;
    size_t kept = 0;
    for (size_t c = 0; c < next.size(); c++) {
      if (!needed_[params[c + 1]]) continue;
      params[kept + 1] = params[c + 1];
      i.args[kept + 3] = i.args[c + 3];
      i.results[kept] = i.results[c];
      next[kept++] = next[c];
    }
    params.resize(kept + 1);
    i.args.resize(kept + 3);
    i.results.resize(kept);
    next.resize(kept);
  }

  void shrink_cond(Func::Inst& i) {
    size_t kept = 0;
    for (size_t r = 0; r < i.results.size(); r++) {
      if (!needed_[i.results[r]]) continue;
      for (const BlockId b : i.blocks) {
        auto& values = f_.inst(f_.blocks[b].insts.back()).args;
        values[kept] = values[r];
      }
      i.results[kept++] = i.results[r];
    }
    for (const BlockId b : i.blocks) f_.inst(f_.blocks[b].insts.back()).args.resize(kept);
    i.results.resize(kept);
  }

  Func& f_;
  std::vector<bool> needed_, live_;
  std::vector<InstId> owner_, block_, loop_of_;
  std::vector<uint32_t> slot_;  ///< by value: its place among the results or parameters
  std::vector<InstId> effects_;
  std::vector<ValueId> work_;
};

}  // namespace

void dce(Func& f) { Dce(f).run(); }

}  // namespace lathe::thread
