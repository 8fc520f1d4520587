// Layout inference: matrix instructions anchor their operands; layouts then spread over operations that keep them until
// nothing moves; what is still free starts from memory. Where two layouts meet, a convert is inserted.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

bool is_partial(const Layout& l) { return l.partials() > 1; }
/// Operations through which a partial tile (copies are addends) may pass unchanged.
bool is_linear_move(Op op) { return op == Op::transpose || op == Op::reshape; }

class Inference {
 public:
  Inference(Func& f, const Target& t) : f_(f), t_(t), threads_(int64_t{f.subgroups} * t.subgroup_size) {}

  Result<Unit> run() {
    drop_converts();
    TRY(convert_pinned_products());
    f_.walk(f_.body, [&](BlockId, size_t, InstId id) { order_.push_back(id); });
    for (ValueId v = 0; v < f_.values.size(); v++)
      if (is_tile(v) && known(v)) pinned_.insert(v);
    for (InstId id : order_) TRY(anchor(id));
    for (;;) {
      while (spread()) {
      }
      const ValueId seed = first_free();
      if (seed == kNone) break;
      const Type& t = f_.type(seed);
      assign(seed, coalesced(t.shape, t.elem.bits, threads_));
    }
    reconsider_loads();
    return insert_converts(f_.body);
  }

 private:
  bool known(ValueId v) const { return f_.values[v].type.layout.has_value(); }
  bool is_tile(ValueId v) const { return f_.type(v).is_tile() || f_.type(v).is_token(); }
  /// A whole value never takes a partial layout by itself: every copy would count.
  bool may_hold_addends(ValueId v) const {
    const Func::Inst* def = f_.def(v);
    if (!def) return true;  // carried: its yielded value decides
    switch (def->op) {
      case Op::mma:
      case Op::mma_scaled:
      case Op::fill:
      case Op::loop:
      case Op::while_loop:
      case Op::cond:
        return true;
      default:
        return is_linear_move(def->op);
    }
  }
  bool assign(ValueId v, const std::optional<Layout>& l) {
    if (!l || !is_tile(v) || known(v) || (is_partial(*l) && !may_hold_addends(v))) return false;
    f_.values[v].type.layout = l;
    return true;
  }

  void drop_converts() {
    std::map<ValueId, ValueId> source;
    for (auto& block : f_.blocks)
      std::erase_if(block.insts, [&](InstId id) {
        if (f_.inst(id).op != Op::convert) return false;
        source[f_.inst(id).results[0]] = f_.inst(id).args[0];
        return true;
      });
    f_.walk(f_.body, [&](BlockId, size_t, InstId id) {
      for (ValueId& a : f_.inst(id).args)
        for (auto it = source.find(a); it != source.end(); it = source.find(a)) a = it->second;
    });
  }

  /// A product comes out as its plan has it; a pin that asks for another layout is met by a convert.
  Result<Unit> convert_pinned_products() {
    std::vector<std::pair<BlockId, InstId>> products;
    f_.walk(f_.body, [&](BlockId block, size_t, InstId id) {
      const Op op = f_.inst(id).op;
      if ((op == Op::mma || op == Op::mma_scaled) && known(f_.inst(id).results[0])) products.emplace_back(block, id);
    });
    for (const auto& [block, id] : products) {
      const ValueId pinned = f_.inst(id).results[0];
      TRY_ASSIGN(const auto want, operand_layouts(f_, f_.inst(id), t_));
      Type type = f_.type(pinned);
      if (!want.back() || type.layout == want.back()) continue;
      type.layout = want.back();
      const ValueId product = f_.add_value(type, id, f_.values[pinned].name);
      f_.inst(id).results = {product};
      const InstId convert = f_.add_inst(Op::convert, {}, {product}, {}, {}, f_.inst(id).loc);
      f_.inst(convert).results = {pinned};
      f_.values[pinned].def = convert;
      auto& insts = f_.blocks[block].insts;
      insts.insert(std::find(insts.begin(), insts.end(), id) + 1, convert);
    }
    return Unit{};
  }

  Result<Unit> anchor(InstId id) {
    const Func::Inst& inst = f_.inst(id);
    if (inst.op != Op::mma && inst.op != Op::mma_scaled) return Unit{};
    TRY_ASSIGN(const auto want, operand_layouts(f_, inst, t_));
    assign(inst.results[0], want.back());
    for (size_t i = 0; i < want.size(); i++) assign(inst.args[i], want[i]);
    return Unit{};
  }

  /// One round over all operations, both directions; true if a layout was given.
  bool spread() {
    bool changed = false;
    for (InstId id : order_) changed |= spread_over(id);
    for (size_t i = order_.size(); i-- > 0;) changed |= spread_over(order_[i]);
    return changed;
  }

