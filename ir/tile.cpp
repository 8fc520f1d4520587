// The op table as data, and the typing rules: infer_result is the only place that knows the type of a result.
#include "ir/tile.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

namespace lathe::tile {
namespace {

constexpr OpInfo kOps[] = {
#define TILE_OP(name, operands, attributes, effect, rounding, doc) \
  {#name, operands, attributes, Effect::effect, Rounding::rounding, doc},
#include "ir/tile.def"
};

constexpr int64_t kMaxElements = int64_t{1} << 24;
constexpr size_t kMaxRank = 16;

std::string shape_string(const Coord& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); i++)
    s += (i ? ", " : "") + (shape[i] < 0 ? std::string("?") : std::to_string(shape[i]));
  return s + "]";
}

/// Which elements an element-wise operation takes.
enum class Elems { any, numbers, integers, bits, floats };

Elems elems_of(Op op) {
  switch (op) {
    case Op::eq:
    case Op::ne:
    case Op::select:
    case Op::cast:
      return Elems::any;
    case Op::rem:
    case Op::shl:
    case Op::shr:
      return Elems::integers;
    case Op::band:
    case Op::bor:
    case Op::bxor:
    case Op::bnot:
      return Elems::bits;
    case Op::fma:
    case Op::exp:
    case Op::exp2:
    case Op::log2:
    case Op::sqrt:
    case Op::rsqrt:
      return Elems::floats;
    default:
      return Elems::numbers;
  }
}

bool admits(Elems e, lathe::Type t) {
  switch (e) {
    case Elems::any:
      return true;
    case Elems::numbers:
      return t.kind != Kind::boolean;
    case Elems::integers:
      return t.is_int();
    case Elems::bits:
      return t.is_int() || t.kind == Kind::boolean;
    case Elems::floats:
      return t.is_float();
  }
  return false;
}

const char* words(Elems e) {
  switch (e) {
    case Elems::any:
      return "any element";
    case Elems::numbers:
      return "numbers";
    case Elems::integers:
      return "integers";
    case Elems::bits:
      return "integers or bool";
    case Elems::floats:
      return "floats";
  }
  return "";
}

bool in_range(lathe::Type t, int64_t v) {
  if (t.kind == Kind::boolean) return v == 0 || v == 1;
  if (t.bits >= 64) return true;
  if (t.kind == Kind::uint) return v >= 0 && v < int64_t{1} << t.bits;
  return v >= -(int64_t{1} << (t.bits - 1)) && v < int64_t{1} << (t.bits - 1);
}

class Inference {
 public:
  Inference(Op op, const std::vector<Type>& args, const Attr& attr)
      : op_(op), row_(info(op)), args_(args), attr_(attr) {}

  Result<std::optional<Type>> run() {
    TRY(count());
    TRY(classes());
    if (row_.operands[0] == 'e') return elementwise();
    return special();
  }

 private:
  using Maybe = Result<std::optional<Type>>;

  template <class... Args>
  tl::unexpected<Error> fail(fmt::format_string<Args...> text, Args&&... args) const {
    return bad_input(fmt::format("{}: {}", row_.name, fmt::format(text, std::forward<Args>(args)...)));
  }
  bool has_view() const { return row_.operands[0] == 'v'; }
  size_t rank() const { return args_[0].shape.size(); }
  std::string place(size_t i) const {
    if (!has_view()) return fmt::format("operand {}", static_cast<char>('a' + i));
    if (i == 0) return "the view";
    if (i <= rank()) return fmt::format("index {}", i - 1);
    if (args_[i].is_token()) return "the token";
    return i == rank() + 1 && (op_ == Op::gather || op_ == Op::scatter) ? "the row numbers" : "the tile";
  }
  tl::unexpected<Error> wrong(size_t i, std::string_view expected) const {
    return fail("{} is {}, expected {}", place(i), to_string(args_[i]), expected);
  }
  tl::unexpected<Error> wrong(size_t i, const Type& expected, std::string_view why) const {
    return fail("{} is {}, expected {} ({})", place(i), to_string(args_[i]), to_string(expected), why);
  }

