// Software pipelining: see passes.h.
#include <map>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

/// What a loop can bring ahead of time: the global loads that need nothing but the index and outer values and read what
/// the loop does not write, and the scalar operations that give their places.
struct Movable {
  std::vector<InstId> scalars, loads;
};

Movable find_movable(const Func& f, BlockId body) {
  std::set<ValueId> written;
  bool waits = false;  // for what other workgroups write
  f.walk(body, [&](BlockId, size_t, InstId id) {
    waits = waits || f.inst(id).op == Op::arrive;
    if (info(f.inst(id).op).effect == Effect::writes && !f.inst(id).args.empty()) written.insert(f.inst(id).args[0]);
  });
  Movable out;
  std::map<ValueId, bool> movable;  // values made in the body
  for (size_t i = 1; i < f.blocks[body].params.size(); i++) movable[f.blocks[body].params[i]] = false;
  for (InstId id : f.blocks[body].insts) {
    const Func::Inst& inst = f.inst(id);
    bool ok = inst.blocks.empty() && inst.results.size() == 1;
    for (ValueId a : inst.args)
      if (auto it = movable.find(a); it != movable.end()) ok = ok && it->second;
    const bool is_scalar = ok && f.type(inst.results[0]).is_scalar() && info(inst.op).effect == Effect::pure;
    const bool is_load = ok && !waits && inst.op == Op::load && f.type(inst.args[0]).form == Form::view &&
                         !written.contains(inst.args[0]);
    for (ValueId r : inst.results) movable[r] = is_scalar;
    if (is_scalar) out.scalars.push_back(id);
    if (is_load) out.loads.push_back(id);
  }
  return out;
}

class Pipeline {
 public:
  Pipeline(Func& f, InstId loop)
      : f_(f), loop_(loop), body_(f.inst(loop).blocks[0]), index_(f.blocks[body_].params[0]) {}

  /// Rewrites the loop; what must stand before it goes to `before`.
  void run(size_t ahead, std::vector<InstId>& before) {
    what_ = find_movable(f_, body_);
    if (what_.loads.empty()) return;
    const ValueId lo = f_.inst(loop_).args[0], step = f_.inst(loop_).args[2];

    // Before the loop: the first turns are on their way, and one more room is free.
    std::vector<std::vector<ValueId>> tokens;
    ValueId turn = lo;
    for (size_t t = 0; t < ahead; t++) {
      tokens.push_back(issue(turn, rooms(before), before));
      turn = add(turn, step, before);
    }
    tokens.push_back(rooms(before));

    // In the loop: wait for this turn, issue the one `ahead` to the free room, and at the end give this turn's back.
    std::vector<InstId> head;
    std::vector<ValueId> arrived, free;
    std::vector<std::vector<ValueId>> carried;
    for (const auto& list : tokens) carried.push_back(carry(list));
    for (size_t l = 0; l < what_.loads.size(); l++) arrived.push_back(wait(l, carried[0][l], ahead - 1, head));
    ValueId far = index_;
    for (size_t t = 0; t < ahead; t++) far = add(far, step, head);
    const std::vector<ValueId> next = issue(far, carried.back(), head);
    std::vector<InstId> tail;
    auto& insts = f_.blocks[body_].insts;
    for (size_t l = 0; l < what_.loads.size(); l++) {
      f_.replace_uses(body_, f_.inst(what_.loads[l]).results[0], arrived[l]);
      std::erase(insts, what_.loads[l]);
      free.push_back(emit(Op::release, {}, {carried[0][l]}, f_.type(carried[0][l]), token_name(l), tail));
    }
    const InstId yield = insts.back();
    insts.insert(insts.end() - 1, tail.begin(), tail.end());
    for (size_t t = 1; t < ahead; t++) append(f_.inst(yield).args, carried[t]);
    append(f_.inst(yield).args, next);
    append(f_.inst(yield).args, free);
    insts.insert(insts.begin(), head.begin(), head.end());
  }

