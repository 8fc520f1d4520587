// What each Tile IR operation asks of the layouts of its operands.
#include <map>
#include <numeric>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

std::optional<Layout> broadcast_source(const Layout& result, const Coord& source) {
  Layout l = result;
  for (int d = 0; d < l.rank(); d++)
    if (source[static_cast<size_t>(d)] == 1) l = reduce(l, d, Mode::kReplicate);
  return l;
}

/// The layout of the operand of repeat(.., dim, count) given that of its result; none where the copies of one element
/// are no digit of their own.
std::optional<Layout> repeat_source(const Layout& result, int dim, int64_t count) {
  Coord split = result.shape(), source = result.shape();
  const auto d = static_cast<size_t>(dim);
  source[d] /= count;
  split[d] = source[d];
  split.insert(split.begin() + dim + 1, count);
  const auto apart = reshape(result, split);
  return apart ? reshape(reduce(*apart, dim + 1, Mode::kReplicate), source) : std::nullopt;
}

/// The layout of row numbers beside a tile: every thread has those of its rows.
std::optional<Layout> row_layout(const Layout& tile) {
  Layout l = tile;
  for (int d = 1; d < l.rank(); d++) l = reduce(l, d, Mode::kReplicate);
  return reshape(l, {tile.shape()[0]});
}

/// A tile's layout with every element of the last dimension cut into `per` narrower ones, kept by the same slot.
std::optional<Layout> cut_elements(const Layout& l, int64_t per) {
  const int last = l.rank() - 1;
  std::vector<Mode> T = l.T(), S = l.S();
  for (auto* modes : {&T, &S})
    for (Mode& m : *modes)
      if (m.d == last && m.w > 0) m.w *= per;
  S.push_back({per, last, 1});
  Coord shape = l.shape();
  shape.back() *= per;
  return Layout::make(shape, T, S);
}

/// The reverse; none if `per` neighbours are not the minor slots of a thread.
std::optional<Layout> join_elements(const Layout& l, int64_t per) {
  if (l.shape().back() % per) return std::nullopt;
  Coord ones(static_cast<size_t>(l.rank()), 1);
  ones.back() = per;
  return divide(l, local(ones));
}

std::vector<int> inverse_order(const Coord& order) {
  std::vector<int> inverse(order.size());
  for (size_t i = 0; i < order.size(); i++) inverse[static_cast<size_t>(order[i])] = static_cast<int>(i);
  return inverse;
}

}  // namespace

std::optional<Layout> view_layout(const Layout& l, int from_bits, int to_bits) {
  if (to_bits <= from_bits) return cut_elements(l, from_bits / to_bits);
  return join_elements(l, to_bits / from_bits);
}

std::optional<Layout> slice_layout(const Layout& l, const Coord& offset, const Coord& shape) {
  std::optional<Layout> part = l;
  for (size_t d = 0; d < shape.size() && part; d++) {
    if (shape[d] == l.shape()[d]) continue;
    if (l.shape()[d] % shape[d] || offset[d] % shape[d]) return std::nullopt;
    part = slice(*part, static_cast<int>(d), shape[d]);
  }
  return part;
}

Layout scan_layout(const Coord& shape, int dim, int64_t threads) {
  const auto along = static_cast<size_t>(dim);
  std::vector<Mode> T, S;
  int64_t unplaced = threads;
  for (size_t d = shape.size(); d-- > 0;) {
    if (d == along) continue;
    const int64_t n = std::gcd(unplaced, shape[d]);
    unplaced /= n;
    T.insert(T.begin(), {n, static_cast<int>(d), 1});
    S.insert(S.begin(), {shape[d] / n, static_cast<int>(d), n});
  }
  const int64_t n = std::gcd(unplaced, shape[along]), run = shape[along] / n;
  T.push_back({n, dim, run});
  S.push_back({run, dim, 1});
  T.insert(T.begin(), {unplaced / n, Mode::kReplicate, 0});
  return Layout(shape, T, S);
}

Layout coalesced(const Coord& shape, int elem_bits, int64_t threads) {
  const int64_t elements = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  int64_t vec = 1;
  while (vec * 2 * elem_bits <= 128 && shape.back() % (vec * 2) == 0 && elements / (vec * 2) >= threads) vec *= 2;
  while (vec * elem_bits < 8 && shape.back() % (vec * 2) == 0) vec *= 2;  // a store never splits a byte
  return coalesced_runs(shape, vec, threads);
}