  bool spread_over(InstId id) {
    const Func::Inst& inst = f_.inst(id);
    if (inst.op == Op::loop) return spread_loop(inst);
    if (inst.op == Op::while_loop) return spread_while(inst);
    if (inst.op == Op::cond) return spread_cond(inst);
    if (inst.results.empty() || !is_tile(inst.results[0])) return false;
    const ValueId r = inst.results[0];
    switch (inst.op) {
      case Op::mma:
      case Op::mma_scaled:
      case Op::load:
      case Op::fill:
      case Op::iota:
      case Op::room:
        return false;
      case Op::gather:
        break;
      case Op::slice:
        if (known(inst.args[0]) && !is_partial(*f_.type(inst.args[0]).layout))
          return assign(r, slice_layout(*f_.type(inst.args[0]).layout, inst.attr.offset, inst.attr.shape));
        break;
      case Op::assign:
        return spread_assign(inst);
      case Op::scan:
        return assign(r, scan_layout(f_.type(r).shape, static_cast<int>(inst.attr.imm), threads_));
      case Op::reduce:
        return known(inst.args[0]) && assign(r, reduced(inst));
      case Op::transpose:
        if (known(inst.args[0])) {
          const std::vector<int> order(inst.attr.shape.begin(), inst.attr.shape.end());
          return assign(r, lathe::transpose(*f_.type(inst.args[0]).layout, order));
        }
        break;
      case Op::reshape:
        if (known(inst.args[0])) return assign(r, lathe::reshape(*f_.type(inst.args[0]).layout, inst.attr.shape));
        break;
      case Op::view:
        if (known(inst.args[0])) {
          const Type& from = f_.type(inst.args[0]);
          return assign(r, view_layout(*from.layout, from.elem.bits, inst.attr.elem.bits));
        }
        break;
      case Op::broadcast:
      case Op::repeat:
        break;
      default:
        return spread_elementwise(inst);
    }
    return spread_back(inst);
  }

  bool spread_back(const Func::Inst& inst) {
    if (!known(inst.results[0])) return false;
    if (is_partial(*f_.type(inst.results[0]).layout) && !is_linear_move(inst.op)) return false;
    const auto want = operand_layouts(f_, inst, t_);
    bool changed = false;
    for (size_t i = 0; want && i < want->size(); i++) changed |= assign(inst.args[i], (*want)[i]);
    return changed;
  }

  /// Operand a and the result are alike, and b is a part of them.
  bool spread_assign(const Func::Inst& inst) {
    const ValueId a = inst.args[0], b = inst.args[1], r = inst.results[0];
    const ValueId from = known(r) ? r : a;
    if (!known(from) || is_partial(*f_.type(from).layout)) return false;
    bool changed = assign(r, f_.type(from).layout);
    changed |= assign(a, f_.type(from).layout);
    return assign(b, slice_layout(*f_.type(r).layout, inst.attr.offset, f_.type(b).shape)) || changed;
  }

  bool spread_elementwise(const Func::Inst& inst) {
    std::optional<Layout> l = f_.type(inst.results[0]).layout;
    for (ValueId a : inst.args)
      if (!l && is_tile(a) && known(a) && !is_partial(*f_.type(a).layout)) l = f_.type(a).layout;
    if (!l || is_partial(*l)) return false;
    bool changed = assign(inst.results[0], l);
    for (ValueId a : inst.args) changed |= assign(a, l);
    return changed;
  }

  /// Values that are one variable: initial value, block parameter, yielded value, result.
  bool unify(const std::vector<ValueId>& group) {
    for (ValueId v : group)
      if (is_tile(v) && known(v)) {
        bool changed = false;
        for (ValueId w : group) changed |= assign(w, f_.type(v).layout);
        return changed;
      }
    return false;
  }
  bool spread_loop(const Func::Inst& inst) {
    const auto& block = f_.blocks[inst.blocks[0]];
    const Func::Inst& yield = f_.inst(block.insts.back());
    bool changed = false;
    for (size_t i = 0; i < inst.results.size(); i++) {
      // The yielded value first: an accumulator's layout comes from the operation that makes it.
      changed |= unify({yield.args[i], block.params[i + 1], inst.results[i], inst.args[i + 3]});
    }
    return changed;
  }
  bool spread_while(const Func::Inst& inst) {
    const auto &seen = f_.blocks[inst.blocks[0]].params, &carried = f_.blocks[inst.blocks[1]].params;
    const Func::Inst& yield = f_.inst(f_.blocks[inst.blocks[1]].insts.back());
    bool changed = false;
    for (size_t i = 0; i < inst.results.size(); i++)
      changed |= unify({yield.args[i], carried[i], seen[i], inst.results[i], inst.args[i]});
    return changed;
  }
  bool spread_cond(const Func::Inst& inst) {
    const Func::Inst& yes = f_.inst(f_.blocks[inst.blocks[0]].insts.back());
    const Func::Inst& no = f_.inst(f_.blocks[inst.blocks[1]].insts.back());
    bool changed = false;
    for (size_t i = 0; i < inst.results.size(); i++) changed |= unify({inst.results[i], yes.args[i], no.args[i]});
    return changed;
  }

