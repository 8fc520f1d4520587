// What crosses threads: layout conversion, reductions, shared tiles. Barriers are placed from the reads and writes of
// each array since the last one.
#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <numeric>

#include "ir/lower/banks.h"
#include "ir/lower/lowering.h"
#include "ir/lower/subgroup_exchange.h"

namespace lathe {
namespace {

constexpr int64_t kSubgroupBarrierCost = 8;  ///< in phases of shared memory

/// An order of dimensions (the last one contiguous) and a row pitch, with the accesses both sides make.
struct Exchange {
  std::vector<int> order;
  MemoryLayout memory;
  int64_t write_elems = 1;
  SharedRead read;
  int64_t cost = -1;  ///< phases, without barriers
};

/// The cheapest of a few orders and pitches for tile memory written as `from` and read as `to`.
Exchange plan_exchange(const Layout& from, const Layout& to, int elem_bytes, const Target& t) {
  Exchange best;
  const int rank = from.rank();
  for (int last = rank - 1; last >= 0; last--) {
    Exchange e;
    for (int d = 0; d < rank; d++)
      if (d != last) e.order.push_back(d);
    e.order.push_back(last);
    const Layout w = transpose(from, e.order), r = transpose(to, e.order);
    const int64_t columns = w.shape().back(), most = 16 / elem_bytes;
    for (const int64_t pad_bytes : {0, 16, 32, 64, 4, 8}) {
      if (pad_bytes % elem_bytes) continue;
      e.memory = row_major(w.shape(), columns + pad_bytes / elem_bytes);
      e.write_elems = wide_access(w, e.memory, most).elems;
      e.read = plan_shared_read(t, r, e.memory, elem_bytes * 8, most);
      e.cost = bank_phases(w, e.memory, e.write_elems, elem_bytes, t.subgroup_size) * (w.slots() / e.write_elems) +
               e.read.phases;
      if (best.cost < 0 || e.cost < best.cost) best = e;
    }
  }
  return best;
}

Layout without_partials(const Layout& l) {
  std::vector<Mode> T = l.T();
  for (Mode& m : T)
    if (m.d == Mode::kPartial) m.d = Mode::kReplicate;
  return Layout(l.shape(), T, l.S());
}

/// The layout of a tile given that of the tile transposed to `order`.
MemoryLayout in_order(MemoryLayout m, const std::vector<int>& order) {
  const Coord transposed = m.shape;
  for (size_t d = 0; d < order.size(); d++) m.shape[static_cast<size_t>(order[d])] = transposed[d];
  for (MemoryMode& mode : m.modes) mode.d = order[static_cast<size_t>(mode.d)];
  return m;
}

std::vector<int> inverse_of(const std::vector<int>& order) {
  std::vector<int> out(order.size());
  for (size_t d = 0; d < order.size(); d++) out[static_cast<size_t>(order[d])] = static_cast<int>(d);
  return out;
}

}  // namespace

uint32_t Lowering::array(const std::string& label, int64_t bytes, int access_bytes) {
  const auto id = static_cast<uint32_t>(out_.shared.size());
  out_.shared.push_back({.name = label, .bytes = (bytes + 15) / 16 * 16, .access_bytes = access_bytes});
  homes_.push_back(b_.block);
  pending_reads_[id] = pending_writes_[id] = loop_depth_ > 0;
  return id;
}

uint32_t Lowering::owned_array(const std::string& label, int64_t bytes, int access_bytes) {
  // Slices stay where they are: accesses of two subgroups never meet, and their own barrier is enough.
  for (const uint32_t id : free_owned_) {
    thread::SharedArray& a = out_.shared[id];
    if (a.bytes < bytes) continue;
    a.access_bytes = std::min(a.access_bytes, access_bytes);
    free_owned_.erase(id);
    return id;
  }
  const uint32_t id = array(label, bytes, access_bytes);
  owned_.insert(id);
  return id;
}

void Lowering::before_write(uint32_t id) {
  if (pending_reads_[id] || pending_writes_[id]) wait_for(id);
}

void Lowering::before_read(uint32_t id) {
  if (pending_writes_[id]) wait_for(id);
}

void Lowering::wait_for(uint32_t id) {
  const bool alone = out_.subgroups == 1;
  if (!owned_.contains(id) && !alone) return barrier();
  b_.effect(Op::barrier_subgroup, {});
  for (uint32_t a = 0; a < out_.shared.size(); a++)
    if (alone || owned_.contains(a)) pending_reads_[a] = pending_writes_[a] = false;
}

void Lowering::barrier() {
  b_.effect(Op::barrier, {});
  pending_reads_.clear();
  pending_writes_.clear();
}

ValueId Lowering::thread_bytes(const Layout& l, const MemoryLayout& m, int64_t elem_bytes) {
  ValueId sum = b_.i32(0);
  for (size_t d = 0; d < l.shape().size(); d++) {
    Coord one(l.shape().size(), 0);
    one[d] = 1;
    const int64_t stride = l.shape()[d] > 1 ? m.address(one) * elem_bytes : 0;
    sum = emit(Op::add, {sum, emit(Op::mul, {thread_coord(l, static_cast<int>(d)), b_.i32(stride)})});
  }
  return sum;
}

Result<Unit> Lowering::convert_tile(const Inst& i) {
  TileRegs& from = tiles_.at(i.args[0]);
  TRY_ASSIGN(TileRegs out, exchange(from, *type(i.results[0]).layout));
  tiles_[i.results[0]] = out;
  return Unit{};
}

Result<TileRegs> Lowering::exchange(const TileRegs& from, const Layout& to) {
  if (from.splat != kNone && from.layout.partials() == 1) {
    TileRegs out = from;
    out.layout = to;
    out.splat = first_addend(to, from.splat);
    out.regs.clear();
    out.frags.clear();
    return out;
  }
  if (from.layout.T() == to.T()) {  // the same threads: slots are renamed
    TileRegs regs = from;
    spread_fragments(regs);
    std::map<Coord, int64_t> slot_at;
    for (int64_t s = 0; s < regs.slots(); s++) slot_at[regs.layout.at(0, s)] = s;
    std::vector<ValueId> elements;
    for (int64_t s = 0; s < to.slots(); s++) elements.push_back(element(regs, slot_at.at(to.at(0, s))));
    return assemble(from.elem, to, elements);
  }
  TileRegs regs = from;
  spread_fragments(regs);
  if (const auto near = within_subgroup(from.layout, to, t_.subgroup_size)) {
    const Exchange memory = plan_exchange(near->from, near->to, std::max(1, from.elem.bits / 8), t_);
    if (const auto shuffled = through_shuffles(regs, *near, to, memory.cost + kSubgroupBarrierCost)) return *shuffled;
    // The same trip, by each subgroup in memory of its own.
    regs.layout = near->from;
    TRY_ASSIGN(TileRegs out, through_shared(regs, near->to));
    out.layout = to;
    return out;
  }
  return through_shared(regs, to);
}

Result<TileRegs> Lowering::through_shared(const TileRegs& given, const Layout& to) {
  TileRegs from = given;
  const bool owned = to.threads() < threads();  // layouts of one subgroup among several
  const int64_t copies = from.layout.partials();
  const bool as_words = from.elem.bits < 8 || from.elem.kind == Kind::boolean;  // one 32-bit word an element
  const lathe::Type stored = as_words ? types::i32 : from.elem;
  const int bytes = stored.bits / 8;
  if (as_words) {
    std::vector<ValueId> wide;
    for (int64_t s = 0; s < from.slots(); s++) wide.push_back(convert_scalar(element(from, s), from.elem, types::i32));
    from = assemble(types::i32, from.layout, wide);
  }
  const Exchange e = plan_exchange(without_partials(from.layout), to, bytes, t_);
  const Layout w = transpose(from.layout, e.order);
  const int64_t copy_bytes = (e.memory.span() * bytes + 15) / 16 * 16;
  const int access_bytes = static_cast<int>(std::min(e.write_elems, own_elems(e.read))) * bytes;
  const uint32_t id = owned ? owned_array("exchange", copy_bytes * copies * out_.subgroups, access_bytes)
                            : array("exchange", copy_bytes * copies, access_bytes);
  shown_tiles_.push_back({"exchange", b_.loc, stored, in_order(e.memory, e.order), from.layout,
                          transpose(e.read.place, inverse_of(e.order)), e.write_elems, asked_elems(e.read)});
  const ValueId base = owned ? slice_base(id) : b_.i32(0);
  before_write(id);
  ValueId write_at = emit(Op::add, {base, thread_bytes(w, e.memory, bytes)});
  if (copies > 1) {  // each addend has its own copy of the tile
    ValueId copy = b_.i32(0);
    int64_t below = from.layout.threads();
    for (const Mode& m : from.layout.T()) {
      below /= m.n;
      if (m.d == Mode::kPartial) copy = emit(Op::add, {emit(Op::mul, {copy, b_.i32(m.n)}), thread_digit(below, m.n)});
    }
    write_at = emit(Op::add, {write_at, emit(Op::mul, {copy, b_.i32(copy_bytes)})});
  }
  const ValueId mine = owner(from.layout);
  TileRegs source = from;
  source.layout = w;
  for (const Access& a : plan_accesses(w, e.memory, e.write_elems)) {
    std::vector<ValueId> args{write_at, pack_access(source, a)};
    if (mine != kNone) args.push_back(mine);
    b_.effect(Op::store_shared, args, {.imm = e.memory.address(a.first) * bytes, .index = id});
  }
  pending_writes_[id] = true;

  before_read(id);
  std::vector<ValueId> elements(static_cast<size_t>(to.slots()), kNone);
  for (int64_t c = 0; c < copies; c++) {
    const auto loaded = read_shared(e.read, e.memory, stored.bits, id, base, c * copy_bytes);
    for (size_t a = 0; a < loaded.size(); a++) {
      const auto& slots = e.read.accesses[a].slots;
      const auto some = elements_of_words(split_words(loaded[a]), stored, static_cast<int64_t>(slots.size()));
      for (size_t k = 0; k < some.size(); k++) {
        ValueId& sum = elements[static_cast<size_t>(slots[k])];
        if (sum == kNone) {
          sum = some[k];
        } else {
          TRY_ASSIGN(sum, combine(tile::ReduceKind::sum, stored, sum, some[k]));
        }
      }
    }
  }
  pending_reads_[id] = true;
  if (owned) free_owned_.insert(id);
  if (as_words)
    for (ValueId& v : elements) v = convert_scalar(v, types::i32, given.elem);
  for (ValueId& v : elements) v = first_addend(to, v);
  return assemble(given.elem, to, elements);
}

Result<ValueId> Lowering::combine(tile::ReduceKind kind, lathe::Type elem, ValueId a, ValueId b) {
  constexpr tile::Op ops[] = {tile::Op::add, tile::Op::max, tile::Op::min};
  return elementwise(ops[static_cast<size_t>(kind)], elem, {a, b});
}

std::vector<ValueId> Lowering::read_shared(const SharedRead& r, const MemoryLayout& m, int elem_bits, uint32_t array,
                                           ValueId base, int64_t offset) {
  const bool swizzles = m.swizzle.bits > 0;
  const ValueId mine = swizzles ? thread_swizzled(r.place, m, elem_bits / 8) : thread_bytes(r.place, m, elem_bits / 8);
  std::vector<ValueId> loaded;
  for (const Access& a : r.accesses) {
    const auto bits = static_cast<int64_t>(a.slots.size()) * elem_bits;
    int64_t at = m.address(a.first) * elem_bits / 8;
    const ValueId place = swizzles ? swizzled(mine, m, a.first, elem_bits / 8, at) : mine;
    const ValueId from = emit(Op::add, {base, place});
    thread::Attr attr{.imm = at + offset, .index = array};
    attr.type = r.load ? thread::kI32.with_lanes(static_cast<int>(bits / 32)) : access_type(bits);
    if (r.load) attr.name = r.load->name;
    loaded.push_back(emit(r.load ? Op::load_matrix : Op::load_shared, {from}, attr));
  }
  return loaded;
}

/// Lane sums, then shuffles over the digits inside a subgroup, then shared memory for those above it.
Result<Unit> Lowering::reduce_tile(const Inst& i) {
  TileRegs& from = tiles_.at(i.args[0]);
  spread_fragments(from);
  const auto kind = static_cast<tile::ReduceKind>(i.attr.kind);
  const auto d = static_cast<size_t>(i.attr.imm);
  const Layout out = reduce(from.layout, static_cast<int>(d), Mode::kReplicate);
  const lathe::Type wide = from.elem.is_float() ? types::f32 : from.elem;  // sums run in f32
  std::map<Coord, int64_t> slot_at;
  for (int64_t s = 0; s < out.slots(); s++) slot_at[out.at(0, s)] = s;
  std::vector<ValueId> sums(static_cast<size_t>(out.slots()), kNone);
  for (int64_t s = 0; s < from.slots(); s++) {
    Coord c = from.layout.at(0, s);
    c[d] = 0;
    ValueId& sum = sums[static_cast<size_t>(slot_at.at(c))];
    const ValueId v = convert_scalar(element(from, s), from.elem, wide);
    if (sum == kNone)
      sum = v;
    else {
      TRY_ASSIGN(sum, combine(kind, wide, sum, v));
    }
  }
  TRY_ASSIGN(sums, reduce_across(i, from.layout, std::move(sums)));
  for (ValueId& v : sums) v = convert_scalar(v, wide, from.elem);
  TileRegs got = assemble(from.elem, out, sums);
  const Layout& want = *type(i.results[0]).layout;
  if (got.layout != want) {
    TRY_ASSIGN(got, exchange(got, want));
  }
  tiles_[i.results[0]] = got;
  return Unit{};
}

Result<std::vector<ValueId>> Lowering::reduce_across(const Inst& i, const Layout& l, std::vector<ValueId> sums) {
  const auto kind = static_cast<tile::ReduceKind>(i.attr.kind);
  const lathe::Type elem = type(i.args[0]).elem, wide = elem.is_float() ? types::f32 : elem;
  struct Digit {
    int64_t n, below;
  };
  std::vector<Digit> far;  // digits no shuffle reaches
  int64_t below = l.threads();
  for (const Mode& m : l.T()) {
    below /= m.n;
    if (m.d != i.attr.imm) continue;
    const bool near = below * m.n <= t_.subgroup_size && std::has_single_bit(static_cast<uint64_t>(m.n)) &&
                      std::has_single_bit(static_cast<uint64_t>(below)) && wide.bits == 32 && t_.fixed_subgroup_size;
    if (!near) {
      far.push_back({m.n, below});
      continue;
    }
    for (int64_t step = below; step < below * m.n; step *= 2)
      for (ValueId& v : sums) {
        const ValueId other = emit(Op::shuffle_xor, {v}, {.imm = step});
        TRY_ASSIGN(v, combine(kind, wide, v, other));
      }
  }
  if (far.empty()) return sums;
  const auto slots = static_cast<int64_t>(sums.size());
  const int bytes = std::max(4, wide.bits / 8);
  const bool narrow = wide.bits < 32;
  const uint32_t id = array("reduce", threads() * slots * bytes, bytes);
  auto as_stored = [&](ValueId v) {
    if (wide == types::f32) return cvt(Op::bitcast, v, thread::kI32);
    return v;
  };
  auto as_value = [&](ValueId v) { return wide == types::f32 ? cvt(Op::bitcast, v, thread::kF32) : v; };
  if (wide.bits == 64 || (narrow && wide.kind == Kind::boolean))
    return unsupported("reduce: over subgroups, of " + to_string(elem));
  before_write(id);
  const ValueId tid = emit(Op::thread_id, {}, {.type = thread::kI32});
  const ValueId mine = emit(Op::mul, {tid, b_.i32(bytes)});
  for (int64_t s = 0; s < slots; s++)
    b_.effect(Op::store_shared, {mine, as_stored(sums[static_cast<size_t>(s)])},
              {.imm = s * threads() * bytes, .index = id});
  pending_writes_[id] = true;
  before_read(id);
  ValueId first = tid;  // the thread with those digits 0
  int64_t combinations = 1;
  for (const Digit& f : far) {
    first = emit(Op::sub, {first, emit(Op::mul, {thread_digit(f.below, f.n), b_.i32(f.below)})});
    combinations *= f.n;
  }
  const ValueId at = emit(Op::mul, {first, b_.i32(bytes)});
  for (int64_t s = 0; s < slots; s++) {
    ValueId sum = kNone;
    for (int64_t c = 0; c < combinations; c++) {
      int64_t offset = 0, rest = c;
      for (size_t f = far.size(); f-- > 0; rest /= far[f].n) offset += rest % far[f].n * far[f].below;
      const ValueId v = as_value(
          emit(Op::load_shared, {at}, {.type = thread::kI32, .imm = (s * threads() + offset) * bytes, .index = id}));
      if (sum == kNone)
        sum = v;
      else {
        TRY_ASSIGN(sum, combine(kind, wide, sum, v));
      }
    }
    sums[static_cast<size_t>(s)] = sum;
  }
  pending_reads_[id] = true;
  return sums;
}

Result<Unit> Lowering::shared_tile(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  if (t.elem.bits < 8) return unsupported("shared: tiles of under 8 bits an element");
  const int64_t elements = std::accumulate(t.shape.begin(), t.shape.end(), int64_t{1}, std::multiplies<>());
  shared_tiles_[i.results[0]] = array(name(i.results[0]), elements * t.elem.bits / 8, t.elem.bits / 8);
  shown_tiles_.push_back({name(i.results[0]), i.loc, t.elem, row_major(t.shape, t.shape.back()), {}, {}});
  return Unit{};
}

Result<Unit> Lowering::load_shared(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Coord& shape = type(i.args[0]).shape;
  const uint32_t id = shared_tiles_.at(i.args[0]);
  const int bytes = t.elem.bits / 8;
  before_read(id);
  std::vector<Access> accesses;
  std::vector<ValueId> loaded;
  for (int64_t s = 0; s < t.layout->slots(); s++) {
    const Coord c = t.layout->at(0, s);
    ValueId at = b_.i32(0), ok = kNone;
    for (size_t d = 0; d < shape.size(); d++) {
      const ValueId coord =
          emit(Op::add,
               {emit(Op::add, {index32(i.args[1 + d]), thread_coord(*t.layout, static_cast<int>(d))}), b_.i32(c[d])});
      at = emit(Op::add, {emit(Op::mul, {at, b_.i32(shape[d])}), coord});
      const ValueId inside = emit(Op::lt_s, {coord, b_.i32(shape[d])});
      ok = ok == kNone ? inside : emit(Op::band, {ok, inside});
    }
    accesses.push_back({{s}, c});
    loaded.push_back(emit(Op::load_shared, {emit(Op::mul, {at, b_.i32(bytes)}), ok},
                          {.type = t.elem.bits == 64 ? thread::kI32x2 : access_type(t.elem.bits), .index = id}));
  }
  pending_reads_[id] = true;
  tiles_[i.results[0]] = gather(t.elem, *t.layout, accesses, loaded);
  return Unit{};
}

Result<Unit> Lowering::store_shared(const Inst& i) {
  TileRegs& t = tiles_.at(i.args.back());
  spread_fragments(t);
  const Coord& shape = type(i.args[0]).shape;
  const uint32_t id = shared_tiles_.at(i.args[0]);
  const int bytes = t.elem.bits / 8;
  before_write(id);
  const ValueId mine = owner(t.layout);
  for (int64_t s = 0; s < t.slots(); s++) {
    const Coord c = t.layout.at(0, s);
    ValueId at = b_.i32(0), ok = mine;
    for (size_t d = 0; d < shape.size(); d++) {
      const ValueId coord =
          emit(Op::add,
               {emit(Op::add, {index32(i.args[1 + d]), thread_coord(t.layout, static_cast<int>(d))}), b_.i32(c[d])});
      at = emit(Op::add, {emit(Op::mul, {at, b_.i32(shape[d])}), coord});
      const ValueId inside = emit(Op::lt_s, {coord, b_.i32(shape[d])});
      ok = ok == kNone ? inside : emit(Op::band, {ok, inside});
    }
    b_.effect(Op::store_shared, {emit(Op::mul, {at, b_.i32(bytes)}), pack_access(t, {{s}, c}), ok}, {.index = id});
  }
  pending_writes_[id] = true;
  return Unit{};
}

}  // namespace lathe
