// evaluate: each operation's bits, from the definition; edges first.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

using Lanes = std::vector<uint64_t>;
constexpr Type kI8x4{Scalar::i8, 4}, kI16x2{Scalar::i16, 2};
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

uint64_t bits_of(float v) { return std::bit_cast<uint32_t>(v); }
uint64_t half(double v) { return encode(types::f16, v); }
uint64_t brain(double v) { return encode(types::bf16, v); }

/// The result of one operation on scalars of type t; none when evaluate refuses.
std::optional<uint64_t> on(Op op, Type t, const std::vector<uint64_t>& args, Type result) {
  std::vector<Lanes> lanes;
  for (const uint64_t a : args) lanes.push_back({a});
  Lanes out;
  std::vector<Type> types(args.size(), t);
  const bool shift = op == Op::shl || op == Op::shr_u || op == Op::shr_s;
  if (shift) types[1] = kI32;
  if (!evaluate(op, {.type = result}, result, types, lanes, out)) return std::nullopt;
  REQUIRE(out.size() == 1);
  return out[0];
}
std::optional<uint64_t> on(Op op, Type t, const std::vector<uint64_t>& args) { return on(op, t, args, t); }
std::optional<uint64_t> test(Op op, Type t, const std::vector<uint64_t>& args) { return on(op, t, args, kBool); }

struct Row {
  Op op;
  Type type;
  std::vector<uint64_t> args;
  uint64_t expected;
};

TEST_CASE("integers wrap, and signs are in the operation") {
  const Row rows[] = {
      {Op::add, kI8, {0xff, 2}, 1},
      {Op::add, kI32, {0x7fffffff, 1}, 0x80000000},
      {Op::sub, kI64, {0, 1}, ~uint64_t{0}},
      {Op::mul, kI16, {0x0123, 0x0100}, 0x2300},
      {Op::neg, kI32, {1}, 0xffffffff},
      {Op::abs, kI8, {0x80}, 0x80},
      {Op::abs, kI32, {0xfffffffb}, 5},
      {Op::div_s, kI32, {0xfffffff9, 2}, 0xfffffffd},
      {Op::div_s, kI32, {0x80000000, 0xffffffff}, 0x80000000},
      {Op::div_u, kI32, {0xfffffff9, 2}, 0x7ffffffc},
      {Op::rem_s, kI32, {0xfffffff9, 2}, 0xffffffff},
      {Op::rem_s, kI32, {7, 0xfffffffe}, 1},
      {Op::rem_s, kI32, {0x80000000, 0xffffffff}, 0},
      {Op::rem_u, kI8, {0xf9, 10}, 9},
      {Op::min_s, kI8, {0x80, 1}, 0x80},
      {Op::max_s, kI8, {0x80, 1}, 1},
      {Op::min_u, kI8, {0x80, 1}, 1},
      {Op::max_u, kI64, {~uint64_t{0}, 1}, ~uint64_t{0}},
      {Op::band, kI32, {0xff00ff00, 0x0ff00ff0}, 0x0f000f00},
      {Op::bor, kI16, {0xf000, 0x000f}, 0xf00f},
      {Op::bxor, kBool, {1, 1}, 0},
      {Op::and_xor, kI32, {0x12345678, 0x000f000f, 0x43084300}, 0x430c4308},
      {Op::and_xor, kI16, {0xabcd, 0x0f0f, 0xffff}, 0xf4f2},
      {Op::bnot, kBool, {0}, 1},
      {Op::bnot, kI16, {0x00ff}, 0xff00},
      {Op::shl, kI32, {0x80000001, 31}, 0x80000000},
      {Op::shr_u, kI32, {0x80000000, 31}, 1},
      {Op::shr_s, kI32, {0x80000000, 31}, 0xffffffff},
      {Op::shr_s, kI8, {0x80, 3}, 0xf0},
      {Op::shl, kI64, {1, 63}, uint64_t{1} << 63},
  };
  for (const Row& row : rows) {
    INFO(info(row.op).name);
    CHECK(on(row.op, row.type, row.args) == row.expected);
  }
}

