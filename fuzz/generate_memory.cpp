// Views of awkward sizes, loads and stores over their edges, shared tiles.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "fuzz/generator.h"

namespace lathe::fuzz {

using tile::Op;

namespace {

constexpr size_t kMostViews = 9;

int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

/// An extent near this one that is not convenient: 1, a prime, one beside it.
int64_t Generator::awkward(int64_t extent) {
  static const std::vector<int64_t> odd{1, 2, 3, 5, 7, 11, 13, 17, 29, 37, 53};
  switch (random_.below(6)) {
    case 0:
      return random_.pick(odd);
    case 1:
      return extent + 1;
    case 2:
      return std::max<int64_t>(1, extent - 1);
    case 3:
      return extent + random_.between(1, std::max<int64_t>(2, extent / 2));
    default:
      return extent;
  }
}

/// A size as a view is declared with: a number, or a symbol of that value.
std::string Generator::size(int64_t value) {
  if (random_.percent(30)) return std::to_string(value);
  for (const auto& [name, known] : symbols_)
    if (known == value && random_.percent(70)) return name;
  symbols_.emplace_back(fmt::format("N{}", symbols_.size()), value);
  return symbols_.back().first;
}

Generator::View& Generator::new_view(Type elem, const Coord& shape, bool is_output, bool packed) {
  const std::string name = fmt::format("{}{}", is_output ? "y" : packed ? "w" : "x", views_.size());
  Coord extents = shape;
  const int64_t whole = 128 / elem.bits;
  if (aligned_ && !packed) extents.back() = rounded_up(extents.back(), whole);
  std::vector<std::string> sizes, strides;
  for (const int64_t n : extents) sizes.push_back(size(n));
  int64_t storage = std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>());
  if (elem.bits >= 8 && !packed && extents.size() == 2 && random_.percent(20)) {
    int64_t row = extents[1] + random_.between(0, 5);
    if (aligned_) row = rounded_up(row, whole);
    strides = {random_.percent(50) ? std::to_string(row) : fmt::format("ld{}", views_.size()), "1"};
    if (strides[0][0] == 'l') p_.scalars[strides[0]] = static_cast<uint64_t>(row);
    storage = (extents[0] - 1) * row + extents[1];
  }
  const V v = b_.view(name, elem, sizes, packed, strides);
  p_.shapes[name] = {extents, storage};
  for (size_t d = 0; d < sizes.size(); d++)
    if (sizes[d][0] == 'N' && indices_.size() < 16) indices_.push_back({b_.symbol(sizes[d]), extents[d], extents[d]});
  views_.push_back({v, extents, is_output, packed});
  return views_.back();
}

/// Where a tile of `extent` may start in `size` elements: mostly inside, sometimes at or past the edge.
tile::V Generator::index_below(int64_t size, int64_t extent, int64_t multiple) {
  std::vector<V> good;
  for (const Index& i : indices_) {
    if (i.high < size && multiple == 1) good.push_back(i.v);
    if (i.high > 0 && i.high * extent < size + extent && i.high < 8 && extent > 1)
      good.push_back(b_.op(Op::mul, {i.v, b_.lit(extent)}));
  }
  if (good.empty() || random_.percent(30)) {
    const int64_t at =
        random_.percent(50) ? 0 : random_.below(std::max<int64_t>(1, size + (random_.percent(10) ? 3 : 0)));
    return b_.lit(at / multiple * multiple);
  }
  return random_.pick(good);
}

tile::V Generator::load(Type elem, const Coord& shape) {
  std::vector<size_t> fitting;
  for (size_t i = 0; i < views_.size(); i++) {
    const View& v = views_[i];
    if (!v.is_output && !v.packed && type(v.v).elem == elem && v.shape.size() == shape.size()) fitting.push_back(i);
  }
  if (!fitting.empty() && (views_.size() >= kMostViews || random_.percent(50)))
    return load_from(views_[random_.pick(fitting)], shape);
  Coord extents;
  for (const int64_t n : shape) extents.push_back(awkward(n * (random_.percent(30) ? 2 : 1)));
  return load_from(View(new_view(elem, extents, false)), shape);
}

tile::V Generator::load_from(const View& view, const Coord& shape, int64_t multiple) {
  std::vector<V> at;
  for (size_t d = 0; d < shape.size(); d++) at.push_back(index_below(view.shape[d], shape[d], multiple));
  const Type elem = type(view.v).elem;
  const V v = b_.load(view.v, at, shape);
  if (elem.is_float()) return add(v, p_.data == Data::exact ? Fact{2, 1, true} : Fact{4, 0, true});
  return add(v, exact() ? Fact{2, 1, true} : any_value(elem));
}

/// To a view of its own, each workgroup its own part; false where the tile cannot be stored.
bool Generator::store(V value) {
  tile::Type t = type(value);
  if (!t.is_tile() || views_.size() > kMostViews + 6) return false;
  const bool narrow = t.elem.bits < 8;
  if (refusal(Op::store, t.elem) || (narrow && (t.shape.back() * t.elem.bits % 8 || random_.percent(80)))) {
    if (!fact(value).certain && t.elem.is_float()) return false;
    value = note(b_.op(Op::cast, {value}, {.elem = types::i32}), fact(value));
    t = type(value);
  }
  uses_[value.id]++;
  const Part part = own_part(t);
  b_.store(part.view, part.at, value);
  return true;
}

Generator::Part Generator::own_part(tile::Type t) {
  const size_t rank = t.shape.size();
  Coord extents = t.shape;
  std::vector<V> at(rank, b_.lit(0));
  const V g0 = b_.group_id(0), g1 = b_.group_id(1);
  const auto place = [&](size_t d, V group, int64_t groups) {
    at[d] = b_.op(Op::mul, {group, b_.lit(t.shape[d])});
    extents[d] = groups * t.shape[d];
  };
  if (rank == 1) {
    place(0, b_.op(Op::add, {b_.op(Op::mul, {g0, b_.lit(groups_[1])}), g1}), groups_[0] * groups_[1]);
  } else {
    place(0, g0, groups_[0]);
    place(1, g1, groups_[1]);
  }
  for (int64_t& n : extents)
    if (random_.percent(50)) n = std::max<int64_t>(1, n - random_.between(-2, std::min<int64_t>(n - 1, 6)));
  return {new_view(t.elem, extents, true).v, at};
}

/// Any rows: near, far off and below the first.
Generator::Maybe Generator::gather(Op, Type elem) {
  const Coord shape = any_shape(elem);
  V rows = like(types::i32, {shape[0]});
  if (!fact(rows).certain) return std::nullopt;
  if (random_.percent(60)) {
    const V mask = b_.op(Op::fill, {literal(types::i32, 7)}, {.elem = types::i32, .shape = {shape[0]}});
    rows = note(b_.op(Op::band, {rows, mask}), {8, 1, true});
  }
  const bool in_shared = random_.percent(30) && !refusal(Op::shared, elem);
  Coord extents;
  for (const int64_t n : shape) extents.push_back(in_shared ? n : awkward(n));
  V memory;
  Fact held = exact() ? Fact{2, 1, true} : elem.is_float() ? Fact{4, 0, true} : any_value(elem);
  if (in_shared) {
    const V value = like(elem, shape);
    memory = b_.shared(elem, shape);
    b_.store(memory, std::vector<V>(shape.size(), b_.lit(0)), value);
    held = fact(value);
  } else {
    memory = new_view(elem, extents, false).v;
  }
  std::vector<V> at;
  for (size_t d = 0; d < shape.size(); d++) at.push_back(index_below(extents[d], shape[d]));
  const V v = b_.gather(memory, at, rows, shape);
  return add(v, held);
}

/// The rows of the tile in another order: two that met would be a race.
Generator::Maybe Generator::scatter(Op, Type elem) {
  const V value = like(elem, any_shape(elem));
  const tile::Type t = type(value);
  const int64_t n = t.shape[0];
  const auto all = [&](int64_t x) {
    return b_.op(Op::fill, {b_.literal(types::i32, 0, x)}, {.elem = types::i32, .shape = {n}});
  };
  V rows = b_.iota({n}, 0);
  if (random_.percent(30))
    rows = b_.op(Op::sub, {all(n - 1), rows});
  else if (random_.percent(50))
    rows = b_.op(Op::rem, {b_.op(Op::add, {rows, all(random_.below(n))}), all(n)});
  else if (groups_[0] * groups_[1] == 1)
    rows = b_.op(Op::sub, {b_.op(Op::mul, {rows, all(2)}), all(1)});
  uses_[value.id]++;
  const Part part = own_part(t);
  b_.scatter(part.view, part.at, rows, value);
  return V{&b_, kNone};
}

/// Every workgroup to its own part, or all to one.
Generator::Maybe Generator::atomic_add(Op op, Type elem) {
  const V value = like(elem, any_shape(elem));
  if (!fact(value).certain) return std::nullopt;
  uses_[value.id]++;
  const Part part = own_part(type(value));
  const bool meet = random_.percent(50);
  std::vector<V> args{part.view};
  for (const V at : part.at) args.push_back(meet ? b_.lit(random_.below(2)) : at);
  args.push_back(value);
  return effect(op, args);
}

/// Written to a shared tile and read back, moved.
tile::V Generator::through_shared(V value) {
  const tile::Type t = type(value);
  uses_[value.id]++;
  const V memory = b_.shared(t.elem, t.shape);
  const std::vector<V> origin(t.shape.size(), b_.lit(0));
  b_.store(memory, origin, value);
  if (random_.percent(30)) {
    std::vector<V> at;
    for (const int64_t n : t.shape) at.push_back(index_below(n, n));
    b_.store(memory, at, like(t.elem, t.shape));
  }
  std::vector<V> at;
  for (const int64_t n : t.shape) at.push_back(index_below(n, n));
  const Fact f = fact(value);
  return add(b_.load(memory, at, t.shape), {std::max(f.most, 4.0), std::min(f.grain, exact() ? 0.5 : 0.0), f.certain});
}

}  // namespace lathe::fuzz
