#include "fuzz/shrink.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::fuzz {
namespace {

using tile::Func;
using tile::Op;

struct Place {
  BlockId block;
  size_t at;
};

std::vector<Place> places(const Func& f) {
  std::vector<Place> out;
  f.walk(f.body, [&](BlockId block, size_t at, InstId) { out.push_back({block, at}); });
  return out;
}
InstId inst_at(const Func& f, Place p) { return f.blocks[p.block].insts[p.at]; }

void replace_everywhere(Func& f, ValueId from, ValueId to) { f.replace_uses(f.body, from, to); }

/// A constant of the type, made before the place; tiles are filled.
ValueId constant_before(Func& f, Place p, const tile::Type& type, int64_t value) {
  auto insert = [&](InstId id) {
    auto& insts = f.blocks[p.block].insts;
    insts.insert(insts.begin() + static_cast<std::ptrdiff_t>(p.at++), id);
    return f.inst(id).results[0];
  };
  tile::Attr attr{.elem = type.elem};
  (type.elem.is_float() ? attr.num = static_cast<double>(value) : static_cast<double>(attr.imm = value));
  const ValueId scalar = insert(f.add_inst(Op::constant, attr, {}, {tile::scalar_of(type.elem)}));
  if (type.is_scalar()) return scalar;
  tile::Type plain = type;
  plain.layout.reset();
  return insert(f.add_inst(Op::fill, {.elem = type.elem, .shape = type.shape}, {scalar}, {plain}));
}

// ---- edits: each changes f and says whether it did

bool remove_effect(Func& f, Place p) {
  const auto& inst = f.inst(inst_at(f, p));
  if (inst.op == Op::yield || !inst.results.empty() || !inst.blocks.empty()) return false;
  auto& insts = f.blocks[p.block].insts;
  insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(p.at));
  return true;
}

bool make_constant(Func& f, Place p, int64_t value) {
  const auto& inst = f.inst(inst_at(f, p));
  if (inst.op == Op::constant || inst.results.empty()) return false;
  if (inst.op == Op::fill && f.def(inst.args[0]) && f.def(inst.args[0])->op == Op::constant) return false;
  for (const ValueId r : std::vector<ValueId>(inst.results)) {
    const tile::Type type = f.type(r);
    if (!type.is_tile() && !type.is_scalar()) return false;
    const size_t before = f.blocks[p.block].insts.size();
    const ValueId made = constant_before(f, p, type, value);
    p.at += f.blocks[p.block].insts.size() - before;
    replace_everywhere(f, r, made);
  }
  auto& insts = f.blocks[p.block].insts;
  if (!f.inst(insts[p.at]).blocks.empty()) insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(p.at));
  return true;
}

bool make_operand(Func& f, Place p, size_t operand) {
  const auto& inst = f.inst(inst_at(f, p));
  if (inst.results.size() != 1 || operand >= inst.args.size() || !inst.blocks.empty()) return false;
  if (!tile::same_type(f.type(inst.args[operand]), f.type(inst.results[0]))) return false;
  replace_everywhere(f, inst.results[0], inst.args[operand]);
  return true;
}

/// The block's instructions stand in place of the loop or branch.
bool inline_block(Func& f, Place p, size_t which) {
  const InstId id = inst_at(f, p);
  const auto inst = f.inst(id);
  if (which >= inst.blocks.size() || (inst.op == Op::while_loop && which == 0)) return false;
  auto inner = f.blocks[inst.blocks[which]];
  if (inst.op == Op::loop)
    for (size_t i = 0; i < inner.params.size(); i++) {
      const ValueId from = i == 0 ? inst.args[0] : inst.args[i + 2];
      replace_everywhere(f, inner.params[i], from);
    }
  if (inst.op == Op::while_loop)
    for (size_t i = 0; i < inner.params.size(); i++) replace_everywhere(f, inner.params[i], inst.args[i]);
  const auto yields = f.inst(inner.insts.back()).args;
  for (size_t i = 0; i < inst.results.size(); i++) replace_everywhere(f, inst.results[i], yields[i]);
  inner.insts = f.blocks[inst.blocks[which]].insts;
  inner.insts.pop_back();
  auto& insts = f.blocks[p.block].insts;
  const auto at = insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(p.at));
  insts.insert(at, inner.insts.begin(), inner.insts.end());
  return true;
}

