// Tiles that travel in bulk: a packed tile as runs of whole units, in the order they have in memory; a plain one that a
// matrix instruction reads from shared memory as boxes of its view. The subgroups share the copies of a tile; whoever
// reads it waits for the barrier that counts its bytes, and for no other thread.
#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr int64_t kLeastRunBytes = 512;  ///< shorter runs travel in pieces

}  // namespace

std::optional<Lowering::BulkRuns> Lowering::bulk_runs(ValueId view, const tile::Type& t) const {
  const PackedLayout& p = packed_.at(name(view));
  const auto outer = divide(*t.layout, p.unit);
  if (!outer || p.unit_bytes() % 16 != 0) return std::nullopt;
  BulkRuns r{*outer, t.shape[0] / p.unit_n(), t.shape[1] / p.unit_k(), 1, 0, p.unit_bytes()};
  while (r.rows * r.parts < out_.subgroups && r.columns % (2 * r.parts) == 0) r.parts *= 2;
  r.units = r.columns / r.parts;
  if (r.units * r.unit_bytes < kLeastRunBytes) return std::nullopt;
  return r;
}

bool Lowering::bulk_boxes(ValueId view, const tile::Type& t) const {
  const int64_t rows = t.shape[0];
  return options_.aligned && views_.at(view)->sizes.size() == 2 && t.elem.bits == 8 * thread::kBoxElementBytes &&
         rows % 8 == 0 && (rows <= thread::kMaxBoxRows || rows % thread::kMaxBoxRows == 0) &&
         t.shape[1] % thread::kBoxColumns == 0;
}

/// Rooms made outside loops: the phases of their barriers then begin with the kernel.
void Lowering::find_bulk_rooms() {
  if (!t_.bulk_copy) return;
  for (const InstId id : f_.blocks[f_.body].insts) {
    const Inst& i = f_.inst(id);
    if (i.op != tile::Op::room) continue;
    const tile::Type& t = type(i.results[0]);
    const bool bulk = type(i.args[0]).packed ? bulk_runs(i.args[0], t).has_value()
                                             : shared_operands_.contains(id) && bulk_boxes(i.args[0], t);
    if (bulk) bulk_rooms_.insert(id);
  }
}

/// The rooms of one turn have one barrier. No phase of it has ended yet.
int64_t Lowering::bulk_token(InstId room, int64_t offset) {
  if (!open_barrier_) open_barrier_ = out_.bulk_barriers++;
  bulk_barriers_[room] = *open_barrier_;
  return offset | *open_barrier_ << kTokenBarrier | kTokenParity;
}

ValueId Lowering::room_start(ValueId token) {
  return is_bulk(token) ? emit(Op::band, {scalars_.at(token), b_.i32(kTokenStart)}) : scalars_.at(token);
}
ValueId Lowering::bulk_barrier(ValueId token) { return emit(Op::shr_u, {scalars_.at(token), b_.i32(kTokenBarrier)}); }

/// The copies of a turn are counted together, in the phase after the one its room was last waited for.
void Lowering::issue_bulk(const Inst& i) {
  const ValueId token = i.args.back();
  if (bulk_counter_ == kNone) bulk_counter_ = bulk_barrier(token);
  type(i.args[0]).packed ? issue_runs(i) : issue_boxes(i);
  scalars_[i.results[0]] = emit(Op::bxor, {scalars_.at(token), b_.i32(kTokenParity)});
}

void Lowering::each_own(int64_t count, const std::function<void(ValueId, ValueId)>& visit) {
  const ValueId subgroup = emit(Op::subgroup_id, {}, {.type = thread::kI32});
  for (int64_t first = 0; first < count; first += out_.subgroups) {
    const ValueId number = emit(Op::add, {subgroup, b_.i32(first)});
    visit(number, emit(Op::lt_s, {number, b_.i32(count)}));
  }
}

void Lowering::issue_runs(const Inst& i) {
  const ValueId view = i.args[0];
  const tile::Type& t = type(i.results[0]);
  const PackedLayout& p = packed_.at(name(view));
  const BulkRuns runs = *bulk_runs(view, t);
  ValueId first[2], size[2];  // in units
  for (size_t d = 0; d < 2; d++) {
    const int64_t extent = p.unit.shape()[d];
    const ValueId elements = scalar(views_.at(view)->sizes[d]);
    size[d] =
        cvt(Op::trunc, emit(Op::div_u, {emit(Op::add, {elements, b_.i64(extent - 1)}), b_.i64(extent)}), thread::kI32);
    first[d] = emit(Op::div_u, {index32(i.args[1 + d]), b_.i32(extent)});
  }
  const ValueId start = room_start(i.args.back());
  const ValueId unit_bytes = b_.i64(runs.unit_bytes);
  const ValueId row_bytes = emit(Op::mul, {cvt(Op::zext, size[1], thread::kI64), unit_bytes});
  each_own(runs.rows * runs.parts, [&](ValueId number, ValueId exists) {
    const ValueId r = emit(Op::div_u, {number, b_.i32(runs.parts)});
    const ValueId c = emit(Op::mul, {emit(Op::rem_u, {number, b_.i32(runs.parts)}), b_.i32(runs.units)});
    const ValueId row = emit(Op::add, {first[0], r}), column = emit(Op::add, {first[1], c});
    const ValueId inside = emit(Op::band, {emit(Op::lt_u, {row, size[0]}), emit(Op::lt_u, {column, size[1]})});
    const ValueId left = emit(Op::min_s, {emit(Op::sub, {size[1], column}), b_.i32(runs.units)});
    const ValueId bytes = emit(Op::mul, {emit(Op::select, {inside, left, b_.i32(0)}), b_.i32(runs.unit_bytes)});
    const ValueId at = emit(Op::add, {emit(Op::mul, {cvt(Op::zext, row, thread::kI64), row_bytes}),
                                      emit(Op::mul, {cvt(Op::zext, column, thread::kI64), unit_bytes})});
    const ValueId place =
        emit(Op::mul, {emit(Op::add, {emit(Op::mul, {r, b_.i32(runs.columns)}), c}), b_.i32(runs.unit_bytes)});
    b_.effect(Op::bulk_copy,
              {emit(Op::add, {start, place}), bulk_counter_, emit(Op::add, {scalar(view), at}), bytes, exists},
              {.imm = runs.units * runs.unit_bytes, .index = array_of(i.args.back())});
  });
  bulk_bytes_ += runs.rows * runs.columns * runs.unit_bytes;
}

