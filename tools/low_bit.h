#pragma once
// One low-bit matmul from the host's side: its operands, a run of it anywhere, and how far the result is from exact.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/matmul.h"
#include "model/quantise.h"
#include "shaders/kernels.h"
#include "tools/place.h"

namespace lathe::tools {

/// Weights as they are stored in plain order, and the exact values that they stand for.
struct HostWeights {
  kernels::WeightFormat format;
  int64_t n = 0, k = 0, groups = 0;
  std::vector<std::byte> codes;         ///< a byte a code, or f16 elements
  std::vector<uint16_t> scales, zeros;  ///< f16, n x groups
  std::vector<float> values;            ///< n x k: (code - zero) * scale, exact
  PlainWeights plain() const { return {n, k, groups, codes, scales, zeros}; }
};

HostWeights weights_of(const model::Quantised& q);
/// Each value rounded to f16. bad_input: one that is not finite then.
Result<HostWeights> f16_weights(std::span<const float> w, int64_t n, int64_t k);
/// Codes, scales and zero points as the tests choose them; values are worked out.
HostWeights weights_of(const kernels::WeightFormat& format, int64_t n, int64_t k, std::vector<std::byte> codes,
                       std::vector<uint16_t> scales, std::vector<uint16_t> zeros);

struct LowBit {
  HostWeights weights;
  int64_t m = 0;
  std::vector<uint16_t> x;  ///< f16, m x k
  std::vector<float> bias;  ///< n, or empty
};

struct Product {
  std::vector<float> y;  ///< m x n
  std::string path, atoms, schedule, pack_id;
  std::vector<std::string> distrusted;  ///< see Matmul
  uint64_t weight_bytes = 0;            ///< held where it ran
  double us = 0, compile_ms = 0, driver_ms = 0;
};
/// `timed`: us is the median of several launches (one run of the interpreter), else 0.
Result<Product> multiply(const Place& place, const LowBit& p, bool timed);
/// By the interpreter; `schedule` changes the order of sums only.
Result<std::vector<float>> interpret(const LowBit& p, const Schedule& schedule);

/// y against y64 = x . w^T + bias in f64:  |y - y64| <= (2 u16 + k u32) sum_k |x||w| + u32 |y|,  u16 = 2^-11, u32 =
/// 2^-24.
struct Deviation {
  double max_abs_err = 0;
  double max_rel_err = 0;  ///< over the largest |y64|
  double of_bound = 0;     ///< the largest share of its bound that an error takes; above 1 it fails
  std::string worst;       ///< that element
  bool holds() const { return of_bound <= 1; }
};
Deviation deviation(const LowBit& p, std::span<const float> y);

}  // namespace lathe::tools
