// The text form and the builder of the Tile IR: round trips of every operation, errors, hostile input, reference page.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "ir/tile.h"

using namespace lathe;
using tile::Builder;
using tile::Func;
using tile::Op;
using V = tile::V;

namespace {

const std::filesystem::path kSource = LATHE_SOURCE_DIR;

bool bless() { return std::getenv("BLESS") != nullptr; }

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Func parsed(const std::string& text) {
  auto f = tile::parse(text, "test");
  REQUIRE_MESSAGE(f, (f ? "" : f.error().text));
  return std::move(*f);
}

/// Prints, parses and prints again: the same kernel, the same text.
std::string round_trip(const Func& f) {
  const std::string text = tile::print(f);
  CAPTURE(text);
  const Func again = parsed(text);
  CHECK(tile::equal(f, again));
  CHECK(tile::print(again) == text);
  return text;
}

const char* const kGemm =
    R"(kernel linear_u4(x: f16[M, K], w: packed u4[N, K], s: packed f16[N, G], y: f32[M, N] stride [ldy, 1], eps: f32)
    grid [ceildiv(N, 64), ceildiv(M, 16)] subgroups 4 {
  n0 = group_id(0) * 64
  m0 = group_id(1) * 16
  acc = fill(f32[64, 16], 0)
  for k in 0 .. K step 128 stages 2 {
    q = load(w[n0, k], [64, 128])
    a = load(x[m0, k], [16, 128])
    f = load(s[n0, k / 128], [64, 1])
    wd = (cast(q, f16) - 8) * broadcast(f, [64, 128])
    acc = mma(wd, transpose(a, [1, 0]), acc)
  }
  store(y[m0, n0], transpose(acc, [1, 0]) + eps)   // a scalar is filled
}
)";

// Every operation that is not in the others.
const char* const kEveryOp =
    R"(kernel every(x: f32[M, 64], h: f16[M, 64], w: packed u4[128, M], out: i32[4], ticks: workspace u32[T, 4], flag: bool, n: i64)
    grid { a = ceildiv(M, 4)  yield(a, a, a) } subgroups [2, 2, 1] {
  i = group_id(2) % 3 << 1 >> n & 7 | n ^ -1
  a = load(x[i, 0], [4, 4])
  b = -abs(a) / 2 * exp(exp2(log2(a))) - sqrt(a) + rsqrt(fma(a, 2, a))
  c = max(min(a, b), 0.5)
  less = a < b
  mask = bnot(less & (a <= 1) | (a == b) ^ (a != c))
  d = select(mask, c, select(less, a, -inf))
  e = select(less, 1, 0.5)
  w4 = load(w[0, i], [4, 4])
  v = cast_minus(w4, f16, 8) * cast(mask, f16)
  r = reduce(d, 1, sum) + reduce(d, 1, max) * reduce(d, 1, min)
  g = broadcast(r, [4, 4]) * cast(iota(i32[4, 4], 1), f32)
  p = view(reshape(transpose(w4, [1, 0]), [2, 8]), u8)
  sm = shared(f16[4, 4])
  store(sm[0, 0], convert(v))
  z = load(sm[0, 0], [4, 4])
  scale = load(h[0, 0], [4, 2])
  m = mma_scaled(z, scale, z, mma(z, z, fill(f32[4, 4], f32(1.5))))
  one = constant(i32, 1)
  k = fill(i32[4], one) + 5
  small = f16(0.1)
  for j in n .. M step 2 stages 3 { small = small + j_as(j) }
  if flag { m = m * e  k = k - 1 } else if n > 3 { m = m * g }
  rows = reduce(cast(mask, i32), 1, max)
  numbers = reshape(rows, [4])
  m = assign(m, slice(repeat(scan(d, 1, sum), 0, 2), [4, 0], [2, 4]), [2, 0])
  m = m + gather(x[i, 0], numbers, [4, 4])
  scatter(x[n, 0], numbers, m)
  assume_multiple(M, 16)
  assume_range(M, [1, 65536])
  t = T
  while t > 3 { t = t / 2 }
  while { u = item(slice(numbers, [0], [1]))  yield((u < 4) & (t < 9)) } do {
    t = t + arrive(ticks[0, 1])
    numbers = numbers + 1
  }
  atomic_add(ticks[i, 0], cast(reshape(numbers, [1, 4]), u32))
  exit_if(t == 7)
  assert(t < 9, "small")
  print(t, "t is")
  store(x[i, 4], m + d)
  store(out[0], k)
}
)";