bool drop_carried(Func& f, Place p, size_t which) {
  const InstId id = inst_at(f, p);
  if (f.inst(id).op != Op::loop || which >= f.inst(id).results.size()) return false;
  auto& inst = f.inst(id);
  auto& block = f.blocks[inst.blocks[0]];
  const ValueId init = inst.args[which + 3];
  replace_everywhere(f, block.params[which + 1], init);
  replace_everywhere(f, inst.results[which], init);
  const auto erase = [&](auto& from, size_t at) { from.erase(from.begin() + static_cast<std::ptrdiff_t>(at)); };
  erase(inst.args, which + 3);
  erase(inst.results, which);
  erase(block.params, which + 1);
  erase(f.inst(block.insts.back()).args, which);
  return true;
}

bool plainer_loop(Func& f, Place p) {
  auto& inst = f.inst(inst_at(f, p));
  if (inst.op != Op::loop || inst.attr.imm == 0) return false;
  inst.attr.imm = 0;
  return true;
}
bool one_turn(Func& f, Place p) {
  const auto& inst = f.inst(inst_at(f, p));
  if (inst.op != Op::loop) return false;
  const auto* low = f.def(inst.args[0]);
  const auto* high = f.def(inst.args[1]);
  if (!low || low->op != Op::constant || (high && high->op == Op::constant && high->attr.imm <= low->attr.imm + 1))
    return false;
  const InstId loop = inst_at(f, p);
  const ValueId end = constant_before(f, p, tile::scalar_of(types::i64), low->attr.imm + 1);
  f.inst(loop).args[1] = end;
  return true;
}

bool index_zero(Func& f, Place p, size_t operand) {
  const InstId id = inst_at(f, p);
  const auto& inst = f.inst(id);
  if (inst.args.empty() || operand == 0 || operand >= inst.args.size()) return false;
  if (f.type(inst.args[0]).is_tile() || !f.type(inst.args[operand]).is_scalar()) return false;
  const auto* def = f.def(inst.args[operand]);
  if (def && def->op == Op::constant && def->attr.imm == 0) return false;
  const ValueId zero = constant_before(f, p, tile::scalar_of(types::i64), 0);
  f.inst(id).args[operand] = zero;
  return true;
}

bool unpin(Func& f) {
  bool changed = false;
  for (auto& v : f.values) {
    changed = changed || v.type.layout;
    v.type.layout.reset();
  }
  return changed;
}

/// Types of everything below `block` again; false where something is ill-typed.
bool infer_again(Func& f, BlockId block) {
  for (const InstId id : f.blocks[block].insts) {
    auto& inst = f.inst(id);
    const auto type_of = [&](ValueId v) { return f.type(v); };
    if (inst.op == Op::loop)
      for (size_t i = 0; i < inst.results.size(); i++)
        f.values[f.blocks[inst.blocks[0]].params[i + 1]].type = f.values[inst.results[i]].type =
            type_of(inst.args[i + 3]);
    if (inst.op == Op::while_loop)
      for (size_t i = 0; i < inst.results.size(); i++) {
        f.values[inst.results[i]].type = type_of(inst.args[i]);
        for (const BlockId b : inst.blocks) f.values[f.blocks[b].params[i]].type = type_of(inst.args[i]);
      }
    for (const BlockId inner : inst.blocks)
      if (!infer_again(f, inner)) return false;
    if (inst.op == Op::cond)
      for (size_t i = 0; i < inst.results.size(); i++)
        f.values[inst.results[i]].type = type_of(f.inst(f.blocks[inst.blocks[0]].insts.back()).args[i]);
    if (tile::info(inst.op).effect == tile::Effect::control) continue;
    std::vector<tile::Type> args;
    for (const ValueId a : inst.args) args.push_back(type_of(a));
    const auto result = tile::infer_result(inst.op, args, inst.attr);
    if (!result) return false;
    if (*result) f.values[inst.results[0]].type = **result;
  }
  return true;
}

