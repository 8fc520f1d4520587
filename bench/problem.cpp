#include "bench/problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/half.h"

namespace lathe::bench {
namespace {

/// Splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t operator()() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>((*this)() % static_cast<uint64_t>(n)); }

 private:
  uint64_t state_;
};

/// Patterns of floats of either type, all normal: x in 1/8 .. 1, scales in 2^-7 .. 2^-6, f16 weights in 2^-6 .. 2^-5.
struct Range {
  int64_t first, count;
};
constexpr Range kWeights{0x2400, 0x400};
Range x_range(Type t) { return t == types::f16 ? Range{0x3000, 0xc00} : Range{0x3e00, 0x180}; }
Range scale_range(Type t) { return t == types::f16 ? Range{0x2000, 0x400} : Range{0x3c00, 0x80}; }

uint16_t pick(Range r, Random& random, bool with_sign) {
  const uint64_t bits = random();
  const auto sign = static_cast<uint16_t>(with_sign && bits >> 63 ? 0x8000 : 0);
  return static_cast<uint16_t>(sign | (r.first + static_cast<int64_t>(bits % static_cast<uint64_t>(r.count))));
}

/// Half a unit in the last place of 1.
double rounding(Type t) { return std::exp2(-1 - t.man); }

}  // namespace

Problem::Problem(const Format& format, Shape shape, int64_t most_tokens)
    : format_(format), shape_(shape), most_tokens_(most_tokens) {
  make_weights();
  Random random(5);
  x_.resize(static_cast<size_t>(most_tokens * shape.k));
  for (uint16_t& v : x_) v = pick(x_range(format.activation), random, true);
}

void Problem::make_weights() {
  Random random(7);
  const kernels::WeightFormat& f = format_.weights;
  const auto count = static_cast<size_t>(shape_.n * shape_.k);
  if (!f.scaled()) {
    codes_.resize(2 * count);
    for (size_t i = 0; i < count; i++) {
      const uint16_t half = pick(kWeights, random, true);
      std::memcpy(&codes_[2 * i], &half, 2);
    }
    return;
  }
  codes_.resize(count);
  const uint8_t mask = static_cast<uint8_t>((1 << f.code.bits) - 1);
  const uint8_t sign = f.code.kind == Kind::sint ? static_cast<uint8_t>(1 << (f.code.bits - 1)) : 0;
  for (size_t i = 0; i < count; i += 8) {
    uint64_t bits = random();
    for (size_t j = i; j < std::min(i + 8, count); j++, bits >>= 8) {
      const auto code = static_cast<uint8_t>(bits & mask);
      codes_[j] = static_cast<std::byte>(static_cast<uint8_t>((code ^ sign) - sign));
    }
  }
  groups_ = f.group == 0 ? 1 : (shape_.k + f.group - 1) / f.group;
  scales_.resize(static_cast<size_t>(shape_.n * groups_));
  for (uint16_t& s : scales_) s = pick(scale_range(format_.activation), random, false);
  zeros_.resize(f.zeros ? scales_.size() : 0);
  for (uint16_t& z : zeros_) z = model::f16_from_f32(static_cast<float>(random.below(int64_t{1} << f.code.bits)));
}

int64_t Problem::group_width() const {
  const kernels::WeightFormat& f = format_.weights;
  return f.scaled() && f.group != 0 ? f.group : shape_.k;
}

void Problem::decode_group(int64_t row, int64_t first, std::span<float> into) const {
  const kernels::WeightFormat& f = format_.weights;
  const auto at = static_cast<size_t>(row * shape_.k + first);
  if (!f.scaled()) {
    for (size_t i = 0; i < into.size(); i++) {
      uint16_t half = 0;
      std::memcpy(&half, &codes_[2 * (at + i)], 2);
      into[i] = model::f32_from_f16(half);
    }
    return;
  }
  const auto of = static_cast<size_t>(row * groups_ + first / group_width());
  const float zero = f.zeros ? model::f32_from_f16(zeros_[of]) : static_cast<float>(f.constant_zero);
  const auto scale = static_cast<float>(decode(format_.activation, scales_[of]));
  for (size_t i = 0; i < into.size(); i++) {
    const auto byte = static_cast<uint8_t>(codes_[at + i]);
    const int code = f.code.kind == Kind::sint ? static_cast<int8_t>(byte) : byte;
    into[i] = (static_cast<float>(code) - zero) * scale;
  }
}

std::vector<float> Problem::decode_row(int64_t row) const {
  std::vector<float> out(static_cast<size_t>(shape_.k));
  for (int64_t first = 0; first < shape_.k; first += group_width())
    decode_group(row, first,
                 std::span(out).subspan(static_cast<size_t>(first),
                                        static_cast<size_t>(std::min(group_width(), shape_.k - first))));
  return out;
}

std::vector<uint16_t> Problem::f16_weights() const {
  std::vector<uint16_t> out;
  out.reserve(static_cast<size_t>(shape_.n * shape_.k));
  for (int64_t row = 0; row < shape_.n; row++)
    for (const float w : decode_row(row)) out.push_back(model::f16_from_f32(w));
  return out;
}

std::vector<Problem::Sample> Problem::samples(int64_t m) const {
  constexpr int kRows = 12, kColumns = 16;
  const double part = 2 * rounding(format_.activation) + static_cast<double>(shape_.k) * rounding(types::f32);
  Random random(3);
  std::vector<Sample> all;
  for (int i = 0; i < std::min<int64_t>(kRows, m); i++) {
    const int64_t row = i == 0 ? 0 : i == 1 ? m - 1 : random.below(m);
    std::vector<double> x;
    for (int64_t j = 0; j < shape_.k; j++)
      x.push_back(decode(format_.activation, x_[static_cast<size_t>(row * shape_.k + j)]));
    for (int c = 0; c < std::min<int64_t>(kColumns, shape_.n); c++) {
      const int64_t column = c == 0 ? 0 : c == 1 ? shape_.n - 1 : random.below(shape_.n);
      double exact = 0, size = 0;
      const std::vector<float> w = decode_row(column);
      for (size_t j = 0; j < w.size(); j++) {
        const double product = x[j] * w[j];
        exact += product, size += std::abs(product);
      }
      all.push_back({row, column, exact, part * size});
    }
  }
  return all;
}

Result<double> error_over_bound(runtime::Device& device, const runtime::Buffer& y, Type type, const Problem& problem,
                                int64_t m) {
  const auto n = static_cast<size_t>(problem.shape().n), width = static_cast<size_t>(type.bits / 8);
  std::vector<std::byte> line(n * width);
  int64_t held = -1;
  double worst = 0;
  for (const Problem::Sample& s : problem.samples(m)) {
    if (s.row != held) TRY(lift(device.download(y, static_cast<uint64_t>(s.row) * line.size(), line)));
    held = s.row;
    uint64_t raw = 0;
    std::memcpy(&raw, &line[static_cast<size_t>(s.column) * width], width);
    const double have = decode(type, raw);
    if (!std::isfinite(have)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(have - s.exact) / (s.bound + rounding(type) * std::abs(have)));
  }
  return worst;
}

}  // namespace lathe::bench