  Result<Unit> count() const {
    const size_t letters = std::strlen(row_.operands);
    if (!has_view()) {
      if (args_.size() != letters)
        return fail("{} operand{} given, {} expected", args_.size(), args_.size() == 1 ? "" : "s", letters);
      return Unit{};
    }
    if (args_.empty()) return fail("no view given");
    if (args_[0].form != Form::view && args_[0].form != Form::shared) return wrong(0, "a view or a shared tile");
    const size_t rest = letters - 1;
    if (args_.size() != 1 + rank() + rest) {
      const auto given = static_cast<int64_t>(args_.size()) - 1 - static_cast<int64_t>(rest);
      return fail("{} ind{} given, {} expected (rank of {})", given, given == 1 ? "ex" : "ices", rank(),
                  to_string(args_[0]));
    }
    return Unit{};
  }

  Result<Unit> classes() const {
    for (size_t i = 0; i < args_.size(); i++) {
      const Type& t = args_[i];
      const char letter = !has_view() ? row_.operands[i] : i == 0 ? 'v' : i <= rank() ? 'i' : row_.operands[i - rank()];
      switch (letter) {
        case 's':
          if (!t.is_scalar()) return wrong(i, "a scalar");
          break;
        case 'i':
          if (!same_type(t, scalar_of(types::i64))) return wrong(i, "i64");
          break;
        case 'b':
          if (!same_type(t, scalar_of(types::boolean))) return wrong(i, "bool");
          break;
        case 't':
          if (!t.is_tile()) return wrong(i, "a tile");
          break;
        case 'm':
          if (t.form != Form::view) return wrong(i, "a view");
          break;
        case 'k':
          if (!t.is_token()) return wrong(i, "a token");
          break;
        case 'e':
          if (!t.is_tile() && !t.is_scalar()) return wrong(i, "a tile or a scalar");
          break;
        default:
          break;
      }
    }
    return Unit{};
  }

  Maybe elementwise() const {
    const size_t lead = op_ == Op::select ? 1 : 0;
    const Type& type = args_[lead];
    const Elems elems = elems_of(op_);
    if (!admits(elems, type.elem)) return fail("{} is {}, expected {}", place(lead), to_string(type), words(elems));
    for (size_t i = lead + 1; i < args_.size(); i++)
      if (!same_type(args_[i], type)) return wrong(i, type, "as " + place(lead));
    Type result = type;
    result.layout.reset();
    if (op_ == Op::select) {
      Type condition = result;
      condition.elem = types::boolean;
      if (!same_type(args_[0], condition)) return wrong(0, condition, "shape of operand b");
    }
    if (op_ == Op::lt || op_ == Op::le || op_ == Op::eq || op_ == Op::ne) result.elem = types::boolean;
    if (op_ == Op::cast) result.elem = attr_.elem;
    return result;
  }

  /// A tile type, when its shape is one a tile may have.
  Maybe tile(lathe::Type elem, const Coord& shape) const {
    if (shape.empty() || shape.size() > kMaxRank)
      return fail("a tile has 1 to {} dimensions, not {}", kMaxRank, shape.size());
    int64_t elements = 1;
    for (int64_t n : shape) {
      if (n <= 0) return fail("extents of {} must be positive", shape_string(shape));
      if (n > kMaxElements || (elements *= n) > kMaxElements)
        return fail("{} has more than 2^24 elements", shape_string(shape));
    }
    return tile_of(elem, shape);
  }
  Result<Unit> dimension(int64_t d, size_t rank) const {
    if (d < 0 || d >= static_cast<int64_t>(rank)) return fail("dimension {} of a tile of rank {}", d, rank);
    return Unit{};
  }

  Maybe constant() const {
    if (attr_.elem.is_float()) {
      if (std::isfinite(attr_.num) && !std::isfinite(decode(attr_.elem, encode(attr_.elem, attr_.num))))
        return fail("{} is out of the range of {}", attr_.num, to_string(attr_.elem));
    } else if (!in_range(attr_.elem, attr_.imm)) {
      return fail("{} is out of the range of {}", attr_.imm, to_string(attr_.elem));
    }
    return scalar_of(attr_.elem);
  }

