// Parts of tiles: slice, assignment into a slice, repetition. Where each element stays with its thread, registers are
// renamed; else the tile goes through shared memory.
#include <numeric>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

/// Whether thread t adds the same coordinates in both layouts.
bool same_threads(const Layout& a, const Layout& b) {
  if (a.threads() != b.threads() || a.rank() != b.rank()) return false;
  for (int64_t t = 0; t < a.threads(); t++)
    if (a.at(t, 0) != b.at(t, 0)) return false;
  return true;
}

std::map<Coord, int64_t> slots_by_place(const Layout& l) {
  std::map<Coord, int64_t> slot_at;
  for (int64_t s = 0; s < l.slots(); s++) slot_at[l.at(0, s)] = s;
  return slot_at;
}

Coord plus(Coord a, const Coord& b, int64_t sign = 1) {
  for (size_t d = 0; d < a.size(); d++) a[d] += sign * b[d];
  return a;
}

}  // namespace

/// The elements of `to`, slot by slot, each read from shared memory at the place that `source` gives
/// for its coordinates.
std::vector<ValueId> Lowering::through_memory(const TileRegs& given, const Layout& to,
                                              const std::function<Source(const std::vector<ValueId>&)>& source) {
  TileRegs from = given;
  spread_fragments(from);
  const bool as_words = from.elem.bits < 8 || from.elem.kind == Kind::boolean;
  if (as_words) {
    std::vector<ValueId> wide;
    for (int64_t s = 0; s < from.slots(); s++) wide.push_back(convert_scalar(element(from, s), from.elem, types::i32));
    from = assemble(types::i32, from.layout, wide);
  }
  const int bytes = from.elem.bits / 8;
  const Coord& shape = from.layout.shape();
  const uint32_t id = array("place", from.layout.elements() * bytes, bytes);
  const auto coordinates = [&](const Layout& l, int64_t slot) {
    std::vector<ValueId> at;
    const Coord fixed = l.at(0, slot);
    for (int d = 0; d < l.rank(); d++)
      at.push_back(emit(Op::add, {thread_coord(l, d), b_.i32(fixed[static_cast<size_t>(d)])}));
    return at;
  };
  const auto offset = [&](const std::vector<ValueId>& at) {
    ValueId sum = b_.i32(0);
    for (size_t d = 0; d < at.size(); d++) sum = emit(Op::add, {emit(Op::mul, {sum, b_.i32(shape[d])}), at[d]});
    return emit(Op::mul, {sum, b_.i32(bytes)});
  };

  before_write(id);
  const ValueId mine = owner(from.layout);
  for (int64_t s = 0; s < from.slots(); s++) {
    std::vector<ValueId> args{offset(coordinates(from.layout, s)), pack_access(from, {{s}, from.layout.at(0, s)})};
    if (mine != kNone) args.push_back(mine);
    b_.effect(Op::store_shared, args, {.index = id});
  }
  pending_writes_[id] = true;
  before_read(id);
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < to.slots(); s++) {
    const Source where = source(coordinates(to, s));
    std::vector<ValueId> args{offset(where.at)};
    if (where.inside != kNone) args.push_back(where.inside);
    const ValueId loaded = emit(Op::load_shared, args, {.type = access_type(from.elem.bits), .index = id});
    const ValueId v = elements_of_words(split_words(loaded), from.elem, 1)[0];
    elements.push_back(as_words ? convert_scalar(v, types::i32, given.elem) : v);
  }
  pending_reads_[id] = true;
  return elements;
}

Result<Unit> Lowering::slice_tile(const Inst& i) {
  TileRegs& from = tiles_.at(i.args[0]);
  const Layout& to = *type(i.results[0]).layout;
  spread_fragments(from);
  std::vector<ValueId> elements;
  const auto slot_at = slots_by_place(from.layout);
  bool stays = same_threads(from.layout, to);
  for (int64_t s = 0; stays && s < to.slots(); s++) {
    const auto slot = slot_at.find(plus(to.at(0, s), i.attr.offset));
    stays = slot != slot_at.end();
    if (stays) elements.push_back(element(from, slot->second));
  }
  if (!stays)
    elements = through_memory(from, to, [&](std::vector<ValueId> at) {
      for (size_t d = 0; d < at.size(); d++) at[d] = emit(Op::add, {at[d], b_.i32(i.attr.offset[d])});
      return Source{at};
    });
  tiles_[i.results[0]] = assemble(from.elem, to, elements);
  return Unit{};
}

Result<Unit> Lowering::assign_tile(const Inst& i) {
  TileRegs &whole = tiles_.at(i.args[0]), &part = tiles_.at(i.args[1]);
  const Layout& to = *type(i.results[0]).layout;
  const Coord& extent = type(i.args[1]).shape;
  spread_fragments(whole);
  spread_fragments(part);
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < to.slots(); s++) elements.push_back(element(whole, s));
  const auto slot_at = slots_by_place(to);
  bool stays = same_threads(part.layout, to);
  for (int64_t s = 0; stays && s < part.slots(); s++)
    stays = slot_at.contains(plus(part.layout.at(0, s), i.attr.offset));
  if (stays) {
    for (int64_t s = 0; s < part.slots(); s++)
      elements[static_cast<size_t>(slot_at.at(plus(part.layout.at(0, s), i.attr.offset)))] = element(part, s);
  } else {
    std::vector<ValueId> inside;
    const auto moved = through_memory(part, to, [&](std::vector<ValueId> at) {
      ValueId all = kNone;
      for (size_t d = 0; d < at.size(); d++) {
        at[d] = emit(Op::sub, {at[d], b_.i32(i.attr.offset[d])});
        const ValueId within = emit(Op::lt_u, {at[d], b_.i32(extent[d])});
        all = all == kNone ? within : emit(Op::band, {all, within});
      }
      inside.push_back(all);
      return Source{at, all};
    });
    for (size_t s = 0; s < elements.size(); s++) elements[s] = emit(Op::select, {inside[s], moved[s], elements[s]});
  }
  tiles_[i.results[0]] = assemble(whole.elem, to, elements);
  return Unit{};
}

Result<Unit> Lowering::repeat_tile(const Inst& i) {
  TileRegs& from = tiles_.at(i.args[0]);
  const Layout& to = *type(i.results[0]).layout;
  const auto d = static_cast<size_t>(i.attr.imm);
  TRY_ASSIGN(const auto want, tile::operand_layouts(f_, i, t_));
  std::vector<ValueId> elements;
  if (want[0]) {  // every thread has the elements that it repeats
    if (from.splat != kNone) {
      tiles_[i.results[0]] = TileRegs{from.elem, to, {}, false, {}, from.splat};
      return Unit{};
    }
    spread_fragments(from);
    const auto slot_at = slots_by_place(from.layout);
    for (int64_t s = 0; s < to.slots(); s++) {
      Coord c = to.at(0, s);
      c[d] /= i.attr.count;
      elements.push_back(element(from, slot_at.at(c)));
    }
  } else {
    elements = through_memory(from, to, [&](std::vector<ValueId> at) {
      at[d] = emit(Op::div_u, {at[d], b_.i32(i.attr.count)});
      return Source{at};
    });
  }
  tiles_[i.results[0]] = assemble(from.elem, to, elements);
  return Unit{};
}

}  // namespace lathe
