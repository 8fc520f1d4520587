// Register tiles: how a thread holds them, and the operations that need no memory.
#include <fmt/format.h>
#include <bit>
#include <cmath>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

bool is_code(lathe::Type t) { return t.is_int() && t.bits < 16; }  ///< held as bit fields of 32-bit words
bool is_half(lathe::Type t) { return t.is_float() && t.bits == 16; }

int64_t code_bit(const TileRegs& t, int64_t slot) {
  const int64_t per = 32 / t.elem.bits;  // a code does not straddle words
  return t.paired ? PackedLayout::paired_bit(t.elem.bits, slot) : slot / per * 32 + slot % per * t.elem.bits;
}

}  // namespace

int natural_place(int64_t bit, int width, int mantissa) {
  const auto low = static_cast<int>(bit % 16);
  for (const int place : {low, low - 8})
    if (place >= 0 && place + width <= mantissa) return place;
  return 0;
}

thread::Scalar Lowering::storage_scalar(lathe::Type t) {
  if (t.kind == Kind::boolean) return thread::Scalar::b1;
  if (t == types::f16) return thread::Scalar::f16;
  if (t == types::bf16) return thread::Scalar::bf16;
  if (t == types::f32) return thread::Scalar::f32;
  return t.bits == 64 ? thread::Scalar::i64 : thread::Scalar::i32;
}

ValueId Lowering::thread_digit(int64_t below, int64_t n) {
  ValueId v = emit(Op::thread_id, {}, {.type = thread::kI32});
  if (below > 1) v = emit(Op::div_u, {v, b_.i32(below)});
  if (below * n < threads()) v = emit(Op::rem_u, {v, b_.i32(n)});
  return v;
}

ValueId Lowering::thread_coord(const Layout& l, int d) {
  ValueId sum = kNone;
  int64_t below = l.threads();
  for (const Mode& m : l.T()) {
    below /= m.n;
    if (m.d != d) continue;
    ValueId part = thread_digit(below, m.n);
    if (m.w > 1) part = emit(Op::mul, {part, b_.i32(m.w)});
    sum = sum == kNone ? part : emit(Op::add, {sum, part});
  }
  return sum == kNone ? b_.i32(0) : sum;
}

ValueId Lowering::owner(const Layout& l) {
  ValueId all = kNone;
  int64_t below = l.threads();
  for (const Mode& m : l.T()) {
    below /= m.n;
    if (m.d != Mode::kReplicate) continue;
    const ValueId first = emit(Op::eq, {thread_digit(below, m.n), b_.i32(0)});
    all = all == kNone ? first : emit(Op::band, {all, first});
  }
  return all;
}

ValueId Lowering::element(const TileRegs& t, int64_t slot) {
  if (t.splat != kNone) return t.splat;
  if (is_half(t.elem)) {
    const bool pairs = t.slots() % 2 == 0;
    ValueId v = t.regs[static_cast<size_t>(pairs ? slot / 2 : slot)];
    if (pairs) v = emit(Op::get, {v}, {.type = {storage_scalar(t.elem)}, .imm = slot % 2});
    return v;
  }
  if (!is_code(t.elem)) return t.regs[static_cast<size_t>(slot)];
  const int64_t bit = code_bit(t, slot), width = t.elem.bits;
  const ValueId word = t.regs[static_cast<size_t>(bit / 32)];
  const int64_t low = bit % 32;
  if (t.elem.kind == Kind::sint)
    return emit(Op::shr_s, {emit(Op::shl, {word, b_.i32(32 - low - width)}), b_.i32(32 - width)});
  return emit(Op::band, {emit(Op::shr_u, {word, b_.i32(low)}), b_.i32((int64_t{1} << width) - 1)});
}

