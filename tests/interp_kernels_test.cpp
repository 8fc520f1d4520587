// The interpreter against a second, independent meaning: each kernel is also written as plain loops over doubles, and
// both run on awkward shapes: with whole numbers the bits must be equal, with others they may differ by the kernel's
// rounding.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/interp_tensors.h"

namespace lathe::tile {
namespace {

using Tiles = std::vector<V>;
const lathe::Type kI8 = types::i8, kU4 = types::u4, kI32 = types::i32, kF16 = types::f16, kBF16 = types::bf16,
                  kF32 = types::f32;

constexpr int64_t kAwkward[] = {1, 2, 7, 16, 17, 31, 33, 48};

/// Largest |a - b| / (1 + |b|).
double worst(const HostTensor& got, const std::vector<double>& want) {
  REQUIRE(got.raw.size() == want.size());
  double most = 0;
  for (size_t i = 0; i < want.size(); i++) {
    const double error = std::fabs(got.at(static_cast<int64_t>(i)) - want[i]) / (1 + std::fabs(want[i]));
    most = std::max(most, std::isnan(error) ? HUGE_VAL : error);
  }
  return most;
}

/// Workgroups of tiles over the sizes named by symbols.
void grid_over(Builder& b, const std::vector<std::pair<std::string, int64_t>>& axes) {
  Tiles workgroups;
  b.begin_grid();
  for (const auto& [symbol, tile] : axes) workgroups.push_back(b.op(Op::ceildiv, {b.symbol(symbol), b.lit(tile)}));
  b.grid(workgroups);
}

// ---- matmul

Func matmul(lathe::Type elem, lathe::Type sum, int64_t tile_k, const std::vector<std::string>& x_strides = {}) {
  Builder b("matmul", {1, 1, 1});
  const V x = b.view("x", elem, {"M", "K"}, false, x_strides), w = b.view("w", elem, {"K", "N"});
  const V y = b.view("y", sum, {"M", "N"});
  grid_over(b, {{"M", 16}, {"N", 32}});
  const V m = b.group_id(0) * b.lit(16), n = b.group_id(1) * b.lit(32);
  const Tiles acc =
      b.loop(b.lit(0), b.symbol("K"), b.lit(tile_k), {b.fill(sum, {16, 32}, 0)}, [&](V k, const Tiles& c) {
        return Tiles{b.mma(b.load(x, {m, k}, {16, tile_k}), b.load(w, {k, n}, {tile_k, 32}), c[0])};
      });
  b.store(y, {m, n}, acc[0]);
  return finished(b);
}

std::vector<double> plain_matmul(const std::vector<double>& x, const std::vector<double>& w, int64_t m, int64_t n,
                                 int64_t k) {
  std::vector<double> y;
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < k; l++) sum += x[static_cast<size_t>(i * k + l)] * w[static_cast<size_t>(l * n + j)];
      y.push_back(sum);
    }
  }
  return y;
}

double matmul_error(const Func& f, std::mt19937& rng, lathe::Type elem, lathe::Type sum, const Coord& mnk, bool whole) {
  const int64_t m = mnk[0], n = mnk[1], k = mnk[2];
  const int least = elem.is_signed() ? -4 : 0;
  Tensors t{{"x", random_tensor(rng, elem, {m, k}, least, 4, whole)},
            {"w", random_tensor(rng, elem, {k, n}, least, 4, whole)},
            {"y", tensor(sum, {m, n}, std::vector<double>(static_cast<size_t>(m * n), 77))}};
  must_run(f, t);
  return worst(t["y"], plain_matmul(numbers(t["x"]), numbers(t["w"]), m, n, k));
}

TEST_CASE("matmul with ragged edges") {
  std::mt19937 rng(1);
  for (const auto& [elem, sum] : {std::pair{kF16, kF32}, {kBF16, kF32}, {kF32, kF32}, {kI8, kI32}, {kU4, kI32}}) {
    const Func f = matmul(elem, sum, 16);
    for (const int64_t m : kAwkward) {
      for (const int64_t n : {1, 31, 33}) {
        const int64_t k = kAwkward[rng() % std::size(kAwkward)];
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(k);
        CHECK(matmul_error(f, rng, elem, sum, {m, n, k}, true) == 0);
        if (elem.is_float()) CHECK(matmul_error(f, rng, elem, sum, {m, n, k}, false) < 1e-5);
      }
    }
  }
}