/// Every tile extent `from` becomes `to`.
bool rescale(Func& f, int64_t from, int64_t to) {
  unpin(f);
  bool changed = false;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    auto& inst = f.inst(id);
    if (inst.op == Op::transpose) return;
    for (int64_t& n : inst.attr.shape) {
      changed = changed || n == from;
      if (n == from) n = to;
    }
  });
  return changed && infer_again(f, f.body);
}

std::set<int64_t> extents_of(const Func& f) {
  std::set<int64_t> out;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op == Op::transpose) return;
    for (const int64_t n : f.inst(id).attr.shape)
      if (n > 1) out.insert(n);
  });
  return out;
}

/// Scalars of the grid that nobody uses.
void drop_dead_grid(Func& f) {
  std::set<ValueId> used;
  auto& insts = f.blocks[f.grid].insts;
  for (size_t at = insts.size(); at-- > 0;) {
    const auto& inst = f.inst(insts[at]);
    if (!inst.results.empty() && !used.contains(inst.results[0]))
      insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(at));
    else
      used.insert(inst.args.begin(), inst.args.end());
  }
}

/// Parameters nobody reads or writes leave, unless a symbol in use stands in their sizes only.
void drop_parameters(Program& p) {
  Func& f = p.func;
  std::set<ValueId> used;
  for (const BlockId block : {f.head, f.grid, f.body})
    f.walk(block, [&](BlockId, size_t, InstId id) { used.insert(f.inst(id).args.begin(), f.inst(id).args.end()); });
  const auto names_symbol = [&](const tile::Param& q, ValueId s) {
    return std::find(q.sizes.begin(), q.sizes.end(), s) != q.sizes.end() ||
           std::find(q.strides.begin(), q.strides.end(), s) != q.strides.end();
  };
  for (size_t i = f.params.size(); i-- > 0;) {
    const tile::Param q = f.params[i];
    const bool needed = used.contains(q.value) || std::any_of(f.symbols.begin(), f.symbols.end(), [&](ValueId s) {
                          return used.contains(s) && names_symbol(q, s) &&
                                 std::none_of(f.params.begin(), f.params.end(), [&](const tile::Param& r) {
                                   return r.value != q.value && names_symbol(r, s);
                                 });
                        });
    if (needed) continue;
    p.shapes.erase(f.values[q.value].name);
    p.scalars.erase(f.values[q.value].name);
    f.params.erase(f.params.begin() + static_cast<std::ptrdiff_t>(i));
  }
  std::erase_if(f.symbols, [&](ValueId s) {
    const bool gone =
        std::none_of(f.params.begin(), f.params.end(), [&](const tile::Param& q) { return names_symbol(q, s); });
    if (gone) p.scalars.erase(f.values[s].name);
    return gone;
  });
}

/// Size d of a view becomes n, and every size that is the same symbol or constant.
bool resize(Program& p, size_t param, size_t d, int64_t n) {
  Func& f = p.func;
  if (f.params[param].workspace) return false;
  const ValueId size = f.params[param].sizes[d];
  if (p.shapes.at(f.values[f.params[param].value].name).shape[d] <= n) return false;
  if (f.def(size)) f.insts[f.values[size].def].attr.imm = n;
  for (tile::Param& q : f.params) {
    if (f.type(q.value).is_scalar() || q.workspace) continue;
    TensorShape& t = p.shapes.at(f.values[q.value].name);
    for (size_t i = 0; i < q.sizes.size(); i++)
      if (q.sizes[i] == size) {
        t.shape[i] = n;
        if (f.def(size)) f.values[q.value].type.shape[i] = n;
      }
    if (q.strides.empty()) t.storage = std::accumulate(t.shape.begin(), t.shape.end(), int64_t{1}, std::multiplies<>());
  }
  return true;
}

