// Loads and stores of global memory: plain views with masked edges, and packed parameters.
#include <fmt/format.h>
#include <algorithm>
#include <numeric>

#include "ir/lower/lowering.h"

namespace lathe {

thread::Type Lowering::access_type(int64_t bits) {
  if (bits == 8) return thread::kI8;
  if (bits == 16) return thread::kI16;
  return thread::kI32.with_lanes(static_cast<int>(bits / 32));
}

MemoryLayout Lowering::far_rows(const Coord& shape) { return row_major(shape, int64_t{1} << 24); }

bool Lowering::rows_aligned(ValueId view) const {
  const tile::Param& p = *views_.at(view);
  return p.workspace ? type(view).shape.back() * type(view).elem.bits % 128 == 0 : options_.aligned;
}

Lowering::ViewAddress Lowering::view_address(const Inst& i, size_t rank, bool row_start) {
  const tile::Param& p = *views_.at(i.args[0]);
  const tile::Type& view = type(i.args[0]);
  const ValueId eb = b_.i64(std::max<int64_t>(1, view.elem.bits / 8));
  ViewAddress a{kNone, std::vector<ValueId>(rank, kNone), {}};
  ValueId row_bytes = eb, offset = kNone;
  if (view.elem.bits < 8) row_bytes = kNone;
  for (size_t d = rank; d-- > 0;) {
    const ValueId index = scalar(i.args[1 + d]), size = scalar(p.sizes[d]);
    const tile::Type& tile = i.results.empty() ? type(i.args.back()) : type(i.results[0]);
    const int64_t extent = tile.is_tile() || tile.is_token() ? tile.shape[d] : 1;
    if (d + 1 < rank && p.strides.empty()) {
      const ValueId inner = scalar(p.sizes[d + 1]);
      if (d + 2 == rank && view.elem.bits < 8)  // a row of codes ends on a whole byte
        row_bytes =
            emit(Op::shr_u, {emit(Op::add, {emit(Op::mul, {inner, b_.i64(view.elem.bits)}), b_.i64(7)}), b_.i32(3)});
      else
        row_bytes = emit(Op::mul, {row_bytes, inner});
    } else if (d + 1 < rank) {
      const ValueId stride = scalar(p.strides[d]);
      row_bytes = view.elem.bits >= 8 ? emit(Op::mul, {stride, eb})
                                      : emit(Op::shr_u, {emit(Op::mul, {stride, b_.i64(view.elem.bits)}), b_.i32(3)});
    }
    ValueId bytes = d + 1 == rank && view.elem.bits < 8
                        ? emit(Op::shr_u, {emit(Op::mul, {index, b_.i64(view.elem.bits)}), b_.i32(3)})
                        : emit(Op::mul, {index, row_bytes});
    if (d + 1 == rank && row_start) bytes = b_.i64(0);
    offset = offset == kNone ? bytes : emit(Op::add, {bytes, offset});
    if (d + 1 < rank) a.stride_bytes[d] = row_bytes;
    // What is left of the view, clamped so that 32-bit comparisons are enough; nothing before its start (a prefetch of
    // a loop that walks down gets there).
    ValueId left = emit(Op::min_s, {emit(Op::sub, {size, index}), b_.i64(int64_t{1} << 30)});
    left = emit(Op::select, {emit(Op::lt_s, {index, b_.i64(0)}), b_.i64(0), emit(Op::max_s, {left, b_.i64(0)})});
    const bool sure = surely_inside(i.args[1 + d], extent, p.sizes[d]);
    a.left.insert(a.left.begin(), sure ? kNone : cvt(Op::trunc, left, thread::kI32));
  }
  a.base = emit(Op::add, {scalar(i.args[0]), offset});
  return a;
}

/// The byte address of the element at thread part + `first`; the part known now goes into the immediate.
ValueId Lowering::access_address(const ViewAddress& a, const Layout& l, const Coord& first, int elem_bits,
                                 int64_t& imm) {
  ValueId sum = a.base;
  imm = 0;
  for (size_t d = 0; d < first.size(); d++) {
    const ValueId coord = thread_coord(l, static_cast<int>(d));
    if (a.stride_bytes[d] == kNone) {
      ValueId bytes = emit(Op::mul, {coord, b_.i32(elem_bits)});
      bytes = emit(Op::shr_u, {bytes, b_.i32(3)});
      sum = emit(Op::add, {sum, cvt(Op::zext, bytes, thread::kI64)});
      imm = first[d] * elem_bits / 8;
      continue;
    }
    const ValueId row = cvt(Op::zext, emit(Op::add, {coord, b_.i32(first[d])}), thread::kI64);
    sum = emit(Op::add, {sum, emit(Op::mul, {row, a.stride_bytes[d]})});
  }
  return sum;
}

ValueId Lowering::in_bounds(const ViewAddress& a, const Layout& l, const Coord& first) {
  ValueId all = kNone;
  for (size_t d = 0; d < first.size(); d++) {
    if (a.left[d] == kNone) continue;
    const ValueId at = emit(Op::add, {thread_coord(l, static_cast<int>(d)), b_.i32(first[d])});
    const ValueId inside = emit(Op::lt_s, {at, a.left[d]});
    all = all == kNone ? inside : emit(Op::band, {all, inside});
  }
  return all == kNone ? b_.constant(thread::kBool, 1) : all;
}

std::vector<ValueId> Lowering::split_words(ValueId loaded) {
  const TT t = b_.type(loaded);
  if (t.lanes == 1) return {t.scalar == thread::Scalar::i32 ? loaded : cvt(Op::zext, loaded, thread::kI32)};
  std::vector<ValueId> words;
  for (int w = 0; w < t.lanes; w++) words.push_back(emit(Op::get, {loaded}, {.type = thread::kI32, .imm = w}));
  return words;
}

/// `count` elements from the words that hold them in order.
std::vector<ValueId> Lowering::elements_of_words(const std::vector<ValueId>& words, lathe::Type elem, int64_t count) {
  std::vector<ValueId> out;
  for (int64_t e = 0; e < count; e++) {
    const int64_t bit = e * elem.bits;
    const ValueId word = words[static_cast<size_t>(bit / 32)];
    if (elem.bits == 64) {
      const ValueId lo = cvt(Op::zext, words[static_cast<size_t>(2 * e)], thread::kI64);
      const ValueId hi = cvt(Op::zext, words[static_cast<size_t>(2 * e + 1)], thread::kI64);
      out.push_back(emit(Op::bor, {lo, emit(Op::shl, {hi, b_.i32(32)})}));
    } else if (elem == types::f32) {
      out.push_back(cvt(Op::bitcast, word, thread::kF32));
    } else if (elem.is_float()) {
      const TT half{storage_scalar(elem)};
      const ValueId pair = cvt(Op::bitcast, word, half.with_lanes(2));
      const ValueId v = emit(Op::get, {pair}, {.type = half, .imm = bit % 32 / 16});
      out.push_back(v);
    } else if (elem.bits == 32) {
      out.push_back(word);
    } else if (elem.kind == Kind::sint) {
      const ValueId up = emit(Op::shl, {word, b_.i32(32 - bit % 32 - elem.bits)});
      out.push_back(emit(Op::shr_s, {up, b_.i32(32 - elem.bits)}));
    } else {
      out.push_back(emit(Op::band, {emit(Op::shr_u, {word, b_.i32(bit % 32)}), b_.i32((int64_t{1} << elem.bits) - 1)}));
      if (elem.kind == Kind::boolean) out.back() = emit(Op::ne, {out.back(), b_.i32(0)});
    }
  }
  return out;
}

TileRegs Lowering::gather(lathe::Type elem, const Layout& l, const std::vector<Access>& accesses,
                          const std::vector<ValueId>& loaded) {
  std::vector<ValueId> elements(static_cast<size_t>(l.slots()), kNone);
  for (size_t a = 0; a < accesses.size(); a++) {
    const auto values = elements_of_words(split_words(loaded[a]), elem, static_cast<int64_t>(accesses[a].slots.size()));
    for (size_t e = 0; e < values.size(); e++) elements[static_cast<size_t>(accesses[a].slots[e])] = values[e];
  }
  return assemble(elem, l, elements);
}

int64_t widest(lathe::Type elem, bool aligned, int64_t multiple) {
  const int64_t elems = 128 / elem.bits;
  if (!aligned) return elem.bits < 8 ? std::gcd(int64_t{8 / elem.bits}, multiple) : 1;
  return std::gcd(elems, multiple);
}

/// A byte of codes without those past the end of the row.
ValueId Lowering::without_padding(const Inst& i, const ViewAddress& a, const Coord& first, ValueId byte) {
  const size_t last = first.size() - 1;
  const tile::Type& t = type(i.results[0]);
  if (a.left[last] == kNone) return byte;
  if (tile::known_multiple(f_, views_.at(i.args[0])->sizes.back()) * t.elem.bits % 8 == 0) return byte;
  const ValueId at = emit(Op::add, {thread_coord(*t.layout, static_cast<int>(last)), b_.i32(first[last])});
  const ValueId codes = emit(Op::max_s, {emit(Op::sub, {a.left[last], at}), b_.i32(0)});
  const ValueId bits = emit(Op::min_s, {emit(Op::mul, {codes, b_.i32(t.elem.bits)}), b_.i32(8)});
  const ValueId mask = emit(Op::sub, {emit(Op::shl, {b_.i32(1), bits}), b_.i32(1)});
  return emit(Op::band, {byte, cvt(Op::trunc, mask, thread::kI8)});
}

Result<Unit> Lowering::load_view(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Layout& l = *t.layout;
  if (shares_bytes(i, l, i.args.back())) return load_bits(i);
  const int64_t max_elems = widest(t.elem, rows_aligned(i.args[0]), tile::known_multiple(f_, i.args.back()));
  const auto accesses = plan_accesses(l, far_rows(l.shape()), max_elems);
  const auto elems = static_cast<int64_t>(accesses[0].slots.size());
  const ViewAddress a = view_address(i, l.shape().size());
  std::vector<ValueId> loaded;
  for (const Access& access : accesses) {
    thread::Attr attr{.type = t.elem.bits == 64 ? thread::kI32x2 : access_type(elems * t.elem.bits)};
    if (t.elem.bits == 64 && elems == 2) attr.type = thread::kI32x4;
    const ValueId address = access_address(a, l, access.first, t.elem.bits, attr.imm);
    loaded.push_back(emit(Op::load_global, {address, in_bounds(a, l, access.first)}, attr));
    if (t.elem.bits < 8 && elems * t.elem.bits == 8) loaded.back() = without_padding(i, a, access.first, loaded.back());
  }
  tiles_[i.results[0]] = gather(t.elem, l, accesses, loaded);
  return Unit{};
}

/// The value a store of the access writes.
ValueId Lowering::pack_access(const TileRegs& t, const Access& a) {
  const int bits = t.elem.bits;
  std::vector<ValueId> words;
  for (size_t e = 0; e < a.slots.size(); e++) {
    ValueId v = element(t, a.slots[e]);
    if (bits == 64) {
      words.push_back(cvt(Op::trunc, v, thread::kI32));
      words.push_back(cvt(Op::trunc, emit(Op::shr_u, {v, b_.i32(32)}), thread::kI32));
      continue;
    }
    if (t.elem.kind == Kind::boolean) v = cvt(Op::zext, v, thread::kI32);
    if (t.elem == types::f32) v = cvt(Op::bitcast, v, thread::kI32);
    if (t.elem.is_float() && bits == 16) {
      const TT half{storage_scalar(t.elem)};
      if (a.slots.size() == 1) return cvt(Op::bitcast, v, thread::kI16);
      if (e % 2 == 0)
        words.push_back(v);
      else
        words.back() = cvt(Op::bitcast, emit(Op::vec, {words.back(), v}, {.type = half.with_lanes(2)}), thread::kI32);
      continue;
    }
    const auto bit = static_cast<int64_t>(e) * bits % 32;
    if (bits < 32) v = emit(Op::band, {v, b_.i32((int64_t{1} << bits) - 1)});
    if (bit) v = emit(Op::shl, {v, b_.i32(bit)});
    if (bit)
      words.back() = emit(Op::bor, {words.back(), v});
    else
      words.push_back(v);
  }
  const auto total = static_cast<int64_t>(a.slots.size()) * bits;
  if (total < 32) return cvt(Op::trunc, words[0], access_type(total));
  if (words.size() == 1) return words[0];
  return emit(Op::vec, words, {.type = thread::kI32.with_lanes(static_cast<int>(words.size()))});
}

Result<Unit> Lowering::store_view(const Inst& i) {
  TileRegs& t = tiles_.at(i.args.back());
  const Layout& l = t.layout;
  if (type(i.args[0]).packed) return unsupported("store: a packed parameter is only read");
  spread_fragments(t);
  if (shares_bytes(i, l, i.args[i.args.size() - 2])) return store_bits(i);
  const int64_t max_elems =
      widest(t.elem, rows_aligned(i.args[0]), tile::known_multiple(f_, i.args[i.args.size() - 2]));
  const auto accesses = plan_accesses(l, far_rows(l.shape()), max_elems);
  const ViewAddress a = view_address(i, l.shape().size());
  const ValueId mine = owner(l);
  for (const Access& access : accesses) {
    thread::Attr attr;
    const ValueId address = access_address(a, l, access.first, t.elem.bits, attr.imm);
    ValueId ok = in_bounds(a, l, access.first);
    if (mine != kNone) ok = emit(Op::band, {ok, mine});
    b_.effect(Op::store_global, {address, pack_access(t, access), ok}, attr);
  }
  return Unit{};
}

/// Whole units: thread digits above the lanes and slots above the unit choose the unit, the lane its piece.
Result<Unit> Lowering::packed_pieces(const Inst& i, const tile::Type& t, const VisitPiece& visit) {
  const PackedLayout& p = packed_.at(name(i.args[0]));
  const auto outer = divide(*t.layout, p.unit);
  if (!outer)
    return internal_error(fmt::format("layout {} is not made of units {}", to_string(*t.layout), to_string(p.unit)));
  for (size_t d = 0; d < 2; d++)
    if (tile::known_multiple(f_, i.args[1 + d]) % p.unit.shape()[d])
      return bad_input(fmt::format("{}: a load must start at a multiple of the unit {} x {}", name(i.args[0]),
                                   p.unit_n(), p.unit_k()));
  const ValueId lane = stored_lane(p.unit);
  const int64_t piece = p.piece_bytes();
  const tile::Param& param = *views_.at(i.args[0]);
  ValueId units[2], sizes[2], at[2];
  for (int d = 0; d < 2; d++) {
    const int64_t extent = p.unit.shape()[static_cast<size_t>(d)];
    const ValueId size = scalar(param.sizes[static_cast<size_t>(d)]);
    sizes[d] =
        cvt(Op::trunc, emit(Op::div_u, {emit(Op::add, {size, b_.i64(extent - 1)}), b_.i64(extent)}), thread::kI32);
    units[d] = emit(Op::div_u, {index32(i.args[static_cast<size_t>(1 + d)]), b_.i32(extent)});
    at[d] = unit_coord(*outer, d);
  }
  const ValueId lane_bytes =
      lane == kNone ? b_.i64(0) : cvt(Op::zext, emit(Op::mul, {lane, b_.i32(piece)}), thread::kI64);
  const ValueId base = emit(Op::add, {scalar(i.args[0]), lane_bytes});
  const ValueId columns = emit(Op::add, {units[1], at[1]});
  for (int64_t u = 0; u < outer->slots(); u++) {
    const Coord c = outer->at(0, u);
    const ValueId row = emit(Op::add, {emit(Op::add, {units[0], at[0]}), b_.i32(c[0])});
    const ValueId column = emit(Op::add, {columns, b_.i32(c[1])});
    const ValueId inside = emit(Op::band, {emit(Op::lt_u, {row, sizes[0]}), emit(Op::lt_u, {column, sizes[1]})});
    // Rows of units first: their product leaves the loops over k.
    const ValueId row_start =
        emit(Op::mul, {cvt(Op::zext, row, thread::kI64),
                       emit(Op::mul, {cvt(Op::zext, sizes[1], thread::kI64), b_.i64(p.unit_bytes())})});
    const ValueId start = emit(Op::mul, {cvt(Op::zext, columns, thread::kI64), b_.i64(p.unit_bytes())});
    const ValueId address = emit(Op::add, {emit(Op::add, {base, row_start}), start});
    for (int64_t j = 0; j < p.pieces(); j++) visit(address, c[1] * p.unit_bytes() + j * p.lanes() * piece, inside);
  }
  return Unit{};
}

/// The part of a unit's coordinate that the thread gives: the digits of `outer` stand above the lanes.
ValueId Lowering::unit_coord(const Layout& outer, int d) {
  ValueId sum = b_.i32(0);
  int64_t below = threads();
  for (const Mode& m : outer.T()) {
    below /= m.n;
    if (m.d == d) sum = emit(Op::add, {sum, emit(Op::mul, {thread_digit(below, m.n), b_.i32(m.w)})});
  }
  return sum;
}

/// The lane within a unit, copies skipped; kNone where there is one.
ValueId Lowering::stored_lane(const Layout& unit) {
  ValueId lane = kNone;
  int64_t below = unit.threads(), stored = unit.threads() / unit.replicas();
  for (const Mode& m : unit.T()) {
    below /= m.n;
    if (m.d == Mode::kReplicate) continue;
    stored /= m.n;
    ValueId digit = thread_digit(below, m.n);
    if (stored > 1) digit = emit(Op::mul, {digit, b_.i32(stored)});
    lane = lane == kNone ? digit : emit(Op::add, {lane, digit});
  }
  return lane;
}

/// A tile from the words of its pieces, unit by unit.
TileRegs Lowering::packed_tile(const PackedLayout& p, const tile::Type& t, const std::vector<ValueId>& words) {
  if (t.elem.bits < 16) return TileRegs{t.elem, *t.layout, words, true, {}, kNone};
  std::vector<ValueId> elements;  // a unit of one 16-bit slot ends inside a word
  const auto units = static_cast<size_t>(t.layout->slots() / p.unit.slots());
  const size_t per_unit = words.size() / units;
  for (size_t u = 0; u < units; u++) {
    const std::vector<ValueId> mine(words.begin() + static_cast<std::ptrdiff_t>(u * per_unit),
                                    words.begin() + static_cast<std::ptrdiff_t>((u + 1) * per_unit));
    const auto some = elements_of_words(mine, t.elem, p.unit.slots());
    elements.insert(elements.end(), some.begin(), some.end());
  }
  return assemble(t.elem, *t.layout, elements);
}

Result<Unit> Lowering::load_packed(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const PackedLayout& p = packed_.at(name(i.args[0]));
  std::vector<ValueId> words;
  TRY(packed_pieces(i, t, [&](ValueId address, int64_t imm, ValueId inside) {
    const thread::Attr attr{.type = access_type(p.piece_bytes() * 8), .imm = imm};
    const auto loaded = split_words(emit(Op::load_global, {address, inside}, attr));
    words.insert(words.end(), loaded.begin(), loaded.end());
  }));
  tiles_[i.results[0]] = packed_tile(p, t, words);
  return Unit{};
}

}  // namespace lathe
