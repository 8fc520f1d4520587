// The whole of a program: its shape, blocks, loops and branches, what it stores.
#include "fuzz/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "fuzz/generator.h"

namespace lathe::fuzz {
namespace {

using tile::Op;

constexpr std::array<int, 3> kSplits[] = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2},
                                          {1, 1, 2}, {1, 1, 2}, {2, 1, 2}, {1, 2, 2}, {2, 2, 1}, {1, 1, 4}};
constexpr int64_t kMostElements = 512;

std::array<int, 3> choose_split(Random& random, const Target& target) {
  for (;;) {
    const auto& split = kSplits[random.below(std::size(kSplits))];
    if (split[0] * split[1] * split[2] * target.subgroup_size <= target.max_threads) return split;
  }
}

const std::vector<Pair>& all_pairs() {
  static const std::vector<Pair> pairs = admitted_pairs();
  return pairs;
}

Data choose_data(Random& random, const Pair& focus) {
  // What rounds in its own way has no exact data; it gets all of the programs that single it out.
  const bool rounds = tile::info(focus.op).rounding == tile::Rounding::approx && focus.elem.is_float();
  if (!rounds && random.percent(54)) return Data::exact;
  return random.percent(12) ? Data::special : Data::real;
}

}  // namespace

Generator::Generator(uint64_t seed, uint64_t index, const Target& target)
    : random_(seed, index),
      target_(target),
      pairs_(all_pairs()),
      focus_(pairs_[index % pairs_.size()]),
      split_(choose_split(random_, target)),
      b_("fuzz", split_) {
  subgroups_ = int64_t{split_[0]} * split_[1] * split_[2];
  p_.data = choose_data(random_, focus_);
  p_.data_seed = static_cast<uint32_t>(random_.next());
  p_.accumulator = exact() && random_.percent(20);
  aligned_ = random_.percent(40);
  pins_ = random_.percent(20);
  groups_ = {random_.between(1, 3), random_.percent(70) ? random_.between(1, 2) : 1};
  static const std::vector<int64_t> rows{1, 2, 3, 4, 5, 8, 16}, columns{4, 5, 8, 8, 16, 16, 24, 32, 64};
  for (int i = 0; i < 2; i++) {
    Coord shape{random_.pick(rows), random_.pick(columns)};
    while (shape[0] * shape[1] > kMostElements) shape[1] /= 2;
    shapes_.push_back(shape);
  }
  if (random_.percent(25)) shapes_.push_back({random_.pick(columns)});
  if (random_.percent(25)) shapes_.push_back({2, random_.between(1, 3), 8});
}

Result<Program> Generator::run() {
  for (const int64_t v : {0, 1, 2}) indices_.push_back({b_.lit(v), v, v});
  indices_.push_back({b_.group_id(0), 0, groups_[0] - 1});
  indices_.push_back({b_.group_id(1), 0, groups_[1] - 1});
  if (random_.percent(40)) {
    const int64_t n = random_.between(0, 4);
    indices_.push_back({b_.scalar("n", types::i64), n, n});
    p_.scalars["n"] = static_cast<uint64_t>(n);
  }
  add(load(types::f32, shapes_[0]), any_value(types::f32));
  budget_ = static_cast<int>(random_.between(6, 14));
  body(static_cast<int>(random_.between(1, 3)));
  Maybe main;
  for (int attempt = 0; attempt < 8 && !main; attempt++) main = operation(focus_.op, focus_.elem);
  body(static_cast<int>(random_.between(1, 4)));
  if (!has_product_ && random_.percent(35)) loop();
  if (main && main->id != kNone && !type(*main).is_scalar()) store(*main);
  outputs();
  grid();
  TRY_ASSIGN(p_.func, b_.finish());
  return std::move(p_);
}

/// ceildiv of a size where one is known to give it, else a literal.
void Generator::grid() {
  b_.begin_grid();
  std::vector<V> axes;
  for (size_t d = 0; d < 2; d++) {
    V axis = b_.lit(groups_[d]);
    for (const auto& [name, value] : symbols_) {
      const int64_t step = (value + groups_[d] - 1) / groups_[d];
      if (random_.percent(60) || (value + step - 1) / step != groups_[d]) continue;
      axis = b_.op(Op::ceildiv, {b_.symbol(name), b_.lit(step)});
      break;
    }
    axes.push_back(axis);
  }
  b_.grid(axes);
}