  Maybe broadcast() const {
    const Coord& from = args_[0].shape;
    if (from.size() != attr_.shape.size())
      return fail("operand a is {}, expected rank {} (of {})", to_string(args_[0]), attr_.shape.size(),
                  shape_string(attr_.shape));
    for (size_t i = 0; i < from.size(); i++)
      if (from[i] != 1 && from[i] != attr_.shape[i])
        return fail("operand a is {}: dimension {} is neither 1 nor that of {}", to_string(args_[0]), i,
                    shape_string(attr_.shape));
    return tile(args_[0].elem, attr_.shape);
  }

  Maybe transpose() const {
    const Coord& from = args_[0].shape;
    std::vector<bool> seen(from.size());
    Coord shape;
    for (int64_t d : attr_.shape) {
      if (d < 0 || d >= static_cast<int64_t>(from.size()) || seen[static_cast<size_t>(d)]) break;
      seen[static_cast<size_t>(d)] = true;
      shape.push_back(from[static_cast<size_t>(d)]);
    }
    if (shape.size() != from.size() || attr_.shape.size() != from.size())
      return fail("{} is not an order of the {} dimensions of {}", shape_string(attr_.shape), from.size(),
                  to_string(args_[0]));
    return tile(args_[0].elem, shape);
  }

  Maybe reshape() const {
    TRY_ASSIGN(const std::optional<Type> to, tile(args_[0].elem, attr_.shape));
    int64_t before = 1, after = 1;
    for (int64_t n : args_[0].shape) before *= n;
    for (int64_t n : to->shape) after *= n;
    if (before != after)
      return fail("{} has {} elements, {} has {}", to_string(args_[0]), before, shape_string(to->shape), after);
    return to;
  }

  Maybe view() const {
    Coord shape = args_[0].shape;
    const int64_t bits = shape.back() * args_[0].elem.bits;
    if (bits % attr_.elem.bits != 0)
      return fail("a row of {} has {} bits, not a multiple of {} ({})", to_string(args_[0]), bits,
                  static_cast<int>(attr_.elem.bits), to_string(attr_.elem));
    shape.back() = bits / attr_.elem.bits;
    return tile(attr_.elem, shape);
  }

  /// reduce, or scan, which keeps the shape.
  Maybe reduce() const {
    TRY(dimension(attr_.imm, args_[0].shape.size()));
    if (attr_.kind < 0 || attr_.kind > static_cast<int64_t>(ReduceKind::min))
      return fail("unknown kind {}", attr_.kind);
    if (args_[0].elem.kind == Kind::boolean) return wrong(0, "numbers");
    Coord shape = args_[0].shape;
    if (op_ == Op::reduce) shape[static_cast<size_t>(attr_.imm)] = 1;
    return tile(args_[0].elem, shape);
  }

  /// A box of `inner` at the offsets within a tile of `outer`.
  Result<Unit> box(const Coord& inner, const Coord& outer) const {
    bool inside = inner.size() == outer.size() && attr_.offset.size() == outer.size();
    for (size_t d = 0; inside && d < outer.size(); d++)
      inside = attr_.offset[d] >= 0 && inner[d] >= 0 && inner[d] <= outer[d] && attr_.offset[d] <= outer[d] - inner[d];
    if (!inside)
      return fail("{} at {} is not inside {}", shape_string(inner), shape_string(attr_.offset), to_string(args_[0]));
    return Unit{};
  }
  Maybe slice() const {
    TRY(box(attr_.shape, args_[0].shape));
    return tile(args_[0].elem, attr_.shape);
  }
  Maybe assign() const {
    if (args_[1].elem != args_[0].elem) return wrong(1, tile_of(args_[0].elem, args_[1].shape), "element of operand a");
    TRY(box(args_[1].shape, args_[0].shape));
    return tile(args_[0].elem, args_[0].shape);
  }
  Maybe repeat() const {
    TRY(dimension(attr_.imm, args_[0].shape.size()));
    if (attr_.count < 1 || attr_.count > kMaxElements) return fail("the count {} is not 1 to 2^24", attr_.count);
    Coord shape = args_[0].shape;
    shape[static_cast<size_t>(attr_.imm)] *= attr_.count;
    return tile(args_[0].elem, shape);
  }

