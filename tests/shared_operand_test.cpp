// Operand b in shared memory stands where the matrix instruction looks for it, in the order of k that operand a has.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

#include "backends/ptx/target.h"
#include "ir/lower/lowering.h"

using namespace lathe;

TEST_CASE("every element of b is at its descriptor's place, alone") {
  const Target target = ptx_target("sm_90a").value();
  for (const int64_t columns : {8, 24, 64, 256, 512})
    for (const int64_t k : {64, 128, 320}) {
      CAPTURE(fmt::format("{} columns, k {}", columns, k));
      const auto plan = plan_mma({128, columns, k, types::f16, types::f32}, {4, 1, 1}, target, true);
      REQUIRE(plan);
      REQUIRE(plan->atom->b_in_shared);
      const MemoryLayout memory = shared_operand({columns, k}, 2);
      const int64_t slots = plan->atom->layout_b.slots();
      std::set<int64_t> places;
      for (int64_t t = 0; t < 32; t++)
        for (int64_t s = 0; s < plan->b.slots(); s++) {
          const Coord at = plan->b.at(t, s);  // k of the tile, column
          const int64_t step = s / slots / plan->walk_n;
          const int64_t counted = step * 16 + plan->atom->layout_b.at(t, s % slots)[0];  // k as the instruction has it
          const int64_t piece = counted % 64 / 8 ^ at[1] % 8;
          const int64_t place = memory.address({at[1], at[0]});
          CHECK(place == counted / 64 * columns * 64 + at[1] * 64 + piece * 8 + counted % 8);
          places.insert(place);
        }
      CHECK(static_cast<int64_t>(places.size()) == columns * k);
      CHECK(memory.span() == columns * k);
    }
}

TEST_CASE("instructions that share b need whole groups of subgroups, whole panels and b in a room") {
  const Target target = ptx_target("sm_90a").value();
  const auto shares = [&](int64_t k, std::array<int, 3> split, bool in_room) {
    const auto plan = plan_mma({256, 64, k, types::f16, types::f32}, split, target, in_room);
    return plan && plan->atom->b_in_shared;
  };
  CHECK(shares(128, {4, 1, 1}, true));
  CHECK(shares(128, {8, 1, 1}, true));
  CHECK_FALSE(shares(128, {4, 1, 1}, false));
  CHECK_FALSE(shares(128, {2, 1, 1}, true));
  CHECK_FALSE(shares(128, {4, 2, 1}, true));
  CHECK_FALSE(shares(128, {4, 1, 2}, true));
  CHECK_FALSE(shares(96, {4, 1, 1}, true));
}
