// The interpreter, row by row of tile.def: each row with operands and the bits that its definition asks for.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "tests/interp_tensors.h"

namespace lathe::tile {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
const lathe::Type kI8 = types::i8, kU8 = types::u8, kU4 = types::u4, kBool = types::boolean, kI32 = types::i32,
                  kI64 = types::i64, kF16 = types::f16, kBF16 = types::bf16, kF32 = types::f32;

/// `make` gets the inputs loaded whole as tiles and returns the tile (or scalar) that must equal `expected`.
struct Row {
  Op op;
  std::vector<HostTensor> in;
  std::function<V(Builder&, const std::vector<V>&)> make;
  HostTensor expected;
};

struct Ran {
  Func f;
  HostTensor y;
};

/// Runs a row as a kernel of one workgroup: load, make, store.
Ran run(const Row& row) {
  Builder b("row", {1, 1, 1});
  std::vector<V> views, tiles;
  Tensors tensors;
  for (size_t i = 0; i < row.in.size(); i++) {
    const std::string name = fmt::format("x{}", i);
    views.push_back(b.view(name, row.in[i].elem, sizes_of(row.in[i].shape)));
    tensors[name] = row.in[i];
  }
  const V y = b.view("y", row.expected.elem, sizes_of(row.expected.shape));
  tensors["y"] = tensor(row.expected.elem, row.expected.shape);
  b.begin_grid();
  b.grid({b.lit(1)});
  for (size_t i = 0; i < views.size(); i++)
    tiles.push_back(b.load(views[i], std::vector<V>(row.in[i].shape.size(), b.lit(0)), row.in[i].shape));
  V result = row.make(b, tiles);
  if (b.type(result).is_scalar())
    result = b.op(Op::fill, {result}, {.elem = b.type(result).elem, .shape = row.expected.shape});
  b.store(y, std::vector<V>(row.expected.shape.size(), b.lit(0)), result);
  Ran ran{finished(b), {}};
  must_run(ran.f, tensors);
  ran.y = tensors["y"];
  return ran;
}

/// A row of operands side by side; a result type of its own for casts and comparisons.
Row elements(Op op, lathe::Type elem, const std::vector<std::vector<double>>& in, const std::vector<double>& out,
             std::optional<lathe::Type> to = {}) {
  Row row{op, {}, {}, tensor(to.value_or(elem), {static_cast<int64_t>(out.size())}, out)};
  for (const auto& x : in) row.in.push_back(tensor(elem, {static_cast<int64_t>(x.size())}, x));
  const bool cast = op == Op::cast;
  row.make = [=](Builder& b, const std::vector<V>& x) { return b.op(op, x, {.elem = cast ? *to : lathe::Type{}}); };
  return row;
}

std::vector<Row> float_rows() {
  return {
      elements(Op::add, kF16, {{1, 65504, 2048, -kInf}, {2, 65504, 1, kInf}}, {3, kInf, 2048, kNan}),
      elements(Op::sub, kF32, {{1, 16777216, 0}, {3, -1, kInf}}, {-2, 16777216, -kInf}),
      elements(Op::mul, kBF16, {{3, 1.0078125, 1e30}, {-2, 1.0078125, 1e30}}, {-6, 1.015625, kInf}),
      elements(Op::div, kF32, {{1, 1, -1, 0, 7}, {2, 0, 0, 0, -2}}, {0.5, kInf, -kInf, kNan, -3.5}),
      elements(Op::min, kF32, {{1, kNan, 5, -0.0, kNan}, {2, 3, kNan, 0.0, kNan}}, {1, 3, 5, -0.0, kNan}),
      elements(Op::max, kF32, {{1, kNan, 5, -0.0, -kInf}, {2, 3, kNan, 0.0, -9}}, {2, 3, 5, 0.0, -9}),
      elements(Op::fma, kF16, {{2, 1.5}, {3, 0.5}, {4, -1}}, {10, -0.25}),
      // (1 + 2^-4)^2 lies between two bf16; 2^-100 decides. f32 likewise: (1 + 2^-12)^2.
      elements(Op::fma, kBF16, {{1.0625, 1.0625}, {1.0625, 1.0625}, {0x1p-100, -0x1p-100}}, {1.1328125, 1.125}),
      elements(Op::fma, kF32, {{1 + 0x1p-12, 1 + 0x1p-12}, {1 + 0x1p-12, 1 + 0x1p-12}, {0x1p-100, -0x1p-100}},
               {1 + 0x1p-11 + 0x1p-23, 1 + 0x1p-11}),
      elements(Op::neg, kF16, {{1, -0.0, kInf}}, {-1, 0.0, -kInf}),
      elements(Op::abs, kBF16, {{-1.5, -0.0, -kInf}}, {1.5, 0.0, kInf}),
      elements(Op::exp2, kF32, {{0, -kInf, 1000, 3}}, {1, 0, kInf, 8}),
      elements(Op::exp, kF32, {{0, -kInf, 1000, 1}}, {1, 0, kInf, std::exp(1.0)}),
      elements(Op::log2, kF32, {{8, 0.25, 0, -1}}, {3, -2, -kInf, std::log2(-1.0)}),
      elements(Op::sqrt, kF16, {{9, 2, 0}}, {3, std::sqrt(2.0), 0}),
      elements(Op::rsqrt, kF32, {{4, 0, 0.25}}, {0.5, kInf, 2}),
      elements(Op::lt, kF16, {{1, 2, 2, kNan}, {2, 2, 1, 1}}, {1, 0, 0, 0}, kBool),
      elements(Op::le, kF32, {{1, 2, 2, kNan}, {2, 2, 1, kNan}}, {1, 1, 0, 0}, kBool),
      elements(Op::eq, kF32, {{1, -0.0, kNan}, {2, 0.0, kNan}}, {0, 1, 0}, kBool),
      elements(Op::ne, kBF16, {{1, -0.0, kNan}, {2, 0.0, kNan}}, {1, 0, 1}, kBool),
      elements(Op::cast, kF32, {{-2.7, 300, kNan, 1.9, -kInf}}, {-2, 127, 0, 1, -128}, kI8),
      elements(Op::cast, kF32, {{-1, 15.9, 16, 0.5}}, {0, 15, 15, 0}, kU4),
      elements(Op::cast, kF32, {{65519, 65520, 2049, 2051, 0x1p-25}}, {65504, kInf, 2048, 2052, 0}, kF16),
      elements(Op::cast, kF32, {{0, -0.0, 0.25, kNan}}, {0, 0, 1, 1}, kBool),
  };
}

std::vector<Row> integer_rows() {
  return {
      elements(Op::add, kU8, {{250, 1}, {10, 2}}, {4, 3}),
      elements(Op::sub, types::i4, {{-8, 7}, {1, -1}}, {7, -8}),
      elements(Op::mul, kI32, {{65536, -3}, {65536, 5}}, {0, -15}),
      elements(Op::div, kI8, {{-7, 7, 5, -128}, {2, -2, 0, -1}}, {-3, -3, 0, -128}),
      elements(Op::rem, kI8, {{-7, 7, 5, -128}, {2, -2, 0, -1}}, {-1, 1, 0, 0}),
      elements(Op::rem, types::u32, {{4294967295.0, 9}, {10, 4}}, {5, 1}),
      elements(Op::min, types::u32, {{4294967295.0, 4}, {1, 9}}, {1, 4}),
      elements(Op::max, kI8, {{-1, 4}, {1, -9}}, {1, 4}),
      elements(Op::band, kU4, {{12, 5}, {10, 3}}, {8, 1}),
      elements(Op::bor, kBool, {{0, 0, 1}, {0, 1, 1}}, {0, 1, 1}),
      elements(Op::bxor, kU8, {{255, 1}, {15, 1}}, {240, 0}),
      elements(Op::bxor, kBool, {{0, 1, 1}, {0, 0, 1}}, {0, 1, 0}),
      elements(Op::shl, kU8, {{1, 255, 3}, {7, 4, 0}}, {128, 240, 3}),
      elements(Op::shr, kI8, {{-128, 64, -1}, {7, 3, 0}}, {-1, 8, -1}),
      elements(Op::shr, kU8, {{128, 255}, {7, 4}}, {1, 15}),
      elements(Op::neg, kI8, {{-128, 5}}, {-128, -5}),
      elements(Op::abs, kI8, {{-128, -5, 5}}, {-128, 5, 5}),
      elements(Op::bnot, kU4, {{0, 5}}, {15, 10}),
      elements(Op::bnot, kBool, {{0, 1}}, {1, 0}),
      elements(Op::lt, kI8, {{-1, 1}, {1, -1}}, {1, 0}, kBool),
      elements(Op::le, kU8, {{255, 1, 1}, {1, 255, 1}}, {0, 1, 1}, kBool),
      elements(Op::eq, kU4, {{3, 4}, {3, 3}}, {1, 0}, kBool),
      elements(Op::ne, kBool, {{0, 1}, {1, 1}}, {1, 0}, kBool),
      elements(Op::cast, kI32, {{300, -1, 129}}, {44, -1, -127}, kI8),
      elements(Op::cast, kI32, {{2, -1, 0}}, {1, 1, 0}, kBool),
      elements(Op::cast, kU4, {{15, 0}}, {15, 0}, kF16),
      elements(Op::cast, kI32, {{2147483647, -16777217, 70000}}, {2147483648.0, -16777216, 70000}, kF32),
      elements(Op::cast, kI32, {{70000}}, {kInf}, kF16),
  };
}

using Tiles = std::vector<V>;

std::vector<Row> tile_rows() {
  return {
      {Op::select,
       {tensor(kBool, {3}, {1, 0, 1}), tensor(kU4, {3}, {1, 2, 3}), tensor(kU4, {3}, {7, 8, 9})},
       [](Builder& b, const Tiles& x) { return b.op(Op::select, x); },
       tensor(kU4, {3}, {1, 8, 3})},
      {Op::cast_minus,
       {tensor(kU4, {3}, {0, 8, 15})},
       [](Builder& b, const Tiles& x) { return b.op(Op::cast_minus, x, {.elem = kF16, .imm = 8}); },
       tensor(kF16, {3}, {-8, 0, 7})},
      {Op::cast_minus,
       {tensor(types::u32, {2}, {0, 4294967295.0})},
       [](Builder& b, const Tiles& x) { return b.op(Op::cast_minus, x, {.elem = kF32, .imm = -1}); },
       tensor(kF32, {2}, {1, 4294967296.0})},
      {Op::fill,
       {},
       [](Builder& b, const Tiles&) {
         return b.fill(kBF16, {2, 2}, 1.5);
       },
       tensor(kBF16, {2, 2}, {1.5, 1.5, 1.5, 1.5})},
      {Op::iota,
       {},
       [](Builder& b, const Tiles&) {
         return b.iota({2, 3}, 1);
       },
       tensor(kI32, {2, 3}, {0, 1, 2, 0, 1, 2})},
      {Op::iota,
       {},
       [](Builder& b, const Tiles&) {
         return b.iota({2, 2, 2}, 0);
       },
       tensor(kI32, {2, 2, 2}, {0, 0, 0, 0, 1, 1, 1, 1})},
      {Op::broadcast,
       {tensor(kF16, {2, 1}, {3, 4})},
       [](Builder& b, const Tiles& x) {
         return b.broadcast(x[0], {2, 3});
       },
       tensor(kF16, {2, 3}, {3, 3, 3, 4, 4, 4})},
      {Op::broadcast,
       {tensor(kF16, {1, 3}, {3, 4, 5})},
       [](Builder& b, const Tiles& x) {
         return b.broadcast(x[0], {2, 3});
       },
       tensor(kF16, {2, 3}, {3, 4, 5, 3, 4, 5})},
      // Dimension i of the result is dimension p[i] of the operand: 2 x 3 x 1 by [1, 2, 0] is 3 x 1 x 2.
      {Op::transpose,
       {tensor(kI8, {2, 3, 1}, {1, 2, 3, 4, 5, 6})},
       [](Builder& b, const Tiles& x) {
         return b.transpose(x[0], {1, 2, 0});
       },
       tensor(kI8, {3, 1, 2}, {1, 4, 2, 5, 3, 6})},
      {Op::reshape,
       {tensor(kI8, {2, 3}, {1, 2, 3, 4, 5, 6})},
       [](Builder& b, const Tiles& x) {
         return b.reshape(x[0], {3, 2});
       },
       tensor(kI8, {3, 2}, {1, 2, 3, 4, 5, 6})},
      {Op::view,
       {tensor(kU4, {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})},
       [](Builder& b, const Tiles& x) { return b.view_as(x[0], kU8); },
       tensor(kU8, {2, 2}, {0x21, 0x43, 0x65, 0x87})},
      // Low bits first: 100 000 11|1 100 110 1|11 111 111.
      {Op::view,
       {tensor(kU8, {3}, {0xC1, 0xB3, 0xFF})},
       [](Builder& b, const Tiles& x) { return b.view_as(x[0], types::uint_of(3)); },
       tensor(types::uint_of(3), {8}, {1, 0, 7, 1, 3, 7, 7, 7})},
      {Op::view,
       {tensor(kF16, {2}, {1, -2})},
       [](Builder& b, const Tiles& x) { return b.view_as(x[0], types::u32); },
       tensor(types::u32, {1}, {static_cast<double>(0xC0003C00u)})},
      {Op::slice,
       {tensor(kI8, {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})},
       [](Builder& b, const Tiles& x) {
         return b.slice(x[0], {1, 1}, {1, 2});
       },
       tensor(kI8, {1, 2}, {6, 7})},
      {Op::assign,
       {tensor(kI8, {2, 3}, {1, 2, 3, 4, 5, 6}), tensor(kI8, {2, 1}, {8, 9})},
       [](Builder& b, const Tiles& x) {
         return b.assign(x[0], x[1], {0, 2});
       },
       tensor(kI8, {2, 3}, {1, 2, 8, 4, 5, 9})},
      {Op::repeat,
       {tensor(kU4, {2, 2}, {1, 2, 3, 4})},
       [](Builder& b, const Tiles& x) { return b.repeat(x[0], 1, 2); },
       tensor(kU4, {2, 4}, {1, 1, 2, 2, 3, 3, 4, 4})},
      {Op::repeat,
       {tensor(kU4, {2, 2}, {1, 2, 3, 4})},
       [](Builder& b, const Tiles& x) { return b.repeat(x[0], 0, 2); },
       tensor(kU4, {4, 2}, {1, 2, 1, 2, 3, 4, 3, 4})},
      {Op::convert,
       {tensor(kI8, {3}, {1, -2, 3})},
       [](Builder& b, const Tiles& x) { return b.op(Op::convert, x); },
       tensor(kI8, {3}, {1, -2, 3})},
  };
}

Row reduced(lathe::Type elem, int dim, ReduceKind kind, Coord shape, const std::vector<double>& out) {
  return {Op::reduce,
          {tensor(elem, {2, 3}, {1, 5, -3, 4, -2, 7})},
          [=](Builder& b, const Tiles& x) { return b.reduce(x[0], dim, kind); },
          tensor(elem, std::move(shape), out)};
}

std::vector<Row> sum_rows() {
  const auto mma = [](Builder& b, const Tiles& x) { return b.op(x.size() == 4 ? Op::mma_scaled : Op::mma, x); };
  return {
      reduced(kF32, 0, ReduceKind::sum, {1, 3}, {5, 3, 4}),
      reduced(kF16, 1, ReduceKind::max, {2, 1}, {5, 7}),
      reduced(kI8, 1, ReduceKind::min, {2, 1}, {-3, -2}),
      reduced(kI8, 0, ReduceKind::sum, {1, 3}, {5, 3, 4}),
      reduced(kI32, 0, ReduceKind::max, {1, 3}, {4, 5, 7}),
      reduced(kBF16, 0, ReduceKind::min, {1, 3}, {1, -2, -3}),
      // One rounding at the end: each 1 would be lost beside 2048 in f16.
      {Op::reduce,
       {tensor(kF16, {4}, {2048, 1, 1, 1})},
       [](Builder& b, const Tiles& x) { return b.reduce(x[0], 0, ReduceKind::sum); },
       tensor(kF16, {1}, {2052})},
      {Op::reduce,
       {tensor(kF32, {3}, {kNan, 2, 1})},
       [](Builder& b, const Tiles& x) { return b.reduce(x[0], 0, ReduceKind::max); },
       tensor(kF32, {1}, {2})},
      {Op::reduce,
       {tensor(kI8, {2}, {100, 100})},
       [](Builder& b, const Tiles& x) { return b.reduce(x[0], 0, ReduceKind::sum); },
       tensor(kI8, {1}, {-56})},
      {Op::scan,
       {tensor(kF16, {1, 4}, {2048, 1, 1, -2})},
       [](Builder& b, const Tiles& x) { return b.scan(x[0], 1, ReduceKind::sum); },
       tensor(kF16, {1, 4}, {2048, 2049, 2050, 2048})},
      {Op::scan,
       {tensor(kI8, {3, 2}, {100, 5, 100, -7, 1, 9})},
       [](Builder& b, const Tiles& x) { return b.scan(x[0], 0, ReduceKind::sum); },
       tensor(kI8, {3, 2}, {100, 5, -56, -2, -55, 7})},
      {Op::scan,
       {tensor(kF32, {4}, {kNan, 2, 5, 3})},
       [](Builder& b, const Tiles& x) { return b.scan(x[0], 0, ReduceKind::max); },
       tensor(kF32, {4}, {kNan, 2, 5, 5})},
      {Op::mma,
       {tensor(kF16, {2, 3}, {1, 2, 3, 4, 5, 6}), tensor(kF16, {3, 1}, {1, 10, 100}), tensor(kF32, {2, 1}, {0.5, -1})},
       mma,
       tensor(kF32, {2, 1}, {321.5, 653})},
      {Op::mma,
       {tensor(kF16, {1, 3}, {1, 1, 1}), tensor(kF16, {3, 1}, {1, 1, 1}), tensor(kF16, {1, 1}, {2048})},
       mma,
       tensor(kF16, {1, 1}, {2052})},
      {Op::mma,
       {tensor(kI8, {1, 2}, {-128, -128}), tensor(kI8, {2, 2}, {-128, 127, -128, 1}),
        tensor(kI32, {1, 2}, {2147483647, 5})},
       mma,
       tensor(kI32, {1, 2}, {2147483647.0 + 32768 - 4294967296.0, 5 - 16384})},
      // 1.0009765625^2 is no f16, so a rounding of a * s would show.
      {Op::mma_scaled,
       {tensor(kF16, {1, 4}, {1 + 0x1p-10, 2, 3, 4}), tensor(kF16, {1, 2}, {1 + 0x1p-10, 10}),
        tensor(kF16, {4, 1}, {1, 0, 0, 0.5}), tensor(kF32, {1, 1}, {1})},
       mma,
       tensor(kF32, {1, 1}, {1 + (1 + 0x1p-10) * (1 + 0x1p-10) + 20})},
  };
}

std::vector<Row> scalar_and_memory_rows() {
  return {
      {Op::constant, {}, [](Builder& b, const Tiles&) { return b.literal(kI8, -3, -3); }, tensor(kI8, {1}, {-3})},
      {Op::constant, {}, [](Builder& b, const Tiles&) { return b.literal(kF16, 0.1, 0); }, tensor(kF16, {1}, {0.1})},
      {Op::constant, {}, [](Builder& b, const Tiles&) { return b.literal(kBool, 1, 1); }, tensor(kBool, {1}, {1})},
      {Op::group_id, {}, [](Builder& b, const Tiles&) { return b.group_id(0); }, tensor(kI64, {1}, {0})},
      {Op::ceildiv,
       {},
       [](Builder& b, const Tiles&) {
         const auto div = [&](int64_t x, int64_t y) { return b.op(Op::ceildiv, {b.lit(x), b.lit(y)}); };
         return div(7, 2) + div(8, 2) * b.lit(10) + div(0, 2) + div(1, 9) * b.lit(100);
       },
       tensor(kI64, {1}, {144})},
      {Op::add, {}, [](Builder& b, const Tiles&) { return b.lit(40) + 2; }, tensor(kI64, {1}, {42})},
      {Op::load,
       {tensor(kI8, {2, 3}, {1, 2, 3, 4, 5, 6})},
       [](Builder&, const Tiles& x) { return x[0]; },
       tensor(kI8, {2, 3}, {1, 2, 3, 4, 5, 6})},
      {Op::store,
       {tensor(kU4, {2}, {1, 15})},
       [](Builder&, const Tiles& x) { return x[0]; },
       tensor(kU4, {2}, {1, 15})},
      // Row numbers from 1 on, of three rows: -2 and 2 are outside; column 2 is the last.
      {Op::gather,
       {tensor(kI8, {3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}), tensor(kI32, {4}, {1, -2, -1, 2})},
       [](Builder& b, const Tiles& x) {
         const V s = b.shared(kI8, {3, 3});
         b.store(s, {b.lit(0), b.lit(0)}, x[0]);
         return b.gather(s, {b.lit(1), b.lit(1)}, x[1], {4, 3});
       },
       tensor(kI8, {4, 3}, {8, 9, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0})},
      {Op::scatter,
       {tensor(kI8, {3, 2}, {1, 2, 3, 4, 5, 6}), tensor(kI32, {3}, {1, 9, 0})},
       [](Builder& b, const Tiles& x) {
         const V s = b.shared(kI8, {2, 2});
         b.store(s, {b.lit(0), b.lit(0)}, b.fill(kI8, {2, 2}, 9));
         b.scatter(s, {b.lit(0), b.lit(1)}, x[1], x[0]);
         return b.load(s, {b.lit(0), b.lit(0)}, {2, 2});
       },
       tensor(kI8, {2, 2}, {9, 5, 9, 1})},
      {Op::shared,
       {tensor(kF16, {2, 2}, {1, 2, 3, 4})},
       [](Builder& b, const Tiles& x) {
         const V s = b.shared(kF16, {2, 3});
         b.store(s, {b.lit(0), b.lit(0)}, b.fill(kF16, {2, 3}, 9));
         b.store(s, {b.lit(1), b.lit(1)}, x[0]);
         return b.load(s, {b.lit(0), b.lit(1)}, {3, 3});
       },
       tensor(kF16, {3, 3}, {9, 9, 0, 1, 2, 0, 0, 0, 0})},
      // Fibonacci: the carried values trade places.
      {Op::loop,
       {tensor(kI32, {1}, {0}), tensor(kI32, {1}, {1})},
       [](Builder& b, const Tiles& x) {
         return b.loop(b.lit(3), b.lit(24), b.lit(2), x, [](V, const Tiles& c) { return Tiles{c[1], c[0] + c[1]}; })[1];
       },
       tensor(kI32, {1}, {144})},
      {Op::loop,
       {tensor(kI32, {1}, {5})},
       [](Builder& b, const Tiles& x) {
         return b.loop(b.lit(3), b.lit(3), b.lit(2), x, [](V, const Tiles& c) { return Tiles{c[0] + 1}; })[0];
       },
       tensor(kI32, {1}, {5})},
      {Op::cond,
       {tensor(kI32, {1}, {0})},
       [](Builder& b, const Tiles& x) {
         return b.loop(b.lit(0), b.lit(5), b.lit(1), x, [&](V i, const Tiles& c) {
           return b.cond(
               b.op(Op::lt, {i, b.lit(2)}), [&] { return Tiles{c[0] + 1}; }, [&] { return Tiles{c[0] + 10}; });
         })[0];
       },
       tensor(kI32, {1}, {32})},
      {Op::while_loop,
       {tensor(kI32, {1}, {6})},
       [](Builder& b, const Tiles& x) {
         const auto one = [&](V v) { return b.item(v); };
         return b.while_loop(
             {x[0], b.lit(0)},
             [&](const Tiles& c) {
               return b.op(Op::lt, {one(c[0]), b.literal(kI32, 50, 50)});
             },
             [&](const Tiles& c) {
               return Tiles{c[0] + c[0], c[1] + 1};
             })[1];
       },
       tensor(kI64, {1}, {4})},
      {Op::item,
       {tensor(kF16, {1, 1}, {3})},
       [](Builder& b, const Tiles& x) { return b.item(x[0]); },
       tensor(kF16, {1}, {3})},
      {Op::arrive,
       {},
       [](Builder& b, const Tiles&) {
         const V w = b.workspace("w", types::u32, {"W", "1"});
         b.arrive(w, {b.lit(0), b.lit(0)});
         const V second = b.arrive(w, {b.lit(0), b.lit(0)}), third = b.arrive(w, {b.lit(0), b.lit(0)});
         return second + third * b.lit(10);
       },
       tensor(kI64, {1}, {21})},
      // Column 1 and 2 of a workspace of 2 columns: the second is past the edge.
      {Op::atomic_add,
       {tensor(types::u32, {1, 2}, {4294967295.0, 5})},
       [](Builder& b, const Tiles& x) {
         const V w = b.workspace("w", types::u32, {"W", "2"});
         b.store(w, {b.lit(0), b.lit(0)}, x[0]);
         b.effect(Op::atomic_add, {w, b.lit(0), b.lit(1), x[0]});
         b.effect(Op::atomic_add, {w, b.lit(0), b.lit(0), x[0]});
         return b.load(w, {b.lit(0), b.lit(0)}, {1, 2});
       },
       tensor(types::u32, {1, 2}, {4294967294.0, 9})},
      // Nothing is stored after the exit: y stays 0.
      {Op::exit_if,
       {tensor(kI32, {1}, {7})},
       [](Builder& b, const Tiles& x) {
         b.effect(Op::exit_if, {b.literal(kBool, 0, 0)});
         b.loop(b.lit(0), b.lit(3), b.lit(1), {}, [&](V i, const Tiles&) {
           b.effect(Op::exit_if, {b.op(Op::eq, {i, b.lit(1)})});
           return Tiles{};
         });
         return x[0];
       },
       tensor(kI32, {1}, {0})},
      {Op::assert,
       {tensor(kI32, {1}, {7})},
       [](Builder& b, const Tiles& x) {
         b.effect(Op::assert, {b.literal(kBool, 1, 1)}, {.text = "holds"});
         return x[0];
       },
       tensor(kI32, {1}, {7})},
      {Op::print,
       {tensor(kI32, {1}, {7})},
       [](Builder& b, const Tiles& x) {
         b.effect(Op::print, {b.item(x[0])}, {.text = "x"});
         return x[0];
       },
       tensor(kI32, {1}, {7})},
      {Op::assume_multiple,
       {tensor(kI32, {1}, {7})},
       [](Builder& b, const Tiles& x) {
         b.effect(Op::assume_multiple, {b.lit(12)}, {.imm = 4});
         return x[0];
       },
       tensor(kI32, {1}, {7})},
      {Op::assume_range,
       {tensor(kI32, {1}, {7})},
       [](Builder& b, const Tiles& x) {
         b.effect(Op::assume_range, {b.lit(12)}, {.shape = {12, 12}});
         return x[0];
       },
       tensor(kI32, {1}, {7})},
      {Op::yield,
       {tensor(kI8, {1}, {1}), tensor(kI8, {1}, {2})},
       [](Builder& b, const Tiles& x) {
         const Tiles swapped = b.cond(
             b.literal(kBool, 0, 0), [&] { return x; },
             [&] {
               return Tiles{x[1], x[0]};
             });
         return swapped[0] - swapped[1];
       },
       tensor(kI8, {1}, {1})},
  };
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (auto* make : {float_rows, integer_rows, tile_rows, sum_rows, scalar_and_memory_rows})
    for (Row& row : make()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace

TEST_CASE("every row of the table gives the bits of its definition, and none is forgotten") {
  std::set<Op> met;
  for (const Row& row : all_rows()) {
    CAPTURE(info(row.op).name);
    CAPTURE(to_string(row.expected.elem));
    const Ran ran = run(row);
    bool executed = false;
    for (const auto& inst : ran.f.insts) executed = executed || inst.op == row.op;
    CHECK_MESSAGE(executed, "the kernel of this row does not hold its operation");
    for (size_t i = 0; i < ran.y.raw.size(); i++) {
      CAPTURE(i);
      CAPTURE(ran.y.at(static_cast<int64_t>(i)));
      CAPTURE(row.expected.at(static_cast<int64_t>(i)));
      const bool both_nan = row.expected.elem.is_float() && std::isnan(ran.y.at(static_cast<int64_t>(i))) &&
                            std::isnan(row.expected.at(static_cast<int64_t>(i)));
      CHECK((both_nan || ran.y.raw[i] == row.expected.raw[i]));
    }
    met.insert(row.op);
  }
  // Tokens: each turn waits for its rows while those of the next are on their way; past the edge they are 0.
  const auto f = parse(
      "kernel t(x: f32[M, 2], y: f32[N, 2]) grid [1] subgroups 1 {\n  a = issue(x[0, 0], room(x, [2, 2]))\n  commit()\n"
      "  free = room(x, [2, 2])\n  for i in 0 .. 6 step 2 {\n    tile = wait(a, 0)\n    next = issue(x[i + 2, 0], "
      "free)\n"
      "    commit()\n    store(y[i, 0], tile)\n    free = release(a)\n    a = next\n  }\n}\n",
      "tokens");
  REQUIRE(f);
  Tensors tensors{{"x", tensor(kF32, {3, 2}, {1, 2, 3, 4, 5, 6})}, {"y", tensor(kF32, {6, 2})}};
  must_run(*f, tensors);
  CHECK(tensors["y"].raw == tensor(kF32, {6, 2}, {1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0}).raw);
  f->walk(f->body, [&](BlockId, size_t, InstId id) { met.insert(f->inst(id).op); });
  for (int op = 0; op < kOpCount; op++)
    CHECK_MESSAGE(met.contains(static_cast<Op>(op)), "no test runs " << info(static_cast<Op>(op)).name);
}

TEST_CASE("f32 arithmetic equals the host's on random bits") {
  std::mt19937 rng(1);
  constexpr int64_t kCount = 20000;
  HostTensor x[3];
  for (HostTensor& t : x) {
    t = tensor(kF32, {kCount});
    // Close exponents in half of the cases, so that sums cancel and round.
    for (size_t i = 0; i < t.raw.size(); i++) t.raw[i] = i % 2 ? rng() : 0x3f000000u + (rng() & 0x81ffffffu);
  }
  const auto f = [](uint64_t raw) { return std::bit_cast<float>(static_cast<uint32_t>(raw)); };
  const auto check = [&](Op op, size_t operands, auto expected) {
    const Row row{
        op, {x, x + operands}, [&](Builder& b, const Tiles& t) { return b.op(op, t); }, tensor(kF32, {kCount})};
    const HostTensor y = run(row).y;
    int wrong = 0;
    for (size_t i = 0; i < y.raw.size(); i++) {
      const float want = expected(f(x[0].raw[i]), f(x[1].raw[i]), f(x[2].raw[i])), got = f(y.raw[i]);
      wrong += !(std::isnan(want) ? std::isnan(got) : std::bit_cast<uint32_t>(want) == y.raw[i]);
    }
    CHECK_MESSAGE(wrong == 0, info(op).name);
  };
  check(Op::add, 2, [](float a, float b, float) { return a + b; });
  check(Op::sub, 2, [](float a, float b, float) { return a - b; });
  check(Op::mul, 2, [](float a, float b, float) { return a * b; });
  check(Op::div, 2, [](float a, float b, float) { return a / b; });
  check(Op::sqrt, 1, [](float a, float, float) { return std::sqrt(a); });
  check(Op::fma, 3, [](float a, float b, float c) { return std::fma(a, b, c); });
}

TEST_CASE("i64: scalars are exact, wrap, and convert to f32 with one rounding") {
  const int64_t least = std::numeric_limits<int64_t>::min();
  // 2^24 + 1 doubled up with a bit that f64 drops: nearest f32 is above the midpoint.
  const int64_t values[] = {least, -1, (int64_t{1} << 62) + (int64_t{1} << 38) + 1, 9007199254740993};
  for (const int64_t v : values) {
    Builder b("wide", {1, 1, 1});
    const V exact = b.view("exact", kI64, {"5"}), rounded = b.view("rounded", kF32, {"1"});
    b.begin_grid();
    b.grid({b.lit(1)});
    const V x = b.lit(v);
    const V results[] = {x / b.lit(-1), x % b.lit(-1), x - b.lit(1), b.op(Op::abs, {x}), b.op(Op::shr, {x, b.lit(3)})};
    for (int i = 0; i < 5; i++) b.store(exact, {b.lit(i)}, b.op(Op::fill, {results[i]}, {.elem = kI64, .shape = {1}}));
    b.store(rounded, {b.lit(0)}, b.op(Op::fill, {b.cast(x, kF32)}, {.elem = kF32, .shape = {1}}));
    Tensors tensors{{"exact", tensor(kI64, {5})}, {"rounded", tensor(kF32, {1})}};
    must_run(finished(b), tensors);
    const auto wrapped_negative = uint64_t{0} - static_cast<uint64_t>(v);
    CHECK(tensors["exact"].raw == std::vector<uint64_t>{wrapped_negative, 0, static_cast<uint64_t>(v) - 1,
                                                        v < 0 ? wrapped_negative : static_cast<uint64_t>(v),
                                                        static_cast<uint64_t>(v >> 3)});
    CHECK(tensors["rounded"].raw[0] == std::bit_cast<uint32_t>(static_cast<float>(v)));
  }
}

}  // namespace lathe::tile
