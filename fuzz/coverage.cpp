#include "fuzz/coverage.h"

#include "fuzz/error_bound.h"
#include "ir/compile.h"

namespace lathe::fuzz {
namespace {

tile::Func alive(const Program& p) {
  tile::Func f = p.func;
  tile::drop_dead(f);
  return f;
}

void each(const tile::Func& f, const std::function<void(const tile::Func::Inst&)>& visit) {
  for (const BlockId block : {f.head, f.grid, f.body})
    if (block != kNone) f.walk(block, [&](BlockId, size_t, InstId id) { visit(f.inst(id)); });
}

bool loads_inside(const tile::Func& f, const tile::Func::Inst& loop) {
  bool loads = false;
  f.walk(loop.blocks[0], [&](BlockId, size_t, InstId id) {
    loads = loads || (f.inst(id).op == tile::Op::load && f.type(f.inst(id).args[0]).form == tile::Form::view);
  });
  return loads;
}

}  // namespace

Features features_of(const Program& p, const Target& target) {
  Features out;
  const tile::Func f = alive(p);
  each(f, [&](const tile::Func::Inst& inst) {
    if (inst.op == tile::Op::mma || inst.op == tile::Op::mma_scaled) out.mma = true;
    if (inst.op == tile::Op::loop && inst.attr.imm > 1) out.pipelined = out.pipelined || loads_inside(f, inst);
  });
  out.partial = out.mma && f.split[2] > 1;
  if (auto prepared = prepare(f, {}); prepared && tile::infer_layouts(*prepared, target))
    each(*prepared, [&](const auto& inst) { out.conversion = out.conversion || inst.op == tile::Op::convert; });
  auto tensors = p.tensors();
  ErrorBound bound;
  if (tile::interpret(f, tensors, p.scalars, 1 << 20, &bound)) out.masked = bound.masked();
  return out;
}

std::vector<Pair> pairs_of(const Program& p) {
  std::vector<Pair> out;
  const tile::Func f = alive(p);
  each(f, [&](const tile::Func::Inst& inst) {
    if (const auto pair = pair_of(f, inst)) out.push_back(*pair);
  });
  return out;
}

std::set<tile::Op> operations_of(const Program& p) {
  std::set<tile::Op> out;
  each(alive(p), [&](const tile::Func::Inst& inst) { out.insert(inst.op); });
  return out;
}

}  // namespace lathe::fuzz