TileRegs Lowering::assemble(lathe::Type elem, const Layout& layout, const std::vector<ValueId>& elements) {
  TileRegs t{elem, layout, {}, false, {}, kNone};
  if (is_half(elem)) {
    const TT scalar{storage_scalar(elem)};
    if (elements.size() % 2) {
      t.regs = elements;
      return t;
    }
    for (size_t s = 0; s < elements.size(); s += 2)
      t.regs.push_back(emit(Op::vec, {elements[s], elements[s + 1]}, {.type = scalar.with_lanes(2)}));
    return t;
  }
  if (!is_code(elem)) {
    t.regs = elements;
    return t;
  }
  const int64_t mask = (int64_t{1} << elem.bits) - 1;
  for (size_t s = 0; s < elements.size(); s++) {
    const int64_t bit = static_cast<int64_t>(s) % (32 / elem.bits) * elem.bits;
    ValueId field = emit(Op::band, {elements[s], b_.i32(mask)});
    if (bit % 32) field = emit(Op::shl, {field, b_.i32(bit % 32)});
    if (bit % 32 == 0)
      t.regs.push_back(field);
    else
      t.regs.back() = emit(Op::bor, {t.regs.back(), field});
  }
  return t;
}

void Lowering::spread_fragments(TileRegs& t) {
  if (!t.frags.empty()) {
    std::vector<ValueId> elements;
    if (t.atom->source == MapSource::opaque) {
      t = assemble(t.elem, t.layout, read_opaque(t));
      return;
    }
    for (ValueId f : t.frags)
      for (int i = 0; i < b_.type(f).lanes; i++)
        elements.push_back(emit(Op::frag_get, {f}, {.type = {b_.type(f).scalar}, .imm = i}));
    t = assemble(t.elem, t.layout, elements);
  } else if (t.splat != kNone && t.regs.empty()) {
    const ValueId v = t.splat;
    t = assemble(t.elem, t.layout, std::vector<ValueId>(static_cast<size_t>(t.slots()), v));
    t.splat = v;
  }
}

Result<Unit> Lowering::tile_inst(const Inst& i) {
  for (ValueId a : i.args)
    if (type(a).is_tile()) spread_fragments(tiles_.at(a));
  switch (i.op) {
    case tile::Op::fill:
      fill_tile(i);
      return Unit{};
    case tile::Op::iota:
      iota_tile(i);
      return Unit{};
    case tile::Op::transpose:
    case tile::Op::reshape:
    case tile::Op::broadcast:
      rename_tile(i);
      return Unit{};
    case tile::Op::view:
      return view_tile(i);
    case tile::Op::cast:
    case tile::Op::cast_minus:
      return cast_tile(i);
    default:
      return elementwise_tile(i);
  }
}

/// A whole value among partial copies: copy 0 holds it, the others what changes no sum: of floats -0, for 0 would make
/// a -0 one; beside a literal 0 it is that, and the copies stay alike.
ValueId Lowering::first_addend(const Layout& l, ValueId v) {
  const TT t = b_.type(v);
  const thread::Func::Inst* made = out_.def(v);
  const bool zero = made && made->op == Op::constant && made->attr.imm == 0;
  const ValueId nothing =
      b_.constant(t, thread::is_float(t.scalar) && !zero ? int64_t{1} << (thread::bits(t.scalar) - 1) : 0);
  int64_t below = l.threads();
  for (const Mode& m : l.T()) {
    below /= m.n;
    if (m.d != Mode::kPartial) continue;
    const ValueId first = emit(Op::eq, {thread_digit(below, m.n), b_.i32(0)});
    v = emit(Op::select, {first, v, nothing});
  }
  return v;
}

/// Codes one after another, whatever their order was.
void Lowering::unpair(TileRegs& t) {
  if (!t.paired) return;
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < t.slots(); s++) elements.push_back(element(t, s));
  t = assemble(t.elem, t.layout, elements);
}

void Lowering::fill_tile(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  tiles_[i.results[0]] = TileRegs{t.elem, *t.layout, {}, false, {}, first_addend(*t.layout, scalar(i.args[0]))};
}

void Lowering::iota_tile(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const auto d = static_cast<size_t>(i.attr.imm);
  const ValueId base = thread_coord(*t.layout, static_cast<int>(d));
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < t.layout->slots(); s++)
    elements.push_back(emit(Op::add, {base, b_.i32(t.layout->at(0, s)[d])}));
  tiles_[i.results[0]] = assemble(t.elem, *t.layout, elements);
}

