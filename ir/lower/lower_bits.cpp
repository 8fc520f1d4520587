// Plain rows whose elements share bytes with their neighbours: 1 to 7 bits an element, from any bit on. Slow and
// general; whole bytes of 1, 2 and 4 bit elements are in lower_memory.cpp.
#include "ir/lower/lowering.h"

namespace lathe {

/// Whether some access of the tile begins or ends inside a byte.
bool Lowering::shares_bytes(const Inst& i, const Layout& l, ValueId last_index) {
  const int bits = type(i.args[0]).elem.bits;
  if (bits >= 8) return false;
  if (8 % bits) return true;
  const int64_t most = widest(type(i.args[0]).elem, rows_aligned(i.args[0]), tile::known_multiple(f_, last_index));
  return static_cast<int64_t>(plan_accesses(l, far_rows(l.shape()), most)[0].slots.size()) * bits < 8;
}

/// `a` is of the start of the row.
Lowering::BitAddress Lowering::bit_address(const Inst& i, const ViewAddress& a, const Layout& l, const Coord& at) {
  const size_t last = at.size() - 1;
  const int bits = type(i.args[0]).elem.bits;
  ViewAddress rows = a;
  rows.stride_bytes[last] = b_.i64(0);
  int64_t imm = 0;
  const ValueId row = access_address(rows, l, at, bits, imm);
  const ValueId in_tile = emit(Op::add, {thread_coord(l, static_cast<int>(last)), b_.i32(at[last])});
  const ValueId element = emit(Op::add, {scalar(i.args[1 + last]), cvt(Op::zext, in_tile, thread::kI64)});
  const ValueId bit = emit(Op::mul, {element, b_.i64(bits)});
  const ValueId shift = emit(Op::band, {cvt(Op::trunc, bit, thread::kI32), b_.i32(7)});
  return {emit(Op::add, {row, emit(Op::shr_u, {bit, b_.i32(3)})}), shift};
}

/// One or two bytes an element; the second only where it holds a part of it, so that nothing past the row is read.
Result<Unit> Lowering::load_bits(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const Layout& l = *t.layout;
  const int bits = t.elem.bits;
  const ViewAddress a = view_address(i, l.shape().size(), true);
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < l.slots(); s++) {
    const Coord at = l.at(0, s);
    const BitAddress from = bit_address(i, a, l, at);
    const ValueId inside = in_bounds(a, l, at);
    ValueId word = cvt(Op::zext, emit(Op::load_global, {from.byte, inside}, {.type = thread::kI8}), thread::kI32);
    if (8 % bits) {
      const ValueId over = emit(Op::lt_s, {b_.i32(8 - bits), from.shift});
      const ValueId high =
          emit(Op::load_global, {from.byte, emit(Op::band, {inside, over})}, {.type = thread::kI8, .imm = 1});
      word = emit(Op::bor, {word, emit(Op::shl, {cvt(Op::zext, high, thread::kI32), b_.i32(8)})});
    }
    word = emit(Op::shr_u, {word, from.shift});
    elements.push_back(elements_of_words({word}, t.elem, 1)[0]);
  }
  tiles_[i.results[0]] = assemble(t.elem, l, elements);
  return Unit{};
}

/// Two indivisible steps on the word, or the two words, that hold an element: its bits go to 0, then to the value. The
/// other bits are their owners'.
Result<Unit> Lowering::store_bits(const Inst& i) {
  const TileRegs& t = tiles_.at(i.args.back());
  const Layout& l = t.layout;
  const int bits = t.elem.bits;
  const ViewAddress a = view_address(i, l.shape().size(), true);
  const ValueId mine = owner(l);
  for (int64_t s = 0; s < l.slots(); s++) {
    const Coord at = l.at(0, s);
    const BitAddress to = bit_address(i, a, l, at);
    ValueId inside = in_bounds(a, l, at);
    if (mine != kNone) inside = emit(Op::band, {inside, mine});
    const ValueId in_word = emit(Op::band, {cvt(Op::trunc, to.byte, thread::kI32), b_.i32(3)});
    const ValueId shift = emit(Op::add, {emit(Op::mul, {in_word, b_.i32(8)}), to.shift});
    const ValueId word = emit(Op::band, {to.byte, b_.i64(~int64_t{3})});
    const int64_t field = (int64_t{1} << bits) - 1;
    ValueId v = element(t, s);
    if (t.elem.kind == Kind::boolean) v = cvt(Op::zext, v, thread::kI32);
    v = emit(Op::band, {v, b_.i32(field)});
    const ValueId over = emit(Op::lt_s, {b_.i32(32 - bits), shift});
    const ValueId rest =
        emit(Op::band, {emit(Op::sub, {b_.i32(32), shift}), b_.i32(31)});  // bits of it in the first word
    const struct {
      int64_t imm;
      ValueId mask, value, when;
    } parts[] = {
        {0, emit(Op::shl, {b_.i32(field), shift}), emit(Op::shl, {v, shift}), inside},
        {4, emit(Op::shr_u, {b_.i32(field), rest}), emit(Op::shr_u, {v, rest}), emit(Op::band, {inside, over})}};
    for (const auto& part : parts) {
      emit(Op::atomic_and, {word, emit(Op::bnot, {part.mask}), part.when}, {.imm = part.imm});
      emit(Op::atomic_or, {word, part.value, part.when}, {.imm = part.imm});
    }
  }
  return Unit{};
}

}  // namespace lathe
