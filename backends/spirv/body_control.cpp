// Structured control flow. Carried scalars and vectors are phis; carried fragments live in variables, which is the form
// drivers know from GLSL.
#include "backends/spirv/body.h"

namespace lathe::spirv {

std::vector<Body::Carried> Body::carried(std::span<const ValueId> values) {
  std::vector<Carried> out;
  for (const ValueId v : values) {
    const Id t = type_id(type(v));
    out.push_back({t, type(v).is_frag() ? local(t) : 0});
  }
  return out;
}

void Body::store_fragments(const std::vector<Carried>& slots, const std::vector<Id>& values) {
  for (size_t s = 0; s < slots.size(); s++)
    if (slots[s].local != 0) effect(spv::Op::OpStore, {slots[s].local, values[s]});
}

/// What the yield that ends a nested block gives.
std::vector<Id> Body::yielded(const thread::Func::Block& b) const {
  std::vector<Id> out;
  for (const ValueId v : f_.inst(b.insts.back()).args) out.push_back(id(v));
  return out;
}

Result<Unit> Body::yield(const Inst&) { return Unit{}; }

Result<Unit> Body::loop(const Inst& i) {
  const thread::Func::Block& body = f_.blocks[i.blocks[0]];
  const std::vector<Carried> slots = carried(i.results);
  const Id header = m_.fresh(), inside = m_.fresh(), next = m_.fresh(), merge = m_.fresh(), before = label_;
  const Id u32 = m_.int_type(32), counter_next = m_.fresh();
  std::vector<Id> first, next_ids;
  for (size_t s = 0; s < slots.size(); s++) first.push_back(id(i.args[3 + s]));
  store_fragments(slots, first);
  jump(header);

  begin(header);
  const Id counter = emit(spv::Op::OpPhi, u32, {id(i.args[0]), before, counter_next, next});
  ids_[body.params[0]] = counter;
  std::vector<size_t> phi_at(slots.size());  // where the value of the next turn is filled in
  for (size_t s = 0; s < slots.size(); s++) {
    if (slots[s].local != 0) continue;
    ids_[body.params[1 + s]] = emit(spv::Op::OpPhi, slots[s].type, {first[s], before, 0, next});
    phi_at[s] = code_.size() - 2;
  }
  const Id more = emit(spv::Op::OpSLessThan, m_.bool_type(), {counter, id(i.args[1])});
  effect(spv::Op::OpLoopMerge, {merge, next, word(spv::LoopControlMask::MaskNone)});
  effect(spv::Op::OpBranchConditional, {more, inside, merge});

  begin(inside);
  for (size_t s = 0; s < slots.size(); s++)
    if (slots[s].local != 0) ids_[body.params[1 + s]] = emit(spv::Op::OpLoad, slots[s].type, {slots[s].local});
  TRY(block(body));
  next_ids = yielded(body);
  store_fragments(slots, next_ids);
  jump(next);
  begin(next);
  append(code_, spv::Op::OpIAdd, {u32, counter_next, counter, id(i.args[2])});
  jump(header);

  begin(merge);
  for (size_t s = 0; s < slots.size(); s++) {
    if (slots[s].local == 0) code_[phi_at[s]] = next_ids[s];
    ids_[i.results[s]] =
        slots[s].local == 0 ? id(body.params[1 + s]) : emit(spv::Op::OpLoad, slots[s].type, {slots[s].local});
  }
  return Unit{};
}

/// The header holds the carried values, the condition follows it in blocks of its own.
Result<Unit> Body::while_loop(const Inst& i) {
  const thread::Func::Block &condition = f_.blocks[i.blocks[0]], &body = f_.blocks[i.blocks[1]];
  const std::vector<Carried> slots = carried(i.results);
  const Id header = m_.fresh(), test = m_.fresh(), inside = m_.fresh(), next = m_.fresh(), merge = m_.fresh(),
           before = label_;
  std::vector<Id> first;
  for (const ValueId v : i.args) first.push_back(id(v));
  store_fragments(slots, first);
  jump(header);

  begin(header);
  std::vector<size_t> phi_at(slots.size());  // where the value of the next turn is filled in
  for (size_t s = 0; s < slots.size(); s++) {
    if (slots[s].local != 0) continue;
    ids_[condition.params[s]] = emit(spv::Op::OpPhi, slots[s].type, {first[s], before, 0, next});
    phi_at[s] = code_.size() - 2;
  }
  for (size_t s = 0; s < slots.size(); s++) {
    if (slots[s].local != 0) ids_[condition.params[s]] = emit(spv::Op::OpLoad, slots[s].type, {slots[s].local});
    ids_[body.params[s]] = ids_[i.results[s]] = ids_[condition.params[s]];
  }
  effect(spv::Op::OpLoopMerge, {merge, next, word(spv::LoopControlMask::MaskNone)});
  jump(test);
  begin(test);
  TRY(block(condition));
  effect(spv::Op::OpBranchConditional, {yielded(condition)[0], inside, merge});

  begin(inside);
  TRY(block(body));
  const std::vector<Id> next_ids = yielded(body);
  store_fragments(slots, next_ids);
  jump(next);
  begin(next);
  jump(header);
  begin(merge);
  for (size_t s = 0; s < slots.size(); s++)
    if (slots[s].local == 0) code_[phi_at[s]] = next_ids[s];
  return Unit{};
}

Result<Unit> Body::exit_if(const Inst& i) {
  const Id leave = m_.fresh(), stay = m_.fresh();
  effect(spv::Op::OpSelectionMerge, {stay, word(spv::SelectionControlMask::MaskNone)});
  effect(spv::Op::OpBranchConditional, {id(i.args[0]), leave, stay});
  begin(leave);
  effect(spv::Op::OpReturn, {});
  begin(stay);
  return Unit{};
}

Result<Unit> Body::cond(const Inst& i) {
  const std::vector<Carried> slots = carried(i.results);
  const Id labels[2] = {m_.fresh(), m_.fresh()}, merge = m_.fresh();
  effect(spv::Op::OpSelectionMerge, {merge, word(spv::SelectionControlMask::MaskNone)});
  effect(spv::Op::OpBranchConditional, {id(i.args[0]), labels[0], labels[1]});
  std::vector<Words> incoming(slots.size());
  for (size_t branch = 0; branch < 2; branch++) {
    const thread::Func::Block& b = f_.blocks[i.blocks[branch]];
    begin(labels[branch]);
    TRY(block(b));
    const std::vector<Id> values = yielded(b);
    store_fragments(slots, values);
    for (size_t s = 0; s < slots.size(); s++) incoming[s].insert(incoming[s].end(), {values[s], label_});
    jump(merge);
  }
  begin(merge);
  for (size_t s = 0; s < slots.size(); s++)
    if (slots[s].local == 0) ids_[i.results[s]] = emit(spv::Op::OpPhi, slots[s].type, incoming[s]);
  for (size_t s = 0; s < slots.size(); s++)
    if (slots[s].local != 0) ids_[i.results[s]] = emit(spv::Op::OpLoad, slots[s].type, {slots[s].local});
  return Unit{};
}

}  // namespace lathe::spirv
