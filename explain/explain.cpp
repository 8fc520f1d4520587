#include "explain/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/sim/device.h"
#include "engine/kernel.h"
#include "explain/sample.h"

namespace lathe::explain {
namespace {

constexpr int64_t kTurns = 6;  ///< of each loop of the sample

std::vector<PlacedTile> tiles_of(const tile::Func& f) {
  std::vector<PlacedTile> out;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    for (const ValueId v : f.inst(id).results) {
      const tile::Type& t = f.type(v);
      if (!t.layout) continue;
      const PlacedTile one{f.values[v].name, f.inst(id).loc.line, t};
      const bool known = std::any_of(out.begin(), out.end(),
                                     [&](const PlacedTile& p) { return p.name == one.name && p.type == one.type; });
      if (!known && !one.name.empty()) out.push_back(one);
    }
  });
  return out;
}

Result<std::vector<Product>> products_of(const tile::Func& f, const Target& t) {
  std::vector<Product> out;
  Result<Unit> status = Unit{};
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const tile::Func::Inst& i = f.inst(id);
    if (i.op != tile::Op::mma && i.op != tile::Op::mma_scaled) return;
    auto plan = tile::plan_of(f, i, t);
    if (plan)
      out.push_back({i.loc.line, std::move(*plan)});
    else
      status = tl::unexpected(plan.error());
  });
  TRY(status);
  return out;
}

/// What the tile program does where an access of memory stands: its view or tile, by the kind of access.
std::string purpose(const tile::Func& f, const sim::AccessCount& a) {
  const bool shared =
      a.op == thread::Op::load_shared || a.op == thread::Op::load_matrix || a.op == thread::Op::store_shared;
  const std::string label = thread::info(a.op).name;
  std::string of_view, of_tile;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const tile::Func::Inst& i = f.inst(id);
    if (i.loc != a.loc || i.args.empty()) return;
    const bool view = f.type(i.args[0]).form == tile::Form::view || f.type(i.args[0]).form == tile::Form::shared;
    std::string& name = view ? of_view : of_tile;
    if (name.empty()) name = f.values[i.args[0]].name;
  });
  const std::string& name = (shared && !of_tile.empty()) || of_view.empty() ? of_tile : of_view;
  return name.empty() ? label : label + " " + name;
}

}  // namespace

Result<Subject> compile_subject(const tile::Func& f, const Target& target, const CompileOptions& options) {
  Subject s;
  s.target = std::make_shared<const Target>(target);
  s.program = f;
  if (std::all_of(f.insts.begin(), f.insts.end(), [](const auto& i) { return i.loc.line == 0; })) {
    s.text = tile::print(f);
    TRY_ASSIGN(s.program, tile::parse(s.text, f.name));
  }
  TRY_ASSIGN(s.compiled, compile(s.program, target, options));
  return s;
}

Result<Explanation> explain(const Subject& s, const Sizes& given) {
  Explanation e;
  e.name = s.program.name;
  e.target = s.target;
  e.tiles = tiles_of(s.compiled.laid_out);
  TRY_ASSIGN(e.products, products_of(s.compiled.laid_out, *s.target));
  e.packed = s.compiled.packed;
  e.shared_tiles = s.compiled.shared_tiles;
  const thread::Func& code = s.compiled.func;
  for (const thread::SharedArray& a : code.shared) e.shared_bytes += a.bytes;
  e.threads = int64_t{code.subgroups} * code.subgroup_size;
  e.problem = sizes_of_problem(s.program, given);
  e.sample = sizes_of_sample(s.program, e.problem, kTurns);
  TRY_ASSIGN(e.work, work_of(s.program, e.problem, s.compiled.packed));
  TRY_ASSIGN(e.sample_work, work_of(s.program, e.sample, s.compiled.packed));
  auto counted = run_sample(s, e.sample, e.sample_work.grid);
  if (counted)
    e.count = std::move(*counted);
  else
    e.not_counted = counted.error().text;
  for (const sim::AccessCount& a : e.count.accesses) e.copies.push_back({purpose(s.compiled.laid_out, a), a});
  e.limit = limit_of(e, s.program);
  return e;
}

}  // namespace lathe::explain