  /// The sum is completed at once: every thread that held an addend gets the result.
  std::optional<Layout> reduced(const Func::Inst& inst) const {
    const Layout& l = *f_.type(inst.args[0]).layout;
    if (is_partial(l)) return std::nullopt;
    return reduce(l, static_cast<int>(inst.attr.imm), Mode::kReplicate);
  }

  /// First the loads, then whatever else has no layout, in program order.
  ValueId first_free() const {
    ValueId other = kNone;
    for (InstId id : order_)
      for (ValueId v : f_.inst(id).results)
        if (is_tile(v) && !known(v)) {
          if (f_.inst(id).op == Op::load || f_.inst(id).op == Op::wait) return v;
          if (other == kNone) other = v;
        }
    return other;
  }

  /// A plain load whose layout gives every subgroup its own copy, or wastes most of each sector, comes in coalesced and
  /// is converted.
  void reconsider_loads() {
    for (InstId id : order_) {
      const Func::Inst& inst = f_.inst(id);
      if (inst.op != Op::load) continue;
      const Type& view = f_.type(inst.args[0]);
      const ValueId r = inst.results[0];
      if (view.packed || view.form == Form::shared || pinned_.contains(r) || !worth_exchange(f_.type(r))) continue;
      if (const auto rows = for_matrix_loads(f_.type(r))) {
        f_.values[r].type.layout = rows;
      } else if (copies_over_subgroups(*f_.type(r).layout) > 1 || wasteful(f_.type(r), 4)) {
        f_.values[r].type.layout = direct(f_.type(r));
      }
    }
  }
  /// Whole pieces of what each subgroup needs, where matrix loads then bring them to their lanes and the lanes' own
  /// loads would be narrow; none elsewhere.
  std::optional<Layout> for_matrix_loads(const Type& t) const {
    const int64_t vec = 128 / t.elem.bits;
    const bool reach =
        t.elem.bits == 16 && std::any_of(t_.matrix_loads.begin(), t_.matrix_loads.end(),
                                         [&](const MatrixLoad& m) { return fit(*t.layout, m.registers, {}); });
    if (!reach || 2 * wide_access(*t.layout, row_major(t.shape, int64_t{1} << 24), vec).elems >= vec)
      return std::nullopt;
    return runs_of_subgroups(*t.layout, vec, t_.subgroup_size);
  }
  Layout direct(const Type& t) const { return coalesced(t.shape, t.elem.bits, threads_); }
  /// Large enough to gain from a trip through shared memory, small enough to make it.
  bool worth_exchange(const Type& t) const {
    const int64_t bytes = t.layout->elements() * t.elem.bits / 8;
    return t.elem.bits >= 8 && bytes >= 16 * t_.subgroup_size && 2 * bytes <= t_.shared_bytes;
  }
  bool wasteful(const Type& t, double limit) const {
    const double ratio = sector_ratio(*t.layout, t.elem.bits, t_.subgroup_size);
    return ratio > limit && ratio > 2 * sector_ratio(direct(t), t.elem.bits, t_.subgroup_size);
  }
  int64_t copies_over_subgroups(const Layout& l) const {
    int64_t below = threads_, copies = 1;
    for (const Mode& m : l.T()) {
      below /= m.n;
      if (m.d == Mode::kReplicate && below >= t_.subgroup_size) copies *= m.n;
    }
    return copies;
  }

  ValueId converted(ValueId v, const Layout& to, Loc loc, BlockId block, size_t& at) {
    Type t = f_.type(v);
    t.layout = to;
    const InstId id = f_.add_inst(Op::convert, {}, {v}, {t}, {}, loc);
    f_.values[f_.inst(id).results[0]].name = f_.values[v].name;
    auto& insts = f_.blocks[block].insts;
    insts.insert(insts.begin() + static_cast<std::ptrdiff_t>(at++), id);
    return f_.inst(id).results[0];
  }