class Shrinker {
 public:
  Shrinker(Program p, const std::function<bool(const Program&)>& fails, int tries)
      : best_(std::move(p)), fails_(fails), tries_(tries) {}

  Program run() {
    for (bool changed = true; changed && tries_ > 0;) {
      changed = false;
      changed |= everywhere(remove_effect);
      changed |= launch();
      for (size_t which : {0, 1}) changed |= everywhere([&](Func& f, Place p) { return inline_block(f, p, which); });
      changed |= everywhere([](Func& f, Place p) { return make_constant(f, p, 0); });
      changed |= everywhere([](Func& f, Place p) { return make_constant(f, p, 1); });
      for (size_t i : {0, 1, 2}) {
        changed |= everywhere([&](Func& f, Place p) { return make_operand(f, p, i); });
        changed |= everywhere([&](Func& f, Place p) { return drop_carried(f, p, i); });
        changed |= everywhere([&](Func& f, Place p) { return index_zero(f, p, i + 1); });
      }
      changed |= everywhere(plainer_loop);
      changed |= everywhere(one_turn);
      changed |= attempt([](Program& p) { return unpin(p.func); });
      for (const int64_t n : extents_of(best_.func))
        for (const int64_t to : {int64_t{1}, n / 2, n - 1})
          changed |= to < n && to > 0 && attempt([&](Program& p) { return rescale(p.func, n, to); });
    }
    return best_;
  }

 private:
  bool attempt(const std::function<bool(Program&)>& edit) {
    if (tries_ <= 0) return false;
    Program p = best_;
    if (!edit(p)) return false;
    tile::drop_dead(p.func);
    drop_dead_grid(p.func);
    drop_parameters(p);
    if (!tile::verify(p.func)) return false;
    tries_--;
    if (!fails_(p)) return false;
    best_ = std::move(p);
    return true;
  }
  /// From the end, so that what stands before an edit keeps its place.
  bool everywhere(const std::function<bool(Func&, Place)>& edit) {
    bool changed = false;
    for (size_t i = places(best_.func).size(); i-- > 0;) {
      const auto all = places(best_.func);
      if (i >= all.size()) continue;
      changed |= attempt([&](Program& p) { return edit(p.func, all[i]); });
    }
    return changed;
  }

  bool launch() {
    bool changed = attempt([](Program& p) { return std::exchange(p.accumulator, false); });
    changed |= attempt([](Program& p) { return std::exchange(p.data, Data::exact) != Data::exact; });
    for (size_t axis = 0; axis < 3; axis++)
      changed |= attempt([&](Program& p) {
        Func& f = p.func;
        const Place end{f.grid, f.blocks[f.grid].insts.size() - 1};
        const InstId yield = f.blocks[f.grid].insts.back();
        if (axis >= f.inst(yield).args.size()) return false;
        const auto* def = f.def(f.inst(yield).args[axis]);
        if (def && def->op == Op::constant && def->attr.imm == 1) return false;
        f.inst(yield).args[axis] = constant_before(f, end, tile::scalar_of(types::i64), 1);
        return true;
      });
    for (size_t d = 0; d < 3; d++)
      changed |= attempt([&](Program& p) {
        Func& f = p.func;
        if (f.split[d] == 1) return false;
        f.subgroups /= std::exchange(f.split[d], 1);
        unpin(f);
        return true;
      });
    for (size_t param = 0; param < best_.func.params.size(); param++)
      for (size_t d = 0; param < best_.func.params.size() && d < best_.func.params[param].sizes.size(); d++)
        for (const int64_t n : {1, 2, 8, 16})
          if (param < best_.func.params.size() && d < best_.func.params[param].sizes.size())
            changed |= attempt([&](Program& p) { return resize(p, param, d, n); });
    return changed;
  }

  Program best_;
  const std::function<bool(const Program&)>& fails_;
  int tries_;
};

}  // namespace

Program shrink(Program p, const std::function<bool(const Program&)>& fails, int most_tries) {
  return Shrinker(std::move(p), fails, most_tries).run();
}

}  // namespace lathe::fuzz