void Lowering::rename_tile(const Inst& i) {
  const TileRegs& from = tiles_.at(i.args[0]);
  const Layout& to = *type(i.results[0]).layout;
  TileRegs out = from;
  out.layout = to;
  if (i.op == tile::Op::broadcast && from.splat == kNone) {
    std::map<Coord, int64_t> slot_at;  // slots of the source by the coordinates they add
    for (int64_t s = 0; s < from.slots(); s++) slot_at[from.layout.at(0, s)] = s;
    std::vector<ValueId> elements;
    for (int64_t s = 0; s < to.slots(); s++) {
      Coord c = to.at(0, s);
      for (size_t d = 0; d < c.size(); d++)
        if (from.layout.shape()[d] == 1) c[d] = 0;
      elements.push_back(element(from, slot_at.at(c)));
    }
    out = assemble(from.elem, to, elements);
  } else if (from.splat != kNone) {
    out.regs.clear();
  }
  tiles_[i.results[0]] = out;
}

Result<Unit> Lowering::view_tile(const Inst& i) {
  const TileRegs& from = tiles_.at(i.args[0]);
  const tile::Type& t = type(i.results[0]);
  const int to = t.elem.bits, bits = from.elem.bits;
  if (t.elem.kind == Kind::boolean || from.elem.kind == Kind::boolean || to == 64 || bits == 64 ||
      (32 % to && to != 32) || 32 % bits)
    return unsupported(fmt::format("view: {} as {} has no lowering", to_string(from.elem), to_string(t.elem)));
  // Words with the fields in slot order, whatever the types.
  std::vector<ValueId> words;
  if (is_code(from.elem) && !from.paired && from.splat == kNone) {
    words = from.regs;
  } else {
    const int64_t per = 32 / bits;
    for (int64_t s = 0; s < from.slots(); s++) {
      ValueId v = element(from, s);
      if (is_half(from.elem)) v = cvt(Op::zext, cvt(Op::bitcast, v, thread::kI16), thread::kI32);
      if (from.elem == types::f32) v = cvt(Op::bitcast, v, thread::kI32);
      if (bits < 32) v = emit(Op::band, {v, b_.i32((int64_t{1} << bits) - 1)});
      if (s % per) v = emit(Op::shl, {v, b_.i32(s % per * bits)});
      if (s % per == 0)
        words.push_back(v);
      else
        words.back() = emit(Op::bor, {words.back(), v});
    }
  }
  tiles_[i.results[0]] = assemble(t.elem, *t.layout, elements_of_words(words, t.elem, t.layout->slots()));
  if (is_code(t.elem)) tiles_[i.results[0]].regs = words;
  return Unit{};
}

Result<Unit> Lowering::elementwise_tile(const Inst& i) {
  const tile::Type& t = type(i.results[0]);
  const lathe::Type elem = type(i.args.back()).elem;
  const bool native_half = works_on_halves(i.op, elem);
  const bool same_regs = t.elem == elem && i.op != tile::Op::select;
  const auto& first = tiles_.at(i.args[0]);
  if (same_regs && (native_half || elem.bits >= 32)) {
    TileRegs out{t.elem, *t.layout, {}, false, {}, kNone};
    for (size_t r = 0; r < first.regs.size(); r++) {
      std::vector<ValueId> args;
      for (ValueId a : i.args) args.push_back(tiles_.at(a).regs[r]);
      TRY_ASSIGN(const ValueId v, elementwise(i.op, elem, args));
      out.regs.push_back(v);
    }
    tiles_[i.results[0]] = out;
    return Unit{};
  }
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < t.layout->slots(); s++) {
    std::vector<ValueId> args;
    for (ValueId a : i.args) args.push_back(element(tiles_.at(a), s));
    TRY_ASSIGN(ValueId v, elementwise(i.op, elem, args));
    elements.push_back(v);
  }
  tiles_[i.results[0]] = assemble(t.elem, *t.layout, elements);
  return Unit{};
}