const char* const kTokens =
    R"(kernel tokens(x: f32[M, 64], y: f32[M, 64]) grid [1] subgroups 1 {
  a = issue(x[0, 0], room(x, [4, 64]))
  commit()
  free = room(x, [4, 64])
  for i in 0 .. M step 4 {
    tile = wait(a, 0)
    next = issue(x[i + 4, 0], free)
    commit()
    store(y[i, 0], tile)
    free = release(a)
    a = next
  }
}
)";

std::vector<std::string> kernels() {
  std::string every = kEveryOp;
  every.replace(every.find("j_as(j)"), 7, "cast(j, f16)");
  return {kGemm, every, kTokens};
}

TEST_CASE("a token is carried by a loop alone: a branch that hands one on is refused") {
  const auto f = tile::parse(
      "kernel t(x: f32[M, 64], y: f32[M, 64]) grid [1] subgroups 1 {\n  a = issue(x[0, 0], room(x, [4, 64]))\n"
      "  if M > 3 { a = issue(x[4, 0], release(a)) }\n  store(y[0, 0], wait(a, 0))\n}\n",
      "t");
  REQUIRE(!f);
  CHECK(f.error().text.find("carried value 0 is token f32[4, 64], expected a tile or a scalar") != std::string::npos);
}

TEST_CASE("every operation of the table makes the round trip") {
  std::set<Op> seen;
  for (const std::string& text : kernels()) {
    const Func f = parsed(text);
    round_trip(f);
    for (BlockId b : {f.head, f.grid, f.body})
      f.walk(b, [&](BlockId, size_t, InstId id) { seen.insert(f.inst(id).op); });
  }
  for (int i = 0; i < tile::kOpCount; i++)
    CHECK_MESSAGE(seen.count(static_cast<Op>(i)), tile::info(static_cast<Op>(i)).name, " is in no kernel of this test");
}

TEST_CASE("one operation a statement, carried values keep one variable, a swap goes through a third") {
  const char* const written = R"(kernel k(x: f32[M, 4]) grid [1] {
  a = load(x[0, 0], [4, 4]) layout="4x4 T[4:m1] S[4:k1]"
  b = (a - 0.5) * 2
  s = 0.0
  for i in 0 .. M {
    t = a  a = b  b = t
    s = s + 1
    if s > f32(4) { a = -a }
  }
  store(x[0, 0], a + b * s)
})";
  const char* const printed = R"(kernel k(x: f32[M, 4])
    grid [1] subgroups 1 {
  a = load(x[0, 0], [4, 4]) layout="4x4 T[4:m1] S[4:k1]"
  t1 = a - 0.5
  b = t1 * 2
  s = 0.0
  for i in 0 .. M {
    s = s + 1
    s1 = 4 < s
    if s1 {
      b = -b
    }
    a_1 = a
    a = b
    b = a_1
  }
  t2 = fill(f32[4, 4], s)
  t3 = b * t2
  t4 = a + t3
  store(x[0, 0], t4)
}
)";
  CHECK(round_trip(parsed(written)) == printed);
}

TEST_CASE("a literal that stands alone keeps its type") {
  const std::string text = round_trip(
      parsed("kernel k(x: f32[M, 4]) grid [1] {\n  print(0, \"i64\")\n  print(0.5, \"f32\")\n  print(true, \"bool\")\n"
             "  print(i32(-1), \"i32\")\n  print(f16(1), \"f16\")\n  store(x[0, 0], fill(f32[4, 4], 1))\n}"));
  CHECK(text.find("print(0, ") != std::string::npos);
  CHECK(text.find("print(i32(-1), ") != std::string::npos);
}

