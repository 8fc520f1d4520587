// Loop-invariant pure values leave their loops, from the innermost one outward in one walk. Integer sums are regrouped
// on the way, so that an address of many terms costs one addition a turn.
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
      if (is_loop)
        if (const InstId sum = regroup(id, depth); sum != kNone) leaves.push_back(sum);
      const bool out = depth > 0 && may_leave(id, depth, is_loop);
      (out ? leaves : stays).push_back(id);
      for (const ValueId r : f_.inst(id).results) depth_[r] = out ? depth - 1 : depth;
    };
    for (const InstId id : f_.blocks[b].insts) {
      const bool loop = f_.inst(id).op == Op::loop || f_.inst(id).op == Op::while_loop;
      for (const BlockId nested : f_.inst(id).blocks)
        for (const InstId out : block(nested, depth + 1, loop)) place(out);
      place(id);
    }
    f_.blocks[b].insts = std::move(stays);
    return leaves;
  }

 private:
  /// (v + b) + y with b and y from outside the loop becomes (b + y) + v; returns the new sum, which leaves.
  InstId regroup(InstId id, uint32_t depth) {
    if (!is_integer_add(id)) return kNone;
    const std::vector<ValueId> args = f_.inst(id).args;
    const size_t inner = depth_[args[0]] >= depth ? 0 : 1;  // the operand that changes
    const InstId def = f_.values[args[inner]].def;
    if (depth_[args[inner]] < depth || depth_[args[1 - inner]] >= depth || def == kNone || !is_integer_add(def))
      return kNone;
    const std::vector<ValueId> terms = f_.inst(def).args;
    const size_t changing = depth_[terms[0]] >= depth ? 0 : 1;
    const ValueId fixed = terms[1 - changing], other = args[1 - inner];
    if (depth_[fixed] >= depth || f_.def(other) == nullptr || f_.def(other)->op == Op::constant) return kNone;
    // A pointer that stood first stays first.
    std::vector<ValueId> pair = inner == 0 ? std::vector<ValueId>{fixed, other} : std::vector<ValueId>{other, fixed};
    const InstId sum = f_.add_inst(Op::add, {}, std::move(pair), {Type(f_.type(other))}, {}, f_.inst(id).loc);
    f_.inst(id).args = {f_.inst(sum).results[0], terms[changing]};
    depth_.push_back(depth - 1);
    return sum;
  }

  bool is_integer_add(InstId id) const {
    const Func::Inst& i = f_.inst(id);
    return i.op == Op::add && !is_float(f_.type(i.results[0]).scalar);
  }

  /// Constants leave branches too. Fragments stay: they are large, and cheap to make where they are used.
  bool may_leave(InstId id, uint32_t depth, bool is_loop) const {
    const Func::Inst& i = f_.inst(id);
    if (info(i.op).effect != Effect::pure || (!is_loop && i.op != Op::constant) || f_.type(i.results[0]).is_frag())
      return false;
    for (const ValueId a : i.args)
      if (depth_[a] >= depth || f_.type(a).is_frag()) return false;
    return true;
  }

  Func& f_;
  std::vector<uint32_t> depth_;  ///< by value: how many blocks around its definition
};

}  // namespace

void hoist(Func& f) { Hoist(f).block(f.body, 0, false); }

}  // namespace lathe::thread
