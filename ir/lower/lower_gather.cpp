// Rows by number: gather and scatter, of views and of shared tiles.
#include "ir/lower/lowering.h"

namespace lathe {

/// The place of one access: the row number of its first element gives the row, the other dimensions are as in a load.
Lowering::RowAccess Lowering::row_access(const Inst& i, const ViewAddress& a, const Layout& l, const TileRegs& rows,
                                         const Coord& first) {
  int64_t slot = 0;
  while (rows.layout.at(0, slot)[0] != first[0]) slot++;
  const ValueId number = element(rows, slot);
  const lathe::Type elem = type(i.args[0]).elem;
  const Coord& shape = type(i.args[0]).shape;
  const bool in_shared = type(i.args[0]).form == tile::Form::shared;
  RowAccess out{};
  if (in_shared) {
    const ValueId row = emit(Op::add, {index32(i.args[1]), number});
    out.address = row;
    out.inside = emit(Op::lt_u, {row, b_.i32(shape[0])});
    for (size_t d = 1; d < first.size(); d++) {
      const ValueId at = emit(Op::add, {thread_coord(l, static_cast<int>(d)), b_.i32(first[d])});
      const ValueId coord = emit(Op::add, {index32(i.args[1 + d]), at});
      out.address = emit(Op::add, {emit(Op::mul, {out.address, b_.i32(shape[d])}), coord});
      out.inside = emit(Op::band, {out.inside, emit(Op::lt_u, {coord, b_.i32(shape[d])})});
    }
    out.address = emit(Op::mul, {out.address, b_.i32(elem.bits / 8)});
    return out;
  }
  const ValueId size = scalar(views_.at(i.args[0])->sizes[0]), wide = cvt(Op::sext, number, thread::kI64);
  out.inside = emit(Op::lt_u, {emit(Op::add, {scalar(i.args[1]), wide}), size});
  const ValueId stride = a.stride_bytes[0] == kNone ? b_.i64(elem.bits / 8) : a.stride_bytes[0];
  ViewAddress row = a;
  row.base = emit(Op::add, {a.base, emit(Op::mul, {wide, stride})});
  // The row is chosen: the rest is a load of one row.
  Coord in_row = first;
  in_row[0] = 0;
  const Layout of_row = reduce(l, 0, Mode::kReplicate);
  out.address = access_address(row, of_row, in_row, elem.bits, out.imm);
  for (size_t d = 1; d < first.size(); d++) {
    if (a.left[d] == kNone) continue;
    const ValueId at = emit(Op::add, {thread_coord(l, static_cast<int>(d)), b_.i32(first[d])});
    out.inside = emit(Op::band, {out.inside, emit(Op::lt_s, {at, a.left[d]})});
  }
  return out;
}

Result<Unit> Lowering::gather_rows(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Layout& l = *t.layout;
  if (t.elem.bits < 8 || type(i.args[0]).packed)
    return unsupported("gather: only of plain rows of 8 bits an element or more");
  const bool in_shared = type(i.args[0]).form == tile::Form::shared;
  TileRegs& rows = tiles_.at(i.args.back());
  spread_fragments(rows);
  const auto accesses = row_accesses(i, l);
  const ViewAddress a = in_shared ? ViewAddress{} : view_address(i, l.shape().size());
  if (in_shared) before_read(shared_tiles_.at(i.args[0]));
  std::vector<ValueId> loaded;
  for (const Access& access : accesses) {
    const RowAccess place = row_access(i, a, l, rows, access.first);
    thread::Attr attr{.type = access_type(static_cast<int64_t>(access.slots.size()) * t.elem.bits), .imm = place.imm};
    if (in_shared) attr.index = shared_tiles_.at(i.args[0]);
    loaded.push_back(emit(in_shared ? Op::load_shared : Op::load_global, {place.address, place.inside}, attr));
  }
  if (in_shared) pending_reads_[shared_tiles_.at(i.args[0])] = true;
  tiles_[i.results[0]] = gather(t.elem, l, accesses, loaded);
  return Unit{};
}

Result<Unit> Lowering::scatter_rows(const Inst& i) {
  TileRegs& t = tiles_.at(i.args.back());
  const Layout& l = t.layout;
  if (t.elem.bits < 8 || type(i.args[0]).packed)
    return unsupported("scatter: only to plain rows of 8 bits an element or more");
  const bool in_shared = type(i.args[0]).form == tile::Form::shared;
  TileRegs& rows = tiles_.at(i.args[i.args.size() - 2]);
  spread_fragments(t);
  spread_fragments(rows);
  const auto accesses = row_accesses(i, l);
  const ViewAddress a = in_shared ? ViewAddress{} : view_address(i, l.shape().size());
  if (in_shared) before_write(shared_tiles_.at(i.args[0]));
  const ValueId mine = owner(l);
  for (const Access& access : accesses) {
    const RowAccess place = row_access(i, a, l, rows, access.first);
    const ValueId ok = mine == kNone ? place.inside : emit(Op::band, {place.inside, mine});
    thread::Attr attr{.imm = place.imm};
    if (in_shared) attr.index = shared_tiles_.at(i.args[0]);
    b_.effect(in_shared ? Op::store_shared : Op::store_global, {place.address, pack_access(t, access), ok}, attr);
  }
  if (in_shared) pending_writes_[shared_tiles_.at(i.args[0])] = true;
  return Unit{};
}

/// Neighbours of one row together; a tile of rank 1 is all rows. A shared tile is reached element by element.
std::vector<Access> Lowering::row_accesses(const Inst& i, const Layout& l) {
  const auto rank = static_cast<size_t>(l.rank());
  const bool alone = rank == 1 || type(i.args[0]).form == tile::Form::shared;
  const int64_t most =
      alone ? 1 : widest(type(i.args[0]).elem, rows_aligned(i.args[0]), tile::known_multiple(f_, i.args[rank]));
  return plan_accesses(l, far_rows(l.shape()), most);
}

}  // namespace lathe