TEST_CASE("the builder and the text make the same kernel") {
  Builder b("linear_u4", {4, 1, 1});
  const V x = b.view("x", types::f16, {"M", "K"}), w = b.view("w", types::u4, {"N", "K"}, true),
          s = b.view("s", types::f16, {"N", "G"}, true), y = b.view("y", types::f32, {"M", "N"}, false, {"ldy", "1"}),
          eps = b.scalar("eps", types::f32);
  b.begin_grid();
  b.grid({b.op(Op::ceildiv, {b.symbol("N"), b.lit(64)}), b.op(Op::ceildiv, {b.symbol("M"), b.lit(16)})});
  const V n0 = b.group_id(0) * 64, m0 = b.group_id(1) * 16;
  const auto acc = b.loop(
      b.lit(0), b.symbol("K"), b.lit(128), {b.fill(types::f32, {64, 16}, 0)},
      [&](V k, const std::vector<V>& carried) -> std::vector<V> {
        const V q = b.load(w, {n0, k}, {64, 128}), a = b.load(x, {m0, k}, {16, 128});
        const V f = b.load(s, {n0, k / 128}, {64, 1});
        const V weight = b.cast(q, types::f16) - 8, factor = b.broadcast(f, {64, 128});
        const V left = weight * factor, right = b.transpose(a);
        return {b.mma(left, right, carried[0])};
      },
      2);
  b.store(y, {m0, n0}, b.transpose(acc[0]) + eps);
  auto f = b.finish();
  REQUIRE_MESSAGE(f, (f ? "" : f.error().text));
  CHECK(tile::equal(*f, parsed(kGemm)));
  round_trip(*f);
  Func other = parsed(kGemm);
  for (auto& inst : other.insts)
    if (inst.op == Op::constant && inst.attr.num == 8) inst.attr.num = 9;
  CHECK_FALSE(tile::equal(*f, other));
}

TEST_CASE("the builder keeps its first error") {
  Builder b("wrong", {1, 1, 1});
  const V x = b.view("x", types::f16, {"M", "64"});
  b.begin_grid();
  b.grid({b.lit(1)});
  const V a = b.load(x, {b.lit(0), b.lit(0)}, {16, 128}), c = b.fill(types::f32, {16, 16}, 0);
  b.store(x, {b.lit(0), b.lit(0)}, b.mma(a, b.load(x, {b.lit(0), b.lit(0)}, {64, 16}), c) + a);
  const auto f = b.finish();
  REQUIRE_FALSE(f);
  CHECK(f.error().text == "mma: operand b is f16[64, 16], expected f16[128, 16] (k of operand a)");
}

TEST_CASE("verify finds what a pass could break") {
  const auto text_of = [](const std::function<void(Func&)>& damage) {
    Func f = parsed(kGemm);
    damage(f);
    const auto ok = tile::verify(f);
    return ok ? std::string("no fault") : ok.error().text.substr(ok.error().text.rfind(": ") + 2);
  };
  const auto first = [](Func& f, Op op) -> Func::Inst& {
    return *std::find_if(f.insts.begin(), f.insts.end(), [&](const Func::Inst& i) { return i.op == op; });
  };
  CHECK(text_of([](Func&) {}) == "no fault");
  CHECK(text_of([&](Func& f) { f.values[first(f, Op::mma).results[0]].type.elem = types::f16; }) ==
        "the result is f16[64, 16], expected f32[64, 16]");
  CHECK(text_of([&](Func& f) { std::swap(f.blocks[f.body].insts[0], f.blocks[f.body].insts[1]); }) == "no fault");
  CHECK(text_of([&](Func& f) { std::reverse(f.blocks[f.body].insts.begin(), f.blocks[f.body].insts.end() - 1); }) ==
        "an operand is not defined here");
  CHECK(text_of([&](Func& f) { f.blocks[f.body].insts.pop_back(); }) == "a block does not end with yield");
  CHECK(text_of([&](Func& f) {
          f.blocks[f.body].insts.insert(f.blocks[f.body].insts.begin(), f.blocks[f.body].insts[0]);
        }) == "an instruction is missing or stands in two places");
  CHECK(text_of([&](Func& f) { first(f, Op::loop).results.clear(); }) == "0 results, expected 1");
  CHECK(text_of([&](Func& f) { f.params[3].strides.pop_back(); }) == "view 'y' has 1 strides for rank 2");
  CHECK(text_of([&](Func& f) { f.subgroups = 3; }) ==
        "subgroups is 3, expected the product of the split and at most 64");
  CHECK(text_of([&](Func& f) {
          f.values[first(f, Op::mma).results[0]].type.layout = spatial({8, 8});
        }) == "the layout 8x8 T[8:m1 8:k1] S[] is pinned to f32[64, 16]");
  CHECK(text_of([&](Func& f) {
          f.values[first(f, Op::fill).results[0]].type.layout = spatial({64, 16});
          f.values[first(f, Op::mma).results[0]].type.layout = local({64, 16});
        }).find("threads, an earlier one has 1024") != std::string::npos);
}