TEST_CASE("what is undefined is refused") {
  for (const Op op : {Op::div_s, Op::div_u, Op::rem_s, Op::rem_u}) CHECK_FALSE(on(op, kI32, {5, 0}));
  for (const Op op : {Op::shl, Op::shr_u, Op::shr_s}) {
    CHECK_FALSE(on(op, kI32, {5, 32}));
    CHECK_FALSE(on(op, kI8, {5, 8}));
  }
}

TEST_CASE("comparisons") {
  const Row rows[] = {
      {Op::lt_s, kI32, {0xffffffff, 0}, 1},
      {Op::lt_u, kI32, {0xffffffff, 0}, 0},
      {Op::le_s, kI8, {0x80, 0x7f}, 1},
      {Op::le_u, kI8, {0x80, 0x7f}, 0},
      {Op::le_u, kI64, {3, 3}, 1},
      {Op::eq, kI16, {0x10001, 1}, 1},
      {Op::ne, kBool, {1, 0}, 1},
      {Op::eq, kF32, {bits_of(0), bits_of(-0.0F)}, 1},
      {Op::eq, kF32, {bits_of(kNan), bits_of(kNan)}, 0},
      {Op::ne, kF32, {bits_of(kNan), bits_of(kNan)}, 1},
      {Op::flt, kF32, {bits_of(-1), bits_of(1)}, 1},
      {Op::flt, kF32, {bits_of(kNan), bits_of(1)}, 0},
      {Op::fle, kF16, {half(2), half(2)}, 1},
      {Op::flt, kBF16, {brain(3), brain(2)}, 0},
  };
  for (const Row& row : rows) {
    INFO(info(row.op).name);
    CHECK(test(row.op, row.type, row.args) == row.expected);
  }
}

TEST_CASE("16-bit floats round once, to nearest even") {
  // f16: 11 bits. 2048 + 1 is a tie that goes to even, 2048 + 3 goes up.
  CHECK(on(Op::add, kF16, {half(2048), half(1)}) == half(2048));
  CHECK(on(Op::add, kF16, {half(2048), half(3)}) == half(2052));
  CHECK(on(Op::mul, kF16, {half(1.0009765625), half(1.0009765625)}) == half(1.001953125));
  CHECK(on(Op::add, kF16, {half(65504), half(16)}) == half(INFINITY));
  CHECK(on(Op::mul, kF16, {half(std::ldexp(1, -14)), half(0.5)}) == 0x0200);  // a subnormal
  CHECK(on(Op::add, kBF16, {brain(256), brain(1)}) == brain(256));
  CHECK(on(Op::add, kBF16, {brain(258), brain(1)}) == brain(260));
  // 1.0625^2 lies halfway between two bf16; a summand that f64 would lose breaks the tie.
  CHECK(on(Op::fma, kBF16, {brain(1.0625), brain(1.0625), brain(0)}) == brain(1.125));
  CHECK(on(Op::fma, kBF16, {brain(1.0625), brain(1.0625), brain(std::ldexp(1, -100))}) == brain(1.1328125));
  CHECK(on(Op::fma, kBF16, {brain(1.0625), brain(1.0625), brain(std::ldexp(-1, -100))}) == brain(1.125));
  CHECK(on(Op::fma, kBF16, {brain(1.0703125), brain(1.0625), brain(0)}) == brain(1.140625));
  CHECK(on(Op::fma, kF16, {half(-0.5), half(0.25), half(3)}) == half(2.875));
}

TEST_CASE("f32 agrees with the host's own arithmetic") {
  std::mt19937 random(1);
  const auto draw = [&] {
    const auto exponent = static_cast<int>(random() % 40) - 20;
    return std::ldexp(static_cast<float>(static_cast<int32_t>(random())), exponent - 31);
  };
  for (int i = 0; i < 20000; i++) {
    const float a = draw(), b = draw(), c = i % 2 ? draw() : -a * b * (1 + std::ldexp(1.0F, -23));
    CHECK(on(Op::add, kF32, {bits_of(a), bits_of(b)}) == bits_of(a + b));
    CHECK(on(Op::sub, kF32, {bits_of(a), bits_of(b)}) == bits_of(a - b));
    CHECK(on(Op::mul, kF32, {bits_of(a), bits_of(b)}) == bits_of(a * b));
    CHECK(on(Op::fdiv, kF32, {bits_of(a), bits_of(b)}) == bits_of(a / b));
    CHECK(on(Op::fma, kF32, {bits_of(a), bits_of(b), bits_of(c)}) == bits_of(std::fma(a, b, c)));
    CHECK(on(Op::sqrt, kF32, {bits_of(std::fabs(a))}) == bits_of(std::sqrt(std::fabs(a))));
  }
  CHECK(on(Op::exp2, kF32, {bits_of(-3)}) == bits_of(0.125F));
  CHECK(on(Op::log2, kF32, {bits_of(8)}) == bits_of(3));
  CHECK(on(Op::rsqrt, kF32, {bits_of(16)}) == bits_of(0.25F));
}

