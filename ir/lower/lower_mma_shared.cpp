// Matrix instructions that read operand b from shared memory: the room of an asynchronous copy is laid out as they want
// it, so the tile never enters registers.
#include <fmt/format.h>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr int64_t kRowBytes = 128;  ///< of k for one column of b: a row of a panel
constexpr int64_t kPieceBytes = 16, kRowsRound = 8;

}  // namespace

/// Panels of 64 elements of k, each a row of 128 bytes for every column of b; 16-byte piece p of row r stands at
/// p ^ (r % 8). (PTX manual, matrix descriptors: k-major, 128-byte swizzle.) The tile of the room is b transposed.
MemoryLayout shared_operand(const Coord& shape, int64_t elem_bytes) {
  const int64_t row = kRowBytes / elem_bytes, panel = shape[0] * row, piece = kPieceBytes / elem_bytes;
  const auto log2 = [](int64_t v) { return std::countr_zero(static_cast<uint64_t>(v)); };
  return {.shape = shape,
          .modes = {{shape[0], 0, 1, row}, {row, 1, 1, 1}, {shape[1] / row, 1, row, panel}},
          .swizzle = {log2(kRowsRound), log2(piece), log2(row)}};
}

/// Every room that the token may be: a loop that rotates its tokens hands on all of them.
std::set<InstId> Lowering::rooms_behind(ValueId token) const {
  std::set<InstId> rooms;
  std::set<ValueId> seen;
  std::vector<ValueId> open{token};
  while (!open.empty()) {
    const ValueId v = open.back();
    open.pop_back();
    if (!seen.insert(v).second) continue;
    const Inst* def = f_.def(v);
    if (def && def->op == tile::Op::room) rooms.insert(f_.values[v].def);
    if (def && (def->op == tile::Op::issue || def->op == tile::Op::release)) open.push_back(def->args.back());
    f_.walk(f_.body, [&](BlockId, size_t, InstId id) {
      const Inst& loop = f_.inst(id);
      if (loop.op != tile::Op::loop) return;
      const auto& body = f_.blocks[loop.blocks[0]];
      for (size_t c = 0; c < loop.results.size(); c++)
        if (loop.results[c] == v || body.params[c + 1] == v)
          open.insert(open.end(), {loop.args[c + 3], f_.inst(body.insts.back()).args[c]});
    });
  }
  return rooms;
}

/// Products whose operand b stays in its room.
void Lowering::find_shared_operands() {
  f_.walk(f_.body, [&](BlockId, size_t, InstId id) {
    const Inst& i = f_.inst(id);
    const ValueId token = tile::room_of_operand(f_, i);
    if (i.op != tile::Op::mma || token == kNone) return;
    const auto plan = tile::plan_of(f_, i, t_);
    if (!plan || !plan->atom->b_in_shared) return;
    shared_operands_.merge(rooms_behind(token));
    stay_shared_.insert({i.args[1], f_.def(i.args[1])->args[0]});
  });
}

Result<Unit> Lowering::mma_shared(const Inst& i, const MmaPlan& plan) {
  const Atom& atom = *plan.atom;
  const ValueId token = tile::room_of_operand(f_, i);
  const TileRegs &a = tiles_.at(i.args[0]), &c = tiles_.at(i.args[2]);
  TileRegs out{c.elem, plan.c, {}, false, fragments(c, atom, thread::Use::c), kNone, &atom};
  const std::vector<ValueId> fa = fragments(a, atom, thread::Use::a);
  const int64_t columns = type(i.args[1]).shape[1], elem_bytes = atom.b.bits / 8;
  const int64_t steps = kRowBytes / (atom.k * elem_bytes);  // in one panel
  const thread::Attr attr{.index = array_of(token), .name = atom.name};
  const ValueId start = room_start(token);
  for (int64_t k = 0; k < plan.walk_k; k++)
    for (int64_t m = 0; m < plan.walk_m; m++)
      for (int64_t n = 0; n < plan.walk_n; n++) {
        thread::Attr at = attr;
        at.imm = (k / steps * columns + n * atom.n) * kRowBytes + k % steps * atom.k * elem_bytes;
        ValueId& acc = out.frags[static_cast<size_t>(m * plan.walk_n + n)];
        acc = emit(Op::mma_shared, {start, fa[static_cast<size_t>(m * plan.walk_k + k)], acc}, at);
      }
  pending_reads_[array_of(token)] = true;
  tiles_[i.results[0]] = out;
  return Unit{};
}

/// Where a thread's piece at slot coordinates `first` goes: address() of both parts, which share no bit.
ValueId Lowering::swizzled(ValueId mine, const MemoryLayout& m, const Coord& first, int64_t elem_bytes, int64_t& imm) {
  const int64_t at = m.linear(first), round = int64_t{1} << (m.swizzle.from + m.swizzle.bits);
  const int64_t low = m.swizzle.apply(at % round) * elem_bytes;
  imm = at / round * round * elem_bytes;
  return low ? emit(Op::bxor, {mine, b_.i32(low)}) : mine;
}

/// The thread's part of an address in m, in bytes, swizzled.
ValueId Lowering::thread_swizzled(const Layout& l, const MemoryLayout& m, int64_t elem_bytes) {
  ValueId sum = b_.i32(0);
  int64_t below = l.threads();
  for (const Mode& digit : l.T()) {
    below /= digit.n;
    for (const MemoryMode& part : m.modes) {
      const int64_t lo = std::max(part.w, digit.w), hi = std::min(part.w * part.n, digit.w * digit.n);
      if (digit.d != part.d || lo >= hi) continue;
      const ValueId x = thread_digit(below * (lo / digit.w), hi / lo);
      sum = emit(Op::add, {sum, emit(Op::mul, {x, b_.i32(lo / part.w * part.stride * elem_bytes)})});
    }
  }
  const int shift = std::countr_zero(static_cast<uint64_t>(elem_bytes));
  const int64_t mask = (int64_t{1} << m.swizzle.bits) - 1;
  const ValueId row = emit(Op::band, {emit(Op::shr_u, {sum, b_.i32(m.swizzle.from + shift)}), b_.i32(mask)});
  return emit(Op::bxor, {sum, emit(Op::shl, {row, b_.i32(m.swizzle.to + shift)})});
}

}  // namespace lathe