// ---- random kernels

/// Kernels with every awkward shape of carried values: swapped, passed through, constant, shared, nested, pinned.
class RandomKernel {
 public:
  explicit RandomKernel(uint32_t seed) : rng_(seed), b_("random", {1, 1, 1}) {}

  Func make() {
    x_ = b_.view("x", types::f32, {"M", "4"});
    n_ = b_.scalar("n", types::i64);
    b_.begin_grid();
    b_.grid({grid_value(3), grid_value(2)});
    scalars_ = {n_, b_.symbol("M")};
    tiles_ = {b_.load(x_, {b_.lit(0), b_.lit(0)}, {4, 4})};
    block(3);
    auto f = b_.finish();
    REQUIRE_MESSAGE(f, (f ? "" : f.error().text));
    return std::move(*f);
  }

 private:
  int pick(int n) { return static_cast<int>(rng_() % static_cast<uint32_t>(n)); }
  const V& any(const std::vector<V>& from) { return from[rng_() % from.size()]; }

  V grid_value(int depth) {
    if (depth == 0) return pick(3) ? b_.symbol("M") : b_.lit(pick(9) - 4);
    const V a = grid_value(depth - 1);
    const Op op = std::array{Op::add, Op::sub, Op::mul, Op::ceildiv, Op::shl}[static_cast<size_t>(pick(5))];
    return pick(5) ? b_.op(op, {a, pick(4) ? grid_value(depth - 1) : a}) : b_.op(Op::neg, {a});
  }

  V decorate(V v) {
    static const char* const kNames[] = {"",  "",    "acc", "acc",  "a", "a_1",  "k",
                                         "i", "f16", "for", "load", "x", "7 up", "t1"};
    b_.named(v, kNames[pick(14)]);
    if (b_.type(v).is_tile() && pick(6) == 0) b_.pin(v, pick(2) ? spatial({4, 4}) : column_spatial({4, 4}));
    return v;
  }

  V constant() {
    static constexpr double kNumbers[] = {0, -0.0, 1, -8, 0.1, 1e30, INFINITY, NAN};
    return pick(2) ? b_.lit(pick(5) - 2) : b_.literal(types::f32, kNumbers[pick(8)], 0);
  }

  V value() {
    switch (pick(9)) {
      case 0:
        return b_.lit(pick(2) ? pick(100) - 50 : INT64_MIN + pick(2));
      case 1:
        return decorate(
            b_.op(pick(2) ? Op::add : Op::mul, {any(scalars_), pick(2) ? b_.lit(pick(9) - 4) : any(scalars_)}));
      case 2:
        return decorate(any(tiles_) + (pick(2) ? 0.5 : -1));
      case 3:
        return decorate(any(tiles_) * any(tiles_));
      case 4:
        return decorate(b_.fill(types::f32, {4, 4}, pick(5) - 2));
      case 5:
        return decorate(b_.op(Op::neg, {any(tiles_)}));
      case 6: {
        const V mask = b_.binary(Op::lt, any(tiles_), any(tiles_)), one = b_.fill(types::f32, {4, 4}, 1);
        return decorate(b_.op(Op::select, {mask, one, pick(2) ? b_.fill(types::f32, {4, 4}, 2) : any(tiles_)}));
      }
      case 7:
        return decorate(b_.binary(Op::sub, any(tiles_), b_.literal(types::f32, 3, 0)));
      default:
        return decorate(b_.load(x_, {any(scalars_), b_.lit(0)}, {4, 4}));
    }
  }
  void keep(V v) {
    if (b_.type(v).is_tile())
      tiles_.push_back(v);
    else if (b_.type(v).elem == types::i64)
      scalars_.push_back(v);
  }

