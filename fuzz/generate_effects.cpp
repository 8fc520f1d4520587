// Rows whose letters do not say enough: made at random they would race, end the program or say what is not so.
#include <iterator>

#include "fuzz/generator.h"

namespace lathe::fuzz {

using tile::Op;

const Generator::Exception Generator::kExceptions[] = {
    {Op::gather, &Generator::gather, "its first tile numbers the rows of the second"},
    {Op::scatter, &Generator::scatter, "rows that meet are a race"},
    {Op::atomic_add, &Generator::atomic_add, "writes a view that nobody reads"},
    {Op::arrive, &Generator::arrive, "the order of workgroups is no device's twice: each counts by itself"},
    {Op::item, &Generator::item, "of one element only"},
    {Op::print, &Generator::print, "a literal alone has no type in the text"},
    {Op::exit_if, &Generator::exit_if, "where every workgroup ended, nothing would be compared"},
    {Op::assert, &Generator::holds, "one that fails is an error of the launch"},
    {Op::assume_multiple, &Generator::multiple, "a broken promise means nothing"},
    {Op::assume_range, &Generator::within, "a broken promise means nothing"},
    {},
};

/// Any of them, as often as the next: most are of one element type only, so that hardly a pair in a hundred is theirs.
void Generator::exception() {
  const auto* e = &kExceptions[random_.below(static_cast<int64_t>(std::size(kExceptions)) - 1)];
  std::vector<Pair> pairs;
  for (const Pair& p : pairs_)
    if (p.op == e->op) pairs.push_back(p);
  if (!pairs.empty()) operation(e->op, random_.pick(pairs).elem);
}

/// A row without a result.
Generator::Maybe Generator::effect(Op op, const std::vector<V>& args, tile::Attr attr) {
  for (const V a : args) uses_[a.id]++;
  b_.effect(op, args, std::move(attr));
  return V{&b_, kNone};
}

Generator::Maybe Generator::arrive(Op op, Type elem) {
  const int64_t groups = groups_[0] * groups_[1];
  const std::string name = "t" + std::to_string(names_++);
  const V counters = random_.percent(50) ? b_.workspace(name, elem, {"W" + name})
                                         : new_view(elem, {groups + random_.between(0, 2)}, true).v;
  const V group = b_.op(Op::add, {b_.op(Op::mul, {b_.group_id(0), b_.lit(groups_[1])}), b_.group_id(1)});
  const V count = note(b_.op(op, {counters, group}), any_value(types::i64));
  const Coord shape = any_shape(types::i64);
  return add(b_.op(Op::fill, {count}, {.elem = types::i64, .shape = shape}), any_value(types::i64));
}

Generator::Maybe Generator::item(Op op, Type elem) {
  const Coord shape = any_shape(elem);
  tile::Attr at{.elem = {}, .shape = Coord(shape.size(), 1)};
  for (const int64_t n : shape) at.offset.push_back(random_.below(n));
  const Maybe one = make(Op::slice, {like(elem, shape)}, at);
  const Maybe scalar = one ? make(op, {*one}, {}) : std::nullopt;
  return scalar ? make(Op::fill, {*scalar}, {.elem = elem, .shape = any_shape(elem)}) : std::nullopt;
}

Generator::Maybe Generator::print(Op op, Type elem) {
  const Type from = elem == types::i32 ? types::i64 : types::i32;
  return effect(op, {b_.op(Op::cast, {scalar(from)}, {.elem = elem})}, {.text = "value"});
}

/// Of no workgroup, or of those of the first row of the grid where there are others.
Generator::Maybe Generator::exit_if(Op op, Type) {
  const int64_t ended = groups_[0] > 1 && random_.percent(50) ? 1 : 0;
  return effect(op, {b_.op(Op::lt, {b_.group_id(0), b_.lit(ended)})});
}

Generator::Maybe Generator::holds(Op op, Type) {
  const Index i = random_.pick(indices_);
  return effect(op, {b_.op(Op::le, {i.v, b_.lit(i.high)})}, {.text = "within"});
}

Generator::Maybe Generator::multiple(Op op, Type) {
  const int64_t of = random_.between(1, 16);
  const Index i = random_.pick(indices_);
  indices_.push_back({b_.op(Op::mul, {i.v, b_.lit(of)}), i.low * of, i.high * of});
  return effect(op, {indices_.back().v}, {.imm = of});
}

Generator::Maybe Generator::within(Op op, Type) {
  const Index i = random_.pick(indices_);
  return effect(op, {i.v}, {.shape = {i.low - random_.below(2), i.high + random_.below(2)}});
}

/// A few turns, counted by a scalar or by the only element of a tile.
void Generator::while_loop() {
  const bool by_tile = random_.percent(50);
  const int64_t turns = random_.between(0, 3);
  const Type counts = by_tile ? types::i32 : types::i64;
  const auto number = [&](int64_t n) {
    const V s = b_.literal(counts, 0, n);
    return by_tile ? b_.op(Op::fill, {s}, {.elem = counts, .shape = {1, 1}}) : s;
  };
  std::vector<V> init = to_carry();
  for (const V v : init) uses_[v.id]++;
  init.push_back(note(number(0), {0, 1, true}));
  const size_t values = values_.size(), indices = indices_.size();
  depth_++;
  const auto results = b_.while_loop(
      init,
      [&](const std::vector<V>& now) {
        const V count = by_tile ? b_.item(now.back()) : now.back();
        return b_.op(Op::lt, {count, b_.literal(counts, 0, turns)});
      },
      [&](const std::vector<V>& now) {
        if (!by_tile) indices_.push_back({now.back(), 0, turns});
        for (size_t c = 0; c + 1 < now.size(); c++) add(now[c], carried(fact(init[c])));
        body(static_cast<int>(random_.between(1, 3)));
        std::vector<V> next;
        for (size_t c = 0; c + 1 < now.size(); c++) {
          V made = now[c];
          for (size_t k = values_.size(); k-- > values && made.id == now[c].id;)
            if (tile::same_type(type(values_[k]), type(made)) && random_.percent(70)) made = values_[k];
          next.push_back(clamped(made, exact() ? 16 : 64));
        }
        next.push_back(b_.op(Op::add, {now.back(), number(1)}));
        return next;
      });
  depth_--;
  values_.resize(values);
  indices_.resize(indices);
  for (size_t c = 0; c + 1 < results.size(); c++) add(results[c], carried(fact(init[c])));
}

}  // namespace lathe::fuzz
