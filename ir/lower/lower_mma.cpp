// Matrix multiply-add: one atom at a time, fragments filled by element; on a target without matrix hardware an atom is
// one multiply-add a slot.
#include "ir/lower/lowering.h"

namespace lathe {

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
  for (int64_t a = 0; a < count; a++) {
    std::vector<ValueId> parts;
    const bool pairs = t.elem.bits == 16 && t.slots() % 2 == 0;
    for (int64_t s = 0; s < per; s += pairs && per % 2 == 0 ? 2 : 1) {
      const int64_t slot = a * per + s;
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

Result<Unit> Lowering::mma(const Inst& i) {
  TRY_ASSIGN(const MmaPlan plan, tile::plan_of(f_, i, t_));
  const Atom& atom = *plan.atom;
  TileRegs& a = tiles_.at(i.args[0]);
  TileRegs& b = tiles_.at(i.args[i.args.size() - 2]);
  TileRegs& c = tiles_.at(i.args.back());
  if (a.layout != plan.a || b.layout != plan.b || c.layout != plan.c)
    return internal_error("mma: an operand is not in the layout of its plan");
  spread_fragments(a);
  spread_fragments(b);
  TileRegs out{c.elem, plan.c, {}, false, {}, kNone, plan.atom};
  const int64_t runs = i.op == tile::Op::mma_scaled ? type(i.args[1]).shape[1] / (f_.split[2]) : 1;
  const bool scaled = i.op == tile::Op::mma_scaled;
  const int64_t groups = std::max<int64_t>(1, runs), steps = plan.walk_k / groups;
  if (scaled) {
    const int64_t columns = type(i.args[1]).shape[1];
    if (c.elem != types::f32) return unsupported("mma_scaled: accumulators must be f32");
    if ((columns > 1 && columns % f_.split[2]) || plan.walk_k % groups)
      return unsupported("mma: groups cannot be folded on the accumulator with this split of k");
    spread_fragments(tiles_.at(i.args[1]));
    // Each run between two foldings must stay in one group.
    const int64_t span = a.layout.shape()[1] / type(i.args[1]).shape[1], la = atom.layout_a.slots();
    for (int64_t t = 0; t < t_.subgroup_size; t++)
      for (int64_t s = 0; s < plan.walk_k * la; s++)
        if (a.layout.at(t, s)[1] / span != s / la / steps)
          return unsupported("mma: groups of " + std::to_string(span) +
                             " cannot be folded on the accumulator with this atom");
  }

  if (atom.source == MapSource::fma) {
    spread_fragments(c);
    const int64_t la = atom.layout_a.slots(), lb = atom.layout_b.slots();
    if (la != 1 || lb != 1 || atom.layout_c.slots() != 1) return internal_error("fma atom with several slots");
    auto wide = [&](const TileRegs& t, int64_t slot) { return convert_scalar(element(t, slot), t.elem, c.elem); };
    std::vector<ValueId> wa, wb;
    for (int64_t s = 0; s < a.slots(); s++) wa.push_back(wide(a, s));
    for (int64_t s = 0; s < b.slots(); s++) wb.push_back(wide(b, s));
    for (int64_t m = 0; m < plan.walk_m; m++)
      for (int64_t n = 0; n < plan.walk_n; n++) {
        ValueId total = c.regs[static_cast<size_t>(m * plan.walk_n + n)];
        for (int64_t g = 0; g < groups; g++) {
          ValueId sum = scaled ? b_.constant(compute_type(c.elem), 0) : total;
          for (int64_t k = g * steps; k < (g + 1) * steps; k++) {
            const ValueId x = wa[static_cast<size_t>(m * plan.walk_k + k)],
                          y = wb[static_cast<size_t>(k * plan.walk_n + n)];
            sum = c.elem.is_float() ? emit(Op::fma, {x, y, sum}) : emit(Op::add, {emit(Op::mul, {x, y}), sum});
          }
          total = scaled ? emit(Op::fma, {sum, wide(tiles_.at(i.args[1]), g * plan.walk_m + m), total}) : sum;
        }
        out.regs.push_back(total);
      }
    tiles_[i.results[0]] = out;
    return Unit{};
  }

  std::vector<ValueId> fa, fb;
  if (atom.source != MapSource::opaque)
    fa = fragments(a, atom, thread::Use::a), fb = fragments(b, atom, thread::Use::b);
  const auto step = [&](int64_t k) { load_opaque_step(plan, a, b, k, fa, fb); };
  if (!scaled) {
    // k outermost: neighbours in the instruction stream do not wait for each other.
    out.frags = fragments(c, atom, thread::Use::c);
    for (int64_t k = 0; k < plan.walk_k; k++) {
      step(k);
      for (int64_t m = 0; m < plan.walk_m; m++)
        for (int64_t n = 0; n < plan.walk_n; n++) {
          ValueId& acc = out.frags[static_cast<size_t>(m * plan.walk_n + n)];
          acc = run_atom(atom, fa[static_cast<size_t>(m * plan.walk_k + k)],
                         fb[static_cast<size_t>(k * plan.walk_n + n)], acc);
        }
    }
    tiles_[i.results[0]] = out;
    return Unit{};
  }
  // One factor a row and run: the run's sum starts from 0 and is folded into the accumulator by one multiply-add.
  spread_fragments(c);
  const TileRegs& s = tiles_.at(i.args[1]);
  out.regs = c.regs;
  const TT frag = fragment_type(atom, thread::Use::c);
  std::map<Coord, int64_t> factor_at;
  for (int64_t x = 0; x < s.slots(); x++) factor_at[s.layout.at(0, x)] = x;
  for (int64_t g = 0; g < groups; g++) {
    std::vector<ValueId> part(static_cast<size_t>(plan.walk_m * plan.walk_n),
                              emit(Op::frag_fill, {b_.f32(0)}, {.type = frag}));
    for (int64_t k = g * steps; k < (g + 1) * steps; k++) {
      step(k);
      for (int64_t m = 0; m < plan.walk_m; m++)
        for (int64_t n = 0; n < plan.walk_n; n++) {
          ValueId& p = part[static_cast<size_t>(m * plan.walk_n + n)];
          p = run_atom(atom, fa[static_cast<size_t>(m * plan.walk_k + k)], fb[static_cast<size_t>(k * plan.walk_n + n)],
                       p);
        }
    }
    TileRegs run{c.elem, plan.c, {}, false, part, kNone, &atom};
    spread_fragments(run);
    for (int64_t slot = 0; slot < c.slots(); slot++) {
      const Coord at{plan.c.at(0, slot)[0], g};
      const ValueId factor = convert_scalar(element(s, factor_at.at(at)), s.elem, c.elem);
      const ValueId p = element(run, slot);
      out.regs[static_cast<size_t>(slot)] = emit(Op::fma, {p, factor, out.regs[static_cast<size_t>(slot)]});
    }
  }
  tiles_[i.results[0]] = out;
  return Unit{};
}

}  // namespace lathe
