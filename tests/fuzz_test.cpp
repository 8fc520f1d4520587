// The fuzzer itself: what its programs cover, that its bounds let nothing wrong pass, that it shrinks; and every bug it
// has found, on every device.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "fuzz/coverage.h"
#include "fuzz/error_bound.h"
#include "fuzz/generate.h"
#include "fuzz/judge.h"
#include "fuzz/shrink.h"
#include "ir/compile.h"
#include "tests/device_kernel.h"
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
  for (const Pair& pair : missing) CHECK_MESSAGE(false, tile::info(pair.op).name << " of " << to_string(pair.elem));
  for (const int count : {mma, pipelined, conversion, partial, masked})
    CHECK(count >= static_cast<int>(kPrograms / 10));
  CHECK(exact >= static_cast<int>(kPrograms / 2));
  for (int i = 0; i < tile::kOpCount; i++) {
    const auto op = static_cast<tile::Op>(i);
    if (op != tile::Op::convert) CHECK_MESSAGE(operations.contains(op), "no program has " << tile::info(op).name);
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

}  // namespace lathe::fuzz
