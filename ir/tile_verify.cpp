// What a well-formed kernel is: types, dominance, yields, pins, sizes.
#include "ir/tile_verify.h"

#include <fmt/format.h>

#include <cstring>
#include <set>

#include "ir/tile_lex.h"

namespace lathe::tile {
namespace {

constexpr int kMaxDepth = 200, kMaxSubgroups = 64, kMaxStages = 64;

class Verifier {
 public:
  explicit Verifier(const Func& f)
      : f_(f),
        visible_(f.values.size()),
        seen_value_(f.values.size()),
        seen_inst_(f.insts.size()),
        seen_block_(f.blocks.size()) {}

  Result<Unit> run() {
    for (int n : f_.split)
      if (n < 1 || n > kMaxSubgroups) return bad_input(fmt::format("subgroups: {} is not 1 to {}", n, kMaxSubgroups));
    if (f_.subgroups > kMaxSubgroups || f_.subgroups != f_.split[0] * f_.split[1] * f_.split[2])
      return bad_input(fmt::format("subgroups is {}, expected the product of the split and at most {}", f_.subgroups,
                                   kMaxSubgroups));
    TRY(name(f_.name, "the kernel"));
    TRY(parameters());
    TRY(block(f_.head, Where::head, {}, nullptr));
    TRY(sizes());
    for (ValueId v : head_values()) visible_[v] = true;
    TRY(grid());
    const std::vector<Type> none;
    return block(f_.body, Where::body, {}, &none);
  }
  Loc loc() const { return loc_; }

 private:
  enum class Where { head, grid, body };

  Result<Unit> name(const std::string& s, std::string_view what) {
    if (!is_identifier(s))
      return bad_input(fmt::format("{} is named '{}', expected a letter, then letters, digits or _", what, s));
    if (is_reserved(s)) return bad_input(fmt::format("{} is named '{}', a word of the language", what, s));
    return Unit{};
  }

  /// A value that comes into being: once, with a type that holds together.
  Result<Unit> define(ValueId v, InstId def) {
    if (v >= f_.values.size()) return bad_input("a result names no value");
    if (seen_value_[v]) return bad_input("a value is defined twice");
    if (f_.values[v].def != def) return bad_input("a value names another definition");
    seen_value_[v] = visible_[v] = true;
    const Type& t = f_.values[v].type;
    if (!t.layout) return Unit{};
    if (!t.is_tile() && !t.is_token())
      return bad_input(fmt::format("a layout is pinned to {}, which is no tile", to_string(t)));
    if (t.layout->shape() != t.shape)
      return bad_input(fmt::format("the layout {} is pinned to {}", to_string(*t.layout), to_string(t)));
    if (threads_ == 0) threads_ = t.layout->threads();
    if (threads_ != t.layout->threads())
      return bad_input(fmt::format("the layout {} has {} threads, an earlier one has {}", to_string(*t.layout),
                                   t.layout->threads(), threads_));
    return Unit{};
  }

  Result<Unit> parameters() {
    std::set<std::string> names;
    const auto add = [&](ValueId v) -> Result<Unit> {
      TRY(define(v, kNone));
      TRY(name(f_.values[v].name, "a parameter or size"));
      if (!names.insert(f_.values[v].name).second)
        return bad_input(fmt::format("'{}' names two parameters or sizes", f_.values[v].name));
      return Unit{};
    };
    for (const Param& p : f_.params) TRY(add(p.value));
    for (ValueId s : f_.symbols) {
      TRY(add(s));
      if (!same_type(f_.type(s), scalar_of(types::i64))) return bad_input("a size symbol is not i64");
    }
    return Unit{};
  }

  /// The value of a size or stride: -1 for a symbol.
  Result<int64_t> size_value(ValueId v, std::string_view what) {
    for (ValueId s : f_.symbols)
      if (s == v) return -1;
    const auto* def = v < f_.values.size() ? f_.def(v) : nullptr;
    if (!def || !seen_value_[v] || def->op != Op::constant || def->attr.elem != types::i64)
      return bad_input(fmt::format("a {} is neither a symbol nor an i64 constant of the head", what));
    if (def->attr.imm <= 0)
      return bad_input(fmt::format("a {} is {}, expected a positive number", what, def->attr.imm));
    return def->attr.imm;
  }

