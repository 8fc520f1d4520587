// 4-bit quantisation against its definition, on random weights and on the edges.
#include "model/quantise.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

#include "model/half.h"

using namespace lathe;
using namespace lathe::model;

namespace {

/// To nearest, ties to even, from the definition.
double round_even(double v) {
  const double below = std::floor(v), over = v - below;
  if (over != 0.5) return over < 0.5 ? below : below + 1;
  return std::fmod(below, 2) == 0 ? below : below + 1;
}

double clamp(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

struct Expected {
  double scale, zero;
  std::vector<double> codes;
};

/// One group by the words of the definition.
Expected expected(const std::vector<double>& w, const Scheme& s) {
  double low = 0, high = 0, most = 0;
  for (const double v : w) {
    low = std::min(low, v);
    high = std::max(high, v);
    most = std::max(most, std::fabs(v));
  }
  const double exact = s.code == types::i4 ? most / 7 : s.zero ? (high - low) / 15 : high / 15;
  Expected e{decode(types::f16, encode(types::f16, exact)), 0, std::vector<double>(w.size())};
  if (e.scale == 0) return e;
  if (s.zero) e.zero = clamp(round_even(-low / e.scale), 0, 15);
  for (size_t i = 0; i < w.size(); i++) {
    const double q = round_even(w[i] / e.scale);
    e.codes[i] = s.code == types::i4 ? clamp(q, -8, 7) : clamp(q + e.zero, 0, 15);
  }
  return e;
}

const Scheme kSchemes[] = {{types::i4, 128, false}, {types::u4, 128, true}, {types::u4, 128, false}};

Scheme with_group(Scheme s, int64_t group) {
  s.group = group;
  return s;
}

}  // namespace

TEST_CASE("random weights: codes, scales, zero points and what they stand for, by the definition") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const Scheme& base : kSchemes) {
    for (const int64_t group : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{32}, int64_t{128}}) {
      for (const int64_t k : {int64_t{1}, int64_t{31}, int64_t{128}, int64_t{130}}) {
        const Scheme s = with_group(base, group);
        const int64_t n = 5, length = group ? group : k, groups = (k + length - 1) / length;
        std::vector<float> w(static_cast<size_t>(n * k));
        // Rows of very different size, one with all its weights on one side of 0; every third weight an f16.
        for (size_t i = 0; i < w.size(); i++) {
          const int64_t row = static_cast<int64_t>(i) / k;
          w[i] = std::ldexp(normal(random), static_cast<int>(8 * row - 20));
          if (row == 2) w[i] = std::fabs(w[i]);
          if (row == 3) w[i] = -std::fabs(w[i]);
          if (i % 3 == 0) w[i] = f32_from_f16(f16_from_f32(w[i]));
        }
        const auto q = quantise(w.data(), n, k, s);
        REQUIRE_MESSAGE(q.has_value(), q.error().text);
        REQUIRE(q->groups == groups);
        REQUIRE(q->codes.size() == w.size());
        REQUIRE(q->scales.size() == static_cast<size_t>(n * groups));
        REQUIRE(q->zeros.size() == (s.zero ? q->scales.size() : 0));
        const std::vector<float> back = dequantise(*q);
        int wrong = 0;
        for (int64_t row = 0; row < n; row++) {
          for (int64_t g = 0; g < groups; g++) {
            const int64_t first = g * length, count = std::min(length, k - first);
            const float* from = w.data() + row * k + first;
            const Expected e = expected(std::vector<double>(from, from + count), s);
            const size_t at = static_cast<size_t>(row * groups + g);
            wrong += decode(types::f16, q->scales[at]) != e.scale;
            wrong += s.zero && q->zeros[at] != e.zero;
            for (int64_t i = 0; i < count; i++) {
              const size_t of = static_cast<size_t>(row * k + first + i);
              wrong += q->codes[of] != e.codes[static_cast<size_t>(i)];
              wrong += double{back[of]} != (e.codes[static_cast<size_t>(i)] - e.zero) * e.scale;  // exact, not rounded
            }
          }
        }
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("a scheme is good: i4 and u4 with zero points are within half a scale where nothing is clamped") {
  std::vector<float> w(256);
  for (size_t i = 0; i < w.size(); i++) w[i] = std::sin(static_cast<float>(i) * 0.7f) + 0.3f;
  for (const Scheme& s : {kSchemes[0], kSchemes[1]}) {
    const auto q = quantise(w.data(), 2, 128, s);
    REQUIRE(q.has_value());
    const std::vector<float> back = dequantise(*q);
    for (size_t i = 0; i < w.size(); i++) {
      // The zero point is rounded too, so an end of the range may lie up to a whole scale off.
      CHECK(std::fabs(back[i] - w[i]) <= (s.zero ? 1.01f : 0.51f) * f32_from_f16(q->scales[i / 128]));
    }
  }
}

TEST_CASE("ties go to the even code; the scale is rounded to f16 first") {
  // max 7 * 2^-3 gives the scale 2^-3 exactly: 0.5, 1.5, 2.5 scales are ties.
  const float ties[] = {0.875f, 0.0625f, 0.1875f, 0.3125f, -0.0625f, -0.1875f};
  const auto q = quantise(ties, 1, 6, {types::i4, 0, false});
  REQUIRE(q.has_value());
  CHECK(q->scales == std::vector<uint16_t>{0x3000});
  CHECK(q->codes == std::vector<int8_t>{7, 0, 2, 2, 0, -2});
  // 1 / 7 rounds down to 0x3092: 1 is a little over 7 scales. Half of 1 / 7, times 1, is over half of the f16 scale.
  const float sevenths[] = {1, 0.07142857f};
  const auto r = quantise(sevenths, 1, 2, {types::i4, 0, false});
  REQUIRE(r.has_value());
  CHECK(r->scales == std::vector<uint16_t>{0x3092});
  CHECK(r->codes == std::vector<int8_t>{7, 1});
}

TEST_CASE("zeros and scales that underflow give scale, codes and zero points of 0") {
  const float tiny = 0x1p-26f;  // over 7 or 15: under half of the smallest f16
  const float w[] = {0, 0, -0.0f, tiny, -tiny, tiny, 1, -1, 0.5f};
  for (const Scheme& base : kSchemes) {
    const auto q = quantise(w, 1, 9, with_group(base, 3));
    REQUIRE(q.has_value());
    CHECK(q->scales[0] == 0);
    CHECK(q->scales[1] == 0);
    CHECK(q->scales[2] != 0);
    for (size_t i = 0; i < 6; i++) CHECK(q->codes[i] == 0);
    if (base.zero) CHECK(q->zeros[0] + q->zeros[1] == 0);
    for (size_t i = 0; i < 6; i++) CHECK(dequantise(*q)[i] == 0);
  }
}

TEST_CASE("u4: all weights above 0 have zero point 0, all below have 15; without zero points negatives become 0") {
  const float above[] = {1, 15, 8}, below[] = {-1, -15, -8}, both[] = {-5, 15, 7.5f};
  CHECK(quantise(above, 1, 3, {types::u4, 0, true})->zeros == std::vector<uint8_t>{0});
  const auto q = quantise(below, 1, 3, {types::u4, 0, true});
  CHECK(q->zeros == std::vector<uint8_t>{15});
  CHECK(q->codes == std::vector<int8_t>{14, 0, 7});
  CHECK(dequantise(*q) == std::vector<float>{-1, -15, -8});
  CHECK(quantise(both, 1, 3, {types::u4, 0, false})->codes == std::vector<int8_t>{0, 15, 8});
}

TEST_CASE("no weights, in either direction") {
  for (const Scheme& s : kSchemes) {
    const auto no_rows = quantise(nullptr, 0, 128, s), no_columns = quantise(nullptr, 3, 0, with_group(s, 0));
    REQUIRE(no_rows.has_value());
    REQUIRE(no_columns.has_value());
    CHECK(no_rows->groups == 1);
    CHECK(no_columns->groups == 0);
    CHECK(dequantise(*no_rows).empty());
    CHECK(dequantise(*no_columns).empty());
  }
}

TEST_CASE("a group beyond the row is the row") {
  const float w[] = {1, 2, 3};
  const auto q = quantise(w, 1, 3, {types::i4, std::numeric_limits<int64_t>::max(), false});
  REQUIRE(q.has_value());
  CHECK(q->groups == 1);
  CHECK(dequantise(*q).size() == 3);
}

TEST_CASE("what cannot be quantised is an error that says where") {
  const auto error = [](std::vector<float> w, int64_t n, const Scheme& s) {
    const auto q = quantise(w.data(), n, static_cast<int64_t>(w.size()) / n, s);
    if (q) return std::string("none");
    CHECK(q.error().code == Error::Code::bad_input);
    return q.error().text;
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Scheme i4{types::i4, 2, false}, u4{types::u4, 2, true};
  CHECK(error({1, 2, 3, NAN}, 2, i4) == "the weight at [1, 1] is nan");
  CHECK(error({1, 2, 3, -kInfinity, 5, 6}, 1, u4) == "the weight at [0, 3] is -inf");
  CHECK(error({1, 2, 458000, 0}, 2, i4) == "none");
  CHECK(error({1, 2, -459000, 0}, 2, i4) == "row 1: weights from -459000 to 0 need a scale beyond f16's 65504");
  CHECK(error({3e38f, -3e38f}, 1, u4).starts_with("row 0: "));
  CHECK(error({1, 2}, 1, {types::i4, 2, true}) == "i4 is symmetric: it has no zero points");
  CHECK(error({1, 2}, 1, {types::u8, 2, false}).find("not to u8") != std::string::npos);
  CHECK(error({1, 2}, 1, {types::u4, -1, false}) == "a group of -1 weights");
}
