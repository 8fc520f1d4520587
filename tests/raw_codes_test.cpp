// Codes that reach the matrix instruction as they are stored: any code that fits the mantissa, zero points of groups
// and tokens of either 16-bit type. Right to the bit on small integers, within the bound elsewhere, and not converted.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <random>

#include "backends/ptx/target.h"
#include "shaders/kernels.h"
#include "tests/device_kernel.h"

using namespace lathe;

namespace {

constexpr int64_t kTokens = 11, kOutputs = 40, kInputs = 200;
constexpr const char* kDevices[] = {"sm_80", "sm_90a", "nvidia", "probe?seed=0", "probe?seed=2", "probe?seed=5"};

struct Codes {
  Type code, activation;
  int64_t constant_zero = 0;
  bool zeros = false;
};
constexpr Codes kCodes[] = {
    {types::u4, types::f16, 8},       {types::u4, types::f16, 0, true},   {types::i4, types::f16, 0, true},
    {types::u8, types::f16, 0, true}, {types::uint_of(2), types::f16, 1}, {types::u4, types::bf16, 8},
    {types::i4, types::bf16},         {types::u4, types::bf16, 0, true},  {types::uint_of(2), types::bf16, 0, true},
};

std::string name_of(const Codes& c, int64_t group) {
  return fmt::format("{} x {} zero {}{} g{}", to_string(c.code), to_string(c.activation), c.constant_zero,
                     c.zeros ? " and each group's" : "", group);
}

TestDevice opened(const std::string& name) {
  auto device = open_device("sim:" + name);
  REQUIRE_MESSAGE(device, (device ? "" : device.error().text));
  auto target = target_of(**device);
  REQUIRE_MESSAGE(target, (target ? "" : target.error().text));
  return {std::move(*device), *target, name};
}

/// The first matrix instruction for such tokens, and a tile that it divides twice along m and n.
const Atom* atom_for(const Target& t, Type activation) {
  for (const Atom& a : t.atoms)
    if (a.source != MapSource::fma && !a.b_in_shared && a.a == activation && a.c == types::f32) return &a;
  return nullptr;
}
Schedule schedule_for(const Atom& a) {
  return {.tile_n = 2 * a.m, .tile_m = a.n, .tile_k = 256, .split = {1, 1, 2}, .factor_on_accumulator = true};
}

using Random = std::mt19937;
tile::HostTensor filled(Random& random, Type elem, Coord shape, const std::vector<double>& values) {
  tile::HostTensor t{elem, std::move(shape), {}};
  int64_t count = 1;
  for (const int64_t n : t.shape) count *= n;
  for (int64_t i = 0; i < count; i++)
    t.raw.push_back(encode(elem, values[random() % static_cast<uint32_t>(values.size())]));
  return t;
}
std::vector<double> whole(int least, int most) {
  std::vector<double> out;
  for (int v = least; v <= most; v++) out.push_back(v);
  return out;
}

Tensors problem(const Codes& c, int64_t group, bool exact) {
  Random random(7);
  const int64_t groups = group == 0 ? 1 : (kInputs + group - 1) / group;
  const int most = (1 << c.code.bits) - 1, sign = c.code.kind == Kind::sint ? (most + 1) / 2 : 0;
  std::vector<double> x{-2, -1, 0, 1, 2}, s{0.5, 1, 2};
  if (!exact) x = {-0.7, 0.3, 0.01, 1.9, -1.3}, s = {0.013, 0.021, 0.017};
  Tensors t;
  t["x"] = filled(random, c.activation, {kTokens, kInputs}, x);
  t["w"] = filled(random, c.code, {kOutputs, kInputs}, whole(-sign, most - sign));
  t["s"] = filled(random, c.activation, {kOutputs, groups}, s);
  if (c.zeros) t["z"] = filled(random, types::f16, {kOutputs, groups}, whole(-sign, most - sign));
  t["y"] = {types::f32, {kTokens, kOutputs}, std::vector<uint64_t>(kTokens * kOutputs)};
  return t;
}

/// y[token, output] and how far from it f32 sums of k addends may be, each at most |x| times the factor and a code, its
/// zero point and what stands beside it in the mantissa.
struct Expected {
  double y = 0, bound = 0;
};
Expected expected(const Codes& c, const Tensors& t, int64_t group, int64_t token, int64_t output) {
  const int64_t width = group == 0 ? kInputs : group, groups = (kInputs + width - 1) / width;
  const double beside = (c.activation == types::bf16 ? 128 : 0) + 2 * std::exp2(c.code.bits);
  Expected e;
  for (int64_t k = 0; k < kInputs; k++) {
    const int64_t of = output * groups + k / width;
    const double z = static_cast<double>(c.constant_zero) + (c.zeros ? t.at("z").at(of) : 0);
    const double factor = t.at("s").at(of) * t.at("x").at(token * kInputs + k);
    e.y += (t.at("w").at(output * kInputs + k) - z) * factor;
    e.bound += kInputs * 0x1p-24 * std::abs(factor) * beside;
  }
  return e;
}

/// Operations that make numbers of codes, or work on 16-bit floats; zero points are f16 already.
std::string conversions(const thread::Func& f) {
  using Op = thread::Op;
  std::string found;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const auto& i = f.inst(id);
    if (i.results.empty()) return;
    const thread::Type& t = f.type(i.results[0]);
    const bool half = !t.is_frag() && (t.scalar == thread::Scalar::f16 || t.scalar == thread::Scalar::bf16);
    const bool arithmetic = i.op == Op::add || i.op == Op::sub || i.op == Op::mul || i.op == Op::fma;
    if (i.op == Op::s2f || i.op == Op::u2f || (half && arithmetic)) found += std::string(" ") + thread::info(i.op).name;
  });
  return found;
}

}  // namespace