  Result<Unit> sizes() {
    for (const Param& p : f_.params) {
      const Type& t = f_.type(p.value);
      const std::string& who = f_.values[p.value].name;
      if (t.is_scalar()) {
        if (!p.sizes.empty() || !p.strides.empty()) return bad_input(fmt::format("scalar '{}' has sizes", who));
        continue;
      }
      if (t.form != Form::view)
        return bad_input(fmt::format("parameter '{}' is {}, expected a view or scalar", who, to_string(t)));
      if (t.shape.empty() || p.sizes.size() != t.shape.size())
        return bad_input(fmt::format("view '{}' has {} sizes for rank {}", who, p.sizes.size(), t.shape.size()));
      for (size_t i = 0; i < p.sizes.size(); i++) {
        TRY_ASSIGN(const int64_t size, size_value(p.sizes[i], "size of '" + who + "'"));
        if (size != t.shape[i])
          return bad_input(fmt::format("view '{}' is {}, but size {} is {}", who, to_string(t), i, size));
      }
      TRY(strides(p, who));
      if (p.workspace) TRY(workspace(p, who));
    }
    return Unit{};
  }

  /// Nothing but workspaces is as long as there are workgroups.
  Result<Unit> workspace(const Param& p, const std::string& who) {
    const ValueId groups = p.sizes[0];
    bool own = f_.type(p.value).shape[0] < 0 && p.strides.empty() && !f_.type(p.value).packed;
    for (const Param& other : f_.params)
      for (size_t i = 0; i < other.sizes.size(); i++)
        own = own && (other.sizes[i] != groups || (other.workspace && i == 0));
    for (size_t i = 1; i < p.sizes.size(); i++) own = own && f_.type(p.value).shape[i] > 0;
    f_.walk(f_.grid, [&](BlockId, size_t, InstId id) {
      for (ValueId a : f_.insts[id].args) own = own && a != groups;
    });
    if (own) return Unit{};
    return bad_input(fmt::format(
        "the first size of workspace '{}' must be a name of its own, for the number of workgroups, the others numbers",
        who));
  }

  Result<Unit> strides(const Param& p, const std::string& who) {
    if (p.strides.empty()) return Unit{};
    if (f_.type(p.value).packed) return bad_input(fmt::format("view '{}' is packed and has strides", who));
    if (p.strides.size() != p.sizes.size())
      return bad_input(fmt::format("view '{}' has {} strides for rank {}", who, p.strides.size(), p.sizes.size()));
    int64_t last = 0;
    for (ValueId s : p.strides) {
      TRY_ASSIGN(last, size_value(s, "stride of '" + who + "'"));
    }
    if (last != 1) return bad_input(fmt::format("the last stride of view '{}' is not 1", who));
    return Unit{};
  }

  std::vector<ValueId> head_values() const {
    std::vector<ValueId> values;
    for (InstId id : f_.blocks[f_.head].insts)
      values.insert(values.end(), f_.insts[id].results.begin(), f_.insts[id].results.end());
    return values;
  }

  Result<Unit> grid() {
    if (f_.grid >= f_.blocks.size() || f_.blocks[f_.grid].insts.empty()) return bad_input("the kernel has no grid");
    const InstId last = f_.blocks[f_.grid].insts.back();
    const size_t axes = last < f_.insts.size() ? f_.insts[last].args.size() : 0;
    if (last < f_.insts.size()) loc_ = f_.insts[last].loc;
    if (axes < 1 || axes > 3) return bad_input(fmt::format("the grid has {} axes, expected 1 to 3", axes));
    const std::vector<Type> i64s(axes, scalar_of(types::i64));
    return block(f_.grid, Where::grid, {}, &i64s);
  }

