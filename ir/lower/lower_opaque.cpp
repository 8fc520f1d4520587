// Fragments whose lane map nobody knows: registers in the atom's nominal layout become fragments, and fragments
// registers, by way of shared memory that the subgroup owns.
#include <algorithm>
#include <bit>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr int64_t kPieceBytes = 16;  ///< of the widest access
constexpr int64_t kBankBytes = 128;  ///< one row of all banks
constexpr int64_t kMostSliceBytes = 4096;

}  // namespace

FragmentSlice::FragmentSlice(const Atom& atom, thread::Use use, int64_t room, int64_t count)
    : column_major(use != thread::Use::a) {
  const Layout& given = use == thread::Use::a ? atom.layout_a : use == thread::Use::b ? atom.layout_b : atom.layout_c;
  layout = column_major ? transpose(given, {1, 0}) : given;
  elem_bytes = (use == thread::Use::a ? atom.a : use == thread::Use::b ? atom.b : atom.c).bits / 8;
  const int64_t lines = layout.shape()[0], line_bytes = layout.shape()[1] * elem_bytes;
  const auto pitch_bytes = [&](int64_t fragments) {  // an odd number of pieces
    return ((fragments * line_bytes + kPieceBytes - 1) / kPieceBytes | 1) * kPieceBytes;
  };
  if (std::has_single_bit(static_cast<uint64_t>(line_bytes)))
    beside = std::clamp<int64_t>(kBankBytes / line_bytes, 1, count);
  while (beside > 1 && lines * pitch_bytes(beside) > room) beside--;
  pitch = pitch_bytes(beside) / elem_bytes;
  holds = std::min(count, beside * std::max<int64_t>(1, room / (lines * pitch_bytes(beside))));
  memory = row_major(layout.shape(), pitch);
  access_elems = wide_access(layout, memory, kPieceBytes / elem_bytes).elems;
}

/// A quarter of the workgroup's memory for each operand leaves half of it to everything else.
int64_t Lowering::slice_room() const {
  return std::min(kMostSliceBytes, t_.shared_bytes / 4 / out_.subgroups / kPieceBytes * kPieceBytes);
}

/// Where the subgroup's part of an owned array starts.
ValueId Lowering::slice_base(uint32_t id) {
  if (out_.subgroups == 1) return b_.i32(0);
  const int64_t owned = out_.shared[id].bytes / out_.subgroups / kPieceBytes * kPieceBytes;
  return emit(Op::mul, {emit(Op::subgroup_id, {}, {.type = thread::kI32}), b_.i32(owned)});
}

Lowering::Crossing Lowering::begin_crossing(const Atom& atom, thread::Use use, int64_t count) {
  Crossing c{FragmentSlice(atom, use, slice_room(), count), 0, kNone, kNone};
  const int64_t bytes = c.slice.bytes();
  c.array =
      owned_array("fragments", bytes * out_.subgroups, static_cast<int>(c.slice.access_elems * c.slice.elem_bytes));
  c.base = slice_base(c.array);
  c.mine = emit(Op::add, {c.base, thread_bytes(c.slice.layout, c.slice.memory, c.slice.elem_bytes)});
  return c;
}

void Lowering::end_crossing(const Crossing& c) { free_owned_.insert(c.array); }

void Lowering::write_registers(const Crossing& c, const TileRegs& t, std::span<const int64_t> atoms) {
  before_write(c.array);
  const ValueId owner_only = owner(c.slice.layout);
  for (size_t j = 0; j < atoms.size(); j++)
    for (Access a : plan_accesses(c.slice.layout, c.slice.memory, c.slice.access_elems)) {
      for (int64_t& s : a.slots) s += atoms[j] * c.slice.layout.slots();
      std::vector<ValueId> args{c.mine, pack_access(t, a)};
      if (owner_only != kNone) args.push_back(owner_only);
      const int64_t at = c.slice.start(static_cast<int64_t>(j)) + c.slice.memory.address(a.first) * c.slice.elem_bytes;
      b_.effect(Op::store_shared, args, {.imm = at, .index = c.array});
    }
  pending_writes_[c.array] = true;
}

void Lowering::read_fragments(const Crossing& c, TT type, std::span<ValueId* const> to) {
  before_read(c.array);
  for (size_t j = 0; j < to.size(); j++)
    *to[j] = emit(Op::frag_load_shared,
                  {emit(Op::add, {c.base, b_.i32(c.slice.start(static_cast<int64_t>(j)))}), b_.i32(c.slice.pitch)},
                  {.type = type, .imm = c.slice.column_major, .index = c.array});
  pending_reads_[c.array] = true;
}

