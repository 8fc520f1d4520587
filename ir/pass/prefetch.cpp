// Software pipelining in registers: see passes.h.
#include <map>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

/// Clones of loads and of the scalar operations they need, with the loop's index replaced.
class Cloner {
 public:
  Cloner(Func& f, const std::vector<InstId>& scalars, ValueId index) : f_(f), scalars_(scalars), index_(index) {}

  /// Appends copies to `out` that compute `loads` for index value `index`; returns their results.
  std::vector<ValueId> clone(const std::vector<InstId>& loads, ValueId index, std::vector<InstId>& out) {
    std::map<ValueId, ValueId> map{{index_, index}};
    auto copy = [&](InstId id) {
      const Func::Inst inst = f_.inst(id);
      std::vector<ValueId> args = inst.args;
      for (ValueId& a : args)
        if (auto it = map.find(a); it != map.end()) a = it->second;
      const ValueId old = inst.results[0];
      const InstId fresh = f_.add_inst(inst.op, inst.attr, args, {f_.type(old)}, {}, inst.loc);
      const ValueId made = f_.inst(fresh).results[0];
      f_.values[made].name = f_.values[old].name;
      map[old] = made;
      out.push_back(fresh);
      return made;
    };
    for (InstId id : scalars_) copy(id);
    std::vector<ValueId> results;
    for (InstId id : loads) results.push_back(copy(id));
    return results;
  }

 private:
  Func& f_;
  std::vector<InstId> scalars_;
  ValueId index_;
};

ValueId scalar_op(Func& f, Op op, ValueId a, ValueId b, std::vector<InstId>& out) {
  const InstId id = f.add_inst(op, {}, {a, b}, {scalar_of(types::i64)});
  out.push_back(id);
  return f.inst(id).results[0];
}

/// Splits the body: scalar operations on index and outer values, and the global loads that need nothing else and read
/// what the loop does not write.
void find_movable(const Func& f, BlockId body, std::vector<InstId>& scalars, std::vector<InstId>& loads) {
  std::set<ValueId> written;
  f.walk(body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op == Op::store) written.insert(f.inst(id).args[0]);
  });
  std::map<ValueId, bool> movable;  // values made in the body
  for (size_t i = 1; i < f.blocks[body].params.size(); i++) movable[f.blocks[body].params[i]] = false;
  for (InstId id : f.blocks[body].insts) {
    const Func::Inst& inst = f.inst(id);
    bool ok = inst.blocks.empty() && inst.results.size() == 1;
    for (ValueId a : inst.args)
      if (auto it = movable.find(a); it != movable.end()) ok = ok && it->second;
    const bool is_scalar = ok && f.type(inst.results[0]).is_scalar() && info(inst.op).effect == Effect::pure;
    const bool is_load =
        ok && inst.op == Op::load && f.type(inst.args[0]).form == Form::view && !written.contains(inst.args[0]);
    for (ValueId r : inst.results) movable[r] = is_scalar;
    if (is_scalar) scalars.push_back(id);
    if (is_load) loads.push_back(id);
  }
}

void prefetch_loop(Func& f, BlockId outer, size_t& at) {
  const InstId id = f.blocks[outer].insts[at];
  const auto depth = static_cast<size_t>(f.inst(id).attr.imm - 1);
  f.inst(id).attr.imm = 0;
  const BlockId body = f.inst(id).blocks[0];
  std::vector<InstId> scalars, loads;
  find_movable(f, body, scalars, loads);
  if (loads.empty()) return;
  const ValueId index = f.blocks[body].params[0], lo = f.inst(id).args[0], step = f.inst(id).args[2];
  Cloner cloner(f, scalars, index);

  // Before the loop: the first `depth` turns.
  std::vector<InstId> before;
  std::vector<std::vector<ValueId>> ahead;
  ValueId at_turn = lo;
  for (size_t d = 0; d < depth; d++) {
    ahead.push_back(cloner.clone(loads, at_turn, before));
    at_turn = scalar_op(f, Op::add, at_turn, step, before);
  }
  // In the loop: the turn `depth` ahead, then the body on carried values.
  std::vector<InstId> head;
  ValueId far = index;
  for (size_t d = 0; d < depth; d++) far = scalar_op(f, Op::add, far, step, head);
  const std::vector<ValueId> next = cloner.clone(loads, far, head);
  auto& insts = f.blocks[body].insts;
  const InstId yield = insts.back();
  for (size_t l = 0; l < loads.size(); l++) {
    const Type type = f.type(f.inst(loads[l]).results[0]);
    const std::string name = f.values[f.inst(loads[l]).results[0]].name;
    std::vector<ValueId> carried;
    for (size_t d = 0; d < depth; d++) {
      f.inst(id).args.push_back(ahead[d][l]);
      carried.push_back(f.add_param(body, type, name));
      const ValueId result = f.add_value(type, id, name);
      f.inst(id).results.push_back(result);
    }
    for (size_t d = 0; d < depth; d++) f.inst(yield).args.push_back(d + 1 < depth ? carried[d + 1] : next[l]);
    f.replace_uses(body, f.inst(loads[l]).results[0], carried[0]);
    std::erase(insts, loads[l]);
  }
  insts.insert(insts.begin(), head.begin(), head.end());
  auto& around = f.blocks[outer].insts;
  around.insert(around.begin() + static_cast<std::ptrdiff_t>(at), before.begin(), before.end());
  at += before.size();
}

void visit(Func& f, BlockId block) {
  for (size_t at = 0; at < f.blocks[block].insts.size(); at++) {
    const InstId id = f.blocks[block].insts[at];
    const auto nested = f.inst(id).blocks;
    for (BlockId inner : nested) visit(f, inner);
    if (f.inst(id).op == Op::loop && f.inst(id).attr.imm > 1) prefetch_loop(f, block, at);
    if (f.inst(id).op == Op::loop) f.inst(id).attr.imm = 0;
  }
}

}  // namespace

void prefetch(Func& f) { visit(f, f.body); }

}  // namespace lathe::tile