 private:
  static void append(std::vector<ValueId>& to, const std::vector<ValueId>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }
  /// The type and the name are copies: both may be of a value, and values move when one is added.
  ValueId emit(Op op, Attr attr, std::vector<ValueId> args, Type type, std::string name, std::vector<InstId>& out,
               Loc loc = {}) {
    const InstId id = f_.add_inst(op, std::move(attr), std::move(args), {std::move(type)}, {}, loc);
    f_.values[f_.inst(id).results[0]].name = std::move(name);
    out.push_back(id);
    return f_.inst(id).results[0];
  }
  ValueId add(ValueId a, ValueId b, std::vector<InstId>& out) {
    return emit(Op::add, {}, {a, b}, scalar_of(types::i64), "", out);
  }
  const std::string& name(size_t load) const { return f_.values[f_.inst(what_.loads[load]).results[0]].name; }
  std::string token_name(size_t load) const { return name(load).empty() ? "" : name(load) + "_token"; }
  Type token_type(size_t load) const {
    Type t = f_.type(f_.inst(what_.loads[load]).results[0]);
    t.form = Form::token;
    return t;
  }

  std::vector<ValueId> rooms(std::vector<InstId>& out) {
    std::vector<ValueId> made;
    for (size_t l = 0; l < what_.loads.size(); l++) {
      const ValueId view = f_.inst(what_.loads[l]).args[0];
      const Type type = token_type(l);
      made.push_back(
          emit(Op::room, {.shape = type.shape}, {view}, type, token_name(l), out, f_.inst(what_.loads[l]).loc));
    }
    return made;
  }

  /// The loads of the turn at `turn`, as issues to `rooms`, with copies of the scalar operations they need.
  std::vector<ValueId> issue(ValueId turn, const std::vector<ValueId>& rooms, std::vector<InstId>& out) {
    std::map<ValueId, ValueId> now{{index_, turn}};
    const auto args_now = [&](const Func::Inst& inst) {
      std::vector<ValueId> args = inst.args;
      for (ValueId& a : args)
        if (auto it = now.find(a); it != now.end()) a = it->second;
      return args;
    };
    for (InstId id : what_.scalars) {
      const Func::Inst inst = f_.inst(id);
      const ValueId old = inst.results[0];
      now[old] = emit(inst.op, inst.attr, args_now(inst), f_.type(old), f_.values[old].name, out, inst.loc);
    }
    std::vector<ValueId> tokens;
    for (size_t l = 0; l < what_.loads.size(); l++) {
      std::vector<ValueId> args = args_now(f_.inst(what_.loads[l]));
      args.push_back(rooms[l]);
      tokens.push_back(
          emit(Op::issue, {}, std::move(args), token_type(l), token_name(l), out, f_.inst(what_.loads[l]).loc));
    }
    out.push_back(f_.add_inst(Op::commit, {}, {}, {}));
    return tokens;
  }

  ValueId wait(size_t load, ValueId token, size_t later, std::vector<InstId>& out) {
    const Type type = f_.type(f_.inst(what_.loads[load]).results[0]);
    return emit(Op::wait, {.imm = static_cast<int64_t>(later)}, {token}, type, name(load), out,
                f_.inst(what_.loads[load]).loc);
  }

  /// Block parameters for values that the loop now carries.
  std::vector<ValueId> carry(const std::vector<ValueId>& init) {
    std::vector<ValueId> params;
    for (const ValueId v : init) {
      const Type type = f_.type(v);
      const std::string hint = f_.values[v].name;
      f_.inst(loop_).args.push_back(v);
      params.push_back(f_.add_param(body_, type, hint));
      const ValueId result = f_.add_value(type, loop_, hint);
      f_.inst(loop_).results.push_back(result);
    }
    return params;
  }

  Func& f_;
  const InstId loop_;
  const BlockId body_;
  const ValueId index_;
  Movable what_;
};

void visit(Func& f, BlockId block) {
  for (size_t at = 0; at < f.blocks[block].insts.size(); at++) {
    const InstId id = f.blocks[block].insts[at];
    const auto nested = f.inst(id).blocks;
    for (BlockId inner : nested) visit(f, inner);
    if (f.inst(id).op != Op::loop) continue;
    const int64_t stages = std::exchange(f.inst(id).attr.imm, 0);
    if (stages < 2) continue;
    std::vector<InstId> before;
    Pipeline(f, id).run(static_cast<size_t>(stages - 1), before);
    auto& around = f.blocks[block].insts;
    around.insert(around.begin() + static_cast<std::ptrdiff_t>(at), before.begin(), before.end());
    at += before.size();
  }
}

}  // namespace

void pipeline(Func& f) { visit(f, f.body); }

}  // namespace lathe::tile
