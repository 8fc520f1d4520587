// Matrix times quantised weights: one source for every weight format, every shape and every GPU.
#include <fmt/format.h>

#include "shaders/kernels.h"

namespace lathe::kernels {
namespace {

using tile::Builder;
using tile::V;

/// f[tile_n, g] with each column repeated over the k it covers.
V repeat_columns(Builder& b, V f, int64_t tile_k) {
  const Coord shape = b.type(f).shape;
  const int64_t n = shape[0], g = shape[1];
  if (g == 1) return b.broadcast(f, {n, tile_k});
  return b.reshape(b.broadcast(b.reshape(f, {n, g, 1}), {n, g, tile_k / g}), {n, tile_k});
}

/// The parameters of one group (scale or zero point) for the weights at (n0, k).
V load_groups(Builder& b, V param, V n0, V k, int64_t group, const Schedule& s) {
  if (group == 0) return b.load(param, {n0, b.lit(0)}, {s.tile_n, 1});
  return b.load(param, {n0, k / static_cast<double>(group)}, {s.tile_n, std::max<int64_t>(1, s.tile_k / group)});
}

}  // namespace

Result<tile::Func> matmul(const WeightFormat& format, Type activation, bool biased, const Schedule& s) {
  if (format.scaled() && format.group != 0 && format.group % s.tile_k != 0 && s.tile_k % format.group != 0)
    return bad_input(fmt::format("groups of {} do not fit k steps of {}", format.group, s.tile_k));
  Builder b("matmul_" + to_string(format.code), s.split);
  const V x = b.view("x", activation, {"M", "K"});
  const V w = b.view("w", format.code, {"N", "K"}, true);
  const V scale = format.scaled() ? b.view("s", activation, {"N", "G"}, true) : V{};
  const V zero = format.zeros ? b.view("z", types::f16, {"N", "G"}, true) : V{};
  const V bias = biased ? b.view("bias", types::f32, {"N"}) : V{};
  const V y = b.view("y", types::f32, {"M", "N"});
  b.begin_grid();
  b.grid({b.op(tile::Op::ceildiv, {b.symbol("N"), b.lit(s.tile_n)}),
          b.op(tile::Op::ceildiv, {b.symbol("M"), b.lit(s.tile_m)})});

  const V n0 = b.named(b.group_id(0) * static_cast<double>(s.tile_n), "n0");
  const V m0 = b.named(b.group_id(1) * static_cast<double>(s.tile_m), "m0");
  const V start = b.named(b.fill(types::f32, {s.tile_n, s.tile_m}, 0), "acc");
  const auto sums = b.loop(
      b.lit(0), b.symbol("K"), b.lit(s.tile_k), {start},
      [&](V k, const std::vector<V>& acc) -> std::vector<V> {
        V q = b.named(b.load(w, {n0, k}, {s.tile_n, s.tile_k}), "q");
        const V a = b.named(b.load(x, {m0, k}, {s.tile_m, s.tile_k}), "a");
        if (format.scaled()) {
          q = b.cast(q, activation);
          if (format.constant_zero != 0) q = q - static_cast<double>(format.constant_zero);
          if (format.zeros)
            q = q - repeat_columns(b, b.cast(load_groups(b, zero, n0, k, format.group, s), activation), s.tile_k);
          q = b.named(q * repeat_columns(b, b.named(load_groups(b, scale, n0, k, format.group, s), "f"), s.tile_k),
                      "wd");
        }
        return {b.named(b.mma(q, b.transpose(a), acc[0]), "acc")};
      },
      s.stages);
  V out = b.transpose(sums[0]);
  if (biased) {
    const V row = b.reshape(b.load(bias, {n0}, {s.tile_n}), {1, s.tile_n});
    out = out + b.broadcast(row, {s.tile_m, s.tile_n});
  }
  b.store(y, {m0, n0}, out);
  return b.finish();
}

}  // namespace lathe::kernels
