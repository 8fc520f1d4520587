// Loop-invariant pure values leave their loops, from the innermost one outward in one walk.
#include "ir/thread.h"

namespace lathe::thread {
namespace {

class Hoist {
 public:
  explicit Hoist(Func& f) : f_(f), depth_(f.values.size(), 0) {}

  /// Moves out of block `b`, at nesting depth `depth`, what can stand before its owner; returns it in order.
  std::vector<InstId> block(BlockId b, uint32_t depth, bool is_loop) {
    for (const ValueId p : f_.blocks[b].params) depth_[p] = depth;
    std::vector<InstId> stays, leaves;
    const auto place = [&](InstId id) {
      const bool out = depth > 0 && may_leave(id, depth, is_loop);
      (out ? leaves : stays).push_back(id);
      for (const ValueId r : f_.inst(id).results) depth_[r] = out ? depth - 1 : depth;
    };
    for (const InstId id : f_.blocks[b].insts) {
      const bool loop = f_.inst(id).op == Op::loop;
      for (const BlockId nested : f_.inst(id).blocks)
        for (const InstId out : block(nested, depth + 1, loop)) place(out);
      place(id);
    }
    f_.blocks[b].insts = std::move(stays);
    return leaves;
  }

 private:
  /// Constants leave branches too. Fragments stay: they are large, and cheap to make where they are used.
  bool may_leave(InstId id, uint32_t depth, bool is_loop) const {
    const Func::Inst& i = f_.inst(id);
    if (info(i.op).effect != Effect::pure || (!is_loop && i.op != Op::constant) || f_.type(i.results[0]).is_frag()) return false;
    for (const ValueId a : i.args)
      if (depth_[a] >= depth || f_.type(a).is_frag()) return false;
    return true;
  }

  Func& f_;
  std::vector<uint32_t> depth_;            ///< by value: how many blocks around its definition
};

}  // namespace

void hoist(Func& f) { Hoist(f).block(f.body, 0, false); }

}  // namespace lathe::thread