TEST_CASE("matmul of the size that device tests use") {
  std::mt19937 rng(2);
  CHECK(matmul_error(matmul(kF16, kF32, 32), rng, kF16, kF32, {300, 512, 512}, true) == 0);
  CHECK(matmul_error(matmul(kF16, kF32, 32), rng, kF16, kF32, {300, 512, 512}, false) < 1e-4);
}

TEST_CASE("matmul of a view with a pitch, NaN in the gaps") {
  std::mt19937 rng(3);
  const int64_t m = 19, n = 5, k = 37, pitch = 41;
  const HostTensor dense = random_tensor(rng, kF16, {m, k}, -4, 4);
  HostTensor x{kF16, {m, k}, std::vector<uint64_t>(static_cast<size_t>(m * pitch), encode(kF16, std::nan("")))};
  for (int64_t i = 0; i < m * k; i++)
    x.raw[static_cast<size_t>(i / k * pitch + i % k)] = dense.raw[static_cast<size_t>(i)];
  Tensors t{{"x", x}, {"w", random_tensor(rng, kF16, {k, n}, -4, 4)}, {"y", tensor(kF32, {m, n})}};
  must_run(matmul(kF16, kF32, 16, {"pitch", "1"}), t, {{"pitch", pitch}});
  CHECK(worst(t["y"], plain_matmul(numbers(dense), numbers(t["w"]), m, n, k)) == 0);
}

// ---- softmax over rows of any length up to the tile, masked by iota

Func softmax() {
  Builder b("softmax", {1, 1, 1});
  const V x = b.view("x", kF32, {"M", "N"}), y = b.view("y", kF32, {"M", "N"});
  grid_over(b, {{"M", 4}});
  const Coord shape{4, 64};
  const V m = b.group_id(0) * b.lit(4);
  const V inside = b.binary(Op::lt, b.iota(shape, 1), b.cast(b.symbol("N"), kI32));
  const V v = b.op(Op::select, {inside, b.load(x, {m, b.lit(0)}, shape), b.fill(kF32, shape, -HUGE_VAL)});
  const V e = b.op(Op::exp, {v - b.broadcast(b.reduce(v, 1, ReduceKind::max), shape)});
  b.store(y, {m, b.lit(0)}, e / b.broadcast(b.reduce(e, 1, ReduceKind::sum), shape));
  return finished(b);
}

TEST_CASE("softmax") {
  std::mt19937 rng(4);
  const Func f = softmax();
  for (const int64_t n : kAwkward) {
    const int64_t m = kAwkward[rng() % std::size(kAwkward)];
    Tensors t{{"x", random_tensor(rng, kF32, {m, n}, -9, 9, false)}, {"y", tensor(kF32, {m, n})}};
    must_run(f, t);
    std::vector<double> want = numbers(t["x"]);
    for (auto row = want.begin(); row != want.end(); row += n) {
      double sum = 0;
      for (int64_t j = 0; j < n; j++) sum += std::exp(row[j]);
      for (int64_t j = 0; j < n; j++) row[j] = std::exp(row[j]) / sum;
    }
    CAPTURE(m);
    CAPTURE(n);
    CHECK(worst(t["y"], want) < 1e-6);
  }
}

// ---- reduce, each kind over each dimension of a rank 3 tile, in two steps over a ragged view

