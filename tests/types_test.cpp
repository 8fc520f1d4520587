// Element types: names, and the value of every bit pattern.
#include "ir/types.h"

#include <doctest/doctest.h>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

using namespace lathe;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The value by the definition of IEEE 754, slowly.
double by_definition(Type t, uint64_t raw) {
  const int exponent = static_cast<int>(raw >> t.man) % (1 << t.exp), bias = (1 << (t.exp - 1)) - 1;
  const double fraction = static_cast<double>(raw % (uint64_t{1} << t.man)) / std::pow(2.0, t.man);
  const double sign = raw >> (t.bits - 1) ? -1.0 : 1.0;
  if (exponent == (1 << t.exp) - 1) return fraction != 0 ? kNaN : sign * kInfinity;
  if (exponent == 0) return sign * fraction * std::pow(2.0, 1 - bias);
  return sign * (1 + fraction) * std::pow(2.0, exponent - bias);
}

bool same_double(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

}  // namespace

TEST_CASE("every 16-bit pattern decodes to its value, and its value encodes to the pattern") {
  for (const Type t : {types::f16, types::bf16}) {
    int wrong_values = 0, wrong_patterns = 0, nans = 0;
    for (uint64_t raw = 0; raw < 65536; ++raw) {
      const double value = decode(t, raw);
      wrong_values += !same_double(value, by_definition(t, raw));
      const uint64_t back = encode(t, value);
      nans += std::isnan(value);
      wrong_patterns += std::isnan(value) ? !std::isnan(decode(t, back)) : back != raw;
    }
    INFO(to_string(t));
    CHECK(wrong_values == 0);
    CHECK(wrong_patterns == 0);
    CHECK(nans == 2 * ((1 << t.man) - 1));
  }
}

TEST_CASE("16-bit floats round to nearest, ties to even: all neighbours, their midpoint and a hair to either side") {
  for (const Type t : {types::f16, types::bf16}) {
    const uint64_t infinity = encode(t, kInfinity), sign = uint64_t{1} << 15;
    int wrong = 0;
    for (uint64_t raw = 0; raw + 1 < infinity; ++raw) {
      const double below = decode(t, raw), above = decode(t, raw + 1), middle = (below + above) / 2;
      const uint64_t even = raw % 2 ? raw + 1 : raw;
      wrong += encode(t, middle) != even;
      wrong += encode(t, -middle) != (even | sign);
      wrong += encode(t, std::nextafter(middle, 0.0)) != raw;
      wrong += encode(t, std::nextafter(middle, kInfinity)) != raw + 1;
      wrong += encode(t, -std::nextafter(middle, kInfinity)) != ((raw + 1) | sign);
    }
    INFO(to_string(t));
    CHECK(wrong == 0);
  }
}

TEST_CASE("floats: overflow, subnormals, zeros, NaN") {
  CHECK(encode(types::f16, 65504) == 0x7bff);
  CHECK(encode(types::f16, 65519.999) == 0x7bff);
  CHECK(encode(types::f16, 65520) == 0x7c00);  // halfway to the next power: the tie goes to infinity
  CHECK(encode(types::f16, 1e300) == 0x7c00);
  CHECK(encode(types::f16, -1e300) == 0xfc00);
  CHECK(encode(types::bf16, 3.4e38) == 0x7f80);
  CHECK(encode(types::f16, std::ldexp(1, -24)) == 1);
  CHECK(encode(types::f16, std::ldexp(1, -25)) == 0);
  CHECK(encode(types::f16, std::ldexp(1.0001, -25)) == 1);
  CHECK(encode(types::f16, std::ldexp(1023.5, -24)) == 0x0400);  // rounds up to the smallest normal
  CHECK(encode(types::f32, 5e-324) == 0);
  CHECK(encode(types::f32, -5e-324) == 0x80000000);
  CHECK(encode(types::f16, -0.0) == 0x8000);
  CHECK(encode(types::f16, -1e-30) == 0x8000);
  for (const Type t : {types::f16, types::bf16, types::f32}) CHECK(std::isnan(decode(t, encode(t, kNaN))));
}

