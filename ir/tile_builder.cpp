// Builds kernels from C++; the parser builds through it as well, so that both mean the same.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ir/tile.h"

namespace lathe::tile {
namespace {

constexpr double kInt64Limit = 9223372036854775808.0;

bool is_number(const std::string& s) {
  return !s.empty() && s.size() < 19 && s.find_first_not_of("0123456789") == s.npos;
}

/// The type of an ill-typed result, so that the calls after it go on.
Type best_guess(const std::vector<Type>& args, const Attr& attr) {
  const lathe::Type elem = args.empty() ? attr.elem : args[0].elem;
  if (!attr.shape.empty()) return tile_of(elem, attr.shape);
  if (args.empty() || args[0].form == Form::view || args[0].form == Form::shared) return scalar_of(types::i64);
  return args[0];
}

}  // namespace

Builder::Builder(std::string name, std::array<int, 3> split) {
  f_.name = std::move(name);
  f_.split = split;
  f_.subgroups = split[0] * split[1] * split[2];
  f_.head = f_.add_block();
  f_.grid = f_.add_block();
  f_.body = f_.add_block();
  block_ = f_.body;
}

V Builder::view(std::string name, lathe::Type elem, const std::vector<std::string>& sizes, bool packed,
                const std::vector<std::string>& strides) {
  const BlockId outer = std::exchange(block_, f_.head);
  Param p;
  Type type{Form::view, elem, {}, packed, {}};
  const auto size_value = [&](const std::string& size) {
    if (is_number(size)) return lit(std::stoll(size)).id;
    for (ValueId s : f_.symbols)
      if (f_.values[s].name == size) return s;
    return f_.symbols.emplace_back(f_.add_value(scalar_of(types::i64), kNone, size));
  };
  for (const std::string& s : sizes) {
    p.sizes.push_back(size_value(s));
    type.shape.push_back(is_number(s) ? std::stoll(s) : -1);
  }
  for (const std::string& s : strides) p.strides.push_back(size_value(s));
  p.value = f_.add_value(std::move(type), kNone, std::move(name));
  f_.params.push_back(p);
  block_ = outer;
  return {this, p.value};
}

void Builder::constant(const V& view) {
  for (Param& p : f_.params) p.constant = p.constant || p.value == view.id;
}

V Builder::workspace(std::string name, lathe::Type elem, const std::vector<std::string>& sizes) {
  const V v = view(std::move(name), elem, sizes);
  f_.params.back().workspace = true;
  return v;
}

V Builder::scalar(std::string name, lathe::Type elem) {
  const ValueId v = f_.add_value(scalar_of(elem), kNone, std::move(name));
  f_.params.push_back({.value = v});
  return {this, v};
}

V Builder::symbol(const std::string& name) {
  for (ValueId s : f_.symbols)
    if (f_.values[s].name == name) return {this, s};
  if (!error_) error_ = Error{Error::Code::bad_input, fmt::format("no size is called '{}'", name)};
  return lit(0);
}

void Builder::begin_grid() { block_ = f_.grid; }

void Builder::grid(const std::vector<V>& workgroups) {
  block_ = f_.grid;
  effect(Op::yield, workgroups);
  block_ = f_.body;
}

V Builder::literal(lathe::Type elem, double num, int64_t integer) {
  Attr attr{.elem = elem};
  if (elem.is_float())
    attr.num = num;
  else
    attr.imm = integer;
  return make(Op::constant, {}, attr);
}

V Builder::make(Op op, const std::vector<V>& args, Attr attr) {
  std::vector<ValueId> ids;
  std::vector<Type> arg_types;
  for (const V& a : args) {
    if (a.b != this || a.id >= f_.values.size()) {
      if (!error_)
        error_ = Error{Error::Code::bad_input, fmt::format("{}: an operand is of no or another kernel", info(op).name)};
      return lit(0);
    }
    ids.push_back(a.id);
    arg_types.push_back(type(a));
  }
  std::vector<Type> results;
  if (info(op).effect != Effect::control) {
    const auto inferred = error_ ? tl::unexpected(*error_) : infer_result(op, arg_types, attr);
    if (inferred && *inferred) results.push_back(**inferred);
    if (!inferred) {
      error_ = inferred.error();
      if (info(op).effect != Effect::writes) results.push_back(best_guess(arg_types, attr));
    }
  }
  const InstId id = f_.add_inst(op, std::move(attr), std::move(ids), results, {}, loc_);
  f_.blocks[block_].insts.push_back(id);
  return {this, results.empty() ? kNone : f_.insts[id].results[0]};
}

V Builder::op(Op op, const std::vector<V>& args, Attr attr) { return make(op, args, std::move(attr)); }
void Builder::effect(Op op, const std::vector<V>& args, Attr attr) { make(op, args, std::move(attr)); }

V Builder::binary(Op op, V a, V b) {
  const auto beside = [&](V scalar, V tile) {
    const bool fits = scalar.b == this && tile.b == this && type(scalar).is_scalar() && type(tile).is_tile();
    if (!fits) return scalar;
    return make(Op::fill, {scalar}, {.elem = type(scalar).elem, .shape = type(tile).shape});
  };
  const V left = beside(a, b), right = beside(b, a);
  return make(op, {left, right}, {});
}

V Builder::fill(lathe::Type elem, Coord shape, double value) {
  const V scalar = literal(elem, value, std::abs(value) < kInt64Limit ? static_cast<int64_t>(value) : 0);
  return op(Op::fill, {scalar}, {.elem = elem, .shape = std::move(shape)});
}

V Builder::load(V view, const std::vector<V>& index, Coord shape) {
  std::vector<V> args{view};
  args.insert(args.end(), index.begin(), index.end());
  return op(Op::load, args, {.shape = std::move(shape)});
}

void Builder::store(V view, const std::vector<V>& index, V tile) {
  std::vector<V> args{view};
  args.insert(args.end(), index.begin(), index.end());
  args.push_back(tile);
  effect(Op::store, args);
}

V Builder::gather(V view, const std::vector<V>& index, V rows, Coord shape) {
  std::vector<V> args{view};
  args.insert(args.end(), index.begin(), index.end());
  args.push_back(rows);
  return op(Op::gather, args, {.shape = std::move(shape)});
}

void Builder::scatter(V view, const std::vector<V>& index, V rows, V tile) {
  std::vector<V> args{view};
  args.insert(args.end(), index.begin(), index.end());
  args.insert(args.end(), {rows, tile});
  effect(Op::scatter, args);
}

V Builder::arrive(V view, const std::vector<V>& index) {
  std::vector<V> args{view};
  args.insert(args.end(), index.begin(), index.end());
  return op(Op::arrive, args);
}

V Builder::named(V a, std::string name) {
  if (a.id < f_.values.size()) f_.values[a.id].name = std::move(name);
  return a;
}

V Builder::pin(V a, const Layout& layout) {
  if (a.id < f_.values.size()) f_.values[a.id].type.layout = layout;
  return a;
}

std::vector<V> Builder::loop(V lo, V hi, V step, const std::vector<V>& init,
                             const std::function<std::vector<V>(V, const std::vector<V>&)>& body, int stages) {
  const BlockId outer = block_, inner = f_.add_block();
  const V index{this, f_.add_param(inner, scalar_of(types::i64))};
  std::vector<V> args{lo, hi, step}, carried, results;
  std::vector<Type> carried_types;
  for (V v : init) {
    args.push_back(v);
    const bool ours = v.b == this && v.id < f_.values.size();
    carried_types.push_back(ours ? type(v) : scalar_of(types::i64));
    carried.push_back({this, f_.add_param(inner, carried_types.back())});
  }
  make(Op::loop, args, {.imm = stages});
  const InstId id = f_.blocks[outer].insts.back();
  block_ = inner;
  const std::vector<V> next = body(index, carried);
  effect(Op::yield, next);
  block_ = outer;
  f_.insts[id].blocks = {inner};
  for (const Type& t : carried_types) {
    const ValueId r = f_.add_value(t, id);
    f_.insts[id].results.push_back(r);
    results.push_back({this, r});
  }
  return results;
}

std::vector<V> Builder::while_loop(const std::vector<V>& init, const std::function<V(const std::vector<V>&)>& condition,
                                   const std::function<std::vector<V>(const std::vector<V>&)>& body) {
  const BlockId outer = block_, blocks[] = {f_.add_block(), f_.add_block()};
  make(Op::while_loop, init, {});
  const InstId id = f_.blocks[outer].insts.back();
  f_.insts[id].blocks = {blocks[0], blocks[1]};
  std::vector<V> params[2], results;
  for (V v : init) {
    const bool ours = v.b == this && v.id < f_.values.size();
    const Type t = ours ? type(v) : scalar_of(types::i64);
    for (size_t b = 0; b < 2; b++) params[b].push_back({this, f_.add_param(blocks[b], t)});
    const ValueId r = f_.add_value(t, id);
    f_.insts[id].results.push_back(r);
    results.push_back({this, r});
  }
  block_ = blocks[0];
  effect(Op::yield, {condition(params[0])});
  block_ = blocks[1];
  effect(Op::yield, body(params[1]));
  block_ = outer;
  return results;
}

std::vector<V> Builder::cond(V condition, const std::function<std::vector<V>()>& yes,
                             const std::function<std::vector<V>()>& no) {
  const BlockId outer = block_;
  make(Op::cond, {condition}, {});
  const InstId id = f_.blocks[outer].insts.back();
  std::vector<V> yielded, results;
  for (const auto* branch : {&yes, &no}) {
    const BlockId inner = f_.add_block();
    block_ = inner;
    const std::vector<V> values = (*branch)();
    effect(Op::yield, values);
    f_.insts[id].blocks.push_back(inner);
    if (branch == &yes) yielded = values;
  }
  block_ = outer;
  for (V v : yielded) {
    const bool ours = v.b == this && v.id < f_.values.size();
    const ValueId r = f_.add_value(ours ? type(v) : scalar_of(types::i64), id);
    f_.insts[id].results.push_back(r);
    results.push_back({this, r});
  }
  return results;
}

Result<Func> Builder::finish() {
  if (block_ != f_.body && !error_) error_ = Error{Error::Code::bad_input, "begin_grid() without grid()"};
  if (error_) return tl::unexpected(*error_);
  effect(Op::yield, {});
  TRY(verify(f_));
  return std::move(f_);
}

namespace {

V with_number(Op op, V a, double b) {
  const lathe::Type elem = a.b->type(a).elem;
  const bool whole = std::abs(b) < kInt64Limit && std::nearbyint(b) == b;
  if (!elem.is_float() && !whole) return a.b->binary(op, a, a.b->literal(types::f32, b, 0));
  return a.b->binary(op, a, a.b->literal(elem, b, whole ? static_cast<int64_t>(b) : 0));
}

}  // namespace

V operator+(V a, V b) { return a.b->binary(Op::add, a, b); }
V operator-(V a, V b) { return a.b->binary(Op::sub, a, b); }
V operator*(V a, V b) { return a.b->binary(Op::mul, a, b); }
V operator/(V a, V b) { return a.b->binary(Op::div, a, b); }
V operator%(V a, V b) { return a.b->binary(Op::rem, a, b); }
V operator+(V a, double b) { return with_number(Op::add, a, b); }
V operator-(V a, double b) { return with_number(Op::sub, a, b); }
V operator*(V a, double b) { return with_number(Op::mul, a, b); }
V operator/(V a, double b) { return with_number(Op::div, a, b); }

}  // namespace lathe::tile