Layout coalesced_runs(const Coord& shape, int64_t vec, int64_t threads) {
  std::vector<Mode> T, S, outer;
  Coord left = shape, weight(shape.size(), 1);
  const size_t last = shape.size() - 1;
  S.push_back({vec, static_cast<int>(last), 1});
  left[last] /= vec;
  weight[last] = vec;
  int64_t unplaced = threads;
  for (size_t i = shape.size(); i-- > 0 && unplaced > 1;) {
    const int64_t n = std::gcd(unplaced, left[i]);
    T.insert(T.begin(), {n, static_cast<int>(i), weight[i]});
    left[i] /= n;
    weight[i] *= n;
    unplaced /= n;
    if (left[i] > 1 && unplaced > 1) break;  // row-major order ends here: the rest of the threads hold copies
  }
  T.insert(T.begin(), {unplaced, Mode::kReplicate, 0});
  for (size_t i = shape.size(); i-- > 0;) outer.insert(outer.begin(), {left[i], static_cast<int>(i), weight[i]});
  outer.insert(outer.end(), S.begin(), S.end());
  return Layout(shape, T, outer);
}

std::optional<Layout> runs_of_subgroups(const Layout& l, int64_t vec, int64_t subgroup_size) {
  std::vector<Mode> above;
  Coord box = l.shape();
  int64_t subgroups = l.threads() / subgroup_size;
  for (size_t i = 0; i < l.T().size() && subgroups > 1; i++) {
    const Mode& m = l.T()[i];
    if (m.d < 0 || subgroups % m.n) return std::nullopt;
    above.push_back(m);
    box[static_cast<size_t>(m.d)] /= m.n;
    subgroups /= m.n;
  }
  const bool outermost =
      std::all_of(above.begin(), above.end(), [&](const Mode& m) { return m.w % box[static_cast<size_t>(m.d)] == 0; });
  if (!outermost || l.partials() > 1 || box.back() % vec) return std::nullopt;
  const Layout inner = coalesced_runs(box, vec, subgroup_size);
  above.insert(above.end(), inner.T().begin(), inner.T().end());
  return Layout::make(l.shape(), above, inner.S());
}

double sector_ratio(const Layout& l, int elem_bits, int64_t subgroup_size) {
  constexpr int64_t kSectorBits = 256;
  const MemoryLayout rows = row_major(l.shape(), int64_t{1} << 24);
  const int64_t elems = wide_access(l, rows, std::max(1, 128 / elem_bits)).elems;
  std::map<int64_t, std::set<int64_t>> accesses;  // of one thread, by first element -> sectors of all lanes
  for (int64_t s = 0; s < l.slots(); s++) {
    const int64_t mine = rows.address(l.at(0, s)) / elems;
    for (int64_t lane = 0; lane < subgroup_size; lane++)
      accesses[mine].insert(rows.address(l.at(lane, s)) * elem_bits / kSectorBits);
  }
  int64_t touched = 0;
  for (const auto& [first, sectors] : accesses) touched += static_cast<int64_t>(sectors.size());
  return static_cast<double>(touched * kSectorBits) / static_cast<double>(l.slots() * subgroup_size * elem_bits);
}

ValueId room_of_operand(const Func& f, const Func::Inst& inst) {
  const Func::Inst* turned = inst.op == Op::mma ? f.def(inst.args[1]) : nullptr;
  if (!turned || turned->op != Op::transpose || turned->attr.shape != Coord{1, 0}) return kNone;
  const Func::Inst* wait = f.def(turned->args[0]);
  if (!wait || wait->op != Op::wait || f.type(turned->args[0]).elem.bits != 16) return kNone;
  int uses = 0;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    for (const ValueId a : f.inst(id).args) uses += a == turned->args[0] || a == inst.args[1];
  });
  return uses == 2 ? wait->args[0] : kNone;
}

