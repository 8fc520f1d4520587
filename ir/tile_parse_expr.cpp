// Expressions of the text form. Every row of tile.def is called by name; infix spellings are in tile_text.def.
// A literal has no type of its own: it takes that of the values beside it, of the tile it fills, or is i64 or f32;
// f16(0.5) is a literal with a type. A scalar beside a tile in an element-wise operation is filled.
#include <fmt/format.h>

#include <limits>

#include "ir/tile_parser.h"

namespace lathe::tile {
namespace {

constexpr int kMaxDepth = 200;

struct Infix {
  std::string_view token;
  Op op;
  int precedence;
  bool swapped = false;
};
constexpr Infix kInfix[] = {
#define TILE_INFIX(name, token, precedence) {token, Op::name, precedence},
#include "ir/tile_text.def"
};

std::optional<Infix> infix_of(const Token& t) {
  if (t.kind != Token::Kind::symbol) return std::nullopt;
  const bool swapped = t.text == ">" || t.text == ">=";
  const std::string_view token = t.text == ">" ? "<" : t.text == ">=" ? "<=" : t.text;
  for (const Infix& i : kInfix)
    if (i.token == token) return Infix{token, i.op, i.precedence, swapped};
  return std::nullopt;
}

bool is_elementwise(Op op) { return info(op).operands[0] == 'e'; }

}  // namespace

Result<Parser::Expr> Parser::expression(int precedence) {
  if (++depth_ > kMaxDepth)
    return fail(peek().loc, fmt::format("the expression is nested more than {} deep", kMaxDepth));
  TRY_ASSIGN(Expr left, unary());
  for (auto infix = infix_of(peek()); infix && infix->precedence >= precedence; infix = infix_of(peek())) {
    const Loc loc = peek().loc;
    at_++;
    TRY_ASSIGN(Expr right, expression(infix->precedence + 1));
    if (infix->swapped) std::swap(left, right);
    TRY_ASSIGN(left, apply(infix->op, {left, right}, {}, loc));
  }
  depth_--;
  return left;
}

Result<Parser::Expr> Parser::unary() {
  const Loc loc = peek().loc;
  if (!accept("-")) return primary();
  if (++depth_ > kMaxDepth) return fail(loc, fmt::format("the expression is nested more than {} deep", kMaxDepth));
  TRY_ASSIGN(Expr e, unary());
  depth_--;
  if (!e.is_literal()) return apply(Op::neg, {e}, {}, loc);
  e.loc = loc;
  e.negative = !e.negative;
  e.number = -e.number;
  return e;
}

Result<Parser::Expr> Parser::primary() {
  const Token t = peek();
  Expr e;
  e.loc = t.loc;
  if (t.kind == Token::Kind::integer || t.kind == Token::Kind::number || is("inf") || is("nan")) {
    at_++;
    e.kind = t.kind == Token::Kind::integer ? Expr::Kind::integer : Expr::Kind::number;
    e.magnitude = t.integer;
    e.number = t.text == "inf"   ? std::numeric_limits<double>::infinity()
               : t.text == "nan" ? std::numeric_limits<double>::quiet_NaN()
                                 : t.number;
    return e;
  }
  if (accept("(")) {
    TRY_ASSIGN(e, expression());
    TRY(expect(")", "after the expression"));
    return e;
  }
  if (is("true") || is("false")) {
    at_++;
    b_.loc_ = t.loc;
    e.value = b_.literal(types::boolean, 0, t.text == "true");
    return e;
  }
  if (t.kind == Token::Kind::name && is("(", 1)) return parse_type(t.text) ? typed_literal() : call();
  TRY_ASSIGN(const Token variable, name("a value"));
  const auto found = index_.find(variable.text);
  if (found == index_.end()) return fail(t.loc, fmt::format("unknown name {}", quoted(t)));
  if (is("[")) return fail(peek().loc, "only a view that is the first operand is indexed");
  e.value = {&b_, vars_[found->second].value};
  return e;
}

Result<Parser::Expr> Parser::typed_literal() {
  const Loc loc = peek().loc;
  TRY_ASSIGN(const lathe::Type elem, element_type());
  at_++;
  TRY_ASSIGN(Expr e, unary());
  const bool boolean = elem == types::boolean && e.value.id != kNone && b_.type(e.value) == scalar_of(elem);
  if (!e.is_literal() && !boolean)
    return fail(e.loc,
                fmt::format("{0}(..) takes a literal; a value is converted by cast(value, {0})", to_string(elem)));
  TRY(expect(")", "after the literal"));
  TRY_ASSIGN(e.value, materialize(e, elem));
  e.kind = Expr::Kind::value;
  e.loc = loc;
  return e;
}

// ---- calls

Result<Parser::Expr> Parser::call() {
  const Token t = peek();
  const auto op = parse_op(t.text);
  if (!op) return fail(t.loc, fmt::format("unknown operation {}", quoted(t)));
  if (info(*op).effect == Effect::control)
    return fail(t.loc, fmt::format("{} is not called by name: {}", t.text, usage(*op)));
  at_ += 2;
  Attr attr;
  std::vector<Expr> args;
  first_ = true;
  TRY(attributes(*op, attr, true));
  TRY(operands(*op, attr, args));
  TRY(attributes(*op, attr, false));
  if (!is(")"))
    return fail(peek().loc, fmt::format("expected ')', found {}; it is written {}", quoted(peek()), usage(*op)));
  at_++;
  return apply(*op, args, std::move(attr), t.loc);
}

/// What stands before the next argument: nothing before the first, a comma before the others.
Result<Unit> Parser::separator(Op op) {
  const bool first = first_;
  first_ = false;
  if (is(")")) return fail(peek().loc, fmt::format("an argument is missing: {}", usage(op)));
  if (!first && !accept(","))
    return fail(peek().loc, fmt::format("expected ',', found {}; it is written {}", quoted(peek()), usage(op)));
  return Unit{};
}

Result<Unit> Parser::operands(Op op, const Attr& attr, std::vector<Expr>& args) {
  for (const char* c = info(op).operands; *c; c++) {
    TRY(separator(op));
    if (*c == 'v') {
      TRY(indexed_view(args));
      continue;
    }
    TRY_ASSIGN(Expr e, expression());
    first_ = false;
    if (e.value.id == kNone && !e.is_literal()) return fail(e.loc, "this operation has no value");
    if (*c == 's' && e.is_literal()) {
      TRY_ASSIGN(e.value, info(op).attributes[0] == 'D' ? materialize(e, attr.elem) : materialize(e));
      e.kind = Expr::Kind::value;
    }
    args.push_back(e);
  }
  return Unit{};
}

Result<Unit> Parser::indexed_view(std::vector<Expr>& args) {
  TRY_ASSIGN(const Token view, name("a view"));
  const auto found = index_.find(view.text);
  if (found == index_.end()) return fail(view.loc, fmt::format("unknown name {}", quoted(view)));
  Expr e;
  e.loc = view.loc;
  e.value = {&b_, vars_[found->second].value};
  args.push_back(e);
  TRY(expect("[", "and the index after the view"));
  do {
    TRY_ASSIGN(const Expr index, expression());
    args.push_back(index);
  } while (accept(","));
  first_ = false;
  return expect("]", "after the index");
}

/// D stands before the operands, everything else after them.
Result<Unit> Parser::attributes(Op op, Attr& attr, bool leading) {
  for (const char* c = info(op).attributes; *c; c++) {
    if ((*c == 'D') != leading) continue;
    TRY(separator(op));
    TRY(attribute(*c, attr));
  }
  return Unit{};
}

Result<Unit> Parser::attribute(char letter, Attr& attr) {
  static constexpr std::string_view kKinds[] = {"sum", "max", "min"};
  const Token t = peek();
  switch (letter) {
    case 'T':
    case 'D': {
      TRY_ASSIGN(attr.elem, element_type());
      if (letter == 'T') return Unit{};
      TRY_ASSIGN(attr.shape, extents());
      return Unit{};
    }
    case 'S':
    case 'r':
    case 'p': {
      TRY_ASSIGN(attr.shape, extents());
      return Unit{};
    }
    case 'm':
      if (t.kind != Token::Kind::string)
        return fail(t.loc, fmt::format("expected a text in quotes, found {}", quoted(t)));
      attr.text = t.text;
      at_++;
      return Unit{};
    case 'o': {
      TRY_ASSIGN(attr.offset, extents());
      return Unit{};
    }
    case 'c': {
      TRY_ASSIGN(attr.count, integer("a count"));
      return Unit{};
    }
    case 'k':
      for (attr.kind = 0; attr.kind < 3; attr.kind++)
        if (accept(kKinds[attr.kind])) return Unit{};
      return fail(t.loc, fmt::format("expected sum, max or min, found {}", quoted(t)));
    case 'n': {
      TRY_ASSIGN(const Expr e, unary());
      if (!e.is_literal()) return fail(e.loc, "expected a number");
      TRY_ASSIGN(const V v, materialize(e, attr.elem));
      attr = b_.f_.def(v.id)->attr;
      return Unit{};
    }
    default: {
      TRY_ASSIGN(attr.imm, integer("an integer"));
      return Unit{};
    }
  }
}

Result<lathe::Type> Parser::element_type() {
  const Token& t = peek();
  const auto type = t.kind == Token::Kind::name ? parse_type(t.text) : std::nullopt;
  if (!type) return fail(t.loc, fmt::format("expected an element type, found {}", quoted(t)));
  at_++;
  return *type;
}

Result<Coord> Parser::extents() {
  Coord shape;
  TRY(expect("[", "before the extents"));
  do {
    TRY_ASSIGN(const int64_t n, integer("a number"));
    shape.push_back(n);
  } while (accept(","));
  TRY(expect("]", "after the extents"));
  return shape;
}

Result<int64_t> Parser::integer(std::string_view what) {
  const Loc loc = peek().loc;
  const bool negative = accept("-");
  const Token& t = peek();
  if (t.kind != Token::Kind::integer) return fail(t.loc, fmt::format("expected {}, found {}", what, quoted(t)));
  if (t.integer > uint64_t{std::numeric_limits<int64_t>::max()})
    return fail(loc, fmt::format("the number {} is out of range", t.text));
  at_++;
  return negative ? -static_cast<int64_t>(t.integer) : static_cast<int64_t>(t.integer);
}

// ---- values

Result<V> Parser::materialize(const Expr& e, lathe::Type elem) {
  if (!e.is_literal()) return e.value;
  int64_t whole = 0;
  if (!elem.is_float()) {
    if (elem.kind == Kind::boolean) return fail(e.loc, "expected true or false, found a number");
    if (e.kind == Expr::Kind::number)
      return fail(e.loc, fmt::format("expected a literal of {}, found a fraction", to_string(elem)));
    if (e.magnitude > uint64_t{std::numeric_limits<int64_t>::max()} + e.negative)
      return fail(e.loc, "the number is out of range");
    whole = static_cast<int64_t>(e.negative ? 0 - e.magnitude : e.magnitude);
  }
  b_.loc_ = e.loc;
  const V v = b_.literal(elem, e.number, whole);
  TRY(built());
  return v;
}

Result<V> Parser::materialize(const Expr& e) {
  return materialize(e, e.kind == Expr::Kind::number ? types::f32 : types::i64);
}

Result<V> Parser::scalar_i64(const Expr& e, std::string_view what) {
  TRY_ASSIGN(const V v, materialize(e, types::i64));
  if (v.id == kNone || !same_type(b_.type(v), scalar_of(types::i64)))
    return fail(e.loc, fmt::format("{} is {}, expected i64", what, v.id == kNone ? "no value" : to_string(b_.type(v))));
  return v;
}

/// The operands of an element-wise operation: literals typed by the others, scalars beside a tile filled.
Result<std::vector<V>> Parser::elementwise(Op op, const std::vector<Expr>& args, Loc loc) {
  const size_t lead = op == Op::select ? 1 : 0;
  std::optional<lathe::Type> elem;
  std::optional<Coord> shape;
  bool fraction = false;
  for (size_t i = 0; i < args.size(); i++) {
    fraction = fraction || args[i].kind == Expr::Kind::number;
    if (args[i].is_literal()) continue;
    const Type& t = b_.type(args[i].value);
    if (i >= lead && !elem) elem = t.elem;
    if (t.is_tile() && !shape) shape = t.shape;
  }
  std::vector<V> values;
  for (size_t i = 0; i < args.size(); i++) {
    TRY_ASSIGN(V v, materialize(args[i], elem ? *elem : fraction ? types::f32 : types::i64));
    b_.loc_ = loc;
    if (shape && b_.type(v).is_scalar()) v = b_.op(Op::fill, {v}, {.elem = b_.type(v).elem, .shape = *shape});
    values.push_back(v);
  }
  return values;
}

Result<Parser::Expr> Parser::apply(Op op, const std::vector<Expr>& args, Attr attr, Loc loc) {
  for (const Expr& a : args)
    if (!a.is_literal() && a.value.id == kNone) return fail(a.loc, "this operation has no value");
  std::vector<V> values;
  if (is_elementwise(op)) {
    TRY_ASSIGN(values, elementwise(op, args, loc));
  } else {
    for (const Expr& a : args) {
      TRY_ASSIGN(const V v, materialize(a));
      values.push_back(v);
    }
  }
  b_.loc_ = loc;
  Expr result;
  result.loc = loc;
  result.value = b_.make(op, values, std::move(attr));
  TRY(built());
  return result;
}

}  // namespace lathe::tile