  Result<Unit> insert_converts(BlockId block) {
    std::map<std::pair<ValueId, std::string>, ValueId> made;
    for (size_t at = 0; at < f_.blocks[block].insts.size(); at++) {
      const InstId id = f_.blocks[block].insts[at];
      TRY_ASSIGN(const auto want, wanted(f_.inst(id)));
      for (size_t i = 0; i < want.size(); i++) {
        const ValueId v = f_.inst(id).args[i];
        if (!want[i] || f_.type(v).layout == want[i]) continue;
        const auto [it, fresh] = made.try_emplace({v, to_string(*want[i])}, kNone);
        if (fresh) it->second = converted(v, *want[i], f_.inst(id).loc, block, at);
        f_.inst(id).args[i] = it->second;
      }
      TRY(insert_into_blocks(id));
    }
    return Unit{};
  }

  /// operand_layouts, and for carried values what they must agree with.
  Result<std::vector<std::optional<Layout>>> wanted(const Func::Inst& inst) const {
    TRY_ASSIGN(auto want, operand_layouts(f_, inst, t_));
    auto plain = [&](size_t i) {  // a partial tile is completed before anything but a sum reads it
      const Type& t = f_.type(inst.args[i]);
      if (t.is_tile() && is_partial(*t.layout)) want[i] = coalesced(t.shape, t.elem.bits, threads_);
    };
    if (inst.op == Op::store) {
      plain(inst.args.size() - 1);
      const Type& t = f_.type(inst.args.back());
      const bool global = f_.type(inst.args[0]).form == Form::view;
      if (global && !want.back() && !pinned_.contains(inst.args.back()) && worth_exchange(t) && wasteful(t, 2))
        want.back() = direct(t);
    }
    if (inst.op == Op::atomic_add) plain(inst.args.size() - 1);
    if (inst.op == Op::reduce || inst.op == Op::slice || inst.op == Op::item || (inst.op == Op::repeat && !want[0]))
      plain(0);
    if (inst.op == Op::assign) plain(1);
    if (inst.op == Op::loop)
      for (size_t i = 0; i < inst.results.size(); i++) want[i + 3] = f_.type(inst.results[i]).layout;
    if (inst.op == Op::while_loop)
      for (size_t i = 0; i < inst.results.size(); i++) want[i] = f_.type(inst.results[i]).layout;
    return want;
  }

  /// A carried tile comes in as the loop carries it; where its body wants another layout it is converted there.
  void convert_carried(InstId id, BlockId inner) {
    const size_t index = f_.inst(id).op == Op::loop ? 1 : 0;
    for (size_t i = 0; i < f_.inst(id).results.size(); i++) {
      const ValueId carried = f_.blocks[inner].params[i + index];
      const std::optional<Layout> as = f_.type(f_.inst(id).results[i]).layout, wanted = f_.type(carried).layout;
      if (!f_.type(carried).is_tile() || as == wanted) continue;
      f_.values[carried].type.layout = as;
      size_t at = 0;
      const ValueId inside = converted(carried, *wanted, f_.inst(id).loc, inner, at);
      const InstId convert = f_.values[inside].def;
      f_.replace_uses(inner, carried, inside);
      f_.inst(convert).args = {carried};
    }
  }

  Result<Unit> insert_into_blocks(InstId id) {
    const auto blocks = f_.inst(id).blocks;
    for (BlockId inner : blocks) {
      if (f_.inst(id).op == Op::loop || f_.inst(id).op == Op::while_loop) convert_carried(id, inner);
      if (f_.inst(id).op == Op::while_loop && inner == blocks[0]) {  // its condition is no tile
        TRY(insert_converts(inner));
        continue;
      }
      const InstId last = f_.blocks[inner].insts.back();
      for (size_t i = 0; i < f_.inst(id).results.size(); i++) {
        const auto& l = f_.type(f_.inst(id).results[i]).layout;
        const ValueId v = f_.inst(last).args[i];
        size_t at = f_.blocks[inner].insts.size() - 1;
        if (l && f_.type(v).layout != l) {
          const ValueId c = converted(v, *l, f_.inst(id).loc, inner, at);
          f_.inst(last).args[i] = c;
        }
      }
      TRY(insert_converts(inner));
    }
    return Unit{};
  }

  Func& f_;
  const Target& t_;
  int64_t threads_;
  std::vector<InstId> order_;
  std::set<ValueId> pinned_;
};

}  // namespace

Result<Unit> infer_layouts(Func& f, const Target& t) {
  if (int64_t{f.subgroups} * t.subgroup_size > t.max_threads)
    return unsupported(fmt::format("{}: {} subgroups of {} threads exceed {} threads a workgroup", t.name, f.subgroups,
                                   t.subgroup_size, t.max_threads));
  return Inference(f, t).run();
}

}  // namespace lathe::tile