TEST_CASE("reduce over each dimension") {
  std::mt19937 rng(5);
  for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min}) {
    for (int dim = 0; dim < 3; dim++) {
      for (const auto& values : {std::pair{kF32, true}, {kF32, false}, {kI32, true}, {kF16, true}}) {
        const lathe::Type elem = values.first;
        const bool whole = values.second;
        const Coord shape{3, 5, 7};
        Coord reduced = shape;
        reduced[static_cast<size_t>(dim)] = 1;
        Builder b("reduce", {1, 1, 1});
        const V x = b.view("x", elem, sizes_of(shape)), y = b.view("y", elem, sizes_of(reduced));
        b.begin_grid();
        b.grid({b.lit(1)});
        const Tiles zero(3, b.lit(0));
        b.store(y, zero, b.reduce(b.load(x, zero, shape), dim, kind));
        Tensors t{{"x", random_tensor(rng, elem, shape, -20, 20, whole)}, {"y", tensor(elem, reduced)}};
        must_run(finished(b), t);

        std::vector<double> want(t["y"].raw.size(), kind == ReduceKind::sum ? 0 : kind == ReduceKind::max ? -1e9 : 1e9);
        for (int64_t i = 0; i < 3; i++)
          for (int64_t j = 0; j < 5; j++)
            for (int64_t k = 0; k < 7; k++) {
              const double v = t["x"].at((i * 5 + j) * 7 + k);
              double& w = want[static_cast<size_t>(dim == 0 ? j * 7 + k : dim == 1 ? i * 7 + k : i * 5 + j)];
              w = kind == ReduceKind::sum ? w + v : kind == ReduceKind::max ? std::max(w, v) : std::min(w, v);
            }
        CAPTURE(dim);
        CAPTURE(to_string(elem));
        CHECK(worst(t["y"], want) <= (whole ? 0 : 1e-6));
      }
    }
  }
}

// ---- transposition, directly and through shared memory

Func transposed(bool through_shared) {
  Builder b("transposed", {1, 1, 1});
  const V x = b.view("x", kI8, {"A", "B", "C"}), y = b.view("y", kI8, {"C", "A", "B"});
  grid_over(b, {{"A", 2}, {"B", 4}, {"C", 8}});
  const V i = b.group_id(0) * b.lit(2), j = b.group_id(1) * b.lit(4), k = b.group_id(2) * b.lit(8);
  const Tiles zero(3, b.lit(0));
  V t = b.load(x, {i, j, k}, {2, 4, 8});
  if (through_shared) {
    const V s = b.shared(kI8, {2, 4, 8});
    b.store(s, zero, t);
    t = b.load(s, zero, {2, 4, 8});
  }
  b.store(y, {k, i, j}, b.transpose(b.reshape(b.reshape(t, {64}), {2, 4, 8}), {2, 0, 1}));
  return finished(b);
}

TEST_CASE("transposition of three dimensions") {
  std::mt19937 rng(6);
  for (const bool through_shared : {false, true}) {
    const Func f = transposed(through_shared);
    for (const int64_t c : kAwkward) {
      const int64_t a = 1 + static_cast<int64_t>(rng() % 5), b = 1 + static_cast<int64_t>(rng() % 9);
      Tensors t{{"x", random_tensor(rng, kI8, {a, b, c}, -128, 127)}, {"y", tensor(kI8, {c, a, b})}};
      must_run(f, t);
      std::vector<double> want(t["x"].raw.size());
      for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < b; j++)
          for (int64_t k = 0; k < c; k++)
            want[static_cast<size_t>((k * a + i) * b + j)] = t["x"].at((i * b + j) * c + k);
      CHECK(worst(t["y"], want) == 0);
    }
  }
}

// ---- a causal mask: select by two coordinates

TEST_CASE("causal mask") {
  std::mt19937 rng(7);
  Builder b("causal", {1, 1, 1});
  const V x = b.view("x", kF16, {"N", "N"}), y = b.view("y", kF16, {"N", "N"});
  grid_over(b, {{"N", 8}, {"N", 16}});
  const Coord shape{8, 16};
  const V row = b.group_id(0) * b.lit(8), col = b.group_id(1) * b.lit(16);
  const V i = b.binary(Op::add, b.iota(shape, 0), b.cast(row, kI32));
  const V j = b.binary(Op::add, b.iota(shape, 1), b.cast(col, kI32));
  b.store(y, {row, col},
          b.op(Op::select, {b.op(Op::le, {j, i}), b.load(x, {row, col}, shape), b.fill(kF16, shape, -1)}));
  const Func f = finished(b);
  for (const int64_t n : kAwkward) {
    Tensors t{{"x", random_tensor(rng, kF16, {n, n}, 0, 9, false)}, {"y", tensor(kF16, {n, n})}};
    must_run(f, t);
    std::vector<double> want = numbers(t["x"]);
    for (int64_t r = 0; r < n; r++)
      for (int64_t c = r + 1; c < n; c++) want[static_cast<size_t>(r * n + c)] = -1;
    CHECK(worst(t["y"], want) == 0);
  }
}