  /// A value of the same type as v from what is visible, or a new constant.
  V like(V v) {
    if (b_.type(v).is_tile()) return pick(6) ? any(tiles_) : b_.fill(types::f32, {4, 4}, pick(3));
    if (b_.type(v).elem == types::f32) return pick(2) ? v : b_.literal(types::f32, pick(3), 0);
    return pick(4) ? any(scalars_) : b_.lit(pick(3));
  }
  std::vector<V> likes(const std::vector<V>& of) {
    std::vector<V> out;
    for (V v : of) out.push_back(like(v));
    return out;
  }
  std::vector<V> starts() {
    std::vector<V> init;
    for (int n = pick(4); n > 0; n--) init.push_back(pick(3) ? any(tiles_) : pick(2) ? any(scalars_) : constant());
    return init;
  }

  template <class Body>
  void scoped(const Body& body) {
    const auto tiles = tiles_, scalars = scalars_;
    body();
    tiles_ = tiles;
    scalars_ = scalars;
  }

  void loop(int depth) {
    const auto body = [&](V index, const std::vector<V>& carried) {
      std::vector<V> next;
      scoped([&] {
        keep(decorate(index));
        for (V c : carried) keep(decorate(c));
        block(depth - 1);
        next = likes(carried);
        if (pick(3) == 0 && next.size() > 1) next = {carried.rbegin(), carried.rend()};
        for (size_t i = 0; i < next.size(); i++)
          if (!tile::same_type(b_.type(next[i]), b_.type(carried[i]))) next[i] = carried[i];
      });
      return next;
    };
    for (V r : b_.loop(b_.lit(0), any(scalars_), pick(2) ? b_.lit(1 + pick(3)) : n_, starts(), body, pick(3)))
      keep(decorate(r));
  }

  void cond(int depth) {
    const std::vector<V> shape = starts();
    const auto branch = [&] {
      std::vector<V> out;
      scoped([&] {
        if (pick(3)) block(depth - 1);
        out = likes(shape);
      });
      return out;
    };
    for (V r : b_.cond(b_.op(Op::lt, {any(scalars_), b_.lit(3)}), branch, branch)) keep(decorate(r));
  }

  void block(int depth) {
    for (int n = 1 + pick(5); n > 0; n--) {
      const int what = pick(10);
      if (what < 2 && depth > 0)
        loop(depth);
      else if (what < 4 && depth > 0)
        cond(depth);
      else if (what == 4)
        b_.store(x_, {any(scalars_), b_.lit(0)}, any(tiles_));
      else
        keep(value());
    }
  }

  std::mt19937 rng_;
  Builder b_;
  V x_, n_;
  std::vector<V> tiles_, scalars_;
};

TEST_CASE("random kernels make the round trip") {
  for (uint32_t seed = 0; seed < 4000; seed++) {
    CAPTURE(seed);
    round_trip(RandomKernel(seed).make());
  }
}

// ---- errors

/// The last comment "// error: 3:7 message" of a file, and the text before it.
struct Expected {
  std::string program, error;
};
Expected split_expectation(const std::string& text) {
  const std::string mark = "// error: ";
  const size_t at = text.rfind(mark);
  if (at == text.npos) return {text, ""};
  const size_t end = text.find('\n', at);
  return {text.substr(0, at), text.substr(at + mark.size(), end - at - mark.size())};
}

TEST_CASE("every golden error is the one that is reported") {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "tests/golden/errors")) {
    const std::string file = entry.path().filename().string();
    CAPTURE(file);
    REQUIRE(entry.path().extension() == ".tile");
    const Expected expected = split_expectation(read(entry.path()));
    const auto f = tile::parse(expected.program, "f");
    REQUIRE_MESSAGE(!f, "the program has no error");
    // "f:line:col: error: message\n  source\n  caret"
    const std::string& text = f.error().text;
    const size_t first = text.find(": error: "), eol = text.find('\n');
    REQUIRE(text.substr(0, 2) == "f:");
    REQUIRE(first < eol);
    const std::string got = text.substr(2, first - 2) + " " + text.substr(first + 9, eol - first - 9);
    CHECK(text.back() == '^');
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
    if (bless())
      write(entry.path(), expected.program + "// error: " + got + "\n");
    else
      CHECK(got == expected.error);
    count++;
  }
  CHECK(count >= 40);
}