void Generator::body(int steps) {
  for (int i = 0; i < steps; i++) step();
}

void Generator::step() {
  if (--budget_ < 0) return;
  const int64_t turn = random_.below(100);
  if (turn < 14 && depth_ < 2) return loop();
  if (turn < 21 && depth_ < 2) return branch();
  if (turn < 28) {
    const V v = random_.pick(values_);
    if (!type(v).is_tile() || refusal(Op::shared, type(v).elem)) return;
    through_shared(v);
    return;
  }
  if (turn < 38 && !has_product_) {
    const Atom& atom = target_.atoms[static_cast<size_t>(random_.below(static_cast<int64_t>(target_.atoms.size())))];
    product(random_.percent(15) ? Op::mma_scaled : Op::mma, atom.a, false);
    return;
  }
  if (turn < 44) return exception();
  const Pair& pair = random_.pick(pairs_);
  operation(pair.op, pair.elem);
}

Generator::Maybe Generator::condition() {
  const Index a = random_.pick(indices_), b = random_.pick(indices_);
  static const std::vector<Op> comparisons{Op::lt, Op::le, Op::eq, Op::ne};
  return b_.op(random_.pick(comparisons), {a.v, b.v});
}

/// Within -most .. most, for floats.
tile::V Generator::clamped(V v, double most) {
  const tile::Type t = type(v);
  if (!t.elem.is_float() || fact(v).most <= most) return v;
  const auto bound = [&](double x) {
    const V s = literal(t.elem, x);
    return t.is_tile() ? note(b_.op(Op::fill, {s}, {.elem = t.elem, .shape = t.shape}), {most, 1, true}) : s;
  };
  const V up = note(b_.op(Op::max, {v, bound(-most)}), {most, fact(v).grain, fact(v).certain});
  return note(b_.op(Op::min, {up, bound(most)}), {most, std::min(1.0, fact(v).grain), fact(v).certain});
}

/// What a loop begins with.
std::vector<tile::V> Generator::to_carry() {
  std::vector<V> init;
  for (int64_t i = random_.between(0, 2); i > 0; i--) {
    const V v = random_.pick(values_);
    if (type(v).is_tile() || type(v).is_scalar()) init.push_back(clamped(v, exact() ? 16 : 64));
  }
  return init;
}

/// Of a value at every turn, where it is clamped at the end of each.
Fact Generator::carried(const Fact& f) const {
  return {std::max(f.most, exact() ? 16.0 : 64.0), std::min(f.grain, exact() ? 0.5 : 0.0), f.certain};
}

void Generator::loop() {
  if (random_.percent(12)) return while_loop();
  const int64_t step = random_.percent(60) ? 1 : random_.between(2, 8),
                trips = random_.between(0, 9) ? random_.between(1, 3) : 0;
  const int64_t low = random_.percent(70) ? 0 : random_.between(1, 3);
  const int64_t high = trips == 0 ? low : low + (trips - 1) * step + random_.between(1, step);
  V end = b_.lit(high);
  int64_t most = trips;
  if (random_.percent(30)) {  // an end that is known at launch, or by the workgroup, only
    const Index& i = random_.pick(indices_);
    if (i.high <= 12) {
      end = b_.op(Op::add, {i.v, b_.lit(low)});
      most = (i.high + step - 1) / step;
    }
  }
  const int stages = random_.percent(50) ? static_cast<int>(random_.between(2, 4)) : random_.percent(50) ? 1 : 0;
  const std::vector<V> init = to_carry();
  const bool with_product = !has_product_ && random_.percent(65);
  const bool use_index = low + most * step < 64;
  const size_t values = values_.size(), indices = indices_.size();
  depth_++;
  const auto results = b_.loop(
      b_.lit(low), end, b_.lit(step), init,
      [&](V i, const std::vector<V>& carried) {
        if (use_index) indices_.push_back({i, low, low + std::max<int64_t>(0, most - 1) * step});
        for (size_t c = 0; c < carried.size(); c++) add(carried[c], this->carried(fact(init[c])));
        like(any_element(), random_.pick(shapes_));
        if (with_product) {
          const Atom& atom =
              target_.atoms[static_cast<size_t>(random_.below(static_cast<int64_t>(target_.atoms.size())))];
          const Maybe sum = product(random_.percent(10) ? Op::mma_scaled : Op::mma, atom.a, true);
          if (sum && depth_ == 1) store(*sum);
        }
        body(static_cast<int>(random_.between(1, 4)));
        std::vector<V> next;
        for (size_t c = 0; c < carried.size(); c++) {
          V made = carried[c];
          for (size_t k = values_.size(); k-- > values && made.id == carried[c].id;)
            if (tile::same_type(type(values_[k]), type(made)) && random_.percent(70)) made = values_[k];
          next.push_back(clamped(made, exact() ? 16 : 64));
        }
        if (depth_ == 1 && random_.percent(30)) store(values_.back());
        return next;
      },
      stages);
  depth_--;
  values_.resize(values);
  indices_.resize(indices);
  for (size_t c = 0; c < results.size(); c++)
    add(results[c], {exact() ? 16.0 : 64.0, exact() ? 0.5 : 0.0, fact(init[c]).certain});
}