TEST_CASE("f32 agrees with the machine's float") {
  std::mt19937_64 random(1);
  int wrong = 0;
  for (int i = 0; i < 200000; ++i) {
    const uint64_t pattern = random();
    const float f = std::bit_cast<float>(static_cast<uint32_t>(pattern));
    wrong += !same_double(decode(types::f32, static_cast<uint32_t>(pattern)), static_cast<double>(f));
    // A double whose exponent lies in and around the range of float, with few low bits in every other case (ties).
    const double spread =
        std::ldexp(static_cast<double>(pattern >> (i % 2 ? 11 : 39)), static_cast<int>(i % 340) - 250);
    wrong += encode(types::f32, spread) != std::bit_cast<uint32_t>(static_cast<float>(spread));
  }
  CHECK(wrong == 0);
}

TEST_CASE("integers round toward zero and clamp; NaN gives 0") {
  struct Row {
    Type type;
    double value;
    int64_t expected;
  };
  const Row rows[] = {{types::u4, 15.9, 15},
                      {types::u4, 16, 15},
                      {types::u4, 1e30, 15},
                      {types::u4, -0.9, 0},
                      {types::u4, -3, 0},
                      {types::i4, 7.99, 7},
                      {types::i4, 8, 7},
                      {types::i4, -8.99, -8},
                      {types::i4, -9, -8},
                      {types::i4, -1.5, -1},
                      {types::i8, 127.5, 127},
                      {types::i8, -kInfinity, -128},
                      {types::u8, kInfinity, 255},
                      {types::i32, 2147483648.0, 2147483647},
                      {types::i32, -2147483649.0, -2147483648LL},
                      {types::u32, 4294967295.5, 4294967295LL},
                      {types::u32, 4294967296.0, 4294967295LL},
                      {types::i64, 9.3e18, std::numeric_limits<int64_t>::max()},
                      {types::i64, -9.3e18, std::numeric_limits<int64_t>::min()},
                      {types::i64, -4503599627370497.0, -4503599627370497LL},
                      {types::u4, kNaN, 0},
                      {types::i32, kNaN, 0}};
  for (const Row& row : rows) {
    INFO(to_string(row.type) << " " << row.value);
    CHECK(decode_int(row.type, encode(row.type, row.value)) == row.expected);
  }
  CHECK(encode(types::i4, -1) == 15);
  CHECK(encode(types::boolean, -0.0) == 0);
  CHECK(encode(types::boolean, 0.25) == 1);
}

TEST_CASE("small integers: every code round trips, as a double and as an integer; high bits are ignored") {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const bool is_signed : {false, true}) {
      const Type t = is_signed ? types::sint_of(bits) : types::uint_of(bits);
      for (int64_t raw = 0; raw < (1 << bits); ++raw) {
        const int64_t value = is_signed && raw >= (1 << (bits - 1)) ? raw - (1 << bits) : raw;
        CHECK(decode_int(t, static_cast<uint64_t>(raw)) == value);
        CHECK(decode_int(t, static_cast<uint64_t>(raw) | ~uint64_t{0} << bits) == value);
        CHECK(decode(t, static_cast<uint64_t>(raw)) == static_cast<double>(value));
        CHECK(encode(t, static_cast<double>(value)) == static_cast<uint64_t>(raw));
        CHECK(encode_int(t, value) == static_cast<uint64_t>(raw));
        CHECK(encode_int(t, value + (int64_t{3} << bits)) == static_cast<uint64_t>(raw));
      }
    }
  }
  CHECK(decode_int(types::i64, ~uint64_t{0}) == -1);
  CHECK(decode(types::i64, uint64_t{1} << 63) == -std::ldexp(1, 63));
  CHECK(decode(types::u32, 0xffffffff) == 4294967295.0);
}

TEST_CASE("names") {
  for (const Type t : {types::boolean, types::i32, types::u32, types::i64, types::f16, types::bf16, types::f32}) {
    CHECK(parse_type(to_string(t)) == t);
  }
  for (int bits = 1; bits <= 8; ++bits) {
    CHECK(parse_type("u" + std::to_string(bits)) == types::uint_of(bits));
    CHECK(to_string(types::uint_of(bits)) == "u" + std::to_string(bits));
    if (bits > 1) CHECK(parse_type("i" + std::to_string(bits)) == types::sint_of(bits));
  }
  for (const char* text : {"", "u", "u0", "u9", "i1", "i9", "u4 ", "f", "f8", "F16", "u16", "f64", "u44"}) {
    INFO(text);
    CHECK(!parse_type(text));
  }
}