// ---- codes of any width to 32-bit words and back

TEST_CASE("view packs codes into words, and unpacks them") {
  std::mt19937 rng(8);
  for (int bits = 1; bits <= 8; bits++) {
    const lathe::Type code = types::uint_of(bits);
    Builder b("pack", {1, 1, 1});
    const V q = b.view("q", code, {"N", "K"}), words = b.view("words", types::u32, {"N", "W"}),
            back = b.view("back", code, {"N", "K"});
    grid_over(b, {{"N", 4}, {"K", 32}});
    const V n = b.group_id(0) * b.lit(4), k = b.group_id(1) * b.lit(32);
    const V packed = b.view_as(b.load(q, {n, k}, {4, 32}), types::u32);
    b.store(words, {n, b.group_id(1) * b.lit(bits)}, packed);
    b.store(back, {n, k}, b.view_as(packed, code));
    const Func f = finished(b);
    for (const int64_t columns : {1, 31, 32, 33, 100}) {
      const int64_t rows = 5, row_words = (columns + 31) / 32 * bits;
      Tensors t{{"q", random_tensor(rng, code, {rows, columns}, 0, (1 << bits) - 1)},
                {"words", tensor(types::u32, {rows, row_words})},
                {"back", tensor(code, {rows, columns})}};
      must_run(f, t);
      std::vector<uint64_t> want(static_cast<size_t>(rows * row_words), 0);
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
          for (int64_t bit = 0; bit < bits; bit++) {
            const int64_t place = c * bits + bit;
            const uint64_t value = t["q"].raw[static_cast<size_t>(r * columns + c)] >> bit & 1;
            want[static_cast<size_t>(r * row_words + place / 32)] += value << place % 32;
          }
      CAPTURE(bits);
      CAPTURE(columns);
      CHECK(t["words"].raw == want);
      CHECK(t["back"].raw == t["q"].raw);
    }
  }
}

// ---- a linear layer with 4-bit weights, the scale on the weight or in mma_scaled

Func linear(bool scaled) {
  Builder b("linear", {1, 1, 1});
  const V x = b.view("x", kF16, {"M", "K"}), w = b.view("w", kU4, {"N", "K"}, true),
          s = b.view("s", kF16, {"N", "G"}, true);
  const V y = b.view("y", kF16, {"M", "N"});
  grid_over(b, {{"M", 8}, {"N", 16}});
  const V m = b.group_id(0) * b.lit(8), n = b.group_id(1) * b.lit(16);
  const Tiles acc = b.loop(b.lit(0), b.symbol("K"), b.lit(64), {b.fill(kF32, {16, 8}, 0)}, [&](V k, const Tiles& c) {
    const V codes = b.op(Op::cast_minus, {b.load(w, {n, k}, {16, 64})}, {.elem = kF16, .imm = 8});
    const V scales = b.load(s, {n, k / b.lit(32)}, {16, 2});
    const V inputs = b.transpose(b.load(x, {m, k}, {8, 64}));
    if (scaled) return Tiles{b.op(Op::mma_scaled, {codes, scales, inputs, c[0]})};
    const V wide = b.reshape(b.broadcast(b.reshape(scales, {16, 2, 1}), {16, 2, 32}), {16, 64});
    return Tiles{b.mma(codes * wide, inputs, c[0])};
  });
  b.store(y, {m, n}, b.cast(b.transpose(acc[0]), kF16));
  return finished(b);
}