void Lowering::load_opaque(const std::vector<OpaqueOperand>& operands) {
  std::vector<Crossing> crossings;
  size_t rounds = 0;
  for (const OpaqueOperand& o : operands) {
    crossings.push_back(begin_crossing(*o.atom, o.use, static_cast<int64_t>(o.atoms.size())));
    const auto holds = static_cast<size_t>(crossings.back().slice.holds);
    rounds = std::max(rounds, (o.atoms.size() + holds - 1) / holds);
  }
  // Both operands of a round share its barrier.
  for (size_t r = 0; r < rounds; r++) {
    const auto part = [&](size_t i, auto& list) {
      const auto holds = static_cast<size_t>(crossings[i].slice.holds), first = std::min(list.size(), r * holds);
      return std::span(list).subspan(first, std::min(holds, list.size() - first));
    };
    for (size_t i = 0; i < operands.size(); i++)
      if (const auto some = part(i, operands[i].atoms); !some.empty())
        write_registers(crossings[i], *operands[i].tile, some);
    for (size_t i = 0; i < operands.size(); i++)
      if (const auto some = part(i, operands[i].to); !some.empty())
        read_fragments(crossings[i], fragment_type(*operands[i].atom, operands[i].use), some);
  }
  for (const Crossing& c : crossings) end_crossing(c);
}

/// The fragments of as many steps of k as the slices hold, when step k is the first of them.
void Lowering::load_opaque_step(const MmaPlan& plan, const TileRegs& a, const TileRegs& b, int64_t k,
                                std::vector<ValueId>& fa, std::vector<ValueId>& fb) {
  const Atom& atom = *plan.atom;
  if (atom.source != MapSource::opaque) return;
  const auto steps_in = [&](thread::Use use, int64_t each) {
    return FragmentSlice(atom, use, slice_room(), each * plan.walk_k).holds / each;
  };
  const int64_t steps =
      std::max<int64_t>(1, std::min(steps_in(thread::Use::a, plan.walk_m), steps_in(thread::Use::b, plan.walk_n)));
  if (k % steps != 0) return;
  fa.resize(static_cast<size_t>(plan.walk_m * plan.walk_k));
  fb.resize(static_cast<size_t>(plan.walk_k * plan.walk_n));
  OpaqueOperand oa{&a, &atom, thread::Use::a, {}, {}}, ob{&b, &atom, thread::Use::b, {}, {}};
  const auto add = [](OpaqueOperand& o, std::vector<ValueId>& fragments, int64_t at) {
    o.atoms.push_back(at);
    o.to.push_back(&fragments[static_cast<size_t>(at)]);
  };
  for (int64_t m = 0; m < plan.walk_m; m++)
    for (int64_t s = k; s < std::min(k + steps, plan.walk_k); s++) add(oa, fa, m * plan.walk_k + s);
  for (int64_t s = k; s < std::min(k + steps, plan.walk_k); s++)
    for (int64_t n = 0; n < plan.walk_n; n++) add(ob, fb, s * plan.walk_n + n);
  load_opaque({oa, ob});
}

/// The elements of opaque accumulators in the order of their nominal slots.
std::vector<ValueId> Lowering::read_opaque(const TileRegs& t) {
  const auto count = static_cast<int64_t>(t.frags.size());
  const Crossing c = begin_crossing(*t.atom, thread::Use::c, count);
  const int64_t slots = c.slice.layout.slots();
  const auto accesses = plan_accesses(c.slice.layout, c.slice.memory, c.slice.access_elems);
  std::vector<ValueId> out(static_cast<size_t>(count * slots), kNone);
  for (int64_t first = 0; first < count; first += c.slice.holds) {
    const int64_t some = std::min(c.slice.holds, count - first);
    before_write(c.array);
    for (int64_t j = 0; j < some; j++)
      b_.effect(Op::frag_store_shared,
                {emit(Op::add, {c.base, b_.i32(c.slice.start(j))}), t.frags[static_cast<size_t>(first + j)],
                 b_.i32(c.slice.pitch)},
                {.imm = c.slice.column_major, .index = c.array});
    pending_writes_[c.array] = true;
    before_read(c.array);
    for (int64_t j = 0; j < some; j++)
      for (const Access& a : accesses) {
        const auto n = static_cast<int64_t>(a.slots.size());
        const int64_t at = c.slice.start(j) + c.slice.memory.address(a.first) * c.slice.elem_bytes;
        const ValueId words =
            emit(Op::load_shared, {c.mine}, {.type = access_type(n * t.elem.bits), .imm = at, .index = c.array});
        const auto elements = elements_of_words(split_words(words), t.elem, n);
        for (size_t e = 0; e < elements.size(); e++)
          out[static_cast<size_t>((first + j) * slots + a.slots[e])] = elements[e];
      }
    pending_reads_[c.array] = true;
  }
  end_crossing(c);
  return out;
}

}  // namespace lathe
