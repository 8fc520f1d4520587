// The text form, kernel and statements:
//
//   kernel linear_u4(x: f16[M, K], w: const packed u4[N, K], y: f32[M, N] stride [ldy, 1], eps: f32)
//       grid [ceildiv(N, 64), ceildiv(M, 16)] subgroups 4 {         // or subgroups [2, 2, 1]: along m, n, k
//     acc = fill(f32[64, 16], 0)
//     for k in 0 .. K step 128 stages 2 {
//       q = load(w[group_id(0) * 64, k], [64, 128])
//       a = load(x[0, k], [16, 128]) layout="16x128 T[...] S[...]"
//       acc = mma(cast(q, f16) - 8, transpose(a, [1, 0]), acc)
//     }
//     if K > 4096 { acc = acc * 2 } else { store(y[0, 0], acc) }
//   }
//
// A loop carries, and an `if` results in, the variables from outside that are assigned inside, in the order of their
// declaration; what is first assigned inside stays inside. A carried value has the layout pin of its initial value, a
// result of `if` that of its first branch; `acc = acc layout=".."` changes it, layout="" removes it. A grid whose
// expressions share a value is written `grid { .. yield(a, b) }`.
#include <fmt/format.h>

#include <algorithm>

#include "ir/tile_parser.h"
#include "ir/tile_verify.h"

