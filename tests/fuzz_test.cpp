// The fuzzer itself: what its programs cover, what its bounds let pass, that it shrinks.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>

#include "fuzz/coverage.h"
#include "fuzz/error_bound.h"
#include "fuzz/generate.h"
#include "fuzz/shrink.h"
#include "tests/targets.h"

namespace lathe::fuzz {
namespace {

constexpr uint64_t kPrograms = 2000;

Target target_named(const char* name) {
  auto t = test_target(name);
  REQUIRE_MESSAGE(t, t.error().text);
  return *t;
}

Program generated(uint64_t index, const Target& target) {
  auto p = generate(1, index, target);
  REQUIRE_MESSAGE(p, p.error().text);
  return std::move(*p);
}

Program read_program(const std::string& text) {
  auto p = program_from_text(text, "test.tile");
  REQUIRE_MESSAGE(p, p.error().text);
  return std::move(*p);
}

}  // namespace

TEST_CASE("2,000 programs hold every admitted pair of operation and element type, and enough of each feature") {
  const Target target = target_named("sm_80");
  std::vector<Pair> missing = admitted_pairs();
  const size_t pairs = missing.size();
  std::set<tile::Op> operations;
  int mma = 0, pipelined = 0, conversion = 0, partial = 0, masked = 0, exact = 0;
  for (uint64_t i = 0; i < kPrograms; i++) {
    const Program p = generated(i, target);
    for (const Pair& pair : pairs_of(p)) std::erase(missing, pair);
    operations.merge(operations_of(p));
    exact += p.data == Data::exact;
    const Features f = features_of(p, target);
    mma += f.mma, pipelined += f.pipelined, conversion += f.conversion, partial += f.partial, masked += f.masked;
  }
  MESSAGE(
      fmt::format("{} pairs; of {} programs {} with mma, {} pipelined, {} converting, {} partial, {} masked; {} exact",
                  pairs, kPrograms, mma, pipelined, conversion, partial, masked, exact));
  for (const Pair& pair : missing)
    CHECK_MESSAGE(false, std::string(tile::info(pair.op).name) << " of " << to_string(pair.elem));
  for (const int count : {mma, pipelined, conversion, partial, masked})
    CHECK(count >= static_cast<int>(kPrograms / 10));
  CHECK(exact >= static_cast<int>(kPrograms / 2));
  for (int i = 0; i < tile::kOpCount; i++) {
    const auto op = static_cast<tile::Op>(i);
    const auto& types = element_types();
    if (std::all_of(types.begin(), types.end(), [&](Type t) { return refusal(op, t); })) continue;
    CHECK_MESSAGE(operations.contains(op), "no program has " << std::string(tile::info(op).name));
  }
}

TEST_CASE("a seed gives the same programs, and their text parses back to them") {
  for (const char* name : {"sm_80", "plain"}) {
    const Target target = target_named(name);
    for (uint64_t i = 0; i < 300; i++) {
      const Program p = generated(i, target);
      const std::string text = to_text(p, "about");
      CHECK(to_text(generated(i, target), "about") == text);
      const Program again = read_program(text);
      CHECK(to_text(again, "about") == text);
      CHECK(tile::equal(p.func, again.func));
    }
  }
}

namespace {

/// The only output of a program of one expression over x (f32 of whole numbers) with its notes.
tile::HostTensor noted(const std::string& expression, const std::string& type, Data data) {
  Program p = read_program(
      fmt::format("// launch data={} seed=7 factor=operand x=[16,16]@256 y=[16,16]@256\n"
                  "kernel t(x: f32[16, 16], y: {}[16, 16]) grid [1] subgroups 1 {{\n  a = load(x[0, 0], [16, 16])\n"
                  "  store(y[0, 0], {})\n}}\n",
                  to_string(data), type, expression));
  auto tensors = p.tensors();
  ErrorBound bound;
  const auto done = tile::interpret(p.func, tensors, p.scalars, 1 << 20, &bound);
  REQUIRE_MESSAGE(done, done.error().text);
  CHECK(!bound.lost());
  return tensors.at("y");
}
std::pair<float, float> extremes(const tile::HostTensor& t) {
  float low = kUnknown, high = 0;
  for (const uint64_t raw : t.raw) low = std::min(low, note_of(raw)), high = std::max(high, note_of(raw));
  return {low, high};
}

}  // namespace

TEST_CASE("what is promised to the bit has no error, what is not has the error of its own rounding") {
  const auto exact = [](const char* e, const char* type, Data d) { return extremes(noted(e, type, d)).second; };
  CHECK(exact("a", "f32", Data::real) == 0);
  CHECK(exact("a * a + a", "f32", Data::real) <= kSameValue);
  CHECK(exact("cast(a * 3, f16)", "f16", Data::real) <= kSameValue);
  CHECK(exact("broadcast(reduce(a, 0, sum), [16, 16])", "f32", Data::exact) <= kSameValue);
  CHECK(exact("mma(cast(a, f16), cast(a, f16), a)", "f32", Data::exact) <= kSameValue);
  for (const char* rounds : {"broadcast(reduce(a, 0, sum), [16, 16])", "mma(cast(a, f16), cast(a, f16), a)", "exp(a)",
                             "a / 3", "sqrt(abs(a))", "exp(a) + exp(a)"}) {
    const auto [low, high] = extremes(noted(rounds, "f32", Data::real));
    CAPTURE(rounds);
    CHECK(high > 0);
    CHECK(high < 1e-3);
  }
}

TEST_CASE("what an error could turn round is unknown, and only that") {
  const auto unknown = [](const std::string& e, const char* type) {
    int count = 0;
    for (const uint64_t raw : noted(e, type, Data::real).raw) count += note_of(raw) == kUnknown;
    return count;
  };
  CHECK(unknown("cast(a < a * 2, i32)", "i32") == 0);
  CHECK(unknown("cast(exp(a) < exp(a), i32)", "i32") == 256);
  CHECK(unknown("cast(exp(a) < a - 8, i32)", "i32") == 0);
  CHECK(unknown("cast(fill(f32[16, 16], 1e-40) < fill(f32[16, 16], 0), i32)", "i32") == 256);
  CHECK(unknown("cast(fill(f32[16, 16], 1e-40) < fill(f32[16, 16], 1e-30), i32)", "i32") == 0);
  CHECK(unknown("select(exp(a) < exp(a), a, a)", "f32") == 0);
  CHECK(unknown("select(exp(a) < exp(a), a, -a)", "f32") == 256);
  CHECK(unknown("cast(exp(a) * 0 + 2.5, i32)", "i32") == 0);
  CHECK(unknown("view(exp(a), u32)", "u32") == 256);
}

TEST_CASE("a wrong element is found, one within its bound is not") {
  tile::HostTensor want = noted("exp(a)", "f32", Data::real), got = want;
  for (uint64_t& raw : got.raw) raw &= 0xffffffff;
  CHECK(difference(got, want).wrong == 0);
  CHECK(difference(got, want).checked == 256);
  got.raw[5]++;
  CHECK(difference(got, want).wrong == 0);
  got.raw[5] += 1000;
  CHECK(difference(got, want).wrong == 1);
  CHECK(difference(got, want).first.starts_with("element 5:"));
}

TEST_CASE("a failing program shrinks to what fails") {
  const Target target = target_named("sm_80");
  int shrunk = 0;
  for (uint64_t i = 0; i < 60 && shrunk < 4; i++) {
    const Program p = generated(i, target);
    const auto fails = [](const Program& q) { return operations_of(q).contains(tile::Op::mma); };
    if (!fails(p)) continue;
    const Program small = shrink(p, fails);
    CHECK(fails(small));
    CHECK(read_program(to_text(small, "")).func.params.size() == small.func.params.size());
    int insts = 0;
    small.func.walk(small.func.body, [&](BlockId, size_t, InstId) { insts++; });
    CHECK_MESSAGE(insts <= 12, to_text(small, ""));
    CHECK(small.func.subgroups == 1);
    shrunk++;
  }
  CHECK(shrunk == 4);
}

TEST_CASE("a launch line that is missing or wrong is refused by name") {
  const std::string kernel =
      "kernel t(x: i32[N], y: i32[N]) grid [1] subgroups 1 {\n  store(y[0], load(x[0], [8]))\n}\n";
  const auto error = [&](const std::string& line) {
    const auto p = program_from_text(line + "\n" + kernel, "t.tile");
    return p ? std::string() : p.error().text;
  };
  CHECK(error("// launch data=exact seed=1 x=[8]@8 y=[8]@8").empty());
  CHECK(error("// nothing").find("no line") != std::string::npos);
  for (const char* wrong : {"data=none x=[8]@8 y=[8]@8", "x=[8]@8", "x=[8 y=[8]@8", "x=[8,8]@64 y=[8]@8", "seed=-1",
                            "x=[99999999999]@8 y=[8]@8", "factor=both", "x=[8]@ y=[8]@8"})
    CHECK_MESSAGE(!error(std::string("// launch ") + wrong).empty(), wrong);
}

}  // namespace lathe::fuzz