  /// `params`: types of the parameters. `yields`: types the last instruction yields; null for the head, which does not.
  Result<Unit> block(BlockId id, Where where, const std::vector<Type>& params, const std::vector<Type>* yields) {
    if (id >= f_.blocks.size() || seen_block_[id]) return bad_input("a block is missing or stands in two places");
    if (++depth_ > kMaxDepth) return bad_input(fmt::format("blocks are nested more than {} deep", kMaxDepth));
    seen_block_[id] = true;
    const auto& b = f_.blocks[id];
    std::vector<ValueId> made;
    if (b.params.size() != params.size())
      return bad_input(fmt::format("a block has {} parameters, expected {}", b.params.size(), params.size()));
    for (size_t i = 0; i < params.size(); i++) {
      TRY(define(b.params[i], kNone));
      made.push_back(b.params[i]);
      if (!same_type(f_.type(b.params[i]), params[i]))
        return bad_input(fmt::format("block parameter {} is {}, expected {}", i, to_string(f_.type(b.params[i])),
                                     to_string(params[i])));
    }
    for (size_t i = 0; i < b.insts.size(); i++) {
      const InstId inst = b.insts[i];
      if (inst >= f_.insts.size() || seen_inst_[inst])
        return bad_input("an instruction is missing or stands in two places");
      seen_inst_[inst] = true;
      loc_ = f_.insts[inst].loc;
      const bool last = i + 1 == b.insts.size();
      if (f_.insts[inst].op == Op::yield && (!last || !yields))
        return bad_input("yield stands before the end of a block");
      TRY(instruction(inst, where));
      made.insert(made.end(), f_.insts[inst].results.begin(), f_.insts[inst].results.end());
      if (f_.insts[inst].op == Op::yield) TRY(yield(f_.insts[inst], *yields));
    }
    if (yields && (b.insts.empty() || f_.insts[b.insts.back()].op != Op::yield))
      return bad_input("a block does not end with yield");
    for (ValueId v : made) visible_[v] = false;
    depth_--;
    return Unit{};
  }

  Result<Unit> yield(const Func::Inst& inst, const std::vector<Type>& expected) {
    if (inst.args.size() != expected.size())
      return bad_input(fmt::format("yield: {} values, expected {}", inst.args.size(), expected.size()));
    for (size_t i = 0; i < expected.size(); i++)
      if (!same_type(f_.type(inst.args[i]), expected[i]))
        return bad_input(fmt::format("yield: value {} is {}, expected {}", i, to_string(f_.type(inst.args[i])),
                                     to_string(expected[i])));
    return Unit{};
  }

  Result<Unit> instruction(InstId id, Where where) {
    const auto& inst = f_.insts[id];
    const OpInfo& row = info(inst.op);
    for (ValueId a : inst.args)
      if (a >= f_.values.size() || !visible_[a])
        return bad_input(fmt::format("{}: an operand is not defined here", row.name));
    TRY(allowed(inst, where));
    const bool nests = inst.op == Op::loop || inst.op == Op::cond || inst.op == Op::while_loop;
    if (!nests && !inst.blocks.empty()) return bad_input(fmt::format("{}: nested blocks", row.name));
    if (inst.op == Op::loop) TRY(loop(inst));
    if (inst.op == Op::cond) TRY(cond(inst));
    if (inst.op == Op::while_loop) TRY(while_loop(inst));
    if (inst.op == Op::yield && !inst.results.empty()) return bad_input("yield: has a result");
    if (row.effect != Effect::control) TRY(typed(inst));
    if (row.effect == Effect::writes) TRY(writable(inst));
    for (ValueId r : inst.results) TRY(define(r, id));
    return Unit{};
  }

  Result<Unit> allowed(const Func::Inst& inst, Where where) {
    if (where == Where::body || inst.op == Op::yield) return Unit{};
    const char* name = info(inst.op).name;
    if (where == Where::head && inst.op != Op::constant)
      return bad_input(fmt::format("{}: the head holds constants only", name));
    bool scalar = info(inst.op).effect == Effect::pure && inst.op != Op::group_id;
    for (ValueId r : inst.results) scalar = scalar && r < f_.values.size() && f_.type(r).is_scalar();
    if (!scalar) return bad_input(fmt::format("{}: the grid is made of scalar operations only", name));
    return Unit{};
  }

  Result<Unit> typed(const Func::Inst& inst) {
    std::vector<Type> args;
    for (ValueId a : inst.args) args.push_back(f_.type(a));
    TRY_ASSIGN(const std::optional<Type> type, infer_result(inst.op, args, inst.attr));
    const char* name = info(inst.op).name;
    if (inst.results.size() != (type ? 1U : 0U))
      return bad_input(fmt::format("{}: {} results", name, inst.results.size()));
    if (type && inst.results[0] < f_.values.size() && !same_type(f_.type(inst.results[0]), *type))
      return bad_input(fmt::format("{}: the result is {}, expected {}", name, to_string(f_.type(inst.results[0])),
                                   to_string(*type)));
    return Unit{};
  }

  Result<Unit> writable(const Func::Inst& inst) {
    for (const Param& p : f_.params)
      if (p.constant && !inst.args.empty() && inst.args[0] == p.value)
        return bad_input(fmt::format("{}: view '{}' is const", info(inst.op).name, f_.values[p.value].name));
    return Unit{};
  }