namespace lathe::tile {
namespace {

constexpr int kMaxNesting = 64;
constexpr uint64_t kMaxSize = 999'999'999'999'999'999;

}  // namespace

Result<Func> parse(std::string_view text, std::string_view file_name) {
  TRY_ASSIGN(std::vector<Token> tokens, lex(text, file_name));
  return Parser(text, file_name, std::move(tokens)).kernel();
}

// ---- words

tl::unexpected<Error> Parser::fail(Loc loc, std::string_view message) const {
  return tl::unexpected(text_error(text_, file_, loc, message));
}

bool Parser::is(std::string_view word, size_t ahead) const {
  const Token& t = peek(ahead);
  return (t.kind == Token::Kind::name || t.kind == Token::Kind::symbol) && t.text == word;
}

bool Parser::accept(std::string_view word) {
  if (!is(word)) return false;
  at_++;
  return true;
}

std::string Parser::quoted(const Token& t) const {
  if (t.kind == Token::Kind::end) return "the end of the text";
  const char* mark = t.kind == Token::Kind::string ? "\"" : "'";
  return fmt::format("{0}{1}{0}", mark, t.text.substr(0, 60));
}

Result<Unit> Parser::expect(std::string_view word, std::string_view where) {
  if (accept(word)) return Unit{};
  return fail(peek().loc, fmt::format("expected '{}' {}, found {}", word, where, quoted(peek())));
}

Result<Token> Parser::name(std::string_view what) {
  const Token& t = peek();
  if (t.kind != Token::Kind::name) return fail(t.loc, fmt::format("expected {}, found {}", what, quoted(t)));
  if (is_reserved(t.text))
    return fail(t.loc, fmt::format("expected {}, found the word {} of the language", what, quoted(t)));
  at_++;
  return t;
}

Result<Unit> Parser::built() const {
  if (b_.error_) return fail(b_.loc_, b_.error_->text);
  return Unit{};
}

// ---- variables

Result<Unit> Parser::declare(std::string_view name, ValueId value, Loc loc, bool assignable) {
  if (!index_.emplace(name, vars_.size()).second) return fail(loc, fmt::format("'{}' is already defined", name));
  vars_.push_back({name, value, loc, assignable});
  return Unit{};
}

void Parser::leave(size_t mark) {
  for (size_t i = mark; i < vars_.size(); i++) index_.erase(vars_[i].name);
  vars_.resize(mark);
}

/// The variable holds a value that a block hands it.
void Parser::take(size_t variable, V value) {
  vars_[variable].value = value.id;
  b_.named(value, std::string(vars_[variable].name));
}

// ---- kernel

Result<Func> Parser::kernel() {
  TRY(expect("kernel", "at the start"));
  TRY_ASSIGN(const Token title, name("the kernel's name"));
  b_.f_.name = title.text;
  TRY(parameters());
  TRY(grid());
  TRY(subgroups());
  TRY(block());
  if (peek().kind != Token::Kind::end)
    return fail(peek().loc, fmt::format("expected the end of the text, found {}", quoted(peek())));
  b_.make(Op::yield, {}, {});
  if (const auto fault = find_fault(b_.f_)) return fail(fault->loc.line ? fault->loc : title.loc, fault->text);
  return std::move(b_.f_);
}

Result<Unit> Parser::parameters() {
  TRY(expect("(", "before the parameters"));
  if (!accept(")")) {
    do {
      TRY(parameter());
    } while (accept(","));
    TRY(expect(")", "after the parameters"));
  }
  for (ValueId s : b_.f_.symbols) {
    const auto* token =
        std::find_if(&tokens_[0], &tokens_[at_], [&](const Token& t) { return t.text == b_.f_.values[s].name; });
    TRY(declare(token->text, s, token->loc, false));
  }
  return Unit{};
}

Result<Unit> Parser::parameter() {
  TRY_ASSIGN(const Token who, name("a parameter"));
  TRY(expect(":", "after the parameter"));
  const bool constant = accept("const"), packed = accept("packed");
  const bool workspace = !constant && !packed && accept("workspace");
  TRY_ASSIGN(const lathe::Type elem, element_type());
  if (!is("[")) {
    if (constant || packed || workspace)
      return fail(who.loc, fmt::format("a {} needs sizes", workspace ? "workspace"
                                                           : packed  ? "packed parameter"
                                                                     : "const view"));
    return declare(who.text, b_.scalar(std::string(who.text), elem).id, who.loc, false);
  }
  TRY_ASSIGN(const std::vector<std::string> extents, sizes());
  std::vector<std::string> strides;
  if (accept("stride")) {
    TRY_ASSIGN(strides, sizes());
  }
  const V view = b_.view(std::string(who.text), elem, extents, packed, strides);
  b_.f_.params.back().workspace = workspace;
  b_.f_.params.back().constant = constant;
  return declare(who.text, view.id, who.loc, false);
}

Result<std::vector<std::string>> Parser::sizes() {
  std::vector<std::string> s;
  TRY(expect("[", "before the sizes"));
  do {
    if (peek().kind == Token::Kind::integer) {
      if (peek().integer == 0 || peek().integer > kMaxSize)
        return fail(peek().loc, "a size is positive and below 10^18");
      s.push_back(std::to_string(peek().integer));
      at_++;
    } else {
      TRY_ASSIGN(const Token symbol, name("a size"));
      s.emplace_back(symbol.text);
    }
  } while (accept(","));
  TRY(expect("]", "after the sizes"));
  return s;
}

Result<Unit> Parser::grid() {
  TRY(expect("grid", "after the parameters"));
  const size_t mark = vars_.size();
  b_.begin_grid();
  in_grid_ = true;
  if (accept("{")) {
    while (!is("yield")) TRY(statement());
    TRY(yield());
    TRY(expect("}", "after the grid's yield"));
  } else {
    b_.loc_ = peek().loc;
    const Loc loc = b_.loc_;
    TRY(expect("[", "or '{' after grid"));
    std::vector<V> axes;
    do {
      TRY_ASSIGN(const Expr e, expression());
      TRY_ASSIGN(const V axis, scalar_i64(e, "workgroups of an axis"));
      axes.push_back(axis);
    } while (accept(","));
    TRY(expect("]", "after the grid"));
    b_.loc_ = loc;
    b_.grid(axes);
  }
  b_.block_ = b_.f_.body;
  in_grid_ = false;
  leave(mark);
  return Unit{};
}

Result<Unit> Parser::yield() {
  const Loc loc = peek().loc;
  at_++;
  TRY(expect("(", "after yield"));
  std::vector<V> axes;
  do {
    TRY_ASSIGN(const Expr e, expression());
    TRY_ASSIGN(const V axis, scalar_i64(e, "workgroups of an axis"));
    axes.push_back(axis);
  } while (accept(","));
  TRY(expect(")", "after the values"));
  b_.loc_ = loc;
  b_.grid(axes);
  return Unit{};
}

Result<Unit> Parser::subgroups() {
  if (!accept("subgroups")) return Unit{};
  const Loc loc = peek().loc;
  const auto one = [&](int& n) -> Result<Unit> {
    TRY_ASSIGN(const int64_t v, integer("a number of subgroups"));
    if (v < 1 || v > 64) return fail(loc, fmt::format("subgroups: {} is not 1 to 64", v));
    n = static_cast<int>(v);
    return Unit{};
  };
  auto& split = b_.f_.split;
  if (accept("[")) {
    for (size_t i = 0; i < split.size(); i++) {
      if (i) TRY(expect(",", "between m, n and k"));
      TRY(one(split[i]));
    }
    TRY(expect("]", "after the subgroups along m, n and k"));
  } else {
    TRY(one(split[0]));
  }
  b_.f_.subgroups = split[0] * split[1] * split[2];
  return Unit{};
}

// ---- statements

Result<Unit> Parser::block() {
  const Loc open = peek().loc;
  TRY(expect("{", "before the statements"));
  if (++nesting_ > kMaxNesting) return fail(open, fmt::format("blocks are nested more than {} deep", kMaxNesting));
  while (!is("}")) {
    if (peek().kind == Token::Kind::end) return fail(open, "this '{' is not closed");
    TRY(statement());
  }
  at_++;
  nesting_--;
  return Unit{};
}

Result<Unit> Parser::statement() {
  const Token& t = peek();
  if (is("for")) return loop();
  if (is("if")) return cond();
  if (is("while")) return while_loop();
  if (t.kind == Token::Kind::name && is("=", 1)) return assignment();
  if (t.kind != Token::Kind::name || !is("(", 1))
    return fail(t.loc, fmt::format("expected a statement, found {}", quoted(t)));
  TRY_ASSIGN(const Expr e, call());
  if (e.value.id != kNone) return fail(t.loc, fmt::format("the value of {} is not used", quoted(t)));
  return Unit{};
}

Result<Unit> Parser::assignment() {
  TRY_ASSIGN(const Token target, name("a variable"));
  at_++;
  const auto known = index_.find(target.text);
  if (known != index_.end() && !vars_[known->second].assignable)
    return fail(target.loc,
                fmt::format("'{}' cannot be assigned: it is a parameter, a size or the index of a loop", target.text));
  TRY_ASSIGN(Expr e, expression());
  TRY_ASSIGN(e.value, materialize(e));
  if (e.value.id == kNone) return fail(e.loc, "this operation has no value");
  if (b_.f_.values[e.value.id].name.empty()) b_.named(e.value, std::string(target.text));
  if (accept("layout")) TRY(pin(e));
  if (known == index_.end()) return declare(target.text, e.value.id, target.loc, true);
  vars_[known->second].value = e.value.id;
  vars_[known->second].loc = target.loc;
  return Unit{};
}

Result<Unit> Parser::pin(const Expr& value) {
  TRY(expect("=", "after layout"));
  const Token t = peek();
  if (t.kind != Token::Kind::string)
    return fail(t.loc, fmt::format("expected a layout in quotes, found {}", quoted(t)));
  at_++;
  Type& type = b_.f_.values[value.value.id].type;
  if (!type.is_tile()) return fail(t.loc, fmt::format("a layout is pinned to {}, which is no tile", to_string(type)));
  type.layout.reset();
  if (t.text.empty()) return Unit{};
  auto layout = parse_layout(t.text);
  if (!layout) return fail(t.loc, layout.error().text);
  if (layout->shape() != type.shape)
    return fail(t.loc, fmt::format("the layout {} is pinned to {}", t.text, to_string(type)));
  type.layout = std::move(*layout);
  return Unit{};
}

/// Collects the names assigned in the block that opens at token `at`; returns the place after it.
size_t Parser::find_assigned(size_t at, Names& names) const {
  int open = 0;
  for (; at + 1 < tokens_.size(); at++) {
    const Token& t = tokens_[at];
    if (t.kind == Token::Kind::symbol && t.text == "{") open++;
    if (t.kind == Token::Kind::symbol && t.text == "}" && --open <= 0) return at + 1;
    const Token& next = tokens_[at + 1];
    if (t.kind == Token::Kind::name && next.kind == Token::Kind::symbol && next.text == "=") names.insert(t.text);
  }
  return at;
}

/// The variables a block with these assignments carries, in the order of their declaration.
std::vector<size_t> Parser::carried(const Names& assigned) const {
  std::vector<size_t> found;
  for (std::string_view n : assigned) {
    const auto v = index_.find(n);
    if (v != index_.end() && vars_[v->second].assignable) found.push_back(v->second);
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<Unit> Parser::loop() {
  const Loc loc = peek().loc;
  at_++;
  TRY_ASSIGN(const Token counter, name("the loop's index"));
  if (index_.count(counter.text)) return fail(counter.loc, fmt::format("'{}' is already defined", counter.text));
  TRY(expect("in", "after the loop's index"));
  TRY_ASSIGN(const Expr from, expression());
  TRY_ASSIGN(const V lo, scalar_i64(from, "the lower bound"));
  TRY(expect("..", "between the bounds"));
  TRY_ASSIGN(const Expr to, expression());
  TRY_ASSIGN(const V hi, scalar_i64(to, "the upper bound"));
  Expr by{Expr::Kind::integer, loc, {}, 1, 1};
  if (accept("step")) {
    TRY_ASSIGN(by, expression());
  }
  TRY_ASSIGN(const V step, scalar_i64(by, "the step"));
  int64_t stages = 0;
  if (accept("stages")) {
    TRY_ASSIGN(stages, integer("a number of stages"));
    if (stages < 1 || stages > 64) return fail(loc, fmt::format("stages is {}, expected 1 to 64", stages));
  }
  Names names;
  find_assigned(at_, names);
  const std::vector<size_t> changed = carried(names);
  std::vector<V> init;
  for (size_t v : changed) init.push_back({&b_, vars_[v].value});

  b_.loc_ = loc;
  Result<Unit> inside = Unit{};
  const auto body = [&](V i, const std::vector<V>& params) -> std::vector<V> {
    const size_t mark = vars_.size();
    b_.named(i, std::string(counter.text));
    inside = declare(counter.text, i.id, counter.loc, false);
    for (size_t n = 0; n < changed.size(); n++) take(changed[n], params[n]);
    if (inside) inside = block();
    std::vector<V> next;
    for (size_t n = 0; n < changed.size(); n++) {
      const Variable& var = vars_[changed[n]];
      next.push_back({&b_, var.value});
      if (inside && !same_type(type(changed[n]), b_.type(params[n])))
        inside = fail(var.loc, fmt::format("'{}' is {} before the loop and {} after a turn", var.name,
                                           to_string(b_.type(params[n])), to_string(type(changed[n]))));
    }
    leave(mark);
    b_.loc_ = loc;
    return next;
  };
  const std::vector<V> results = b_.loop(lo, hi, step, init, body, static_cast<int>(stages));
  TRY(inside);
  for (size_t n = 0; n < changed.size(); n++) take(changed[n], results[n]);
  return built();
}

Result<V> Parser::condition(std::string_view what) {
  TRY_ASSIGN(const Expr e, expression());
  TRY_ASSIGN(const V v, materialize(e));
  if (v.id == kNone || !same_type(b_.type(v), scalar_of(types::boolean)))
    return fail(e.loc, fmt::format("{} is not a scalar bool", what));
  return v;
}

/// while condition { .. }, or, where the condition takes statements, while { .. yield(condition) } do { .. }.
Result<Unit> Parser::while_loop() {
  const Loc loc = peek().loc;
  at_++;
  const bool statements = is("{");
  Names names;
  size_t body_at = at_;
  if (statements) {
    Names inside;
    body_at = find_assigned(at_, inside);
  }
  find_assigned(body_at, names);
  const std::vector<size_t> changed = carried(names);
  std::vector<V> init;
  for (size_t v : changed) init.push_back({&b_, vars_[v].value});

  b_.loc_ = loc;
  Result<Unit> inside = Unit{};
  const auto read_condition = [&]() -> Result<V> {
    if (!statements) return condition("the condition");
    at_++;
    while (!is("yield") && peek().kind != Token::Kind::end) TRY(statement());
    TRY(expect("yield", "at the end of a condition"));
    TRY(expect("(", "after yield"));
    TRY_ASSIGN(const V v, condition("the condition"));
    TRY(expect(")", "after the condition"));
    TRY(expect("}", "after the condition's yield"));
    TRY(expect("do", "after a condition in braces"));
    return v;
  };
  const auto test = [&](const std::vector<V>& params) -> V {
    const size_t mark = vars_.size();
    for (size_t n = 0; n < changed.size(); n++) take(changed[n], params[n]);
    std::vector<ValueId> held;
    for (const Variable& v : vars_) held.push_back(v.value);
    auto v = read_condition();
    if (!v) inside = tl::unexpected(v.error());
    leave(mark);
    for (size_t n = 0; inside && n < mark; n++)
      if (vars_[n].value != held[n])
        inside = fail(vars_[n].loc, fmt::format("the condition of a while assigns '{}'", vars_[n].name));
    b_.loc_ = loc;
    return v ? *v : b_.literal(types::boolean, 0, 0);
  };
  const auto body = [&](const std::vector<V>& params) -> std::vector<V> {
    const size_t mark = vars_.size();
    for (size_t n = 0; n < changed.size(); n++) take(changed[n], params[n]);
    if (inside) inside = block();
    std::vector<V> next;
    for (size_t n = 0; n < changed.size(); n++) {
      next.push_back({&b_, vars_[changed[n]].value});
      if (inside && !same_type(type(changed[n]), b_.type(params[n])))
        inside = fail(vars_[changed[n]].loc,
                      fmt::format("'{}' is {} before the loop and {} after a turn", vars_[changed[n]].name,
                                  to_string(b_.type(params[n])), to_string(type(changed[n]))));
    }
    leave(mark);
    b_.loc_ = loc;
    return next;
  };
  const std::vector<V> results = b_.while_loop(init, test, body);
  TRY(inside);
  for (size_t n = 0; n < changed.size(); n++) take(changed[n], results[n]);
  return built();
}

Result<Unit> Parser::cond() {
  const Loc loc = peek().loc;
  at_++;
  TRY_ASSIGN(const V condition, this->condition("the condition"));
  Names names;
  for (size_t end = find_assigned(at_, names); tokens_[end].text == "else" && end + 1 < tokens_.size();)
    end = find_assigned(end + 1, names);
  const std::vector<size_t> changed = carried(names);
  std::vector<ValueId> before;
  for (size_t v : changed) before.push_back(vars_[v].value);

  b_.loc_ = loc;
  Result<Unit> inside = Unit{};
  std::vector<V> first;
  const auto branch = [&](bool yes) -> std::vector<V> {
    const size_t mark = vars_.size();
    for (size_t n = 0; n < changed.size(); n++) vars_[changed[n]].value = before[n];
    if (inside && yes) inside = block();
    if (inside && !yes && accept("else")) {
      if (is("if") && ++nesting_ > kMaxNesting)
        inside = fail(peek().loc, "too many branches");
      else if (is("if"))
        inside = cond(), nesting_--;
      else
        inside = block();
    }
    std::vector<V> values;
    for (size_t v : changed) values.push_back({&b_, vars_[v].value});
    for (size_t n = 0; !yes && inside && n < changed.size(); n++)
      if (!same_type(b_.type(first[n]), b_.type(values[n])))
        inside = fail(vars_[changed[n]].loc,
                      fmt::format("'{}' is {} after one branch and {} after the other", vars_[changed[n]].name,
                                  to_string(b_.type(first[n])), to_string(b_.type(values[n]))));
    if (yes) first = values;
    leave(mark);
    b_.loc_ = loc;
    return values;
  };
  const std::vector<V> results = b_.cond(
      condition, [&] { return branch(true); }, [&] { return branch(false); });
  TRY(inside);
  for (size_t n = 0; n < changed.size(); n++) take(changed[n], results[n]);
  return built();
}

}  // namespace lathe::tile
