#include "explain/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/kernel.h"
#include "ir/tile_interp.h"

namespace lathe::explain {
namespace {

using tile::Func;
using tile::Op;

constexpr int64_t kMostValue = int64_t{1} << 60, kMostWorkgroups = int64_t{1} << 31;
constexpr int64_t kLarge = 4096;  ///< a size that nothing is said of

struct Range {
  int64_t least, most;
};

/// What the uniform integers of a program may be, for given sizes and workgroups.
class Ranges {
 public:
  /// grid: workgroups on each axis; {1, 1, 1} is the first one alone.
  Ranges(const Func& f, const Sizes& sizes, const std::array<int64_t, 3>& grid) : f_(f), grid_(grid) {
    for (const ValueId s : f.symbols)
      if (const auto it = sizes.find(f.values[s].name); it != sizes.end()) known_[s] = {it->second, it->second};
    for (const BlockId b : {f.head, f.body})
      if (b != kNone) f.walk(b, [&](BlockId, size_t, InstId id) { visit(f.inst(id)); });
  }
  std::optional<Range> of(ValueId v) const {
    const auto it = known_.find(v);
    return it == known_.end() ? std::nullopt : std::optional(it->second);
  }
  std::optional<int64_t> turns(const Func::Inst& loop) const {
    const auto lo = of(loop.args[0]), hi = of(loop.args[1]), step = of(loop.args[2]);
    if (!lo || !hi || !step || step->least < 1) return std::nullopt;
    return std::max<int64_t>(0, (hi->most - lo->least + step->least - 1) / step->least);
  }

 private:
  void visit(const Func::Inst& i) {
    if (i.op == Op::loop) {
      const auto n = turns(i);
      const auto lo = of(i.args[0]), step = of(i.args[2]);
      if (n && *n > 0) known_[f_.blocks[i.blocks[0]].params[0]] = {lo->least, lo->least + (*n - 1) * step->least};
      return;
    }
    if (i.results.size() != 1 || f_.type(i.results[0]) != tile::scalar_of(types::i64)) return;
    if (const auto r = result(i)) known_[i.results[0]] = *r;
  }

  std::optional<Range> result(const Func::Inst& i) const {
    if (i.op == Op::constant) return Range{i.attr.imm, i.attr.imm};
    if (i.op == Op::group_id) return Range{0, grid_[static_cast<size_t>(i.attr.imm)] - 1};
    if (i.args.size() != 2) return std::nullopt;
    const auto a = of(i.args[0]), b = of(i.args[1]);
    if (!a || !b) return std::nullopt;
    switch (i.op) {
      case Op::add:
        return Range{a->least + b->least, a->most + b->most};
      case Op::sub:
        return Range{a->least - b->most, a->most - b->least};
      case Op::mul:
        if (a->least < 0 || b->least < 0 || (a->most > 0 && b->most > kMostValue / a->most)) return std::nullopt;
        return Range{a->least * b->least, a->most * b->most};
      case Op::div:
        return b->least < 1 || a->least < 0 ? std::nullopt
                                            : std::optional(Range{a->least / b->most, a->most / b->least});
      case Op::ceildiv:
        return b->least < 1
                   ? std::nullopt
                   : std::optional(Range{(a->least + b->most - 1) / b->most, (a->most + b->least - 1) / b->least});
      case Op::min:
        return Range{std::min(a->least, b->least), std::min(a->most, b->most)};
      case Op::max:
        return Range{std::max(a->least, b->least), std::max(a->most, b->most)};
      default:
        return std::nullopt;
    }
  }

