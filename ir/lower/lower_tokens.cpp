// Tiles that travel by asynchronous copies. A token is the offset of its room in a shared array, so a loop that rotates
// its tokens rotates a ring of rooms. Copies are ordered by waits alone where each thread reads what it copied (packed
// tiles), by a barrier a turn where others read it, of the subgroup where nobody outside it does.
#include <fmt/format.h>

#include <algorithm>

#include "ir/lower/banks.h"
#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr int64_t kCopyBytes = 16;

}  // namespace

/// The room that was made for the first tile of this token's name.
InstId Lowering::first_room(ValueId token) const {
  for (;;) {
    const InstId id = f_.values[token].def;
    if (id != kNone && f_.insts[id].op == tile::Op::room) return id;
    if (id != kNone && f_.insts[id].op != tile::Op::loop) {
      token = f_.insts[id].args.back();  // issue, release
      continue;
    }
    for (const Inst& loop : f_.insts) {
      if (loop.op != tile::Op::loop) continue;
      const auto& params = f_.blocks[loop.blocks[0]].params;
      for (size_t c = 0; c < loop.results.size(); c++)
        if (loop.results[c] == token || params[c + 1] == token) {
          token = loop.args[c + 3];
          break;
        }
    }
  }
}

Lowering::Room Lowering::room_of(ValueId token) const {
  const tile::Type& t = type(token);
  const Inst& made = f_.insts[first_room(token)];
  Room out;
  if (type(made.args[0]).packed) {
    const int64_t lane_bytes = t.layout->slots() * t.elem.bits / 8;
    out.bytes = lane_bytes * threads();
    out.access_bytes = packed_.at(name(made.args[0])).piece_bytes();
    if (is_bulk(token)) {
      const BulkRuns runs = runs_of(token);
      out.bytes = runs.rows * runs.columns * runs.unit_bytes;
    }
    return out;
  }
  const int elem_bytes = t.elem.bits / 8;
  const int64_t vec = kCopyBytes / elem_bytes;
  out.copy_elems = vec;
  if (shared_operands_.contains(first_room(token))) {
    out.memory = shared_operand(t.shape, elem_bytes);
    out.copy = tile::coalesced_runs(t.shape, out.copy_elems, threads());
    out.align = kSharedOperandAlign;
    out.bytes = (out.memory.span() * elem_bytes + out.align - 1) / out.align * out.align;
    return out;
  }
  if (is_bulk(token)) {  // a column of panels for each subgroup that reads only its own
    out.memory = shared_operand(t.shape, elem_bytes);
    out.copy = tile::coalesced_runs(t.shape, vec, threads());
    out.read = plan_shared_read(t_, *t.layout, out.memory, t.elem.bits, vec);
    out.access_bytes = own_elems(out.read) * elem_bytes;
    out.align = kSharedOperandAlign;
    out.bytes = (out.memory.span() * elem_bytes + out.align - 1) / out.align * out.align;
    return out;
  }
  const auto own = tile::runs_of_subgroups(*t.layout, vec, t_.subgroup_size);
  out.own = own.has_value();
  out.copy = own ? *own : tile::coalesced_runs(t.shape, vec, threads());
  int64_t best = -1;
  for (const int64_t pad : {0, 16, 32, 64}) {
    const MemoryLayout m = row_major(t.shape, t.shape.back() + pad / elem_bytes);
    const SharedRead read = plan_shared_read(t_, *t.layout, m, t.elem.bits, vec);
    const int64_t cost =
        read.phases + bank_phases(out.copy, m, vec, elem_bytes, t_.subgroup_size) * (out.copy.slots() / vec);
    if (best >= 0 && cost >= best) continue;
    best = cost;
    out.memory = m;
    out.read = read;
    out.access_bytes = own_elems(read) * elem_bytes;
  }
  out.bytes = (out.memory.span() * elem_bytes + kCopyBytes - 1) / kCopyBytes * kCopyBytes;
  return out;
}

/// The rooms of the tokens that a loop carries beside this one's: any of them may be any other's next turn.
std::vector<InstId> Lowering::ring_of(InstId room) const {
  for (const Inst& loop : f_.insts) {
    if (loop.op != tile::Op::loop) continue;
    std::vector<InstId> ring;
    for (size_t a = 3; a < loop.args.size(); a++)
      if (type(loop.args[a]).is_token()) ring.push_back(first_room(loop.args[a]));
    if (std::find(ring.begin(), ring.end(), room) != ring.end()) return ring;
  }
  return {room};
}

