#include "model/quantise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/half.h"

namespace lathe::model {
namespace {

struct GroupRange {
  double lowest = 0, highest = 0;  ///< of the weights and 0
};

Result<Unit> check(const Scheme& s, int64_t n, int64_t k) {
  if (s.code != types::i4 && s.code != types::u4) {
    return bad_input(fmt::format("weights are quantised to i4 or u4, not to {}", to_string(s.code)));
  }
  if (s.zero && s.code == types::i4) return bad_input("i4 is symmetric: it has no zero points");
  if (s.group < 0) return bad_input(fmt::format("a group of {} weights", s.group));
  if (n < 0 || k < 0) return bad_input(fmt::format("{} x {} weights", n, k));
  return Unit{};
}

Result<GroupRange> range_of(const float* w, int64_t count, int64_t row, int64_t first) {
  GroupRange r;
  for (int64_t i = 0; i < count; i++) {
    if (!std::isfinite(w[i])) return bad_input(fmt::format("the weight at [{}, {}] is {}", row, first + i, w[i]));
    r.lowest = std::min(r.lowest, double{w[i]});
    r.highest = std::max(r.highest, double{w[i]});
  }
  return r;
}

double exact_scale(const Scheme& s, const GroupRange& r) {
  if (s.code == types::i4) return std::max(r.highest, -r.lowest) / 7;
  return (s.zero ? r.highest - r.lowest : r.highest) / 15;
}

}  // namespace

Result<Quantised> quantise(const float* w, int64_t n, int64_t k, const Scheme& scheme) {
  TRY(check(scheme, n, k));
  const int64_t group = scheme.group == 0 ? std::max<int64_t>(k, 1) : scheme.group;
  Quantised q{scheme, n, k, k / group + (k % group != 0), {}, {}, {}};
  q.codes.resize(static_cast<size_t>(n * k));
  q.scales.resize(static_cast<size_t>(n * q.groups));
  if (scheme.zero) q.zeros.resize(q.scales.size());
  const double least = scheme.code == types::i4 ? -8 : 0, most = scheme.code == types::i4 ? 7 : 15;
  size_t at = 0;  // of the group
  for (int64_t row = 0; row < n; row++) {
    for (int64_t first = 0; first < k; first += std::min(group, k - first), at++) {
      const int64_t count = std::min(group, k - first);
      const float* from = w + row * k + first;
      TRY_ASSIGN(const GroupRange range, range_of(from, count, row, first));
      const uint16_t bits = static_cast<uint16_t>(encode(types::f16, exact_scale(scheme, range)));
      const double scale = f32_from_f16(bits);
      if (std::isinf(scale)) {
        return bad_input(fmt::format("row {}: weights from {} to {} need a scale beyond f16's {}", row, range.lowest,
                                     range.highest, kMaxF16));
      }
      q.scales[at] = bits;
      if (scale == 0) continue;  // codes and zero point stay 0
      // nearbyint: to nearest, ties to even, the mode every program starts in.
      const double zero = scheme.zero ? std::clamp(std::nearbyint(-range.lowest / scale), 0.0, 15.0) : 0;
      if (scheme.zero) q.zeros[at] = static_cast<uint8_t>(zero);
      int8_t* to = q.codes.data() + row * k + first;
      for (int64_t i = 0; i < count; i++) {
        to[i] = static_cast<int8_t>(std::clamp(std::nearbyint(from[i] / scale) + zero, least, most));
      }
    }
  }
  return q;
}

std::vector<float> dequantise(const Quantised& q) {
  std::vector<float> out(q.codes.size());
  const int64_t group = q.scheme.group == 0 ? std::max<int64_t>(q.k, 1) : q.scheme.group;
  for (int64_t row = 0; row < q.n; row++) {
    for (int64_t i = 0; i < q.k; i++) {
      const size_t at = static_cast<size_t>(row * q.k + i), of = static_cast<size_t>(row * q.groups + i / group);
      const int zero = q.zeros.empty() ? 0 : q.zeros[of];
      out[at] = static_cast<float>(q.codes[at] - zero) * f32_from_f16(q.scales[of]);
    }
  }
  return out;
}

}  // namespace lathe::model