  Maybe mma() const {
    const bool scaled = op_ == Op::mma_scaled;
    const size_t ia = 0, ib = scaled ? 2 : 1, ic = scaled ? 3 : 2;
    for (size_t i = 0; i < args_.size(); i++)
      if (args_[i].shape.size() != 2) return wrong(i, "a tile of rank 2");
    const Type &a = args_[ia], &b = args_[ib], &c = args_[ic];
    const int64_t m = a.shape[0], k = a.shape[1], n = b.shape[1];
    if (a.elem.kind == Kind::boolean) return wrong(ia, "numbers");
    if (a.elem.is_float() && a.elem != types::f16 && a.elem != types::bf16 && a.elem != types::f32)
      return wrong(ia, "f16, bf16, f32 or integers");
    if (b.elem != a.elem) return wrong(ib, tile_of(a.elem, {k, n}), "element type of operand a");
    if (b.shape[0] != k) return wrong(ib, tile_of(a.elem, {k, n}), "k of operand a");
    if (scaled) {
      const Type& s = args_[1];
      if (!s.elem.is_float()) return wrong(1, "floats");
      if (s.shape[0] != m) return wrong(1, tile_of(s.elem, {m, s.shape[1]}), "m of operand a");
      if (k % s.shape[1] != 0)
        return fail("operand b is {}: its {} columns do not divide k = {}", to_string(s), s.shape[1], k);
    }
    const bool f16_sum = a.elem == types::f16 && c.elem == types::f16;
    const lathe::Type sum = f16_sum ? types::f16 : a.elem.is_float() || scaled ? types::f32 : types::i32;
    if (!same_type(c, tile_of(sum, {m, n}))) return wrong(ic, tile_of(sum, {m, n}), "m, n and the sum's type");
    return tile(sum, {m, n});
  }

  Maybe load() const {
    if (attr_.shape.size() != rank())
      return fail("{} has {} dimensions, expected {} (rank of the view)", shape_string(attr_.shape), attr_.shape.size(),
                  rank());
    return tile(args_[0].elem, attr_.shape);
  }

  Maybe atomic_add() const {
    const lathe::Type elem = args_[0].elem;
    if (args_[0].form != Form::view || (elem != types::i32 && elem != types::u32))
      return wrong(0, "a view of i32 or u32");
    return store();
  }
  Maybe arrive() const {
    if (args_[0].form != Form::view || args_[0].elem != types::u32) return wrong(0, "a view of u32");
    return scalar_of(types::i64);
  }
  Maybe item() const {
    for (const int64_t extent : args_[0].shape)
      if (extent != 1) return wrong(0, "a tile of one element");
    return scalar_of(args_[0].elem);
  }

  Maybe store() const {
    const Type& t = args_.back();
    if (t.elem != args_[0].elem || t.shape.size() != rank())
      return fail("the tile is {}, expected {} elements and rank {} (of the view)", to_string(t),
                  to_string(args_[0].elem), rank());
    return std::nullopt;
  }

  Maybe stored(Form form, lathe::Type elem, const Coord& shape) const {
    TRY_ASSIGN(std::optional<Type> t, tile(elem, shape));
    t->form = form;
    return t;
  }

  Maybe issue() const {
    const Type& room = args_.back();
    if (args_[0].form != Form::view) return wrong(0, "a view");
    if (room.elem != args_[0].elem || room.shape.size() != rank())
      return fail("the room is for {}, expected {} elements and rank {} (of the view)", to_string(room),
                  to_string(args_[0].elem), rank());
    return stored(Form::token, room.elem, room.shape);
  }

  /// The row numbers of gather and scatter: one for each row of the tile.
  Result<Unit> row_numbers(const Coord& shape) const {
    const Type want = tile_of(types::i32, {shape.empty() ? 0 : shape[0]});
    if (!same_type(args_[1 + rank()], want)) return wrong(1 + rank(), want, "one for each row of the tile");
    return Unit{};
  }