/// The same in text.
constexpr const char* kLinearText = R"(
kernel linear(x: f16[M, K], w: packed u4[N, K], s: packed f16[N, G], y: f16[M, N])
    grid [ceildiv(M, 8), ceildiv(N, 16)] subgroups 1 {
  m = group_id(0) * 8
  n = group_id(1) * 16
  acc = fill(f32[16, 8], 0)
  for k in 0 .. K step 32 {
    codes = cast_minus(load(w[n, k], [16, 32]), f16, 8)
    acc = mma(codes * broadcast(load(s[n, k / 32], [16, 1]), [16, 32]), transpose(load(x[m, k], [8, 32]), [1, 0]), acc)
  }
  store(y[m, n], transpose(cast(acc, f16), [1, 0]))
}
)";

double linear_error(const Func& f, std::mt19937& rng, int64_t m, int64_t n, int64_t groups) {
  const int64_t k = groups * 32;
  Tensors t{{"x", random_tensor(rng, kF16, {m, k}, -1, 1)},
            {"w", random_tensor(rng, kU4, {n, k}, 0, 15)},
            {"s", random_tensor(rng, kF16, {n, groups}, -1, 2)},
            {"y", tensor(kF16, {m, n})}};
  must_run(f, t);
  std::vector<double> want;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < k; l++)
        sum += t["x"].at(i * k + l) * (t["w"].at(j * k + l) - 8) * t["s"].at(j * groups + l / 32);
      want.push_back(sum);
    }
  return worst(t["y"], want);
}

TEST_CASE("linear layer with 4-bit weights, built and written as text") {
  std::mt19937 rng(9);
  const auto parsed = parse(kLinearText, "linear.tile");
  REQUIRE_MESSAGE(parsed, parsed.error().text);
  for (const Func& f : {linear(false), linear(true), *parsed})
    for (const int64_t m : {1, 7, 17})
      for (const int64_t groups : {1, 2, 3, 5}) {
        const int64_t n = 1 + static_cast<int64_t>(rng() % 40);
        CAPTURE(m);
        CAPTURE(n);
        CAPTURE(groups);
        CHECK(linear_error(f, rng, m, n, groups) == 0);
      }
}

// ---- control: the Collatz length of each workgroup's number

TEST_CASE("loops, conditions and integer scalars") {
  Builder b("collatz", {1, 1, 1});
  const V y = b.view("y", kI32, {"N"});
  grid_over(b, {{"N", 1}});
  const V one = b.op(Op::fill, {b.lit(1)}, {.elem = types::i64, .shape = {1}});
  const V start = b.op(Op::add, {b.op(Op::fill, {b.group_id(0)}, {.elem = types::i64, .shape = {1}}), one});
  const V zero = b.op(Op::sub, {one, one});
  const Tiles end = b.loop(b.lit(0), b.lit(120), b.lit(1), {start, zero}, [&](V, const Tiles& c) {
    const V n = c[0], going = b.op(Op::ne, {n, one});
    const V odd = b.op(Op::eq, {b.op(Op::band, {n, one}), one});
    const V next = b.op(Op::select, {odd, n * 3 + 1, b.op(Op::shr, {n, one})});
    return Tiles{b.op(Op::select, {going, next, n}), c[1] + b.cast(going, types::i64)};
  });
  const V even = b.op(Op::eq, {b.group_id(0) % b.lit(2), b.lit(0)});
  const Tiles out = b.cond(
      even, [&] { return Tiles{b.cast(end[1], kI32)}; }, [&] { return Tiles{b.op(Op::neg, {b.cast(end[1], kI32)})}; });
  b.store(y, {b.group_id(0)}, out[0]);
  Tensors t{{"y", tensor(kI32, {50})}};
  must_run(finished(b), t);
  std::vector<double> want;
  for (int64_t g = 0; g < 50; g++) {
    int64_t steps = 0;
    for (int64_t n = g + 1; n != 1; n = n % 2 ? 3 * n + 1 : n / 2) steps++;
    want.push_back(static_cast<double>(g % 2 ? -steps : steps));
  }
  CHECK(worst(t["y"], want) == 0);
}

}  // namespace
}  // namespace lathe::tile
