// Matrix multiply-add: one atom at a time, fragments filled by element; on a target without matrix hardware an atom is
// one multiply-add a slot.
#include <fmt/format.h>

#include <numeric>

#include "ir/lower/lowering.h"

namespace lathe {
namespace {

std::vector<int64_t> iota(int64_t n) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

/// The slot of a tile's operand a that element e of the instruction's fragment is.
std::vector<int64_t> element_slots(const Atom& atom) {
  const Layout ours = operand_a(atom);
  std::vector<int64_t> out;
  for (int64_t e = 0; e < ours.slots(); e++)
    for (int64_t s = 0; s < ours.slots(); s++)
      if (ours.at(0, s) == atom.layout_a.at(0, e)) out.push_back(s);
  return out;
}

}  // namespace

thread::Type Lowering::fragment_type(const Atom& atom, thread::Use use) const {
  const Layout& l = use == thread::Use::a ? atom.layout_a : use == thread::Use::b ? atom.layout_b : atom.layout_c;
  const lathe::Type elem = use == thread::Use::a ? atom.a : use == thread::Use::b ? atom.b : atom.c;
  TT t{storage_scalar(elem), static_cast<uint8_t>(l.slots()), use};
  t.rows = static_cast<uint16_t>(l.shape()[0]);
  t.cols = static_cast<uint16_t>(l.shape()[1]);
  return t;
}

std::vector<ValueId> Lowering::fragments(const TileRegs& t, const Atom& atom, thread::Use use) {
  if (!t.frags.empty()) return t.frags;
  const TT type = fragment_type(atom, use);
  const int64_t per = type.lanes, count = t.slots() / per;
  if (t.splat != kNone && b_.type(t.splat).scalar == type.scalar)
    return std::vector<ValueId>(static_cast<size_t>(count), emit(Op::frag_fill, {t.splat}, {.type = type}));
  std::vector<ValueId> out;
  if (atom.source == MapSource::opaque) {
    out.resize(static_cast<size_t>(count));
    OpaqueOperand all{&t, &atom, use, {}, {}};
    for (int64_t a = 0; a < count; a++) all.atoms.push_back(a), all.to.push_back(&out[static_cast<size_t>(a)]);
    load_opaque({all});
    return out;
  }
  const std::vector<int64_t> order = use == thread::Use::a ? element_slots(atom) : iota(per);
  for (int64_t a = 0; a < count; a++) {
    std::vector<ValueId> parts;
    const bool pairs = t.elem.bits == 16 && t.slots() % 2 == 0;
    for (int64_t s = 0; s < per; s += pairs && per % 2 == 0 ? 2 : 1) {
      const int64_t slot = a * per + order[static_cast<size_t>(s)];
      parts.push_back(pairs && per % 2 == 0 ? t.regs[static_cast<size_t>(slot / 2)]
                      : pairs               ? emit(Op::get, {t.regs[static_cast<size_t>(slot / 2)]},
                                                   {.type = {storage_scalar(t.elem)}, .imm = slot % 2})
                                            : t.regs[static_cast<size_t>(slot)]);
    }
    out.push_back(emit(Op::frag_make, parts, {.type = type}));
  }
  return out;
}

void Lowering::ensure_fragments(TileRegs& t, const Atom& atom) {
  t.frags = fragments(t, atom, thread::Use::c);
  t.atom = &atom;
  t.regs.clear();
  t.splat = kNone;
}

ValueId Lowering::run_atom(const Atom& atom, ValueId a, ValueId b, ValueId c) {
  thread::Attr attr{.name = atom.name};
  attr.imm = (atom.a.kind == Kind::sint ? 1 : 0) | (atom.b.kind == Kind::sint ? 2 : 0);
  return emit(Op::mma, {a, b, c}, attr);
}

/// Each run between two foldings must stay in one group.
Result<Unit> Lowering::check_runs(const Inst& i, const MmaPlan& plan) const {
  const int64_t columns = type(i.args[1]).shape[1], k = type(i.args[0]).shape[1];
  if (type(i.args.back()).elem != types::f32) return unsupported("mma_scaled: accumulators must be f32");
  if ((columns > 1 && columns % f_.split[2]) || plan.walk_k % plan.runs(columns, f_.split[2]))
    return unsupported("mma: groups cannot be folded on the accumulator with this split of k");
  const int64_t span = k / columns, la = plan.atom->layout_a.slots();
  const int64_t steps = plan.walk_k / plan.runs(columns, f_.split[2]);
  for (int64_t t = 0; t < t_.subgroup_size; t++)
    for (int64_t s = 0; s < plan.walk_k * la; s++)
      if (plan.a.at(t, s)[1] / span != s / la / steps)
        return unsupported(fmt::format("mma: groups of {} cannot be folded on the accumulator with this atom", span));
  return Unit{};
}

Result<Unit> Lowering::mma(const Inst& i) {
  TRY_ASSIGN(const MmaPlan plan, tile::plan_of(f_, i, t_));
  TileRegs& a = tiles_.at(i.args[0]);
  if (plan.atom->b_in_shared) {
    spread_fragments(a);
    return mma_shared(i, plan);
  }
  TileRegs& b = tiles_.at(i.args[i.args.size() - 2]);
  if (a.layout != plan.a || b.layout != plan.b || tiles_.at(i.args.back()).layout != plan.c)
    return internal_error("mma: an operand is not in the layout of its plan");
  spread_fragments(a);
  spread_fragments(b);
  if (i.op == tile::Op::mma_scaled) {
    TRY(check_runs(i, plan));
    spread_fragments(tiles_.at(i.args[1]));
    spread_fragments(tiles_.at(i.args.back()));
  }
  if (plan.atom->source == MapSource::fma) return mma_without_matrices(i, plan);
  return i.op == tile::Op::mma_scaled ? mma_scaled(i, plan) : mma_plain(i, plan);
}

Result<Unit> Lowering::mma_without_matrices(const Inst& i, const MmaPlan& plan) {
  const Atom& atom = *plan.atom;
  const TileRegs &a = tiles_.at(i.args[0]), &b = tiles_.at(i.args[i.args.size() - 2]);
  TileRegs& c = tiles_.at(i.args.back());
  if (atom.layout_a.slots() != 1 || atom.layout_b.slots() != 1 || atom.layout_c.slots() != 1)
    return internal_error("fma atom with several slots");
  spread_fragments(c);
  const bool scaled = i.op == tile::Op::mma_scaled;
  const int64_t runs = scaled ? plan.runs(type(i.args[1]).shape[1], f_.split[2]) : 1, steps = plan.walk_k / runs;
  const auto wide = [&](const TileRegs& t, int64_t slot) { return convert_scalar(element(t, slot), t.elem, c.elem); };
  std::vector<ValueId> wa, wb;
  for (int64_t s = 0; s < a.slots(); s++) wa.push_back(wide(a, s));
  for (int64_t s = 0; s < b.slots(); s++) wb.push_back(wide(b, s));
  TileRegs out{c.elem, plan.c, {}, false, {}, kNone, &atom};
  for (int64_t m = 0; m < plan.walk_m; m++)
    for (int64_t n = 0; n < plan.walk_n; n++) {
      ValueId total = c.regs[static_cast<size_t>(m * plan.walk_n + n)];
      for (int64_t r = 0; r < runs; r++) {
        ValueId sum = scaled ? b_.constant(TT{storage_scalar(c.elem)}, 0) : total;
        for (int64_t k = r * steps; k < (r + 1) * steps; k++) {
          const ValueId x = wa[static_cast<size_t>(m * plan.walk_k + k)],
                        y = wb[static_cast<size_t>(k * plan.walk_n + n)];
          sum = c.elem.is_float() ? emit(Op::fma, {x, y, sum}) : emit(Op::add, {emit(Op::mul, {x, y}), sum});
        }
        total = scaled ? emit(Op::fma, {sum, wide(tiles_.at(i.args[1]), r * plan.walk_m + m), total}) : sum;
      }
      out.regs.push_back(total);
    }
  tiles_[i.results[0]] = out;
  return Unit{};
}

Result<Unit> Lowering::mma_plain(const Inst& i, const MmaPlan& plan) {
  const Atom& atom = *plan.atom;
  const TileRegs &a = tiles_.at(i.args[0]), &b = tiles_.at(i.args[1]), &c = tiles_.at(i.args[2]);
  TileRegs out{c.elem, plan.c, {}, false, fragments(c, atom, thread::Use::c), kNone, &atom};
  std::vector<ValueId> fa, fb;
  if (atom.source != MapSource::opaque)
    fa = fragments(a, atom, thread::Use::a), fb = fragments(b, atom, thread::Use::b);
  // k outermost: neighbours in the instruction stream do not wait for each other.
  for (int64_t k = 0; k < plan.walk_k; k++) {
    load_opaque_step(plan, a, b, k, fa, fb);
    for (int64_t m = 0; m < plan.walk_m; m++)
      for (int64_t n = 0; n < plan.walk_n; n++) {
        ValueId& acc = out.frags[static_cast<size_t>(m * plan.walk_n + n)];
        acc = run_atom(atom, fa[static_cast<size_t>(m * plan.walk_k + k)], fb[static_cast<size_t>(k * plan.walk_n + n)],
                       acc);
      }
  }
  tiles_[i.results[0]] = out;
  return Unit{};
}

}  // namespace lathe
