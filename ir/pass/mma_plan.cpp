#include "ir/pass/mma_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace lathe {
namespace {

/// subgroup digits (m, n, k) -> coordinates of a matrix of two dimensions; -1: not one of this matrix's.
Layout subgroup_layout(const std::array<int, 3>& split, int dim_m, int dim_n, int dim_k, int missing) {
  Coord shape(2, 1);
  std::vector<Mode> T;
  const int dims[3] = {dim_m, dim_n, dim_k};
  for (int i = 0; i < 3; i++) {
    if (dims[i] >= 0) shape[static_cast<size_t>(dims[i])] = split[static_cast<size_t>(i)];
    T.push_back(dims[i] >= 0 ? Mode{split[static_cast<size_t>(i)], dims[i], 1}
                             : Mode{split[static_cast<size_t>(i)], missing, 0});
  }
  return Layout(shape, T, {});
}

/// The renumbering of K described in the header, for `steps` atoms of extent ak in each of `parts` subgroups.
std::vector<Renumber> k_order(const Atom& atom, int64_t steps, int64_t parts, bool kept) {
  if (kept) return {{atom.k * steps * parts, 1, 1}};
  const int64_t ak = atom.k, wanted = std::max<int64_t>(1, 128 / atom.b.bits);
  std::vector<Renumber> chain;
  int64_t next = 1;
  auto take = [&](int64_t n, int64_t from) {
    if (n > 1) chain.push_back({n, from, next});
    next *= n;
  };
  auto k_modes = [](const std::vector<Mode>& modes) {
    std::vector<Mode> out;
    for (const Mode& m : modes)
      if (m.d == 0 && m.w > 0) out.push_back(m);
    std::sort(out.begin(), out.end(), [](const Mode& x, const Mode& y) { return x.w < y.w; });
    return out;
  };
  for (const Mode& m : k_modes(atom.layout_b.S())) take(m.n, m.w);
  int64_t near = 1;  // steps that fill the 16 bytes
  while (next * near < wanted && steps % (near * 2) == 0) near *= 2;
  take(near, ak);
  for (const Mode& m : k_modes(atom.layout_b.T())) take(m.n, m.w);
  take(steps / near, ak * near);
  take(parts, ak * steps);
  return chain;
}

}  // namespace

Layout operand_a(const Atom& atom) {
  const std::vector<Mode>& given = atom.layout_a.S();
  if (atom.a.bits != 16 || atom.source == MapSource::opaque || given.empty() || given.back().n % 2)
    return atom.layout_a;
  std::vector<Mode> steps(given.begin(), given.end() - 1), rows;
  const Mode pair = given.back();
  std::erase_if(steps, [&](const Mode& m) { return m.d == 0 && (rows.push_back(m), true); });
  if (pair.n > 2) steps.push_back({pair.n / 2, pair.d, pair.w * 2});
  steps.insert(steps.end(), rows.begin(), rows.end());
  steps.push_back({2, pair.d, pair.w});
  const auto out = permute_slots(atom.layout_a, steps);
  return out ? *out : atom.layout_a;
}

namespace {

bool has_types(const Atom& atom, const MmaShape& s) { return atom.a == s.ab && atom.b == s.ab && atom.c == s.c; }

constexpr int64_t kPanelBits = 1024;  ///< of k, in shared memory

/// An instruction that reads b from shared memory takes pieces of it as they lie there. What another one reads has the
/// same order, for both read the same stored a.
bool keeps_k(const Target& t, const MmaShape& s) {
  return std::any_of(t.atoms.begin(), t.atoms.end(), [&](const Atom& a) { return a.b_in_shared && has_types(a, s); });
}

/// What stands against the atom; nothing if it fits.
std::optional<RefusedAtom> refusal(const Atom& atom, const MmaShape& s, const std::array<int, 3>& split,
                                   bool b_in_room) {
  if (!has_types(atom, s)) return RefusedAtom{&atom, Refusal::types};
  if (atom.b_in_shared) {
    if (!b_in_room) return RefusedAtom{&atom, Refusal::b_in_registers};
    const bool together = split[0] % atom.subgroups == 0 && split[1] == 1 && split[2] == 1;
    if (!together) return RefusedAtom{&atom, Refusal::alone};
    const int64_t panel = kPanelBits / atom.b.bits;
    if (s.k % panel) return RefusedAtom{&atom, Refusal::panels, s.k, panel};
  }
  const struct {
    Refusal why;
    int64_t extent, multiple;
  } extents[] = {{Refusal::m, s.m, int64_t{split[0]} * atom.m},
                 {Refusal::n, s.n, int64_t{split[1]} * atom.n},
                 {Refusal::k, s.k, int64_t{split[2]} * atom.k}};
  for (const auto& [why, extent, multiple] : extents)
    if (extent % multiple) return RefusedAtom{&atom, why, extent, multiple};
  return std::nullopt;
}

}  // namespace

std::string to_string(const RefusedAtom& r) {
  const auto divides = [&](const char* what) {
    return fmt::format("{} {} is no multiple of {}", what, r.extent, r.multiple);
  };
  switch (r.why) {
    case Refusal::types:
      return fmt::format("is for {} x {} -> {}", to_string(r.atom->a), to_string(r.atom->b), to_string(r.atom->c));
    case Refusal::b_in_registers:
      return "reads b from shared memory: b comes by no asynchronous copy of its own, or others read it too";
    case Refusal::alone:
      return fmt::format("runs in {} subgroups along m that share b", r.atom->subgroups);
    case Refusal::panels:
      return divides("k") + ", a row of shared memory";
    case Refusal::m:
      return divides("m");
    case Refusal::n:
      return divides("n");
    case Refusal::k:
      return divides("k");
    case Refusal::preferred:
      return "fits too, and comes later in the target's order";
  }
  return "";
}

Result<MmaPlan> plan_mma(const MmaShape& s, const std::array<int, 3>& split, const Target& target, bool b_in_room) {
  MmaPlan p;
  for (const Atom& atom : target.atoms) {
    const auto refused = refusal(atom, s, split, b_in_room);
    if (refused)
      p.refused.push_back(*refused);
    else if (p.atom)
      p.refused.push_back({&atom, Refusal::preferred});
    else
      p.atom = &atom;
  }
  if (!p.atom)
    return unsupported(fmt::format(
        "{}: no matrix instruction for {} x {} -> {} divides m {}, n {}, k {} over {} x {} x {} subgroups", target.name,
        to_string(s.ab), to_string(s.ab), to_string(s.c), s.m, s.n, s.k, split[0], split[1], split[2]));
  const Atom& atom = *p.atom;
  p.walk_m = s.m / split[0] / atom.m;
  p.walk_n = s.n / split[1] / atom.n;
  p.walk_k = s.k / split[2] / atom.k;
  const Layout a = subgroup_layout(split, 0, -1, 1, Mode::kReplicate) * local({p.walk_m, p.walk_k}) * operand_a(atom);
  const Layout b = subgroup_layout(split, -1, 1, 0, Mode::kReplicate) * local({p.walk_k, p.walk_n}) * atom.layout_b;
  p.c = subgroup_layout(split, 0, 1, -1, Mode::kPartial) * local({p.walk_m, p.walk_n}) * atom.layout_c;
  const auto order = k_order(atom, p.walk_k, split[2], keeps_k(target, s));
  const auto a2 = permute_dim(a, 1, order), b2 = permute_dim(b, 0, order);
  if (!a2 || !b2) return internal_error(fmt::format("{}: k cannot be renumbered", atom.name));
  p.a = *a2;
  p.b = *b2;
  return p;
}

}  // namespace lathe