  Maybe special() const {
    switch (op_) {
      case Op::constant:
        return constant();
      case Op::group_id:
        if (attr_.imm < 0 || attr_.imm > 2) return fail("axis {} is not 0, 1 or 2", attr_.imm);
        return scalar_of(types::i64);
      case Op::ceildiv:
        return scalar_of(types::i64);
      case Op::cast_minus:
        if (!args_[0].elem.is_int()) return wrong(0, "integers");
        return tile(attr_.elem, args_[0].shape);
      case Op::fill:
        if (args_[0].elem != attr_.elem) return wrong(0, scalar_of(attr_.elem), "element of the tile");
        return tile(attr_.elem, attr_.shape);
      case Op::iota:
        if (attr_.elem != types::i32) return fail("the element is {}, expected i32", to_string(attr_.elem));
        TRY(dimension(attr_.imm, attr_.shape.size()));
        return tile(attr_.elem, attr_.shape);
      case Op::broadcast:
        return broadcast();
      case Op::transpose:
        return transpose();
      case Op::reshape:
        return reshape();
      case Op::view:
        return view();
      case Op::reduce:
      case Op::scan:
        return reduce();
      case Op::slice:
        return slice();
      case Op::assign:
        return assign();
      case Op::repeat:
        return repeat();
      case Op::mma:
      case Op::mma_scaled:
        return mma();
      case Op::convert:
        return tile(args_[0].elem, args_[0].shape);
      case Op::load:
        return load();
      case Op::store:
        return store();
      case Op::atomic_add:
        return atomic_add();
      case Op::arrive:
        return arrive();
      case Op::item:
        return item();
      case Op::assume_range:
        if (attr_.shape.size() != 2 || attr_.shape[0] > attr_.shape[1])
          return fail("{} is no range [least, most]", shape_string(attr_.shape));
        return std::nullopt;
      case Op::assume_multiple:
        if (attr_.imm < 1) return fail("the number {} is not positive", attr_.imm);
        return std::nullopt;
      case Op::assert:
      case Op::print:
        for (const char c : attr_.text)
          if (c == '"' || static_cast<unsigned char>(c) < ' ') return fail("a quote or a line end in the text");
        return std::nullopt;
      case Op::exit_if:
        return std::nullopt;
      case Op::gather:
        TRY(row_numbers(attr_.shape));
        return load();
      case Op::scatter:
        TRY(row_numbers(args_.back().shape));
        return store();
      case Op::shared:
        return stored(Form::shared, attr_.elem, attr_.shape);
      case Op::room:
        if (attr_.shape.size() != rank()) return fail("{} has not the rank of the view", shape_string(attr_.shape));
        return stored(Form::token, args_[0].elem, attr_.shape);
      case Op::issue:
        return issue();
      case Op::commit:
        return std::nullopt;
      case Op::wait:
        if (attr_.imm < 0) return fail("{} turns, expected 0 or more", attr_.imm);
        return tile(args_[0].elem, args_[0].shape);
      case Op::release:
        return stored(Form::token, args_[0].elem, args_[0].shape);
      default:
        return internal_error(fmt::format("infer_result does not type {}", row_.name));
    }
  }

  Op op_;
  const OpInfo& row_;
  const std::vector<Type>& args_;
  const Attr& attr_;
};

}  // namespace

const OpInfo& info(Op op) { return kOps[static_cast<size_t>(op)]; }

std::optional<Op> parse_op(std::string_view name) {
  for (int i = 0; i < kOpCount; i++)
    if (name == kOps[i].name) return static_cast<Op>(i);
  return std::nullopt;
}

std::string to_string(const Type& t) {
  if (t.is_scalar()) return to_string(t.elem);
  constexpr const char* kForms[] = {"", "view ", "", "shared ", "token "};
  const char* form = kForms[static_cast<size_t>(t.form)];
  return fmt::format("{}{}{}{}", form, t.packed ? "packed " : "", to_string(t.elem), shape_string(t.shape));
}

bool same_type(const Type& a, const Type& b) {
  return a.form == b.form && a.elem == b.elem && a.shape == b.shape && a.packed == b.packed;
}

Result<std::optional<Type>> infer_result(Op op, const std::vector<Type>& args, const Attr& attr) {
  const OpInfo& row = info(op);
  if (row.effect == Effect::control) return internal_error(fmt::format("infer_result does not type {}", row.name));
  return Inference(op, args, attr).run();
}

}  // namespace lathe::tile
