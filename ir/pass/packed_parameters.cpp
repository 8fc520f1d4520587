// The stored order every packed parameter of a kernel is read in.
#include <fmt/format.h>

#include <algorithm>

#include "ir/pass/passes.h"

namespace lathe::tile {

namespace {

/// The layout of one value for every `span` columns of dimension 1: what lies inside a span is shared.
std::optional<Layout> coarsen(const Layout& l, int64_t span) {
  Coord shape = l.shape();
  shape[1] /= span;
  std::vector<Mode> T, S;
  for (const auto* modes : {&l.T(), &l.S()})
    for (Mode m : *modes) {
      auto& out = modes == &l.T() ? T : S;
      if (m.d != 1 || m.w >= span) {
        if (m.d == 1) m.w /= span;
        out.push_back(m);
        continue;
      }
      const int64_t inside = std::min(m.n, span / m.w);
      if (m.n % inside) return std::nullopt;
      if (m.n > inside) out.push_back({m.n / inside, 1, 1});
      if (modes == &l.T()) out.push_back({inside, Mode::kReplicate, 0});
    }
  return Layout::make(shape, T, S);
}

/// The unit of a parameter that goes with weights of unit `weights` (their scales): one entry a row and group of
/// columns, where the lanes that hold them find it. none where the tile is not made of such units.
std::optional<PackedLayout> beside(const Layout& l, lathe::Type elem, const PackedLayout& weights) {
  for (int64_t columns = 1; columns <= weights.unit_k(); columns *= 2) {
    if (weights.unit_k() % columns) break;
    const auto unit = coarsen(weights.unit, weights.unit_k() / columns);
    if (unit && divide(l, *unit)) return PackedLayout{elem, *unit};
  }
  return std::nullopt;
}

}  // namespace

Result<std::map<std::string, PackedLayout>> packed_parameters(const Func& f, const Target& t) {
  struct Load {
    std::string name;
    Type tile;
  };
  std::vector<Load> codes, others;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const Func::Inst& inst = f.inst(id);
    if ((inst.op != Op::load && inst.op != Op::issue) || !f.type(inst.args[0]).packed) return;
    const Type& tile = f.type(inst.results[0]);
    (tile.elem.bits < 16 ? codes : others).push_back({f.values[inst.args[0]].name, tile});
  });
  std::map<std::string, PackedLayout> out;
  auto add = [&](const Load& load, const PackedLayout& p) -> Result<Unit> {
    const auto [known, fresh] = out.try_emplace(load.name, p);
    if (fresh || known->second == p) return Unit{};
    return unsupported(fmt::format("{}: two loads ask for different units, {} and {}", load.name,
                                   to_string(known->second.unit), to_string(p.unit)));
  };
  for (const Load& load : codes) {
    TRY_ASSIGN(const PackedLayout p, derive_packed(*load.tile.layout, load.tile.elem, t.subgroup_size));
    TRY(add(load, p));
  }
  for (const Load& load : others) {
    std::optional<PackedLayout> p;
    for (const Load& weights : codes)
      if (!p) p = beside(*load.tile.layout, load.tile.elem, out.at(weights.name));
    if (!p) {
      TRY_ASSIGN(p, derive_packed(*load.tile.layout, load.tile.elem, t.subgroup_size));
    }
    TRY(add(load, *p));
  }
  return out;
}

}  // namespace lathe::tile
