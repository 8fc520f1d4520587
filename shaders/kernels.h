#pragma once
// The kernels: C++ functions that build a tile program. Nothing here knows a target.
#include "ir/tile.h"
#include "shaders/schedule.h"

namespace lathe::kernels {

/// What a weight tensor of n x k is made of: w = (code - zero) * scale.
struct WeightFormat {
  Type code = types::u4;      ///< f16, bf16 (no scales then), or an integer of at most 8 bits
  int64_t group = 128;        ///< weights along k that share a scale; 0: the whole row
  int64_t constant_zero = 0;  ///< a zero point all groups share
  bool zeros = false;         ///< zero points a group, as f16 integers
  bool operator==(const WeightFormat&) const = default;
  bool scaled() const { return code.is_int(); }
};

/// y[M, N] f32 = x[M, K] . dequant(w[N, K])^T (+ bias[N] f32). x: f16 or bf16 as `activation`.
/// Parameters in order: x, w (packed), s (packed, if scaled: activation[N, G]), z (packed, if zeros: f16[N, G]),
/// bias (if biased), y; with k_groups > 1 two workspaces. Grid: (M / tile_m, N / tile_n) rounded up, k_groups.
/// bad_input: a group that neither divides tile_k nor is a multiple of it.
Result<tile::Func> matmul(const WeightFormat& format, Type activation, bool biased, const Schedule& schedule);

/// y[R, C] = softmax over each row of x[R, C], C <= columns; one workgroup handles `rows` rows.
Result<tile::Func> softmax(Type type, int64_t rows, int64_t columns, int subgroups);
/// y[R, C] = x * weight[C] / sqrt(mean(x^2) + eps), C <= columns. Parameters x, weight, y, eps.
Result<tile::Func> rmsnorm(Type type, int64_t rows, int64_t columns, int subgroups);
/// y[C, R] = transpose of x[R, C], tile x tile a workgroup.
Result<tile::Func> transpose(Type type, int64_t tile, int subgroups);

}  // namespace lathe::kernels
