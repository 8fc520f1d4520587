#pragma once
// Tile IR, the virtual machine: what a workgroup does. Register, shared and global tiles of any bit width, uniform
// control flow, no thread in sight. The operations are the rows of tile.def; the text form is described in
// ir/tile_parse.cpp.
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/layout.h"
#include "ir/result.h"
#include "ir/ssa.h"
#include "ir/types.h"

namespace lathe::tile {

enum class Op : uint8_t {
#define TILE_OP(name, operands, attributes, effect, rounding, doc) name,
#include "ir/tile.def"
};
enum class Effect : uint8_t { pure, reads, writes, control };
enum class Rounding : uint8_t { exact, once, approx, sum, none };
struct OpInfo {
  const char *name, *operands, *attributes;
  Effect effect;
  Rounding rounding;
  const char* doc;
};
const OpInfo& info(Op op);
inline constexpr int kOpCount = 0
#define TILE_OP(name, operands, attributes, effect, rounding, doc) +1
#include "ir/tile.def"
    ;
std::optional<Op> parse_op(std::string_view name);
/// How a call is written: "load(view[i, ..], [4, 8])".
std::string usage(Op op);
/// The reference page of the language, ir/TILE_REFERENCE.md.
std::string reference_markdown();

/// scalar: shape empty. view: global memory, shape holds one entry a dimension (-1: known at launch only).
/// tile: registers of the workgroup. shared: shared memory of the workgroup. token: a tile on its way from memory.
enum class Form : uint8_t { scalar, view, tile, shared, token };
struct Type {
  Form form = Form::scalar;
  lathe::Type elem = types::i64;
  Coord shape;
  bool packed = false;           ///< views: the stored order is an output of compilation
  std::optional<Layout> layout;  ///< tiles, tokens (of their tile): a `layout=` pin, or what inference chose
  bool operator==(const Type&) const = default;
  bool is_tile() const { return form == Form::tile; }
  bool is_scalar() const { return form == Form::scalar; }
  bool is_token() const { return form == Form::token; }
};
inline Type scalar_of(lathe::Type elem) { return {Form::scalar, elem, {}, false, {}}; }
inline Type tile_of(lathe::Type elem, Coord shape) { return {Form::tile, elem, std::move(shape), false, {}}; }
/// "i64", "f16[64, 16]"; the layout is not printed.
std::string to_string(const Type& t);
/// Equal but for the layout.
bool same_type(const Type& a, const Type& b);

enum class ReduceKind : uint8_t { sum, max, min };

struct Attr {
  lathe::Type elem;   ///< T, D; the type of a constant
  Coord shape;        ///< S, D, p
  Coord offset;       ///< o
  int64_t imm = 0;    ///< d, z; loop: stages (0 = unset); integer constants
  int64_t kind = 0;   ///< k (ReduceKind)
  int64_t count = 1;  ///< c
  double num = 0;     ///< n: value of a float constant
  std::string text;   ///< m
  bool operator==(const Attr&) const = default;
};

/// A parameter as written: a view with its sizes, or a scalar.
struct Param {
  ValueId value = kNone;
  bool constant = false;         ///< views: no launch of the same list writes it
  bool workspace = false;        ///< scratch memory of the engine; the first size is the number of workgroups
  std::vector<ValueId> sizes;    ///< views: an i64 scalar a dimension (a symbol or a constant of Func::sizes)
  std::vector<ValueId> strides;  ///< views: in elements, empty = row-major and dense; the last is constant 1
};

/// One kernel. Launch arguments, 8 bytes each: params in order (address of a view, bits of a scalar), then symbols.
struct Func : Graph<Op, Type, Attr> {
  std::string name;
  std::vector<Param> params;
  std::vector<ValueId> symbols;  ///< i64 scalars named in the sizes and strides, in order of first appearance
  int subgroups = 1;
  /// How the subgroups divide the m, n and k of each mma; the product is `subgroups`.
  std::array<int, 3> split{1, 1, 1};
  BlockId head = kNone;  ///< constants used by sizes; runs before grid and body, its values are visible in both
  BlockId grid = kNone;  ///< scalar operations, then yield of 1..3 i64: workgroups on each axis
  BlockId body = kNone;  ///< ends with an empty yield
};

/// Result type of an operation: none for operations without result (`store`), an error for ill-typed operands. loop,
/// cond and yield are not handled here.
Result<std::optional<Type>> infer_result(Op op, const std::vector<Type>& args, const Attr& attr);

/// Builds a kernel from C++; same power as the text. Ill-typed calls abort at verify: the first error is kept and
/// returned by finish(), later calls return values of a best-guess type.
class Builder {
 public:
  Builder(std::string name, std::array<int, 3> split);  ///< subgroups along m, n, k of each mma

  /// A handle with operators: a + b, a * b, ... on scalars and tiles; an int64 or double literal takes the other's
  /// type.
  struct V {
    Builder* b = nullptr;
    ValueId id = kNone;
  };
  /// Sizes are names of symbols ("M") or decimal constants ("128").
  V view(std::string name, lathe::Type elem, const std::vector<std::string>& sizes, bool packed = false,
         const std::vector<std::string>& strides = {});
  /// The view's promise: nothing writes it while a list of launches runs (weights), so it may be read before the launch
  /// in front has ended.
  void constant(const V& view);
  /// A workspace: sizes[0] is a name of its own and becomes the number of workgroups. Zero at the first launch; what a
  /// launch leaves in it is there at the next.
  V workspace(std::string name, lathe::Type elem, const std::vector<std::string>& sizes);
  V scalar(std::string name, lathe::Type elem);
  V symbol(const std::string& name);            ///< a size seen in an earlier view
  void grid(const std::vector<V>& workgroups);  ///< values made between begin_grid() and here
  void begin_grid();