  const Func& f_;
  std::array<int64_t, 3> grid_;
  std::map<ValueId, Range> known_;
};

const std::string& name_of(const Func& f, ValueId v) { return f.values[v].name; }
bool is_symbol(const Func& f, ValueId v) { return std::find(f.symbols.begin(), f.symbols.end(), v) != f.symbols.end(); }
int64_t constant_or(const Func& f, ValueId v, int64_t otherwise) {
  const auto* def = f.def(v);
  return def && def->op == Op::constant ? def->attr.imm : otherwise;
}
int64_t round_up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }

std::vector<std::string> names_of_symbols(const Func& f) {
  std::vector<std::string> out;
  for (const ValueId s : f.symbols) {
    const bool workspace = std::any_of(f.params.begin(), f.params.end(),
                                       [&](const tile::Param& p) { return p.workspace && p.sizes[0] == s; });
    if (!workspace) out.push_back(name_of(f, s));
  }
  return out;
}

/// What each symbol is cut into: tiles of the grid, steps of loops.
struct Cuts {
  std::map<std::string, int64_t> tiles, steps;
};
Cuts cuts_of(const Func& f) {
  Cuts out;
  // A part of a part of a symbol, and how much of it that is.
  const std::function<void(std::map<std::string, int64_t>&, ValueId, int64_t)> cut = [&](auto& cuts, ValueId v,
                                                                                         int64_t by) {
    const auto* def = f.def(v);
    if (def && def->op == Op::ceildiv) return cut(cuts, def->args[0], by * constant_or(f, def->args[1], 1));
    if (!is_symbol(f, v)) return;
    int64_t& most = cuts[name_of(f, v)];
    most = std::max(most, by);
  };
  for (const BlockId b : {f.head, f.grid, f.body}) {
    if (b == kNone) continue;
    f.walk(b, [&](BlockId, size_t, InstId id) {
      const Func::Inst& i = f.inst(id);
      if (i.op == Op::ceildiv) cut(b == f.body ? out.steps : out.tiles, i.results[0], 1);
      if (i.op == Op::loop) cut(out.steps, i.args[1], constant_or(f, i.args[2], 1));
    });
  }
  return out;
}

Result<std::array<int64_t, 3>> grid_of(const Func& f, const Sizes& sizes) {
  std::map<std::string, uint64_t> scalars;
  for (const tile::Param& p : f.params)
    if (f.type(p.value).is_scalar()) scalars[name_of(f, p.value)] = 1;
  TRY_ASSIGN(const auto axes, tile::evaluate_grid(f, symbol_values(f, sizes), scalars));
  int64_t left = kMostWorkgroups;
  for (const int64_t axis : axes) {
    if (axis < 1 || axis > left)
      return bad_input(fmt::format("{}: a grid of {} x {} x {}", f.name, axes[0], axes[1], axes[2]));
    left /= axis;
  }
  return std::array<int64_t, 3>{axes[0], axes[1], axes[2]};
}

/// Sizes that nothing is cut from: whatever the tiles that are loaded and stored reach.
void derive_rest(const Func& f, Sizes& sizes) {
  const auto grid = grid_of(f, sizes);
  const Ranges ranges(f, sizes, grid ? *grid : std::array<int64_t, 3>{1, 1, 1});
  Sizes reached;
  const auto reach = [&](ValueId size, int64_t to, int bits, bool last) {
    if (!is_symbol(f, size) || sizes.contains(name_of(f, size))) return;
    int64_t& most = reached[name_of(f, size)];
    most = std::max(most, last ? round_up(to, std::max(1, 128 / bits)) : to);
  };
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const Func::Inst& i = f.inst(id);
    if (i.args.empty() || f.type(i.args[0]).form != tile::Form::view) return;
    const auto p = std::find_if(f.params.begin(), f.params.end(), [&](const auto& q) { return q.value == i.args[0]; });
    const tile::Type& t = i.results.empty() ? f.type(i.args.back()) : f.type(i.results[0]);
    for (size_t d = 0; p != f.params.end() && d < p->sizes.size() && d + 1 < i.args.size(); d++) {
      const auto index = ranges.of(i.args[1 + d]);
      const int64_t extent = d < t.shape.size() ? t.shape[d] : 1;
      reach(p->sizes[d], (index ? index->most : 0) + extent, f.type(i.args[0]).elem.bits, d + 1 == p->sizes.size());
    }
  });
  for (const auto& [name, size] : reached) sizes.emplace(name, size);
  const auto extent = [&](ValueId size) {
    const auto it = sizes.find(name_of(f, size));
    return it == sizes.end() ? constant_or(f, size, 1) : it->second;
  };
  for (const tile::Param& p : f.params) {  // strides of their own
    int64_t inner = 1;
    for (size_t d = p.sizes.size(); d-- > 0; inner *= extent(p.sizes[d]))
      if (d < p.strides.size()) reach(p.strides[d], inner, f.type(p.value).elem.bits, true);
  }
  for (const auto& [name, size] : reached) sizes.emplace(name, size);
  constexpr int64_t kAnything = 16;
  for (const std::string& name : names_of_symbols(f)) sizes.emplace(name, kAnything);
}

}  // namespace