/// Codes in pairs 16 bits apart become pairs of 16-bit floats: the field is put under the exponent where a unit of the
/// last place is 1 (1024 in f16), and one subtraction or multiply-add brings it to q - minus exactly. Signed codes have
/// their sign bit flipped (offset binary) by the same operation. None where a constant of these is no such float.
std::optional<std::vector<ValueId>> Lowering::unpack_pairs(const TileRegs& q, lathe::Type to, int64_t minus) {
  const int width = q.elem.bits;
  const bool arithmetic = to == types::f16 ? t_.f16_arithmetic : t_.bf16_arithmetic;
  if (!q.paired || q.splat != kNone || !arithmetic || width > to.man || q.slots() % 2) return std::nullopt;
  const bool has_sign = q.elem.kind == Kind::sint;
  const auto offset = static_cast<double>(minus + (has_sign ? int64_t{1} << (width - 1) : 0));
  const double one = std::exp2(to.man);
  const auto pair_of = [&](double v) {
    return b_.constant(TT{storage_scalar(to)}.with_lanes(2), static_cast<int64_t>(encode(to, v)));
  };
  std::vector<ValueId> out;
  for (int64_t s = 0; s < q.slots(); s += 2) {
    const int64_t bit = PackedLayout::paired_bit(width, s);
    const int low = natural_place(bit, width, to.man);
    const double scale = std::ldexp(1.0, -low), less = one * scale + offset;
    if (decode(to, encode(to, less)) != less) return std::nullopt;
    ValueId word = q.regs[static_cast<size_t>(bit / 32)];
    if (bit % 16 != low) word = emit(Op::shr_u, {word, b_.i32(bit % 16 - low)});
    const int64_t field = ((int64_t{1} << width) - 1) << low, sign = has_sign ? int64_t{1} << (low + width - 1) : 0;
    const int64_t magic = static_cast<int64_t>(encode(to, one)) | sign;
    const ValueId bits = emit(Op::and_xor, {word, b_.i32(field | field << 16), b_.i32(magic | magic << 16)});
    const ValueId biased = cvt(Op::bitcast, bits, TT{storage_scalar(to)}.with_lanes(2));
    out.push_back(low == 0 ? emit(Op::sub, {biased, pair_of(less)})
                           : emit(Op::fma, {biased, pair_of(scale), pair_of(-less)}));
  }
  return out;
}

/// Codes that become `to` by way of 16-bit floats, in which q - minus is exact.
std::optional<TileRegs> Lowering::unpacked(const TileRegs& q, lathe::Type to, const Layout& layout, int64_t minus) {
  if (is_half(to))
    if (const auto pairs = unpack_pairs(q, to, minus)) return TileRegs{to, layout, *pairs, false, {}, kNone};
  const auto pairs = to == types::f16 ? std::nullopt : unpack_pairs(q, types::f16, minus);
  if (!pairs) return std::nullopt;
  const TileRegs half{types::f16, layout, *pairs, false, {}, kNone};
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < half.slots(); s++) elements.push_back(convert_scalar(element(half, s), types::f16, to));
  return assemble(to, layout, elements);
}

Result<Unit> Lowering::cast_tile(const Inst& i) {
  const TileRegs& from = tiles_.at(i.args[0]);
  const tile::Type& t = type(i.results[0]);
  const int64_t minus = i.op == tile::Op::cast_minus ? i.attr.imm : 0;
  if (is_code(from.elem) && t.elem.is_float() && minus >= -128 && minus <= 255)
    if (const auto floats = unpacked(from, t.elem, *t.layout, minus)) {
      tiles_[i.results[0]] = *floats;
      return Unit{};
    }
  std::vector<ValueId> elements;
  for (int64_t s = 0; s < from.slots(); s++) {
    ValueId v = element(from, s);
    lathe::Type mid = from.elem;
    if (minus != 0) {
      if (from.elem.bits >= 32) return unsupported("cast_minus: only of integers under 32 bits");
      v = emit(Op::sub, {v, b_.i32(minus)});
      mid = types::i32;
    }
    elements.push_back(convert_scalar(v, mid, t.elem));
  }
  tiles_[i.results[0]] = assemble(t.elem, *t.layout, elements);
  return Unit{};
}

}  // namespace lathe