  V lit(int64_t v) { return literal(types::i64, static_cast<double>(v), v); }
  V literal(lathe::Type elem, double num, int64_t integer);
  V op(Op op, const std::vector<V>& args, Attr attr = {});  ///< any row with a result
  void effect(Op op, const std::vector<V>& args, Attr attr = {});
  V binary(Op op, V a, V b);  ///< fills a scalar beside a tile

  V group_id(int axis) { return op(Op::group_id, {}, {.imm = axis}); }
  V fill(lathe::Type elem, Coord shape, double value);
  V load(V view, const std::vector<V>& index, Coord shape);
  void store(V view, const std::vector<V>& index, V tile);
  V cast(V a, lathe::Type elem) { return op(Op::cast, {a}, {.elem = elem}); }
  V broadcast(V a, Coord shape) { return op(Op::broadcast, {a}, {.shape = std::move(shape)}); }
  V transpose(V a, Coord order = {1, 0}) { return op(Op::transpose, {a}, {.shape = std::move(order)}); }
  V reshape(V a, Coord shape) { return op(Op::reshape, {a}, {.shape = std::move(shape)}); }
  V view_as(V a, lathe::Type elem) { return op(Op::view, {a}, {.elem = elem}); }
  V reduce(V a, int dim, ReduceKind kind) { return op(Op::reduce, {a}, {.imm = dim, .kind = static_cast<int>(kind)}); }
  V slice(V a, Coord offset, Coord shape) {
    return op(Op::slice, {a}, {.shape = std::move(shape), .offset = std::move(offset)});
  }
  V assign(V a, V b, Coord offset) { return op(Op::assign, {a, b}, {.offset = std::move(offset)}); }
  V repeat(V a, int dim, int64_t count) { return op(Op::repeat, {a}, {.imm = dim, .count = count}); }
  V scan(V a, int dim, ReduceKind kind) { return op(Op::scan, {a}, {.imm = dim, .kind = static_cast<int>(kind)}); }
  V gather(V view, const std::vector<V>& index, V rows, Coord shape);
  void scatter(V view, const std::vector<V>& index, V rows, V tile);
  V mma(V a, V b, V c) { return op(Op::mma, {a, b, c}); }
  V iota(Coord shape, int dim) { return op(Op::iota, {}, {.elem = types::i32, .shape = std::move(shape), .imm = dim}); }
  V shared(lathe::Type elem, Coord shape) { return op(Op::shared, {}, {.elem = elem, .shape = std::move(shape)}); }
  V named(V a, std::string name);    ///< the printed name of a value
  V pin(V a, const Layout& layout);  ///< the `layout=` pin of a tile

  /// Runs body(index, carried) inside the loop; it returns the next carried values. Result: the last carried values.
  std::vector<V> loop(V lo, V hi, V step, const std::vector<V>& init,
                      const std::function<std::vector<V>(V, const std::vector<V>&)>& body, int stages = 0);
  V arrive(V view, const std::vector<V>& index);
  V item(V a) { return op(Op::item, {a}); }
  std::vector<V> while_loop(const std::vector<V>& init, const std::function<V(const std::vector<V>&)>& condition,
                            const std::function<std::vector<V>(const std::vector<V>&)>& body);
  std::vector<V> cond(V condition, const std::function<std::vector<V>()>& yes,
                      const std::function<std::vector<V>()>& no);

  const Type& type(V v) const { return f_.values[v.id].type; }
  /// Verifies and returns the kernel; the Builder is spent.
  Result<Func> finish();

 private:
  friend class Parser;
  V make(Op op, const std::vector<V>& args, Attr attr);
  Func f_;
  BlockId block_ = kNone;
  Loc loc_;
  std::optional<Error> error_;
};
using V = Builder::V;
V operator+(V a, V b);
V operator-(V a, V b);
V operator*(V a, V b);
V operator/(V a, V b);
V operator%(V a, V b);
V operator+(V a, double b);
V operator-(V a, double b);
V operator*(V a, double b);
V operator/(V a, double b);

/// One kernel from text; an error is "file:line:col: error: message", the line, and a caret.
Result<Func> parse(std::string_view text, std::string_view file_name);
/// Text that parses back to the same kernel: parse(print(f)) prints the same, byte for byte. Layouts are printed as
/// pins.
std::string print(const Func& f);
/// The same for a reader, without pins: the text, and for each of its lines the line (0: none) of the program that
/// its statement comes from.
struct Listing {
  std::string text;
  std::vector<int> lines;
};
Listing list(const Func& f);
/// Same kernel but for names and places.
bool equal(const Func& a, const Func& b);
/// Types, dominance, yields, pins; the first fault, with its place in the text where it has one.
Result<Unit> verify(const Func& f);

}  // namespace lathe::tile