TEST_CASE("codes of every kind are right as they are stored") {
  int ran = 0;
  for (const char* name : kDevices) {
    TestDevice d = opened(name);
    for (const Codes& c : kCodes)
      for (const int64_t group : {0, 64, 128}) {
        const Atom* atom = atom_for(d.target, c.activation);
        if (!atom) continue;
        CAPTURE(fmt::format("{}: {}", name, name_of(c, group)));
        const kernels::WeightFormat format{c.code, group, c.constant_zero, c.zeros};
        const auto f = kernels::matmul(format, c.activation, false, schedule_for(*atom));
        REQUIRE_MESSAGE(f, f.error().text);
        for (const bool exact : {true, false}) {
          Tensors t = problem(c, group, exact);
          const auto done = run_tile(*d.device, d.target, *f, t, {}, nullptr, {.factor = tile::Factor::accumulator});
          if (!done && done.error().code == Error::Code::unsupported) continue;  // the order of k has no such groups
          REQUIRE_MESSAGE(done, done.error().text);
          ran++;
          int wrong = 0;
          for (int64_t i = 0; i < kTokens * kOutputs; i++) {
            const Expected e = expected(c, t, group, i / kOutputs, i % kOutputs);
            wrong += !(std::abs(t["y"].at(i) - e.y) <= (exact ? 0 : e.bound));
          }
          CHECK(wrong == 0);
        }
      }
  }
  MESSAGE(fmt::format("{} products", ran));
  CHECK(ran >= 160);
}

TEST_CASE("no code is converted on its way to a matrix instruction") {
  for (const char* name : {"sm_80", "sm_90a"}) {
    const Target t = ptx_target(name).value();
    for (const Codes& c : kCodes) {
      CAPTURE(fmt::format("{}: {}", name, name_of(c, 128)));
      const Atom* atom = atom_for(t, c.activation);
      REQUIRE(atom);
      const kernels::WeightFormat format{c.code, 128, c.constant_zero, c.zeros};
      const auto f = kernels::matmul(format, c.activation, false, schedule_for(*atom));
      REQUIRE(f);
      const auto compiled = compile(*f, t, {.factor = tile::Factor::accumulator, .lower = {.aligned = true}});
      REQUIRE_MESSAGE(compiled, (compiled ? "" : compiled.error().text));
      CHECK(conversions(compiled->func) == "");
    }
  }
}

TEST_CASE("the sum of b that zero points multiply is made once for all rows") {
  const Target t = ptx_target("sm_80").value();
  const auto multiplies = [&](const Codes& c) {
    const kernels::WeightFormat format{c.code, 128, c.constant_zero, c.zeros};
    const auto f = kernels::matmul(format, c.activation, false,
                                   {.tile_n = 64, .tile_m = 8, .tile_k = 128, .factor_on_accumulator = true});
    REQUIRE(f);
    const auto compiled = compile(*f, t, {.factor = tile::Factor::accumulator});
    REQUIRE(compiled);
    int count = 0;
    compiled->func.walk(compiled->func.body,
                        [&](BlockId, size_t, InstId id) { count += compiled->func.inst(id).op == thread::Op::mma; });
    return count;
  };
  constexpr int kSteps = 128 / 16, kRows = 64 / 16;
  CHECK(multiplies({types::u4, types::f16}) == kSteps * kRows);
  CHECK(multiplies({types::u4, types::f16, 8}) == kSteps * (kRows + 1));
  CHECK(multiplies({types::u4, types::f16, 0, true}) == kSteps * (kRows + 1));
  CHECK(multiplies({types::u4, types::bf16, 0, true}) == kSteps * (kRows + 1));
  CHECK(multiplies({types::i4, types::bf16, 3, true}) == kSteps * (kRows + 1));
}