TEST_CASE("the caret stands below the fault") {
  const auto f = tile::parse("kernel k(x: f16[M])\n grid [1] {\n\tstore(x[0], y)\n}\n", "a.tile");
  REQUIRE_FALSE(f);
  CHECK(f.error().text == "a.tile:3:14: error: unknown name 'y'\n   store(x[0], y)\n               ^");
}

TEST_CASE("hostile input is refused, not followed") {
  const std::string head = "kernel k(x: f32[M]) grid [1] { ";
  const auto repeat = [](const std::string& s, int n) {
    std::string out;
    for (int i = 0; i < n; i++) out += s;
    return out;
  };
  for (const std::string& body :
       {"a = " + repeat("(", 100000), "a = " + repeat("-", 100000), "a = " + repeat("neg(", 100000),
        repeat("if true { ", 100000), repeat("for i in 0 .. 1 { ", 100000),
        "if true {} " + repeat("else if true {} ", 100000), "a = 1" + repeat("0", 100000),
        "a = fill(f32[" + repeat("1, ", 100000) + "1], 0) }",
        std::string("a = fill(f32[9223372036854775807, 9223372036854775807], 0) }"), std::string("a = \0 }", 7),
        "a = \"" + repeat("x", 100000), repeat("{", 100000)})
    CHECK_FALSE(tile::parse(head + body, "hostile"));
  CHECK(tile::parse(head + "a = 1" + repeat(" + 1", 20000) + " }", "long"));
  CHECK_FALSE(tile::parse("", "empty"));
}

TEST_CASE("mutated kernels never crash, and what still parses makes the round trip") {
  std::mt19937 rng(7);
  const auto pick = [&](size_t n) { return static_cast<size_t>(rng()) % n; };
  static const char* const kPieces[] = {"{",
                                        "}",
                                        "(",
                                        ")",
                                        "[",
                                        "]",
                                        ",",
                                        " = ",
                                        " .. ",
                                        "-1",
                                        "99999999999999999999",
                                        "1e999",
                                        "acc",
                                        "f16",
                                        "u3",
                                        "for ",
                                        "if ",
                                        "layout=\"\"",
                                        "layout=\"4x4 T[4:m1] S[4:k1]\"",
                                        "\"",
                                        "0",
                                        "nan",
                                        "-inf",
                                        "true",
                                        "\xff",
                                        "\0",
                                        "+",
                                        "<",
                                        "mma(",
                                        "load(",
                                        "yield(",
                                        "//",
                                        "\n"};
  int accepted = 0;
  const std::vector<std::string> seeds = kernels();
  for (int i = 0; i < 20000; i++) {
    std::string text = seeds[pick(seeds.size())];
    for (size_t edits = 1 + pick(4); edits > 0; edits--) {
      const size_t at = pick(text.size()), length = std::min<size_t>(pick(12), text.size() - at);
      switch (pick(4)) {
        case 0:
          text.erase(at, length);
          break;
        case 1:
          text.insert(at, text.substr(pick(text.size()), pick(24)));
          break;
        case 2:
          text[at] = static_cast<char>(pick(256));
          break;
        default:
          text.insert(at, kPieces[pick(std::size(kPieces))]);
          break;
      }
      if (text.empty()) text = " ";
    }
    const auto f = tile::parse(text, "mutant");
    if (!f) {
      CHECK(f.error().text.substr(0, 7) == "mutant:");
      continue;
    }
    CAPTURE(text);
    round_trip(*f);
    accepted++;
  }
  CHECK(accepted > 100);
}

TEST_CASE("the reference page is the one of the tables") {
  const auto path = kSource / "ir/TILE_REFERENCE.md";
  if (bless()) write(path, tile::reference_markdown());
  CHECK(read(path) == tile::reference_markdown());
}

}  // namespace
