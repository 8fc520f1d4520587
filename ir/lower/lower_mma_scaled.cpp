// Multiply-add with a factor for each row and run of k: a run's sum starts from 0 and is folded into the accumulator by
// one multiply-add. Codes need no conversion then: as low bits of a float whose other bits are a constant they are off
// by a power of two, which joins the factor, and by the constant and the zero point, whose product with b all rows
// share.
#include <cmath>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

/// By slot of operand a, the place its row's codes are read at: one for all codes of a row, and one for both codes of a
/// word's halves.
std::vector<int> row_places(const Layout& a, int width, int mantissa) {
  std::map<int64_t, int> of_row;
  const auto row = [&](int64_t slot) { return a.at(0, slot)[0]; };
  const auto lower = [&](int64_t slot, int place) {
    const auto [it, fresh] = of_row.try_emplace(row(slot), place);
    it->second = std::min(it->second, place);
  };
  for (int64_t s = 0; s < a.slots(); s++) lower(s, natural_place(PackedLayout::paired_bit(width, s), width, mantissa));
  for (int64_t s = 0; s < a.slots(); s += 2)
    if (of_row.at(row(s)) != of_row.at(row(s + 1))) return std::vector<int>(static_cast<size_t>(a.slots()), 0);
  std::vector<int> out;
  for (int64_t s = 0; s < a.slots(); s++) out.push_back(of_row.at(row(s)));
  return out;
}

/// The same by slot of c; none where lanes differ.
std::optional<std::vector<int>> places_of_sums(const std::vector<int>& places, const MmaPlan& plan, int lanes) {
  std::map<int64_t, int> of_row;
  for (int64_t t = 0; t < lanes; t++)
    for (int64_t s = 0; s < plan.a.slots(); s++) of_row[plan.a.at(t, s)[0]] = places[static_cast<size_t>(s)];
  std::vector<int> out;
  for (int64_t s = 0; s < plan.c.slots(); s++) {
    out.push_back(of_row.at(plan.c.at(0, s)[0]));
    for (int64_t t = 1; t < lanes; t++)
      if (of_row.at(plan.c.at(t, s)[0]) != out.back()) return std::nullopt;
  }
  return out;
}

}  // namespace

/// The bits of `t` beside a code in its mantissa for which sums are exact: of f16 none, where products with subnormals
/// are right; of a type that keeps few bits less than f32's exponents, those that make the last bit worth 1.
std::optional<int64_t> Lowering::bits_beside_code(lathe::Type t) const {
  if (t == types::f16 && t_.mma_f16_subnormals) return 0;
  if (t == types::bf16) return static_cast<int64_t>(encode(t, std::exp2(t.man)));
  return std::nullopt;
}

std::optional<Lowering::Operand> Lowering::raw_operand(ValueId a, const MmaPlan& plan) {
  const Inst* cast = f_.def(a);
  if (!cast || (cast->op != tile::Op::cast && cast->op != tile::Op::cast_minus)) return std::nullopt;
  const TileRegs& q = tiles_.at(cast->args[0]);
  const lathe::Type elem = plan.atom->a;
  const auto beside = bits_beside_code(elem);
  const int width = q.elem.bits;
  if (!beside || plan.atom->source == MapSource::opaque || width > elem.man) return std::nullopt;
  if (!q.paired || q.splat != kNone || q.layout != plan.a || q.slots() % 2) return std::nullopt;
  std::vector<int> places = row_places(plan.a, width, elem.man);
  auto sums = places_of_sums(places, plan, t_.subgroup_size);
  if (!sums) {
    places.assign(places.size(), 0);
    sums = std::vector<int>(static_cast<size_t>(plan.c.slots()), 0);
  }
  const int64_t field = (int64_t{1} << width) - 1, sign = q.elem.kind == Kind::sint ? int64_t{1} << (width - 1) : 0;
  Operand out{{elem, plan.a, {}, false, {}, kNone}, {}};
  for (int64_t s = 0; s < q.slots(); s += 2) {
    const int64_t bit = PackedLayout::paired_bit(width, s), place = places[static_cast<size_t>(s)];
    ValueId word = q.regs[static_cast<size_t>(bit / 32)];
    if (bit % 16 != place) word = emit(Op::shr_u, {word, b_.i32(bit % 16 - place)});
    const int64_t mask = field << place, others = *beside | sign << place;  // offset binary
    word = others ? emit(Op::and_xor, {word, b_.i32(mask | mask << 16), b_.i32(others | others << 16)})
                  : emit(Op::band, {word, b_.i32(mask | mask << 16)});
    out.regs.regs.push_back(cvt(Op::bitcast, word, TT{storage_scalar(elem)}.with_lanes(2)));
  }
  const double base = decode(elem, static_cast<uint64_t>(*beside));
  const double last = decode(elem, static_cast<uint64_t>(*beside | 1)) - base;
  const int64_t zero = (cast->op == tile::Op::cast_minus ? cast->attr.imm : 0) + sign;
  for (const int place : *sums) {
    const double unit = std::ldexp(last, place);
    out.rows.push_back({unit, base + static_cast<double>(zero) * unit});
  }
  return out;
}