  Result<Unit> loop(const Func::Inst& inst) {
    if (inst.args.size() < 3 || inst.blocks.size() != 1) return bad_input("loop: needs bounds, a step and one block");
    const char* const what[] = {"the lower bound", "the upper bound", "the step"};
    for (size_t i = 0; i < 3; i++)
      if (!same_type(f_.type(inst.args[i]), scalar_of(types::i64)))
        return bad_input(fmt::format("loop: {} is {}, expected i64", what[i], to_string(f_.type(inst.args[i]))));
    const auto* step = f_.def(inst.args[2]);
    if (step && step->op == Op::constant && step->attr.imm <= 0)
      return bad_input(fmt::format("loop: the step is {}, expected a positive number", step->attr.imm));
    if (inst.attr.imm < 0 || inst.attr.imm > kMaxStages)
      return bad_input(fmt::format("loop: stages is {}, expected 0 to {}", inst.attr.imm, kMaxStages));
    std::vector<Type> params{scalar_of(types::i64)}, carried;
    for (size_t i = 3; i < inst.args.size(); i++) carried.push_back(f_.type(inst.args[i]));
    params.insert(params.end(), carried.begin(), carried.end());
    TRY(results(inst, carried));
    return block(inst.blocks[0], Where::body, params, &carried);
  }

  Result<Unit> while_loop(const Func::Inst& inst) {
    if (inst.blocks.size() != 2) return bad_input("while_loop: needs a condition and a body");
    std::vector<Type> carried;
    for (ValueId a : inst.args) carried.push_back(f_.type(a));
    TRY(results(inst, carried));
    const std::vector<Type> condition{scalar_of(types::boolean)};
    TRY(block(inst.blocks[0], Where::body, carried, &condition));
    return block(inst.blocks[1], Where::body, carried, &carried);
  }

  Result<Unit> cond(const Func::Inst& inst) {
    if (inst.args.size() != 1 || inst.blocks.size() != 2) return bad_input("cond: needs a condition and two blocks");
    if (!same_type(f_.type(inst.args[0]), scalar_of(types::boolean)))
      return bad_input(fmt::format("cond: the condition is {}, expected bool", to_string(f_.type(inst.args[0]))));
    std::vector<Type> types;
    for (ValueId r : inst.results) {
      if (r >= f_.values.size()) return bad_input("a result names no value");
      types.push_back(f_.type(r));
    }
    TRY(results(inst, types));
    TRY(block(inst.blocks[0], Where::body, {}, &types));
    return block(inst.blocks[1], Where::body, {}, &types);
  }

  Result<Unit> results(const Func::Inst& inst, const std::vector<Type>& types) {
    const char* name = info(inst.op).name;
    if (inst.results.size() != types.size())
      return bad_input(fmt::format("{}: {} results, expected {}", name, inst.results.size(), types.size()));
    for (size_t i = 0; i < types.size(); i++) {
      const bool token = types[i].is_token() && inst.op == Op::loop;  // a ring of rooms turns with its loop
      if (!types[i].is_tile() && !types[i].is_scalar() && !token)
        return bad_input(fmt::format("{}: carried value {} is {}, expected a tile{} or a scalar", name, i,
                                     to_string(types[i]), inst.op == Op::loop ? ", a token" : ""));
      if (inst.results[i] >= f_.values.size() || !same_type(f_.type(inst.results[i]), types[i]))
        return bad_input(fmt::format("{}: result {} is not {}", name, i, to_string(types[i])));
    }
    return Unit{};
  }

  const Func& f_;
  std::vector<bool> visible_, seen_value_, seen_inst_, seen_block_;
  int64_t threads_ = 0;
  int depth_ = 0;
  Loc loc_;
};

}  // namespace

std::optional<Fault> find_fault(const Func& f) {
  Verifier verifier(f);
  if (auto ok = verifier.run(); !ok) return Fault{verifier.loc(), ok.error().text};
  return std::nullopt;
}

Result<Unit> verify(const Func& f) {
  const std::optional<Fault> fault = find_fault(f);
  if (!fault) return Unit{};
  const std::string place = fault->loc.line ? fmt::format(":{}:{}", fault->loc.line, fault->loc.col) : "";
  return bad_input(fmt::format("kernel {}{}: {}", f.name, place, fault->text));
}

}  // namespace lathe::tile
