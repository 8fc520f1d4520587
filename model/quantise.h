#pragma once
// Weights to 4-bit codes with an f16 scale, and perhaps a whole zero point, for each group along K.
#include <cstdint>
#include <vector>

#include "ir/result.h"
#include "ir/types.h"

namespace lathe::model {

struct Scheme {
  Type code = types::u4;  ///< i4 (symmetric) or u4
  int64_t group = 128;    ///< weights along K that share a scale; 0: the whole row. The last group may be short.
  bool zero = true;       ///< u4 only: a whole zero point 0..15 a group; without it negative weights become 0
};

/// w[n][k] is about (codes[n][k] - zeros[n][k / group]) * scales[n][k / group].
struct Quantised {
  Scheme scheme;
  int64_t n = 0, k = 0;
  int64_t groups = 0;            ///< of a row
  std::vector<int8_t> codes;     ///< n x k: -8..7 or 0..15
  std::vector<uint16_t> scales;  ///< n x groups, f16
  std::vector<uint8_t> zeros;    ///< n x groups, 0..15; empty without zero points
};

/// Scale: max|w| / 7 for i4; (max(w, 0) - min(w, 0)) / 15 for u4 with zero points; max(w, 0) / 15 without; rounded to
/// f16 before anything else is computed from it. Code: w / scale to nearest even, plus the zero point, clamped. A group
/// of zeros, or whose scale underflows, has scale, codes and zero point 0. bad_input: a weight that is no finite
/// number, a scale beyond f16 (the row is named), a scheme that does not exist. w: n * k values, row-major.
Result<Quantised> quantise(const float* w, int64_t n, int64_t k, const Scheme& scheme);

/// The weights that the codes stand for, n x k: (code - zero) * scale, exact in f32.
std::vector<float> dequantise(const Quantised& q);

}  // namespace lathe::model