Result<MmaPlan> plan_of(const Func& f, const Func::Inst& inst, const Target& t) {
  const Type& a = f.type(inst.args[0]);
  const Type& b = f.type(inst.args[inst.args.size() - 2]);
  const Type& c = f.type(inst.args.back());
  return plan_mma({a.shape[0], b.shape[1], a.shape[1], a.elem, c.elem}, f.split, t, room_of_operand(f, inst) != kNone);
}

Result<std::vector<std::optional<Layout>>> operand_layouts(const Func& f, const Func::Inst& inst, const Target& t) {
  std::vector<std::optional<Layout>> want(inst.args.size());
  const std::optional<Layout> result = inst.results.empty() ? std::nullopt : f.type(inst.results[0]).layout;
  switch (inst.op) {
    case Op::mma:
    case Op::mma_scaled: {
      TRY_ASSIGN(const MmaPlan plan, plan_of(f, inst, t));
      want.front() = plan.a;
      want[want.size() - 2] = plan.b;
      want.back() = plan.c;
      if (inst.op == Op::mma_scaled) {
        // One factor for each row of c a thread holds, and each run of k between two foldings.
        const Coord& s = f.type(inst.args[1]).shape;
        std::vector<Mode> T = plan.c.T(), S;
        for (Mode& m : T)
          if (m.d == 1) m = {m.n, Mode::kReplicate, 0};
        for (const Mode& m : plan.c.S())
          if (m.d == 0) S.push_back(m);
        for (Mode& m : T)
          if (m.d == Mode::kPartial)
            m = s[1] % m.n == 0 && m.n > 1 ? Mode{m.n, 1, s[1] / m.n} : Mode{m.n, Mode::kReplicate, 0};
        int64_t owned = s[1];
        for (const Mode& m : T)
          if (m.d == 1) owned /= m.n;
        S.insert(S.begin(), {owned, 1, 1});
        want[1] = Layout::make(s, T, S);
        if (!want[1]) return internal_error("mma_scaled: the factors have no layout");
      }
      return want;
    }
    case Op::broadcast:
      if (result) want[0] = broadcast_source(*result, f.type(inst.args[0]).shape);
      return want;
    case Op::transpose:
      if (result) want[0] = lathe::transpose(*result, inverse_order(inst.attr.shape));
      return want;
    case Op::reshape:
      if (result) want[0] = lathe::reshape(*result, f.type(inst.args[0]).shape);
      if (result && !want[0]) return unsupported("reshape: no layout of the operand gives " + to_string(*result));
      return want;
    case Op::view: {
      const Type& from = f.type(inst.args[0]);
      if (result) want[0] = view_layout(*result, inst.attr.elem.bits, from.elem.bits);
      if (result && !want[0]) return unsupported("view: no layout of the operand gives " + to_string(*result));
      return want;
    }
    case Op::slice:
      return want;  // any layout will do; what the result's was made from is left as it is
    case Op::assign:
      want[0] = result;
      return want;
    case Op::repeat:
      if (result) want[0] = repeat_source(*result, static_cast<int>(inst.attr.imm), inst.attr.count);
      return want;
    case Op::scan:
      want[0] = scan_layout(f.type(inst.args[0]).shape, static_cast<int>(inst.attr.imm),
                            int64_t{f.subgroups} * t.subgroup_size);
      return want;
    case Op::gather:
      if (result) want.back() = row_layout(*result);
      return want;
    case Op::scatter: {
      const Type& tile = f.type(inst.args.back());
      if (!tile.layout) return want;
      if (tile.layout->partials() > 1)
        want.back() = coalesced(tile.shape, tile.elem.bits, int64_t{f.subgroups} * t.subgroup_size);
      want[want.size() - 2] = row_layout(want.back() ? *want.back() : *tile.layout);
      return want;
    }
    case Op::reduce:
    case Op::convert:
    case Op::load:
    case Op::store:
      return want;  // any layout will do
    case Op::item:
    case Op::atomic_add:
      return want;
    case Op::loop:
    case Op::while_loop:
    case Op::cond:
    case Op::yield:
      return want;  // carried values are unified by inference itself
    default:        // element by element: all alike
      for (size_t i = 0; i < inst.args.size(); i++)
        if (f.type(inst.args[i]).is_tile()) want[i] = result;
      return want;
  }
}

}  // namespace lathe::tile