thread::Box::Number Lowering::number_of(ValueId size) {
  const Inst* made = f_.def(size);
  if (made != nullptr && made->op == tile::Op::constant) return {-1, made->attr.imm};
  return {static_cast<int>(out_.def(scalars_.at(size))->attr.imm), 0};
}

int64_t Lowering::box_index(ValueId view, int64_t rows) {
  const tile::Param& p = *views_.at(view);
  const thread::Box box{static_cast<int>(out_.def(scalars_.at(view))->attr.imm), number_of(p.sizes[1]),
                        number_of(p.sizes[0]), number_of(p.strides.empty() ? p.sizes[1] : p.strides[0]),
                        static_cast<int>(rows)};
  const auto known = std::find(out_.boxes.begin(), out_.boxes.end(), box);
  if (known != out_.boxes.end()) return known - out_.boxes.begin();
  out_.boxes.push_back(box);
  return static_cast<int64_t>(out_.boxes.size()) - 1;
}

void Lowering::issue_boxes(const Inst& i) {
  const Coord& shape = type(i.results[0]).shape;
  const int64_t rows = std::min<int64_t>(shape[0], thread::kMaxBoxRows), panels = shape[1] / thread::kBoxColumns;
  const int64_t box_bytes = rows * thread::kBoxColumns * thread::kBoxElementBytes;
  const int64_t box = box_index(i.args[0], rows);
  const ValueId start = room_start(i.args.back());
  const ValueId row = index32(i.args[1]), column = index32(i.args[2]);
  const int64_t parts = shape[0] / rows;  // of a panel: they stand one after another
  each_own(panels * parts, [&](ValueId number, ValueId exists) {
    const ValueId panel = emit(Op::div_u, {number, b_.i32(parts)}), part = emit(Op::rem_u, {number, b_.i32(parts)});
    b_.effect(Op::bulk_box,
              {emit(Op::add, {start, emit(Op::mul, {number, b_.i32(box_bytes)})}), bulk_counter_,
               emit(Op::add, {column, emit(Op::mul, {panel, b_.i32(thread::kBoxColumns)})}),
               emit(Op::add, {row, emit(Op::mul, {part, b_.i32(rows)})}), exists},
              {.imm = box, .index = array_of(i.args.back())});
  });
  bulk_bytes_ += panels * parts * box_bytes;
}

void Lowering::await_bulk(ValueId token) {
  b_.effect(Op::bulk_wait, {bulk_barrier(token), emit(Op::band, {scalars_.at(token), b_.i32(kTokenParity)})});
}

/// Each lane's pieces of its units.
TileRegs Lowering::read_runs(const Inst& i) {
  const ValueId view = f_.insts[first_room(i.args[0])].args[0];
  const tile::Type& t = type(i.results[0]);
  const PackedLayout& p = packed_.at(name(view));
  const BulkRuns runs = *bulk_runs(view, t);
  const int64_t piece = p.piece_bytes();
  const ValueId unit =
      emit(Op::add, {emit(Op::mul, {unit_coord(runs.outer, 0), b_.i32(runs.columns)}), unit_coord(runs.outer, 1)});
  ValueId from = emit(Op::add, {room_start(i.args[0]), emit(Op::mul, {unit, b_.i32(runs.unit_bytes)})});
  if (const ValueId lane = stored_lane(p.unit); lane != kNone)
    from = emit(Op::add, {from, emit(Op::mul, {lane, b_.i32(piece)})});
  std::vector<ValueId> words;
  for (int64_t u = 0; u < runs.outer.slots(); u++) {
    const Coord c = runs.outer.at(0, u);
    for (int64_t j = 0; j < p.pieces(); j++) {
      const int64_t at = (c[0] * runs.columns + c[1]) * runs.unit_bytes + j * p.lanes() * piece;
      const auto some = split_words(
          emit(Op::load_shared, {from}, {.type = access_type(piece * 8), .imm = at, .index = array_of(i.args[0])}));
      words.insert(words.end(), some.begin(), some.end());
    }
  }
  return packed_tile(p, t, words);
}

}  // namespace lathe
