#pragma once
// The parser of Tile IR text: one pass over the words, building as it reads. Expressions are in tile_parse_expr.cpp.
#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ir/tile.h"
#include "ir/tile_lex.h"

namespace lathe::tile {

class Parser {
 public:
  Parser(std::string_view text, std::string_view file, std::vector<Token> tokens)
      : text_(text), file_(file), tokens_(std::move(tokens)), b_("", {1, 1, 1}) {}
  Result<Func> kernel();

 private:
  /// A value, or a literal whose type is still open.
  struct Expr {
    enum class Kind { value, integer, number } kind = Kind::value;
    Loc loc;
    V value;
    uint64_t magnitude = 0;
    double number = 0;  ///< with its sign; of integers as well
    bool negative = false;
    bool is_literal() const { return kind != Kind::value; }
  };
  struct Variable {
    std::string_view name;
    ValueId value;
    Loc loc;  ///< of the last assignment
    bool assignable;
  };
  using Names = std::unordered_set<std::string_view>;

  // words
  tl::unexpected<Error> fail(Loc loc, std::string_view message) const;
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool is(std::string_view word, size_t ahead = 0) const;
  bool accept(std::string_view word);
  Result<Unit> expect(std::string_view word, std::string_view where);
  Result<Token> name(std::string_view what);
  Result<Unit> built() const;  ///< the builder's complaint, if any, at its place
  std::string quoted(const Token& t) const;

  // kernel and statements
  Result<Unit> parameters();
  Result<Unit> parameter();
  Result<std::vector<std::string>> sizes();
  Result<Unit> grid();
  Result<Unit> subgroups();
  Result<Unit> block();
  Result<Unit> statement();
  Result<Unit> assignment();
  Result<Unit> pin(const Expr& value);
  Result<Unit> loop();
  Result<Unit> cond();
  Result<Unit> while_loop();
  Result<V> condition(std::string_view what);
  Result<Unit> yield();
  size_t find_assigned(size_t at, Names& names) const;
  std::vector<size_t> carried(const Names& assigned) const;

  // variables
  Result<Unit> declare(std::string_view name, ValueId value, Loc loc, bool assignable);
  void leave(size_t mark);
  Type type(size_t variable) const { return b_.f_.type(vars_[variable].value); }
  void take(size_t variable, V value);

  // expressions
  Result<Expr> expression(int precedence = 0);
  Result<Expr> unary();
  Result<Expr> primary();
  Result<Expr> call();
  Result<Unit> operands(Op op, const Attr& attr, std::vector<Expr>& args);
  Result<Unit> indexed_view(std::vector<Expr>& args);
  Result<Unit> attributes(Op op, Attr& attr, bool leading);
  Result<Unit> attribute(char letter, Attr& attr);
  Result<Unit> separator(Op op);
  Result<lathe::Type> element_type();
  Result<Coord> extents();
  Result<int64_t> integer(std::string_view what);
  Result<Expr> typed_literal();
  Result<Expr> apply(Op op, const std::vector<Expr>& args, Attr attr, Loc loc);
  Result<std::vector<V>> elementwise(Op op, const std::vector<Expr>& args, Loc loc);
  Result<V> materialize(const Expr& e, lathe::Type elem);
  Result<V> materialize(const Expr& e);  ///< i64 or f32
  Result<V> scalar_i64(const Expr& e, std::string_view what);

  std::string_view text_, file_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  Builder b_;
  std::vector<Variable> vars_;
  std::unordered_map<std::string_view, size_t> index_;
  int depth_ = 0, nesting_ = 0;  ///< of expressions and of blocks
  bool first_ = false;           ///< no comma stands before the next argument
  bool in_grid_ = false;
};

}  // namespace lathe::tile