void Lowering::note_room(InstId id, const Room& room) {
  const Inst& i = f_.insts[id];
  SharedTile tile{name(i.args[0]), i.loc, type(i.results[0]).elem, room.memory, room.copy, {}, room.copy_elems};
  if (!shared_operands_.contains(id)) {
    tile.read = room.read.place;
    tile.read_elems = asked_elems(room.read);
  }
  shown_tiles_.push_back(std::move(tile));
}

/// The rooms of a loop are one array.
Result<Unit> Lowering::room(const Inst& i) {
  const InstId id = f_.values[i.results[0]].def;
  if (!room_places_.contains(id)) {
    int64_t bytes = 0, align = 16;
    int64_t access = kCopyBytes;
    const std::vector<InstId> ring = ring_of(id);
    for (const InstId other : ring) {
      const ValueId token = f_.insts[other].results[0];
      const Room room = room_of(token);
      bytes = (bytes + room.align - 1) / room.align * room.align;
      align = std::max(align, room.align);
      room_places_[other] = {0, bytes};
      bytes += room.bytes;
      if (!type(f_.insts[other].args[0]).packed) note_room(other, room);
      access = std::min(access, room.access_bytes);
    }
    const auto bulk = std::find_if(ring.begin(), ring.end(), [&](InstId r) { return bulk_rooms_.contains(r); });
    const bool own = bulk != ring.end() && bulk_rooms_.at(*bulk);
    const uint32_t array_id = array("rooms", bytes, static_cast<int>(access));
    if (own) owned_.insert(array_id);
    out_.shared[array_id].align = std::max(out_.shared[array_id].align, align);
    for (const InstId other : ring) room_places_[other].array = array_id;
  }
  const int64_t offset = room_places_.at(id).offset;
  scalars_[i.results[0]] = b_.i32(bulk_rooms_.contains(id) ? bulk_token(id, offset) : offset);
  return Unit{};
}

Result<Unit> Lowering::issue(const Inst& i) {
  const Inst* made = f_.def(i.args.back());
  const bool bulk = is_bulk(i.args.back());
  if (bulk || (made && made->op == tile::Op::room))  // in a loop, the wait for pieces was the barrier
    before_write(array_of(i.args.back()));
  if (bulk) {
    count_bulk(i);
    issue_bulk(i, bulk_counter_);
    return Unit{};
  }
  pieces_issued_ = true;
  TRY(type(i.args[0]).packed ? issue_packed(i) : issue_plain(i));
  scalars_[i.results[0]] = scalars_.at(i.args.back());
  return Unit{};
}

/// What was issued since the last commit is waited for at once.
void Lowering::commit() {
  if (std::exchange(pieces_issued_, false)) b_.effect(Op::async_commit, {});
  if (const ValueId counter = std::exchange(bulk_counter_, kNone); counter != kNone) {
    const ValueId mine = bulk_own_ ? b_.constant(thread::kBool, 1) : emit(Op::eq, {subgroup_id(), b_.i32(0)});
    const int64_t bytes = std::exchange(bulk_bytes_, 0) / (bulk_own_ ? out_.subgroups : 1);
    b_.effect(Op::bulk_expect, {counter, mine}, {.imm = bytes});
  }
  open_barrier_.reset();
  waited_ = bulk_waited_ = false;
  shown_ = Shown::nobody;
}

Result<Unit> Lowering::issue_plain(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Room room = room_of(i.results[0]);
  const int elem_bytes = t.elem.bits / 8;
  const ViewAddress a = view_address(i, t.shape.size());
  const BlockId outer = b_.block;
  const ValueId mine = owner(room.copy);
  std::optional<thread::Builder::Cond> only;
  const bool swizzles = room.memory.swizzle.bits > 0;
  const ValueId part =
      swizzles ? thread_swizzled(room.copy, room.memory, elem_bytes) : thread_bytes(room.copy, room.memory, elem_bytes);
  if (mine != kNone) only = b_.begin_cond(mine);
  for (const Access& access : plan_accesses(room.copy, far_rows(t.shape), room.copy_elems)) {
    int64_t imm = 0, at = room.memory.address(access.first) * elem_bytes;
    const ValueId from = access_address(a, room.copy, access.first, t.elem.bits, imm);
    const ValueId place = swizzles ? swizzled(part, room.memory, access.first, elem_bytes, at) : part;
    b_.effect(Op::async_copy,
              {emit(Op::add, {scalars_.at(i.args.back()), place}), emit(Op::add, {from, b_.i64(imm)}),
               in_bounds(a, room.copy, access.first)},
              {.type = thread::kI32.with_lanes(static_cast<int>(room.copy_elems * elem_bytes / 4)),
               .imm = at,
               .index = array_of(i.results[0])});
  }
  if (only) {
    b_.yield({});
    b_.block = only->else_block;
    b_.yield({});
    b_.end_cond(*only, outer);
  }
  return Unit{};
}

