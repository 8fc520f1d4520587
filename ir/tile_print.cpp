// Kernels as text. SSA values become variables that may be assigned again: a loop or an `if` assigns the values it
// carries, so each carried value is given a variable that holds it before, in every turn, and after. A variable is
// taken over from the initial value where nobody reads that again, and otherwise is a fresh copy.
//
// The parser finds what a block carries by looking for assignments to variables from outside, in the order in which
// these were declared; the printer keeps to that order.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "ir/tile_lex.h"
#include "ir/tile_literal.h"

namespace lathe::tile {
namespace {

struct Infix {
  const char* token;
  int precedence;
};
constexpr int kUnary = 100;

std::optional<Infix> infix_of(Op op) {
  switch (op) {
#define TILE_INFIX(name, token, precedence) \
  case Op::name:                            \
    return Infix{token, precedence};
#include "ir/tile_text.def"
    default:
      return std::nullopt;
  }
}

std::string list(const Coord& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

class Printer {
 public:
  explicit Printer(const Func& f, bool pins)
      : f_(f),
        pins_(pins),
        uses_(f.values.size()),
        position_(f.insts.size()),
        end_(f.blocks.size()),
        inlined_(f.values.size()),
        primary_(f.values.size(), -1) {}

  std::string run() {
    for (BlockId b : {f_.head, f_.grid, f_.body}) number(b);
    for (ValueId v = 0; v < f_.values.size(); v++) inlined_[v] = may_inline(v);
    header();
    grid();
    if (f_.split[1] == 1 && f_.split[2] == 1)
      out_ += fmt::format(" subgroups {}", f_.split[0]);
    else
      out_ += fmt::format(" subgroups [{}]", fmt::join(f_.split, ", "));
    out_ += " {\n";
    Scope body = enter(f_.body, {});
    statements(body);
    leave(body);
    return out_ + "}\n";
  }

  /// After run(): the line of the program that each line of the text comes from.
  std::vector<int> lines() {
    note_lines(0);
    return lines_;
  }

 private:
  struct Variable {
    std::string name;
    BlockId block = kNone;  ///< where it is declared; kNone: it cannot be assigned
    ValueId now = kNone;    ///< what it holds
    int assigned = 0;       ///< how often so far
  };
  struct Scope {
    BlockId block;
    std::vector<int> carried;  ///< variables of the values the block yields
    std::vector<ValueId> yields;
    size_t mark;  ///< variables below are of outer scopes
  };

  // ---- uses and places

  void number(BlockId block) {
    for (InstId id : f_.blocks[block].insts) {
      position_[id] = ++clock_;
      for (ValueId a : f_.insts[id].args) {
        uses_[a].push_back(clock_);
        users_[a].push_back(id);
      }
      for (BlockId b : f_.insts[id].blocks) number(b);
    }
    end_[block] = clock_;
  }

  bool used_between(ValueId v, int after, int until) const {
    const auto next = std::upper_bound(uses_[v].begin(), uses_[v].end(), after);
    return next != uses_[v].end() && *next <= until;
  }

  /// A tile filled with a literal is written as that literal if the parser fills it again: beside another tile,
  /// everywhere.
  bool may_inline(ValueId v) const {
    const auto users = users_.find(v);
    if (!fill_of_constant(f_, v) || f_.type(v).layout || users == users_.end()) return false;
    return std::all_of(users->second.begin(), users->second.end(), [&](InstId id) {
      const auto& inst = f_.insts[id];
      const bool beside =
          std::any_of(inst.args.begin(), inst.args.end(), [&](ValueId a) { return !fill_of_constant(f_, a); });
      return info(inst.op).operands[0] == 'e' && beside;
    });
  }

  // ---- names

  /// A new variable in a block (kNone: one that nobody assigns), called `base` or, where that is taken, base_1, ...
  int declare(BlockId block, std::string base) {
    for (char& c : base)
      if (!is_identifier(std::string("_") + c)) c = '_';
    if (!is_identifier(base)) base = "v" + base;
    std::string unique = base;
    for (int n = 1; visible_.count(unique) || is_reserved(unique); n++) unique = fmt::format("{}_{}", base, n);
    const int v = static_cast<int>(vars_.size());
    visible_.emplace(unique, v);
    vars_.push_back({unique, block});
    return v;
  }
  /// The name the first of `values` that has one would like, or t1, t2, ... for tiles and s1, s2, ... for scalars.
  std::string wish(std::initializer_list<ValueId> values) {
    for (ValueId v : values)
      if (!f_.values[v].name.empty()) return f_.values[v].name;
    const bool tile = f_.type(*values.begin()).is_tile();
    return fmt::format("{}{}", tile ? "t" : "s", ++unnamed_[tile]);
  }
  std::string wish_index(ValueId v) const {
    if (!f_.values[v].name.empty()) return f_.values[v].name;
    for (const char* n : {"i", "j", "k", "l"})
      if (!visible_.count(n)) return n;
    return "i";
  }
  static size_t at(int v) { return static_cast<size_t>(v); }

  void hold(int v, ValueId value) {
    Variable& var = vars_[at(v)];
    if (var.now != kNone && primary_[var.now] == v) primary_[var.now] = -1;
    var.now = value;
    var.assigned++;
    if (value != kNone && primary_[value] < 0 && !constant_of(f_, value)) primary_[value] = v;
  }

  std::string name(ValueId v) const {
    if (v >= f_.values.size() || primary_[v] < 0) return fmt::format("unnamed_{}", v);
    return vars_[at(primary_[v])].name;
  }

  // ---- operands

  /// The constant a use of v is written as, or null.
  const Func::Inst* literal(ValueId v) const {
    return v < f_.values.size() && inlined_[v] ? fill_of_constant(f_, v) : constant_of(f_, v);
  }
  /// Where the type is known.
  std::string typed(ValueId v) const { return literal(v) ? bare_literal(literal(v)->attr) : name(v); }
  std::string alone(ValueId v) const { return literal(v) ? standalone_literal(literal(v)->attr) : name(v); }

  /// Operand i of an element-wise operation: a literal takes the type of the others, all but the condition of select.
  std::string element(const Func::Inst& inst, size_t i) const {
    const size_t lead = inst.op == Op::select ? 1 : 0;
    bool beside = i < lead;
    for (size_t j = lead; j < inst.args.size(); j++) beside = beside || !literal(inst.args[j]);
    return beside ? typed(inst.args[i]) : alone(inst.args[i]);
  }

  std::string indexed(const Func::Inst& inst) const {
    std::string s = name(inst.args[0]) + "[";
    const size_t rank = f_.type(inst.args[0]).shape.size();
    for (size_t i = 1; i <= rank; i++) s += (i > 1 ? ", " : "") + typed(inst.args[i]);
    return s + "]";
  }

  std::string attribute(char letter, const Attr& a) const {
    static constexpr const char* kKinds[] = {"sum", "max", "min"};
    switch (letter) {
      case 'T':
        return to_string(a.elem);
      case 'S':
      case 'r':
      case 'p':
        return list(a.shape);
      case 'D':
        return to_string(a.elem) + list(a.shape);
      case 'k':
        return kKinds[a.kind];
      case 'o':
        return list(a.offset);
      case 'c':
        return std::to_string(a.count);
      case 'm':
        return '"' + a.text + '"';
      default:
        return std::to_string(a.imm);
    }
  }

  std::string call(const Func::Inst& inst, const std::vector<std::string>& elements) const {
    const OpInfo& row = info(inst.op);
    std::vector<std::string> parts;
    if (row.attributes[0] == 'D') parts.push_back(attribute('D', inst.attr));
    size_t next = 0;
    for (const char* c = row.operands; *c; c++) {
      if (*c == 'v') {
        parts.push_back(indexed(inst));
        next += 1 + f_.type(inst.args[0]).shape.size();
      } else {
        const bool untyped = *c == 's' && row.attributes[0] != 'D';
        parts.push_back(*c == 'e' ? elements[next] : untyped ? alone(inst.args[next]) : typed(inst.args[next]));
        next++;
      }
    }
    for (const char* c = row.attributes; *c; c++)
      if (*c != 'D') parts.push_back(attribute(*c, inst.attr));
    return fmt::format("{}({})", row.name, fmt::join(parts, ", "));
  }

  std::string expression(const Func::Inst& inst) const {
    std::vector<std::string> elements;
    const bool elementwise = info(inst.op).operands[0] == 'e';
    for (size_t i = 0; elementwise && i < inst.args.size(); i++) elements.push_back(element(inst, i));
    if (const auto infix = infix_of(inst.op)) return fmt::format("{} {} {}", elements[0], infix->token, elements[1]);
    if (inst.op == Op::neg && !literal(inst.args[0])) return "-" + elements[0];
    return call(inst, elements);
  }

  // ---- head

  std::string sizes(const std::vector<ValueId>& values) const {
    std::vector<std::string> s;
    for (ValueId v : values) s.push_back(typed(v));
    return fmt::format("[{}]", fmt::join(s, ", "));
  }

  void header() {
    for (const Param& p : f_.params) hold(declare(kNone, wish({p.value})), p.value);
    for (ValueId s : f_.symbols) hold(declare(kNone, wish({s})), s);
    std::vector<std::string> parts;
    for (const Param& p : f_.params) {
      const Type& t = f_.type(p.value);
      std::string s = fmt::format("{}: {}{}{}", name(p.value), p.constant ? "const " : "",
                                  t.packed      ? "packed "
                                  : p.workspace ? "workspace "
                                                : "",
                                  to_string(t.elem));
      if (!t.is_scalar()) s += sizes(p.sizes);
      if (!p.strides.empty()) s += " stride " + sizes(p.strides);
      parts.push_back(s);
    }
    out_ += fmt::format("kernel {}({})\n    grid ", f_.name, fmt::join(parts, ", "));
  }

  /// The grid fits between brackets if its instructions are those of the written expressions, in the order of reading.
  bool collect(ValueId v, std::vector<InstId>& order) const {
    const auto* def = f_.def(v);
    if (!def || def->op == Op::constant) return true;
    if (order.size() > 64 || uses_[v].size() != 1) return false;
    for (ValueId a : def->args)
      if (!collect(a, order)) return false;
    order.push_back(f_.values[v].def);
    return true;
  }

  std::string nested(ValueId v, int precedence, bool number_known) const {
    const auto* def = f_.def(v);
    if (literal(v)) return number_known ? typed(v) : alone(v);
    if (!def) return name(v);
    const bool elementwise = info(def->op).operands[0] == 'e';
    const bool known = !elementwise || std::any_of(def->args.begin() + (def->op == Op::select), def->args.end(),
                                                   [&](ValueId a) { return !literal(a); });
    const auto infix = infix_of(def->op);
    std::vector<std::string> parts;
    for (size_t i = 0; i < def->args.size(); i++) {
      const int inner = infix ? infix->precedence + static_cast<int>(i) : def->op == Op::neg ? kUnary : 0;
      parts.push_back(nested(def->args[i], inner, known));
    }
    if (infix) {
      const std::string s = fmt::format("{} {} {}", parts[0], infix->token, parts[1]);
      return infix->precedence < precedence ? "(" + s + ")" : s;
    }
    if (def->op == Op::neg && !literal(def->args[0])) return "-" + parts[0];
    for (const char* c = info(def->op).attributes; *c; c++) parts.push_back(attribute(*c, def->attr));
    return fmt::format("{}({})", info(def->op).name, fmt::join(parts, ", "));
  }

  void grid() {
    const auto& insts = f_.blocks[f_.grid].insts;
    std::vector<InstId> order, written;
    bool tree = true;
    for (ValueId v : f_.insts[insts.back()].args) tree = tree && collect(v, order);
    for (InstId id : insts)
      if (f_.insts[id].op != Op::constant && f_.insts[id].op != Op::yield) written.push_back(id);
    std::vector<std::string> axes;
    if (tree && order == written) {
      for (ValueId v : f_.insts[insts.back()].args) axes.push_back(nested(v, 0, true));
      out_ += fmt::format("[{}]", fmt::join(axes, ", "));
      return;
    }
    out_ += "{\n";
    depth_ += 2;
    Scope scope = enter(f_.grid, {});
    statements(scope);
    for (ValueId v : f_.insts[insts.back()].args) axes.push_back(typed(v));
    line(fmt::format("yield({})", fmt::join(axes, ", ")));
    leave(scope);
    depth_ -= 2;
    out_ += "    }";
  }

  // ---- statements

  /// Lines printed since the last call come from `line` of the program.
  void note_lines(int line) {
    if (pins_) return;
    lines_.resize(static_cast<size_t>(std::count(out_.begin(), out_.end(), '\n')), line);
  }
  void line(const std::string& s) { out_.append(2 * depth_, ' ').append(s).append("\n"); }
  std::string pin(ValueId v) const {
    const auto& layout = f_.type(v).layout;
    return layout && pins_ ? fmt::format(" layout=\"{}\"", to_string(*layout)) : "";
  }
  /// The pin of a carried value that is not the one it gets by itself.
  void repin(int v, ValueId value, const std::optional<Layout>& given) {
    if (f_.type(value).layout == given || !pins_) return;
    const std::string pinned = f_.type(value).layout ? pin(value) : " layout=\"\"";
    line(fmt::format("{0} = {0}{1}", vars_[at(v)].name, pinned));
    vars_[at(v)].assigned++;
  }
  void copy(int v, ValueId value) {
    line(fmt::format("{} = {}", vars_[at(v)].name, alone(value)));
    hold(v, value);
  }

  Scope enter(BlockId block, std::vector<int> carried) {
    depth_++;
    Scope scope{block, std::move(carried), {}, vars_.size()};
    if (!scope.carried.empty()) scope.yields = f_.insts[f_.blocks[block].insts.back()].args;
    for (size_t i = 0; i < scope.carried.size(); i++) {
      const auto* def = f_.def(scope.yields[i]);
      if (!def || literal(scope.yields[i])) continue;
      const auto& own = f_.blocks[block].insts;
      if (std::binary_search(own.begin(), own.end(), f_.values[scope.yields[i]].def,
                             [&](InstId a, InstId b) { return position_[a] < position_[b]; }))
        target_.emplace(scope.yields[i], scope.carried[i]);
    }
    return scope;
  }
  void leave(const Scope& scope) {
    for (size_t i = scope.mark; i < vars_.size(); i++) visible_.erase(vars_[i].name);
    vars_.resize(scope.mark);
    depth_--;
  }

  bool assignable(int v, const Scope& scope) const {
    return vars_[at(v)].block == scope.block ||
           std::find(scope.carried.begin(), scope.carried.end(), v) != scope.carried.end();
  }
  /// Whether nobody in the scope reads after `position` what v holds.
  bool spent(int v, int position, const Scope& scope) const {
    const ValueId now = vars_[at(v)].now;
    return now == kNone || primary_[now] != v || !used_between(now, position, end_[scope.block]);
  }
  int target(ValueId v) const {
    const auto t = target_.find(v);
    return t == target_.end() ? -1 : t->second;
  }
  /// The variable that is called as v would like to be.
  int namesake(ValueId v) const {
    const auto n = visible_.find(f_.values[v].name);
    return n == visible_.end() ? -1 : n->second;
  }

  void statements(const Scope& scope) {
    for (InstId id : f_.blocks[scope.block].insts) {
      const auto& inst = f_.insts[id];
      note_lines(at_line_);
      const int outer = std::exchange(at_line_, inst.loc.line);
      if (inst.op == Op::loop)
        loop(inst, position_[id], scope);
      else if (inst.op == Op::while_loop)
        while_loop(inst, position_[id], scope);
      else if (inst.op == Op::cond)
        cond(inst, scope);
      else if (inst.op != Op::yield && inst.op != Op::constant)
        simple(inst, position_[id], scope);
      note_lines(at_line_);
      at_line_ = outer;
    }
    yield(scope);
  }

  void simple(const Func::Inst& inst, int position, const Scope& scope) {
    if (inst.results.empty()) return line(expression(inst));
    const ValueId r = inst.results[0];
    if (inlined_[r]) return;
    const std::string text = expression(inst);
    int v = -1;
    for (int known : {target(r), namesake(r)})
      if (v < 0 && known >= 0 && assignable(known, scope) && spent(known, position, scope)) v = known;
    if (v < 0) v = declare(scope.block, wish({r}));
    line(fmt::format("{} = {}{}", vars_[at(v)].name, text, pin(r)));
    hold(v, r);
  }

  /// The end of a block: every carried variable is made to hold what the block yields.
  void yield(const Scope& scope) {
    for (size_t i = 0; i < scope.carried.size(); i++) {
      const int v = scope.carried[i];
      const ValueId now = vars_[at(v)].now, next = scope.yields[i];
      if (now == next && now != kNone) continue;
      const auto waits = std::find(scope.yields.begin() + static_cast<int>(i) + 1, scope.yields.end(), now);
      if (now != kNone && primary_[now] == v && waits != scope.yields.end()) {
        const int saved = declare(scope.block, vars_[at(v)].name);
        line(fmt::format("{} = {}", vars_[at(saved)].name, vars_[at(v)].name));
        vars_[at(saved)].now = now;
        primary_[now] = saved;
      }
      copy(v, next);
    }
  }
  /// A carried variable that nothing assigned would not be seen to be carried.
  void touch(const Scope& scope, const std::vector<int>& assigned_before) {
    for (size_t i = 0; i < scope.carried.size(); i++) {
      Variable& var = vars_[at(scope.carried[i])];
      if (var.assigned != assigned_before[i]) continue;
      line(fmt::format("{0} = {0}", var.name));
      var.assigned++;
    }
  }
  std::vector<int> assigned(const std::vector<int>& vars) const {
    std::vector<int> n;
    for (int v : vars) n.push_back(vars_[at(v)].assigned);
    return n;
  }

  /// The variables a loop carries: operands from `first` on, block parameters from `first_param` on.
  std::vector<int> carry(const Func::Inst& inst, size_t first, size_t first_param, int position, const Scope& scope) {
    const auto& params = f_.blocks[inst.blocks.back()].params;
    std::vector<int> carried;
    for (size_t i = 0; i < inst.results.size(); i++) {
      const ValueId init = inst.args[first + i], result = inst.results[i], param = params[first_param + i];
      const int last = carried.empty() ? -1 : carried.back(), own = primary_[init], aim = target(result);
      const auto free = [&](int v, int after) { return v > last && assignable(v, scope) && spent(v, after, scope); };
      if (own >= 0 && free(own, position)) {
        carried.push_back(own);
        continue;
      }
      // A copy stands before the loop, so the loop itself must not read what the variable held.
      const bool take_aim = aim >= 0 && free(aim, position - 1);
      carried.push_back(take_aim ? aim : declare(scope.block, wish({param, result, init})));
      copy(carried.back(), init);
    }
    return carried;
  }

  /// The condition in a block of its own, so that it may be any statements.
  void while_loop(const Func::Inst& inst, int position, const Scope& scope) {
    const std::vector<int> carried = carry(inst, 0, 0, position, scope);
    const std::vector<int> before = assigned(carried);
    const auto begin = [&](BlockId block) {
      const auto& params = f_.blocks[block].params;
      for (size_t i = 0; i < carried.size(); i++) {
        take(carried[i], params[i]);
        if (block == inst.blocks[1]) repin(carried[i], params[i], f_.type(inst.args[i]).layout);
      }
    };
    line("while {");
    Scope condition = enter(inst.blocks[0], {});
    begin(inst.blocks[0]);
    statements(condition);
    line(fmt::format("yield({})", typed(f_.insts[f_.blocks[inst.blocks[0]].insts.back()].args[0])));
    leave(condition);
    line("} do {");
    Scope body = enter(inst.blocks[1], carried);
    begin(inst.blocks[1]);
    statements(body);
    touch(body, before);
    leave(body);
    line("}");
    finish(inst, carried, [&](size_t i) { return f_.type(inst.args[i]).layout; });
  }

  void loop(const Func::Inst& inst, int position, const Scope& scope) {
    const auto& params = f_.blocks[inst.blocks[0]].params;
    const std::vector<int> carried = carry(inst, 3, 1, position, scope);
    std::string text = fmt::format("{} .. {}", typed(inst.args[0]), typed(inst.args[1]));
    if (typed(inst.args[2]) != "1") text += " step " + typed(inst.args[2]);
    if (inst.attr.imm) text += fmt::format(" stages {}", inst.attr.imm);
    const std::vector<int> before = assigned(carried);
    Scope body = enter(inst.blocks[0], carried);
    const int index = declare(kNone, wish_index(params[0]));
    hold(index, params[0]);
    out_.append(2 * (depth_ - 1), ' ').append(fmt::format("for {} in {} {{\n", vars_[at(index)].name, text));
    for (size_t i = 0; i < carried.size(); i++) {
      take(carried[i], params[i + 1]);
      repin(carried[i], params[i + 1], f_.type(inst.args[i + 3]).layout);
    }
    statements(body);
    touch(body, before);
    leave(body);
    line("}");
    finish(inst, carried, [&](size_t i) { return f_.type(inst.args[i + 3]).layout; });
  }

  /// The variable holds a value that no statement assigns: a parameter or result of a block.
  void take(int v, ValueId value) {
    hold(v, value);
    vars_[at(v)].assigned--;
    primary_[value] = v;
  }

  template <class Given>
  void finish(const Func::Inst& inst, const std::vector<int>& carried, const Given& given) {
    for (size_t i = 0; i < carried.size(); i++) {
      take(carried[i], inst.results[i]);
      repin(carried[i], inst.results[i], given(i));
    }
  }

  int choose(const Func::Inst& inst, size_t i, int last, int end, const Scope& scope) {
    const auto free = [&](int v) { return v > last && assignable(v, scope) && spent(v, end, scope); };
    for (BlockId b : inst.blocks) {
      const ValueId y = f_.insts[f_.blocks[b].insts.back()].args[i];
      if (primary_[y] >= 0 && free(primary_[y])) return primary_[y];
    }
    for (int known : {target(inst.results[i]), namesake(inst.results[i])})
      if (known >= 0 && free(known)) return known;
    // The value before is not read, but the variable has to stand before the branches.
    const int fresh = declare(scope.block, wish({inst.results[i]}));
    line(vars_[at(fresh)].name + " = 0");
    return fresh;
  }

  void cond(const Func::Inst& inst, const Scope& scope) {
    const int end = end_[inst.blocks[1]];
    std::vector<int> carried;
    for (size_t i = 0; i < inst.results.size(); i++)
      carried.push_back(choose(inst, i, carried.empty() ? -1 : carried.back(), end, scope));
    const std::vector<int> before = assigned(carried);
    std::vector<std::pair<ValueId, int>> held;
    for (int v : carried) {
      const ValueId now = vars_[at(v)].now;
      held.emplace_back(now, now == kNone ? -1 : primary_[now]);
    }
    line(fmt::format("if {} {{", typed(inst.args[0])));
    for (size_t b = 0; b < 2; b++) {
      const size_t start = out_.size();
      if (b) line("} else {");
      const size_t opened = out_.size();
      for (size_t i = 0; i < carried.size(); i++) {
        vars_[at(carried[i])].now = held[i].first;
        if (held[i].first != kNone) primary_[held[i].first] = held[i].second;
      }
      Scope branch = enter(inst.blocks[b], carried);
      statements(branch);
      if (b) touch(branch, before);
      leave(branch);
      if (b && out_.size() == opened) out_.resize(start);
    }
    line("}");
    const auto& yields = f_.insts[f_.blocks[inst.blocks[0]].insts.back()].args;
    finish(inst, carried, [&](size_t i) { return f_.type(yields[i]).layout; });
  }

  const Func& f_;
  const bool pins_;
  std::vector<int> lines_;
  int at_line_ = 0;                     ///< of the program, of the statement that is printed
  std::vector<std::vector<int>> uses_;  ///< positions, ascending
  std::unordered_map<ValueId, std::vector<InstId>> users_;
  std::vector<int> position_, end_;  ///< of instructions; of blocks: the position of the last one inside
  std::vector<bool> inlined_;
  std::vector<int> primary_;                 ///< the variable a value is read from
  std::unordered_map<ValueId, int> target_;  ///< the variable a value should be assigned to
  std::vector<Variable> vars_;
  std::unordered_map<std::string, int> visible_;  ///< variables by name
  int unnamed_[2] = {0, 0};                       ///< scalars and tiles so far
  std::string out_;
  size_t depth_ = 0;
  int clock_ = 0;
};

}  // namespace

std::string print(const Func& f) { return Printer(f, true).run(); }

Listing list(const Func& f) {
  Printer printer(f, false);
  Listing out{printer.run(), {}};
  out.lines = printer.lines();
  return out;
}

}  // namespace lathe::tile
