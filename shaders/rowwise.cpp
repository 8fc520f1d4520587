// Row kernels: a whole row is held by the workgroup; columns past the end are masked by a select.
#include "shaders/kernels.h"

namespace lathe::kernels {
namespace {

using tile::Builder;
using tile::Op;
using tile::ReduceKind;
using tile::V;

V row_grid(Builder& b, int64_t rows) {
  b.begin_grid();
  b.grid({b.op(Op::ceildiv, {b.symbol("R"), b.lit(rows)})});
  return b.named(b.group_id(0) * static_cast<double>(rows), "r0");
}

}  // namespace

Result<tile::Func> softmax(Type type, int64_t rows, int64_t columns, int subgroups) {
  Builder b("softmax", {subgroups, 1, 1});
  const V x = b.view("x", type, {"R", "C"});
  const V y = b.view("y", type, {"R", "C"});
  const V r0 = row_grid(b, rows);
  const Coord shape{rows, columns};
  const V in = b.cast(b.load(x, {r0, b.lit(0)}, shape), types::f32);
  const V inside = b.binary(Op::lt, b.iota(shape, 1), b.cast(b.symbol("C"), types::i32));
  const V kept = b.op(Op::select, {inside, in, b.fill(types::f32, shape, -1e30)});
  const V top = b.reduce(kept, 1, ReduceKind::max);
  const V e = b.named(
      b.op(Op::select, {inside, b.op(Op::exp, {kept - b.broadcast(top, shape)}), b.fill(types::f32, shape, 0)}), "e");
  const V sum = b.reduce(e, 1, ReduceKind::sum);
  b.store(y, {r0, b.lit(0)}, b.cast(e / b.broadcast(sum, shape), type));
  return b.finish();
}

Result<tile::Func> rmsnorm(Type type, int64_t rows, int64_t columns, int subgroups) {
  Builder b("rmsnorm", {subgroups, 1, 1});
  const V x = b.view("x", type, {"R", "C"});
  const V weight = b.view("weight", type, {"C"});
  const V y = b.view("y", type, {"R", "C"});
  const V eps = b.scalar("eps", types::f32);
  const V r0 = row_grid(b, rows);
  const Coord shape{rows, columns}, column{rows, 1};
  const V in = b.cast(b.load(x, {r0, b.lit(0)}, shape), types::f32);
  const V mean = b.reduce(in * in, 1, ReduceKind::sum) /
                 b.op(Op::fill, {b.cast(b.symbol("C"), types::f32)}, {.elem = types::f32, .shape = column});
  const V factor = b.op(Op::rsqrt, {b.binary(Op::add, mean, eps)});
  const V scale =
      b.broadcast(b.reshape(b.cast(b.load(weight, {b.lit(0)}, {columns}), types::f32), {1, columns}), shape);
  b.store(y, {r0, b.lit(0)}, b.cast(in * b.broadcast(factor, shape) * scale, type));
  return b.finish();
}

Result<tile::Func> transpose(Type type, int64_t tile, int subgroups) {
  Builder b("transpose", {subgroups, 1, 1});
  const V x = b.view("x", type, {"R", "C"});
  const V y = b.view("y", type, {"C", "R"});
  b.begin_grid();
  b.grid({b.op(Op::ceildiv, {b.symbol("C"), b.lit(tile)}), b.op(Op::ceildiv, {b.symbol("R"), b.lit(tile)})});
  const V c0 = b.named(b.group_id(0) * static_cast<double>(tile), "c0");
  const V r0 = b.named(b.group_id(1) * static_cast<double>(tile), "r0");
  b.store(y, {c0, r0}, b.transpose(b.load(x, {r0, c0}, {tile, tile})));
  return b.finish();
}

}  // namespace lathe::kernels
