// The interpreter around the rows: binding of tensors, sizes and strides, the edges of a view, the grid, and every
// error.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include "tests/interp_tensors.h"

namespace lathe::tile {
namespace {

using Sizes = std::vector<std::string>;
using Scalars = std::map<std::string, uint64_t>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// One workgroup unless the test says otherwise.
void one_workgroup(Builder& b) {
  b.begin_grid();
  b.grid({b.lit(1)});
}

/// y[0, 0] <- x[row, col] as a 2 x 3 tile; y is 4 x 4.
Func window(int64_t row, int64_t col, const Sizes& strides = {}) {
  Builder b("window", {1, 1, 1});
  const V x = b.view("x", types::f32, {"M", "N"}, false, strides), y = b.view("y", types::f32, {"4", "4"});
  one_workgroup(b);
  b.store(y, {b.lit(0), b.lit(0)}, b.load(x, {b.lit(row), b.lit(col)}, {2, 3}));
  return finished(b);
}

std::string error_of(const Func& f, Tensors tensors, const Scalars& scalars = {}, int64_t max_steps = 1000) {
  const auto done = interpret(f, tensors, scalars, max_steps);
  REQUIRE(!done);
  CHECK(done.error().code == Error::Code::bad_input);
  return done.error().text;
}

/// x: f32[M, K] packed, w: f32[K, 8], alpha, and y: f32[M, 8] with rows `pitch` apart.
Func with_everything() {
  Builder b("everything", {1, 1, 1});
  b.view("x", types::f32, {"M", "K"}, true);
  b.view("w", types::f32, {"K", "8"});
  const V y = b.view("y", types::f32, {"M", "8"}, false, {"pitch", "1"});
  const V alpha = b.scalar("alpha", types::f32);
  b.begin_grid();
  b.grid({b.op(Op::ceildiv, {b.symbol("M"), b.lit(2)}), b.symbol("pitch")});
  b.store(y, {b.lit(0), b.lit(0)}, b.op(Op::fill, {alpha}, {.elem = types::f32, .shape = {2, 4}}));
  return finished(b);
}

Tensors all_tensors() {
  return {{"x", tensor(types::f32, {3, 5})},
          {"w", tensor(types::f32, {5, 8})},
          {"y", HostTensor{types::f32, {3, 8}, std::vector<uint64_t>(28, 7)}}};
}
const Scalars kScalars{{"pitch", 10}, {"alpha", 0x3f800000u}};

}  // namespace

TEST_CASE("elements past an edge are read as 0, those before it are not touched by a store") {
  const HostTensor x = tensor(types::f32, {3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto read = [&](int64_t row, int64_t col) {
    Tensors tensors{{"x", x}, {"y", tensor(types::f32, {4, 4}, std::vector<double>(16, -1))}};
    must_run(window(row, col), tensors);
    return numbers(tensors["y"]);
  };
  const double out = -1;
  CHECK(read(1, 0) == std::vector<double>{4, 5, 6, out, 7, 8, 9, out, out, out, out, out, out, out, out, out});
  CHECK(read(2, 2) == std::vector<double>{9, 0, 0, out, 0, 0, 0, out, out, out, out, out, out, out, out, out});
  const std::vector<double> nothing{0, 0, 0, out, 0, 0, 0, out, out, out, out, out, out, out, out, out};
  CHECK(read(3, 0) == nothing);
  CHECK(read(0, 3) == nothing);
  CHECK(read(int64_t{1} << 62, std::numeric_limits<int64_t>::max()) == nothing);
}

TEST_CASE("a store past an edge writes what lies within and nothing else") {
  for (const auto& [row, col, kept] : std::vector<std::tuple<int64_t, int64_t, std::vector<double>>>{
           {0, 0, {5, 5, 0, 5, 5, 0, 0, 0, 0}},
           {2, 1, {0, 0, 0, 0, 0, 0, 0, 5, 5}},
           {1, 2, {0, 0, 0, 0, 0, 5, 0, 0, 5}},
           {3, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0}},
           {0, int64_t{1} << 62, {0, 0, 0, 0, 0, 0, 0, 0, 0}}}) {
    Builder b("edge", {1, 1, 1});
    const V y = b.view("y", types::f16, {"M", "N"});
    one_workgroup(b);
    b.store(y, {b.lit(row), b.lit(col)}, b.fill(types::f16, {2, 2}, 5));
    Tensors tensors{{"y", tensor(types::f16, {3, 3})}};
    must_run(finished(b), tensors);
    CHECK(numbers(tensors["y"]) == kept);
  }
}

TEST_CASE("a NaN past an edge does not leak") {
  // Rows of 3 elements, 5 apart: what lies between them, and after the last, is NaN.
  HostTensor x{types::f32, {2, 3}, std::vector<uint64_t>(12, encode(types::f32, kNan))};
  for (size_t i = 0; i < 6; i++) x.raw[i / 3 * 5 + i % 3] = encode(types::f32, static_cast<double>(i + 1));
  Tensors tensors{{"x", x}, {"y", tensor(types::f32, {4, 4})}};
  must_run(window(0, 1, {"pitch", "1"}), tensors, {{"pitch", 5}});
  CHECK(numbers(tensors["y"]) == std::vector<double>{2, 3, 0, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("bits of a tensor above the element's width do not count") {
  Tensors tensors{{"x", HostTensor{types::f32, {1, 1}, {0xabcdef003f800000u}}}, {"y", tensor(types::f32, {4, 4})}};
  must_run(window(0, 0), tensors);
  CHECK(tensors["y"].raw[0] == 0x3f800000u);
}

TEST_CASE("a strided store leaves the gaps alone, and a stride of 0 repeats a row") {
  Tensors tensors = all_tensors();
  must_run(with_everything(), tensors, kScalars);
  const uint64_t one = 0x3f800000u;
  std::vector<uint64_t> expected(28, 7);
  for (const size_t i : {0, 1, 2, 3, 10, 11, 12, 13}) expected[i] = one;
  CHECK(tensors["y"].raw == expected);

  Tensors repeated{{"x", HostTensor{types::f32, {2, 3}, {one, 0, one}}}, {"y", tensor(types::f32, {4, 4})}};
  must_run(window(0, 0, {"pitch", "1"}), repeated, {{"pitch", 0}});
  CHECK(numbers(repeated["y"]) == std::vector<double>{1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("a tensor of no elements runs no workgroup of a grid over its size") {
  Builder b("none", {1, 1, 1});
  const V x = b.view("x", types::f32, {"M"});
  b.begin_grid();
  b.grid({b.op(Op::ceildiv, {b.symbol("M"), b.lit(16)})});
  b.store(x, {b.lit(-1)}, b.fill(types::f32, {16}, 1));
  Tensors tensors{{"x", tensor(types::f32, {0})}};
  must_run(finished(b), tensors);
  CHECK(tensors["x"].raw.empty());
}

TEST_CASE("workgroups run one after another, axis 0 fastest") {
  // Each appends its number to a decimal: n = 10 n + place in the grid.
  Builder b("order", {1, 1, 1});
  const V n = b.view("n", types::i64, {"1"});
  b.begin_grid();
  b.grid({b.lit(2), b.lit(2), b.lit(2)});
  const V place = b.group_id(0) + b.group_id(1) * b.lit(2) + b.group_id(2) * b.lit(4);
  b.store(n, {b.lit(0)}, b.load(n, {b.lit(0)}, {1}) * 10 + place);
  Tensors tensors{{"n", tensor(types::i64, {1})}};
  must_run(finished(b), tensors);
  CHECK(tensors["n"].raw[0] == 1234567);
}

TEST_CASE("a shared tile is new in each workgroup") {
  Builder b("fresh", {1, 1, 1});
  const V y = b.view("y", types::f32, {"2"});
  b.begin_grid();
  b.grid({b.lit(2)});
  const V s = b.shared(types::f32, {1});
  b.store(y, {b.group_id(0)}, b.load(s, {b.lit(0)}, {1}));
  b.store(s, {b.lit(0)}, b.fill(types::f32, {1}, 3));
  Tensors tensors{{"y", tensor(types::f32, {2})}};
  must_run(finished(b), tensors);
  CHECK(std::isnan(tensors["y"].at(0)));
  CHECK(std::isnan(tensors["y"].at(1)));
}

TEST_CASE("evaluate_grid takes symbols in order and pads with 1") {
  const Func f = with_everything();
  REQUIRE(f.symbols.size() == 3);
  const auto grid = evaluate_grid(f, {5, 100, 7});
  REQUIRE_MESSAGE(grid, grid.error().text);
  CHECK(*grid == std::vector<int64_t>{3, 7, 1});
  CHECK(evaluate_grid(f, {5}).error().text == "1 symbol values given, kernel everything has 3");

  Builder b("by_scalar", {1, 1, 1});
  const V n = b.scalar("n", types::i32);
  b.begin_grid();
  b.grid({b.cast(n, types::i64)});
  const Func g = finished(b);
  CHECK(evaluate_grid(g, {}, {{"n", 12}}).value() == std::vector<int64_t>{12, 1, 1});
  CHECK(evaluate_grid(g, {}, {{"n", 0xffffffffu}}).error().text == "the grid -1 x 1 x 1 is below 0");
  CHECK(evaluate_grid(g, {}).error().text == "kernel by_scalar: cast: scalar n is missing");
}

TEST_CASE("errors of a launch name the tensor and the dimension") {
  const Func f = with_everything();
  const auto broken = [&](const std::string& name, HostTensor t) {
    Tensors tensors = all_tensors();
    tensors[name] = std::move(t);
    return error_of(f, tensors, kScalars);
  };
  CHECK(broken("w", tensor(types::f32, {100, 8})) == "w: dimension 0 is 100, but K is 5 (from x)");
  CHECK(broken("w", tensor(types::f32, {5, 9})) == "w: dimension 1 is 9, but must be 8");
  CHECK(broken("w", tensor(types::f16, {5, 8})) == "w: the tensor is f16, but the view is f32");
  CHECK(broken("w", tensor(types::f32, {5})) == "w: the tensor has 1 dimensions, but the view has 2");
  CHECK(broken("x", HostTensor{types::f32, {3, 5}, std::vector<uint64_t>(14)}) ==
        "x: the tensor holds 14 elements, but shape [3, 5] needs 15");
  CHECK(broken("x", HostTensor{types::f32, {3, -5}, {}}) == "x: dimension 1 is -5");
  CHECK(broken("y", HostTensor{types::f32, {3, 8}, std::vector<uint64_t>(27)}) ==
        "y: the tensor holds 27 elements, but shape [3, 8] needs 28");
  Tensors tensors = all_tensors();
  tensors.erase("w");
  CHECK(error_of(f, tensors, kScalars) == "tensor w is missing");
  CHECK(error_of(f, all_tensors(), {{"pitch", 10}}) == "scalar alpha is missing");
  CHECK(error_of(f, all_tensors(), {{"alpha", 0}}) == "pitch is not the size of a tensor and not among the scalars");
  CHECK(error_of(f, all_tensors(), {{"alpha", 0}, {"pitch", ~uint64_t{0}}}) ==
        "y: stride -1 of dimension 0 is below 0");
  CHECK(error_of(f, all_tensors(), {{"alpha", 0}, {"pitch", 10}, {"K", 6}}) == "scalar K is 6, but K is 5 (from x)");
}

TEST_CASE("errors of a run name the operation") {
  Tensors tensors{{"x", tensor(types::f32, {3, 3})}, {"y", tensor(types::f32, {4, 4})}};
  CHECK(error_of(window(0, -1), tensors) == "kernel window: load: index -1 in dimension 1 of x is below 0");
  CHECK(error_of(window(-5, 0), tensors) == "kernel window: load: index -5 in dimension 0 of x is below 0");
  CHECK(error_of(window(0, 0), tensors, {}, 3) == "kernel window: yield: more than 3 operations");

  const auto text =
      parse("kernel k(y: f32[N]) grid [1] subgroups 1 {\n  store(y[2 - 5], fill(f32[4], 0))\n}\n", "k.tile");
  REQUIRE_MESSAGE(text, text.error().text);
  CHECK(error_of(*text, {{"y", tensor(types::f32, {3})}}) ==
        "kernel k: 2:3: store: index -3 in dimension 0 of y is below 0");

  const auto grid_error = [](const std::function<std::vector<V>(Builder&)>& make) {
    Builder b("k", {1, 1, 1});
    b.view("x", types::f32, {"N"});
    b.begin_grid();
    b.grid(make(b));
    return error_of(finished(b), {{"x", tensor(types::f32, {0})}});
  };
  const auto big = int64_t{1} << 31;
  CHECK(grid_error([&](Builder& b) {
          return std::vector{b.op(Op::ceildiv, {b.lit(8), b.symbol("N")})};
        }) == "kernel k: ceildiv: 8 is divided by 0");
  CHECK(grid_error([&](Builder& b) {
          return std::vector{b.op(Op::ceildiv, {b.symbol("N"), b.lit(-8)})};
        }) == "kernel k: ceildiv: the operands 0 and -8 must be positive");
  CHECK(grid_error([&](Builder& b) { return std::vector{b.lit(big + 1)}; }) ==
        "the grid 2147483649 x 1 x 1 is over 2^31 workgroups");
  CHECK(grid_error([&](Builder& b) {
          return std::vector{b.lit(big), b.lit(big), b.lit(4)};
        }) == "the grid 2147483648 x 2147483648 x 4 is over 2^31 workgroups");
  CHECK(grid_error([&](Builder& b) { return std::vector{b.lit(3), b.lit(-1)}; }) == "the grid 3 x -1 x 1 is below 0");

  Builder b("spin", {1, 1, 1});
  b.view("x", types::f32, {"N"});
  const V by = b.scalar("by", types::i64);
  one_workgroup(b);
  b.loop(b.lit(1), b.lit(big), by, {}, [](V, const std::vector<V>&) { return std::vector<V>{}; });
  const Func spin = finished(b);
  const Tensors x{{"x", tensor(types::f32, {1})}};
  CHECK(error_of(spin, x, {{"by", 0}}) == "kernel spin: loop: step 0 is not above 0");
  CHECK(error_of(spin, x, {{"by", 1}}) == "kernel spin: yield: more than 1000 operations");
  // One turn only: the next index is past the last i64. grid 2, body 4, the loop's yield 1.
  const Scalars far{{"by", static_cast<uint64_t>(std::numeric_limits<int64_t>::max())}};
  Tensors once = x;
  CHECK(interpret(spin, once, far, 7));
  CHECK(error_of(spin, x, far, 6) == "kernel spin: yield: more than 6 operations");
}

}  // namespace lathe::tile