Sizes sizes_of_problem(const tile::Func& f, const Sizes& given) {
  Sizes sizes = given;
  const Cuts cuts = cuts_of(f);
  for (const auto* cut : {&cuts.steps, &cuts.tiles})
    for (const auto& [name, by] : *cut) sizes.emplace(name, round_up(kLarge, by));
  derive_rest(f, sizes);
  return sizes;
}

Sizes sizes_of_sample(const tile::Func& f, const Sizes& problem, int64_t turns) {
  Sizes sizes, wanted;
  const Cuts cuts = cuts_of(f);
  for (const auto& [name, by] : cuts.tiles) wanted[name] = by;
  for (const auto& [name, by] : cuts.steps) wanted[name] = std::max(wanted[name], by * turns);
  for (const auto& [name, size] : wanted) sizes[name] = std::min(size, problem.at(name));
  derive_rest(f, sizes);
  return sizes;
}

std::vector<int64_t> symbol_values(const tile::Func& f, const Sizes& sizes) {
  std::vector<int64_t> out;
  for (const ValueId s : f.symbols) {
    const auto it = sizes.find(name_of(f, s));
    out.push_back(it == sizes.end() ? 0 : it->second);
  }
  return out;
}

bool rows_aligned(const tile::Func& f, const Sizes& sizes) {
  Kernel::Arguments args;
  args.sizes = {sizes.begin(), sizes.end()};
  for (const tile::Param& p : f.params) args.values[name_of(f, p.value)] = 0;
  return is_aligned(f, args);
}

Result<Work> work_of(const tile::Func& f, const Sizes& sizes, const std::map<std::string, PackedLayout>& packed) {
  Work work;
  TRY_ASSIGN(work.grid, grid_of(f, sizes));
  for (const tile::Param& p : f.params) {
    if (f.type(p.value).is_scalar() || p.workspace) continue;
    std::vector<double> shape;
    for (const ValueId size : p.sizes) {
      const auto it = sizes.find(name_of(f, size));
      shape.push_back(static_cast<double>(it == sizes.end() ? constant_or(f, size, 1) : it->second));
    }
    double bytes = f.type(p.value).elem.bits / 8.0;
    if (const auto order = packed.find(name_of(f, p.value)); order != packed.end()) {
      const auto units = [](double extent, int64_t of) { return std::ceil(extent / static_cast<double>(of)); };
      shape = {units(shape[0], order->second.unit_n()), units(shape[1], order->second.unit_k())};
      bytes = static_cast<double>(order->second.unit_bytes());
    }
    for (const double extent : shape) bytes *= extent;
    work.bytes += bytes;
  }
  const Ranges first(f, sizes, {1, 1, 1});
  double flops = 0;
  bool known = true;
  const std::function<void(BlockId, double)> count = [&](BlockId block, double times) {
    for (const InstId id : f.blocks[block].insts) {
      const Func::Inst& i = f.inst(id);
      if (i.op == Op::mma || i.op == Op::mma_scaled) {
        const Coord &a = f.type(i.args[0]).shape, &c = f.type(i.results[0]).shape;
        flops += times * 2 * static_cast<double>(a[0] * a[1] * c[1]);
        known = known && times > 0;
      }
      const auto turns = i.op == Op::loop ? first.turns(i) : std::nullopt;
      const double inside = i.op == Op::cond ? times : turns ? times * static_cast<double>(*turns) : 0;
      if (turns) work.turns[i.loc.line] += inside / static_cast<double>(work.workgroups());
      for (const BlockId b : i.blocks) count(b, inside);
    }
  };
  count(f.body, static_cast<double>(work.workgroups()));
  if (known) work.flops = flops;
  return work;
}

}  // namespace lathe::explain