void Generator::branch() {
  const Maybe when = condition();
  const size_t values = values_.size(), indices = indices_.size();
  const V like_this = random_.pick(values_);
  depth_++;
  Fact join{0, 1, true};
  const auto arm = [&] {
    body(static_cast<int>(random_.between(0, 2)));
    V made = like_this;
    for (size_t k = values_.size(); k-- > values && made.id == like_this.id;)
      if (tile::same_type(type(values_[k]), type(made))) made = values_[k];
    if (made.id == like_this.id && type(made).is_tile() && random_.percent(70))
      made = like(type(made).elem, type(made).shape);
    join = {std::max(join.most, fact(made).most), std::min(join.grain, fact(made).grain),
            join.certain && fact(made).certain};
    values_.resize(values);
    indices_.resize(indices);
    return std::vector<V>{made};
  };
  const auto results = b_.cond(*when, arm, arm);
  depth_--;
  add(results[0], join);
}

/// Stores what nothing has used, the latest first.
void Generator::outputs() {
  int stored = 0;
  for (size_t i = values_.size(); i-- > 0 && stored < 3;)
    if (type(values_[i]).is_tile() && uses_[values_[i].id] == 0 && store(values_[i])) stored++;
  for (size_t i = values_.size(); i-- > 0 && stored < 1;)
    if (type(values_[i]).is_tile() && store(values_[i])) stored++;
}

tile::V Generator::add(V v, const Fact& f) {
  note(v, f);
  values_.push_back(v);
  return v;
}

/// A layout of the workgroup's threads with digits in any order; replicas where they do not fill it.
Layout Generator::any_layout(const Coord& shape) {
  std::vector<Mode> T, S;
  int64_t left = threads();
  std::vector<Mode> digits;
  for (size_t d = 0; d < shape.size(); d++) {
    int64_t n = shape[d], weight = 1;
    for (int64_t prime = 2; n > 1; prime++)
      for (; n % prime == 0; n /= prime, weight *= prime) digits.push_back({prime, static_cast<int>(d), weight});
  }
  while (!digits.empty()) {
    const auto at = digits.begin() + random_.below(static_cast<int64_t>(digits.size()));
    if (left % at->n == 0 && random_.percent(75)) {
      T.push_back(*at);
      left /= at->n;
    } else {
      S.push_back(*at);
    }
    digits.erase(at);
  }
  if (left > 1) T.insert(T.begin() + random_.below(static_cast<int64_t>(T.size()) + 1), {left, Mode::kReplicate, 0});
  return Layout(shape, T, S);
}

Result<Program> generate(uint64_t seed, uint64_t index, const Target& target) {
  auto p = Generator(seed, index, target).run();
  if (!p) return internal_error(fmt::format("seed {}, program {}: {}", seed, index, p.error().text));
  return p;
}

}  // namespace lathe::fuzz