/// The sums of one run, in the layout of c.
TileRegs Lowering::run_of(const MmaPlan& plan, const std::vector<ValueId>& fa, const std::vector<ValueId>& fb,
                          int64_t from, int64_t to, const std::function<void(int64_t)>& before_step) {
  const ValueId nothing = emit(Op::frag_fill, {b_.f32(0)}, {.type = fragment_type(*plan.atom, thread::Use::c)});
  TileRegs out{types::f32, plan.c, {}, false, {}, kNone, plan.atom};
  out.frags.assign(static_cast<size_t>(plan.walk_m * plan.walk_n), nothing);
  for (int64_t k = from; k < to; k++) {
    before_step(k);
    for (int64_t m = 0; m < plan.walk_m; m++)
      for (int64_t n = 0; n < plan.walk_n; n++) {
        ValueId& sum = out.frags[static_cast<size_t>(m * plan.walk_n + n)];
        sum = run_atom(*plan.atom, fa[static_cast<size_t>(m * plan.walk_k + k)],
                       fb[static_cast<size_t>(k * plan.walk_n + n)], sum);
      }
  }
  spread_fragments(out);
  return out;
}

Result<Unit> Lowering::mma_scaled(const Inst& i, const MmaPlan& plan) {
  const Atom& atom = *plan.atom;
  const TileRegs &s = tiles_.at(i.args[1]), &b = tiles_.at(i.args[2]), &c = tiles_.at(i.args[3]);
  const auto raw = raw_operand(i.args[0], plan);
  const Operand a = raw ? *raw : Operand{tiles_.at(i.args[0]), {}};
  const bool shared = std::any_of(a.rows.begin(), a.rows.end(), [](const Operand::Row& r) { return r.zero != 0; });
  const int64_t runs = plan.runs(s.layout.shape()[1], f_.split[2]), steps = plan.walk_k / runs;
  std::map<Coord, int64_t> factor_at;
  for (int64_t x = 0; x < s.slots(); x++) factor_at[s.layout.at(0, x)] = x;
  std::vector<ValueId> fa, fb;
  if (atom.source != MapSource::opaque)
    fa = fragments(a.regs, atom, thread::Use::a), fb = fragments(b, atom, thread::Use::b);

  // Minus the sums of b over a run, alike for all rows of a, are made step by step beside the products: b is needed
  // once.
  const ValueId nothing = emit(Op::frag_fill, {b_.f32(0)}, {.type = fragment_type(atom, thread::Use::c)});
  const TileRegs ones{atom.a, plan.a, {}, false, {}, constant_of(atom.a, -1, -1)};
  const ValueId minus_one = shared ? fragments(ones, atom, thread::Use::a)[0] : kNone;
  TileRegs out{c.elem, plan.c, c.regs, false, {}, kNone, &atom};
  for (int64_t r = 0; r < runs; r++) {
    std::vector<ValueId> minus_b(static_cast<size_t>(plan.walk_n), nothing);
    const TileRegs sums = run_of(plan, fa, fb, r * steps, (r + 1) * steps, [&](int64_t k) {
      load_opaque_step(plan, a.regs, b, k, fa, fb);
      for (size_t n = 0; shared && n < minus_b.size(); n++)
        minus_b[n] = run_atom(atom, minus_one, fb[static_cast<size_t>(k * plan.walk_n) + n], minus_b[n]);
    });
    TileRegs shares{types::f32, plan.c, {}, false, {}, kNone, &atom};
    for (int64_t m = 0; shared && m < plan.walk_m; m++)
      shares.frags.insert(shares.frags.end(), minus_b.begin(), minus_b.end());
    if (shared) spread_fragments(shares);
    for (int64_t slot = 0; slot < c.slots(); slot++) {
      const Coord at{plan.c.at(0, slot)[0], r};
      ValueId factor = convert_scalar(element(s, factor_at.at(at)), s.elem, c.elem);
      ValueId sum = element(sums, slot);
      if (!a.rows.empty()) {
        const auto [unit, zero] = a.rows[static_cast<size_t>(slot)];
        if (unit != 1) factor = emit(Op::mul, {factor, constant_of(c.elem, 1 / unit, 0)});
        if (zero != 0) sum = emit(Op::fma, {element(shares, slot), constant_of(c.elem, zero, 0), sum});
      }
      ValueId& total = out.regs[static_cast<size_t>(slot)];
      total = emit(Op::fma, {sum, factor, total});
    }
  }
  tiles_[i.results[0]] = out;
  return Unit{};
}

}  // namespace lathe