TEST_CASE("signs, zeros and NaN") {
  CHECK(on(Op::neg, kF32, {bits_of(0)}) == bits_of(-0.0F));
  CHECK(on(Op::abs, kF16, {half(-2)}) == half(2));
  CHECK(on(Op::neg, kBF16, {brain(1)}) == brain(-1));
  CHECK(on(Op::fmin, kF32, {bits_of(kNan), bits_of(2)}) == bits_of(2));
  CHECK(on(Op::fmax, kF32, {bits_of(2), bits_of(kNan)}) == bits_of(2));
  CHECK(on(Op::fmin, kF32, {bits_of(0), bits_of(-0.0F)}) == bits_of(-0.0F));
  CHECK(on(Op::fmax, kF32, {bits_of(-0.0F), bits_of(0)}) == bits_of(0));
  CHECK(on(Op::fmax, kF32, {bits_of(-1), bits_of(-2)}) == bits_of(-1));
  CHECK(on(Op::sub, kF32, {bits_of(kInf), bits_of(kInf)}) == 0x7fc00000);
  CHECK(on(Op::fdiv, kF32, {bits_of(-1), bits_of(0)}) == bits_of(-kInf));
}

TEST_CASE("conversions") {
  CHECK(on(Op::zext, kI8, {0x80}, kI32) == 0x80);
  CHECK(on(Op::sext, kI8, {0x80}, kI32) == 0xffffff80);
  CHECK(on(Op::zext, kBool, {1}, kI32) == 1);
  CHECK(on(Op::sext, kBool, {1}, kI64) == ~uint64_t{0});
  CHECK(on(Op::trunc, kI64, {0x123456789abcdef0}, kI16) == 0xdef0);
  CHECK(on(Op::fcvt, kF16, {half(1.5)}, kF32) == bits_of(1.5));
  CHECK(on(Op::fcvt, kF32, {bits_of(65520)}, kF16) == half(INFINITY));
  CHECK(on(Op::fcvt, kF32, {0x3f808000}, kBF16) == 0x3f80);  // a tie to even
  CHECK(on(Op::fcvt, kF32, {0x3f818000}, kBF16) == 0x3f82);
  CHECK(on(Op::fcvt, kF16, {half(1.00390625)}, kBF16) == brain(1));
  CHECK(on(Op::s2f, kI32, {0xffffffff}, kF32) == bits_of(-1));
  CHECK(on(Op::u2f, kI32, {0xffffffff}, kF32) == bits_of(4294967296.0F));
  CHECK(on(Op::s2f, kI32, {16777217}, kF32) == bits_of(16777216));
  CHECK(on(Op::u2f, kI32, {70000}, kF16) == half(INFINITY));
  // 2^54 + 2^30 is a tie in f32; the 1 below it, which f64 drops, decides.
  CHECK(on(Op::s2f, kI64, {(uint64_t{1} << 54) + (uint64_t{1} << 30)}, kF32) == bits_of(std::ldexp(1.0F, 54)));
  CHECK(on(Op::s2f, kI64, {(uint64_t{1} << 54) + (uint64_t{1} << 30) + 1}, kF32) ==
        bits_of(std::ldexp(8388609.0F, 31)));
  CHECK(on(Op::f2s, kF32, {bits_of(-1.9F)}, kI32) == 0xffffffff);
  CHECK(on(Op::f2s, kF32, {bits_of(3e9F)}, kI32) == 0x7fffffff);
  CHECK(on(Op::f2s, kF32, {bits_of(-3e9F)}, kI32) == 0x80000000);
  CHECK(on(Op::f2s, kF32, {bits_of(kNan)}, kI32) == 0);
  CHECK(on(Op::f2s, kF32, {bits_of(300)}, kI8) == 0x7f);
  CHECK(on(Op::f2s, kF32, {bits_of(-kInf)}, kI64) == uint64_t{1} << 63);
  CHECK(on(Op::f2s, kF16, {half(-7.5)}, kI16) == 0xfff9);
}

