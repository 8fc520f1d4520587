// Tiles that travel in bulk: a packed tile as runs of whole units, in the order they have in memory; a plain one that a
// matrix instruction reads from shared memory as boxes of its view. The subgroups share the copies of a tile; whoever
// reads it waits for the barrier that counts its bytes, and for no other thread.
#include "ir/lower/lowering.h"

namespace lathe {
namespace {

constexpr int64_t kLeastRunBytes = 512;  ///< shorter runs travel in pieces

}  // namespace

std::optional<Lowering::BulkRuns> Lowering::bulk_runs(ValueId view, const tile::Type& t, bool own) const {
  const PackedLayout& p = packed_.at(name(view));
  const auto outer = divide(*t.layout, p.unit);
  if (!outer || p.unit_bytes() % 16 != 0) return std::nullopt;
  BulkRuns r{*outer, t.shape[0] / p.unit_n(), t.shape[1] / p.unit_k(), p.unit_bytes()};
  if (own) {
    Coord last(2, 0);
    for (int64_t s = 0; s < outer->slots(); s++)
      for (size_t d = 0; d < 2; d++) last[d] = std::max(last[d], outer->at(0, s)[d]);
    r.own_rows = last[0] + 1, r.units = last[1] + 1;
    if (outer->replicas() > 1 || r.own_rows * r.units != outer->slots()) return std::nullopt;
  } else {
    while (r.rows * r.parts < out_.subgroups && r.columns % (2 * r.parts) == 0) r.parts *= 2;
    r.units = r.columns / r.parts;
  }
  if (r.units * r.unit_bytes < kLeastRunBytes) return std::nullopt;
  return r;
}
Lowering::BulkRuns Lowering::runs_of(ValueId token) const {
  return *bulk_runs(f_.insts[first_room(token)].args[0], type(token), is_own(token));
}

bool Lowering::bulk_boxes(ValueId view, const tile::Type& t) const {
  const int64_t rows = t.shape[0];
  return options_.aligned && views_.at(view)->sizes.size() == 2 && t.elem.bits == 8 * thread::kBoxElementBytes &&
         rows % 8 == 0 && (rows <= thread::kMaxBoxRows || rows % thread::kMaxBoxRows == 0) &&
         t.shape[1] % thread::kBoxColumns == 0;
}

std::optional<int64_t> Lowering::own_columns(const Layout& l) const {
  int64_t columns = l.shape()[1], subgroups = out_.subgroups;
  std::vector<Mode> above;
  for (size_t i = 0; i < l.T().size() && subgroups > 1; i++) {
    const Mode& m = l.T()[i];
    if (m.d != 1 || subgroups % m.n) return std::nullopt;
    above.push_back(m);
    columns /= m.n, subgroups /= m.n;
  }
  for (const Mode& m : above)
    if (m.w % columns != 0) return std::nullopt;
  if (l.partials() > 1 || columns % thread::kBoxColumns) return std::nullopt;
  return columns;
}

/// Whether nobody reads what another subgroup copies.
bool Lowering::own_turn(const std::vector<InstId>& ring) const {
  return std::all_of(ring.begin(), ring.end(), [&](InstId id) {
    const Inst& i = f_.insts[id];
    const tile::Type& t = type(i.results[0]);
    if (type(i.args[0]).packed) return bulk_runs(i.args[0], t, true) || !bulk_runs(i.args[0], t, false);
    return !shared_operands_.contains(id) && bulk_boxes(i.args[0], t) && own_columns(*t.layout);
  });
}

/// Rooms made outside loops: the phases of their barriers then begin with the kernel.
void Lowering::find_bulk_rooms() {
  if (!t_.bulk_copy) return;
  for (const InstId id : f_.blocks[f_.body].insts) {
    const Inst& i = f_.inst(id);
    if (i.op != tile::Op::room) continue;
    const tile::Type& t = type(i.results[0]);
    const bool own = own_turn(ring_of(id));
    const bool bulk = type(i.args[0]).packed ? bulk_runs(i.args[0], t, own).has_value() : bulk_boxes(i.args[0], t);
    if (bulk) bulk_rooms_[id] = own;
  }
}

/// The rooms of one turn have one barrier, or one for each subgroup. No phase of it has ended yet.
int64_t Lowering::bulk_token(InstId room, int64_t offset) {
  if (!open_barrier_) {
    open_barrier_ = out_.bulk_barriers;
    out_.bulk_barriers += bulk_rooms_.at(room) ? out_.subgroups : 1;
  }
  bulk_barriers_[room] = *open_barrier_;
  return offset | *open_barrier_ << kTokenBarrier | kTokenParity;
}

ValueId Lowering::subgroup_coord(const Layout& l, int d) {
  ValueId sum = b_.i32(0);
  int64_t below = out_.subgroups;
  for (size_t i = 0; below > 1; i++) {
    const Mode& m = l.T()[i];
    below /= m.n;
    if (m.d != d) continue;
    ValueId digit = subgroup_id();
    if (below > 1) digit = emit(Op::div_u, {digit, b_.i32(below)});
    if (below * m.n < out_.subgroups) digit = emit(Op::rem_u, {digit, b_.i32(m.n)});
    sum = emit(Op::add, {sum, emit(Op::mul, {digit, b_.i32(m.w)})});
  }
  return sum;
}

ValueId Lowering::room_start(ValueId token) {
  return is_bulk(token) ? emit(Op::band, {scalars_.at(token), b_.i32(kTokenStart)}) : scalars_.at(token);
}
ValueId Lowering::bulk_barrier(ValueId token) {
  const ValueId first = emit(Op::shr_u, {scalars_.at(token), b_.i32(kTokenBarrier)});
  return is_own(token) ? emit(Op::add, {first, subgroup_id()}) : first;
}

/// The copies of a turn are counted together, in the phase after the one its room was last waited for.
void Lowering::count_bulk(const Inst& i) {
  const ValueId token = i.args.back();
  if (bulk_counter_ == kNone) bulk_counter_ = bulk_barrier(token);
  bulk_own_ = is_own(token);
  bulk_bytes_ += room_of(token).bytes;
  scalars_[i.results[0]] = emit(Op::bxor, {scalars_.at(token), b_.i32(kTokenParity)});
}

void Lowering::issue_bulk(const Inst& i, ValueId counter) {
  type(i.args[0]).packed ? issue_runs(i, counter) : issue_boxes(i, counter);
}

/// In front of a pipeline what other launches may write is copied last: the weights of all its turns are on their way
/// while this launch waits for those.
bool Lowering::put_off(const Inst& i) {
  const bool issues = i.op == tile::Op::issue;
  const bool in_front = loop_depth_ == 0 && !launch_awaited_ && t_.overlapped_launch;
  if (in_front && issues && is_bulk(i.args.back()) && meets_other_launches(i)) {
    before_write(array_of(i.args.back()));
    count_bulk(i);
    put_off_.emplace_back(&i, bulk_counter_);
    return true;
  }
  const bool prepares = i.op == tile::Op::room || i.op == tile::Op::commit || (issues && !meets_other_launches(i)) ||
                        (tile::info(i.op).effect == tile::Effect::pure && type(i.results[0]).is_scalar());
  if (!prepares) issue_put_off();
  return false;
}

void Lowering::issue_put_off() {
  if (put_off_.empty()) return;
  await_launch();
  for (const auto& [issue, counter] : std::exchange(put_off_, {})) issue_bulk(*issue, counter);
}

void Lowering::each_own(int64_t count, const std::function<void(ValueId, ValueId)>& visit) {
  for (int64_t first = 0; first < count; first += out_.subgroups) {
    const ValueId number = emit(Op::add, {subgroup_id(), b_.i32(first)});
    visit(number, emit(Op::lt_s, {number, b_.i32(count)}));
  }
}

void Lowering::issue_runs(const Inst& i, ValueId counter) {
  const ValueId view = i.args[0];
  const PackedLayout& p = packed_.at(name(view));
  const BulkRuns runs = runs_of(i.args.back());
  ValueId first[2], size[2];  // in units
  for (size_t d = 0; d < 2; d++) {
    const int64_t extent = p.unit.shape()[d];
    const ValueId elements = scalar(views_.at(view)->sizes[d]);
    size[d] =
        cvt(Op::trunc, emit(Op::div_u, {emit(Op::add, {elements, b_.i64(extent - 1)}), b_.i64(extent)}), thread::kI32);
    first[d] = emit(Op::div_u, {index32(i.args[1 + d]), b_.i32(extent)});
  }
  const ValueId start = room_start(i.args.back()), unit_bytes = b_.i64(runs.unit_bytes);
  const ValueId row_bytes = emit(Op::mul, {cvt(Op::zext, size[1], thread::kI64), unit_bytes});
  const auto copy = [&](ValueId r, ValueId c, ValueId exists) {
    const ValueId row = emit(Op::add, {first[0], r}), column = emit(Op::add, {first[1], c});
    const ValueId inside = emit(Op::band, {emit(Op::lt_u, {row, size[0]}), emit(Op::lt_u, {column, size[1]})});
    const ValueId left = emit(Op::min_s, {emit(Op::sub, {size[1], column}), b_.i32(runs.units)});
    const ValueId bytes = emit(Op::mul, {emit(Op::select, {inside, left, b_.i32(0)}), b_.i32(runs.unit_bytes)});
    // Rows of units first: their product leaves the loops over k.
    const ValueId row_start =
        emit(Op::add, {scalar(view), emit(Op::mul, {cvt(Op::zext, row, thread::kI64), row_bytes})});
    const ValueId from = emit(Op::add, {row_start, emit(Op::mul, {cvt(Op::zext, column, thread::kI64), unit_bytes})});
    const ValueId place =
        emit(Op::mul, {emit(Op::add, {emit(Op::mul, {r, b_.i32(runs.columns)}), c}), b_.i32(runs.unit_bytes)});
    b_.effect(Op::bulk_copy, {emit(Op::add, {start, place}), counter, from, bytes, exists},
              {.imm = runs.units * runs.unit_bytes, .index = array_of(i.args.back())});
  };
  const ValueId column = runs.own_rows ? subgroup_coord(runs.outer, 1) : kNone;
  for (int64_t r = 0; r < runs.own_rows; r++)
    copy(emit(Op::add, {subgroup_coord(runs.outer, 0), b_.i32(r)}), column, b_.constant(thread::kBool, 1));
  if (runs.own_rows) return;
  each_own(runs.rows * runs.parts, [&](ValueId number, ValueId exists) {
    const ValueId part = emit(Op::rem_u, {number, b_.i32(runs.parts)});
    copy(emit(Op::div_u, {number, b_.i32(runs.parts)}), emit(Op::mul, {part, b_.i32(runs.units)}), exists);
  });
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

void Lowering::issue_boxes(const Inst& i, ValueId counter) {
  const tile::Type& t = type(i.results[0]);
  const int64_t rows = std::min<int64_t>(t.shape[0], thread::kMaxBoxRows), panels = t.shape[1] / thread::kBoxColumns;
  const int64_t box_bytes = rows * thread::kBoxColumns * thread::kBoxElementBytes;
  const int64_t box = box_index(i.args[0], rows),
                parts = t.shape[0] / rows;  // of a panel: they stand one after another
  const ValueId start = room_start(i.args.back());
  const ValueId row = index32(i.args[1]), column = index32(i.args[2]);
  const auto copy = [&](ValueId number, ValueId exists) {
    const ValueId panel = emit(Op::div_u, {number, b_.i32(parts)}), part = emit(Op::rem_u, {number, b_.i32(parts)});
    b_.effect(Op::bulk_box,
              {emit(Op::add, {start, emit(Op::mul, {number, b_.i32(box_bytes)})}), counter,
               emit(Op::add, {column, emit(Op::mul, {panel, b_.i32(thread::kBoxColumns)})}),
               emit(Op::add, {row, emit(Op::mul, {part, b_.i32(rows)})}), exists},
              {.imm = box, .index = array_of(i.args.back())});
  };
  if (!is_own(i.args.back())) return each_own(panels * parts, copy);
  const ValueId first =
      emit(Op::mul, {emit(Op::div_u, {subgroup_coord(*t.layout, 1), b_.i32(thread::kBoxColumns)}), b_.i32(parts)});
  for (int64_t n = 0; n < panels * parts / out_.subgroups; n++)
    copy(emit(Op::add, {first, b_.i32(n)}), b_.constant(thread::kBool, 1));
}

void Lowering::await_bulk(ValueId token) {
  b_.effect(Op::bulk_wait, {bulk_barrier(token), emit(Op::band, {scalars_.at(token), b_.i32(kTokenParity)})});
}

/// Each lane's pieces of its units.
TileRegs Lowering::read_runs(const Inst& i) {
  const ValueId view = f_.insts[first_room(i.args[0])].args[0];
  const tile::Type& t = type(i.results[0]);
  const PackedLayout& p = packed_.at(name(view));
  const BulkRuns runs = runs_of(i.args[0]);
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
