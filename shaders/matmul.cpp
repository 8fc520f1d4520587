// Matrix times quantised weights: one source for every weight format, every shape and every GPU.
#include <fmt/format.h>

#include "shaders/kernels.h"

namespace lathe::kernels {
namespace {

using tile::Builder;
using tile::V;

/// f[tile_n, g] with each column repeated over the k it covers.
V repeat_columns(Builder& b, V f, int64_t tile_k) { return b.repeat(f, 1, tile_k / b.type(f).shape[1]); }

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
  for (const V& weights : {w, scale, zero})
    if (weights.b) b.constant(weights);
  const V bias = biased ? b.view("bias", types::f32, {"N"}) : V{};
  const V y = b.view("y", types::f32, {"M", "N"});
  const Coord tile{s.tile_n, s.tile_m};
  const bool shared_k = s.k_groups > 1;
  const V sums =
      shared_k ? b.workspace("sums", types::f32, {"W", std::to_string(tile[0]), std::to_string(tile[1])}) : V{};
  const V arrived = shared_k ? b.workspace("arrived", types::u32, {"W", "1"}) : V{};
  const auto tiles = [&](const char* size, int64_t extent) {
    return b.op(tile::Op::ceildiv, {b.symbol(size), b.lit(extent)});
  };
  b.begin_grid();
  // Neighbours read the same weights.
  std::vector<V> axes{tiles("M", s.tile_m), tiles("N", s.tile_n)};
  if (shared_k) axes.push_back(b.lit(s.k_groups));
  b.grid(axes);

  const V n0 = b.named(b.group_id(1) * static_cast<double>(s.tile_n), "n0");
  const V m0 = b.named(b.group_id(0) * static_cast<double>(s.tile_m), "m0");
  const V start = b.named(b.fill(types::f32, tile, 0), "acc");
  V k0 = b.lit(0), k1 = b.symbol("K");
  if (shared_k) {  // whole turns of the loop, as many for each group
    const V turns = b.op(tile::Op::ceildiv, {tiles("K", s.tile_k), b.lit(s.k_groups)});
    const V length = turns * static_cast<double>(s.tile_k);
    k0 = b.named(b.group_id(2) * length, "k0");
    k1 = b.named(b.op(tile::Op::min, {k0 + length, k1}), "k1");
  }
  const V acc = b.loop(
      k0, k1, b.lit(s.tile_k), {start},
      [&](V k, const std::vector<V>& carried) -> std::vector<V> {
        b.named(k, "k");
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
        return {b.named(b.mma(q, b.transpose(a), carried[0]), "acc")};
      },
      s.stages)[0];
  const auto finish = [&](V sum) {
    V out = b.transpose(sum);
    if (biased) {
      const V row = b.reshape(b.load(bias, {n0}, {s.tile_n}), {1, s.tile_n});
      out = out + b.broadcast(row, {s.tile_m, s.tile_n});
    }
    b.store(y, {m0, n0}, out);
  };
  if (!shared_k) {
    finish(acc);
    return b.finish();
  }
  const V zero_at = b.lit(0), one = b.lit(1);
  const V place = b.named(b.group_id(1) * tiles("M", s.tile_m) + b.group_id(0), "place");
  const V first = b.named(place * static_cast<double>(s.k_groups), "first");
  const Coord slot{1, tile[0], tile[1]};
  b.store(sums, {first + b.group_id(2), zero_at, zero_at}, b.reshape(acc, slot));
  const V before = b.named(b.arrive(arrived, {place, zero_at}), "before");
  b.cond(
      b.op(tile::Op::eq, {before, b.lit(s.k_groups - 1)}),
      [&]() -> std::vector<V> {
        const auto total = b.loop(zero_at, b.lit(s.k_groups), one, {b.fill(types::f32, tile, 0)},
                                  [&](V g, const std::vector<V>& sum) -> std::vector<V> {
                                    const V part = b.load(sums, {first + g, zero_at, zero_at}, slot);
                                    return {b.named(sum[0] + b.reshape(part, tile), "total")};
                                  });
        b.store(arrived, {place, zero_at}, b.fill(types::u32, {1, 1}, 0));
        finish(total[0]);
        return {};
      },
      [] { return std::vector<V>{}; });
  return b.finish();
}

}  // namespace lathe::kernels