TEST_CASE("integers become floats as the host converts them") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20000; i++) {
    const uint64_t raw = random() >> (random() % 64);
    CHECK(on(Op::s2f, kI64, {raw}, kF32) == bits_of(static_cast<float>(static_cast<int64_t>(raw))));
    CHECK(on(Op::u2f, kI64, {raw}, kF32) == bits_of(static_cast<float>(raw)));
  }
}

TEST_CASE("lanes: order, grouping, broadcast of a count") {
  Lanes out;
  REQUIRE(evaluate(Op::bitcast, {.type = kI32}, kI32, {kF16x2}, {{0x1111, 0x2222}}, out));
  CHECK(out == Lanes{0x22221111});
  REQUIRE(evaluate(Op::bitcast, {.type = kI8x4}, kI8x4, {kI32}, {{0x04030201}}, out));
  CHECK(out == Lanes{1, 2, 3, 4});
  REQUIRE(evaluate(Op::bitcast, {.type = kI32x4}, kI32x4, {kI32x4}, {{1, 2, 3, 4}}, out));
  CHECK(out == Lanes{1, 2, 3, 4});
  REQUIRE(evaluate(Op::vec, {.type = kI16x2}, kI16x2, {kI16, kI16}, {{7}, {8}}, out));
  CHECK(out == Lanes{7, 8});
  REQUIRE(evaluate(Op::get, {.type = kI16, .imm = 1}, kI16, {kI16x2}, {{7, 8}}, out));
  CHECK(out == Lanes{8});
  REQUIRE(evaluate(Op::shl, {}, kI16x2, {kI16x2, kI32}, {{1, 3}, {2}}, out));
  CHECK(out == Lanes{4, 12});
  REQUIRE(evaluate(Op::select, {}, kI16x2, {kBool, kI16x2, kI16x2}, {{0}, {1, 2}, {3, 4}}, out));
  CHECK(out == Lanes{3, 4});
  REQUIRE(evaluate(Op::constant, {.type = kF16x2, .imm = 0x3c00}, kF16x2, {}, {}, out));
  CHECK(out == Lanes{0x3c00, 0x3c00});
  REQUIRE(evaluate(Op::add, {}, kF16x2, {kF16x2, kF16x2}, {{half(1), half(2)}, {half(3), half(4)}}, out));
  CHECK(out == Lanes{half(4), half(6)});
}

TEST_CASE("every pure operation has a meaning on constants, or depends on the thread or the matrix unit") {
  for (int o = 0; o < kOpCount; o++) {
    const Op op = static_cast<Op>(o);
    if (info(op).effect != Effect::pure) continue;
    const std::string_view operands = info(op).operands;
    const bool by_place = operands.empty() && op != Op::constant;
    const bool matrix = std::string_view(info(op).name).starts_with("frag") || op == Op::mma || op == Op::mma_shared;
    const bool floats = operands.find('f') != operands.npos || op == Op::fcvt || op == Op::f2s;
    const Type operand = floats ? kF32 : op == Op::trunc ? kI64 : op == Op::get ? kI32x2 : kI32;
    const Type result = op == Op::fcvt || op == Op::s2f || op == Op::u2f ? kF32
                        : info(op).results == std::string_view("b0")     ? kBool
                        : op == Op::zext || op == Op::sext               ? kI64
                        : op == Op::vec                                  ? kI32x2
                        : floats && op != Op::f2s                        ? kF32
                                                                         : kI32;
    const size_t count = op == Op::vec ? 2 : operands.size();
    std::vector<Type> types(count, operand);
    if (op == Op::select) types[0] = kBool;
    Lanes out;
    const bool meaning =
        evaluate(op, {.type = result}, result, types, std::vector<Lanes>(count, Lanes(operand.lanes, 1)), out);
    INFO(info(op).name);
    CHECK(meaning == !(by_place || matrix));
  }
}

}  // namespace
}  // namespace lathe::thread
