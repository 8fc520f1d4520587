#pragma once
// f16 <-> f32 on the host, branch-free enough for tensors of 10^8 elements. The same values as ir/types' encode and
// decode.
#include <bit>
#include <cstdint>

namespace lathe::model {

inline constexpr float kMaxF16 = 65504;

/// Exact; NaN stays NaN.
inline float f32_from_f16(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ff) << 13);
  // Exponent and mantissa in place, then the difference of the two biases (127 - 15) as one exact multiplication,
  // which normalises subnormals as well.
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f));
}

/// Nearest, ties to even; beyond 65519.99 infinity; NaN stays NaN.
inline uint16_t f16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (magnitude > 0x7f800000u) return sign | 0x7e00;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;  // 65520, where the tie rounds up to infinity
  if (magnitude < 0x38800000u) {                       // under 2^-14: adding 0.5 leaves the subnormal in the low bits
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u);
  }
  // Move the bias, and round: half of the last place, less one unless the kept part is odd.
  return sign | static_cast<uint16_t>((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13);
}

}  // namespace lathe::model