/// Each thread's pieces: [piece][thread].
Result<Unit> Lowering::issue_packed(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const int64_t piece = packed_.at(name(i.args[0])).piece_bytes();
  const ValueId to = thread_piece(i.args.back(), piece);
  int64_t at = 0;
  return packed_pieces(i, t, [&](ValueId address, int64_t imm, ValueId inside) {
    b_.effect(Op::async_copy, {to, emit(Op::add, {address, b_.i64(imm)}), inside},
              {.type = access_type(piece * 8), .imm = at, .index = array_of(i.results[0])});
    at += piece * threads();
  });
}

/// i32 bytes: where this thread's first piece of a room is.
ValueId Lowering::thread_piece(ValueId token, int64_t piece) {
  const ValueId thread = emit(Op::thread_id, {}, {.type = thread::kI32});
  return emit(Op::add, {scalars_.at(token), emit(Op::mul, {thread, b_.i32(piece)})});
}

Result<Unit> Lowering::wait(const Inst& i) {
  const bool packed = type(f_.insts[first_room(i.args[0])].args[0]).packed;
  if (type(i.args[0]).layout != type(i.results[0]).layout) return internal_error("wait: a token of another layout");
  if (is_bulk(i.args[0])) {
    if (!std::exchange(bulk_waited_, true)) await_bulk(i.args[0]);
    if (stay_shared_.contains(i.results[0])) return Unit{};
    tiles_[i.results[0]] = packed ? read_runs(i) : read_plain(i);
    pending_reads_[array_of(i.args[0])] = true;
    return Unit{};
  }
  if (!waited_) b_.effect(Op::async_wait, {}, {.imm = i.attr.imm});
  waited_ = true;
  if (!packed) show(room_of(i.args[0]).own ? Shown::subgroup : Shown::workgroup);
  if (stay_shared_.contains(i.results[0])) return Unit{};
  tiles_[i.results[0]] = packed ? read_packed(i) : read_plain(i);
  pending_reads_[array_of(i.args[0])] = true;
  return Unit{};
}

void Lowering::show(Shown to) {
  if (shown_ >= to) return;
  shown_ = to;
  if (to == Shown::subgroup) return b_.effect(Op::barrier_subgroup, {});
  if (!shared_operands_.empty()) b_.effect(Op::matrix_publish, {});
  barrier();
}

TileRegs Lowering::read_plain(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Room room = room_of(i.args[0]);
  const auto loaded = read_shared(room.read, room.memory, t.elem.bits, array_of(i.args[0]), room_start(i.args[0]));
  return gather(t.elem, *t.layout, room.read.accesses, loaded);
}

TileRegs Lowering::read_packed(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const PackedLayout& p = packed_.at(name(f_.insts[first_room(i.args[0])].args[0]));
  const int64_t piece = p.piece_bytes(), step = piece * threads();
  const ValueId from = thread_piece(i.args[0], piece);
  std::vector<ValueId> words;
  for (int64_t at = 0; at < room_of(i.args[0]).bytes; at += step) {
    const auto some = split_words(
        emit(Op::load_shared, {from}, {.type = access_type(piece * 8), .imm = at, .index = array_of(i.args[0])}));
    words.insert(words.end(), some.begin(), some.end());
  }
  return packed_tile(p, t, words);
}

/// The last turns brought tiles that nobody waits for; their rooms may be used again when these have arrived.
void Lowering::end_pipeline(const Inst& loop) {
  bool waited = false;
  std::set<int64_t> counted;
  for (size_t a = 3; a < loop.args.size(); a++) {
    if (!type(loop.args[a]).is_token()) continue;
    const Inst* made = f_.def(loop.args[a]);
    if (is_bulk(loop.args[a])) {
      const bool under_way = made != nullptr && made->op == tile::Op::issue;
      if (under_way && counted.insert(bulk_barriers_.at(first_room(loop.args[a]))).second)
        await_bulk(loop.results[a - 3]);
    } else if (!std::exchange(waited, true)) {
      b_.effect(Op::async_wait, {}, {.imm = 0});
    }
    pending_writes_[array_of(loop.args[a])] = true;
  }
}

}  // namespace lathe
