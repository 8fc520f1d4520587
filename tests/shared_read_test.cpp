// Reads of shared memory: whichever way is chosen, every slot gets its own element, and subgroups bring what they read.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

#include "backends/ptx/target.h"
#include "ir/lower/shared_read.h"
#include "ir/pass/passes.h"

using namespace lathe;

namespace {

/// The element that arrives as number `e` of an access at a lane, if row `r` of matrix `m` starts where lane 8 m + r
/// says.
int64_t arrives(const SharedRead& read, const MemoryLayout& memory, size_t access, int64_t thread, int64_t e) {
  const Coord origin(memory.shape.size(), 0);
  const int64_t fixed = memory.address(read.accesses[access].first);
  const auto start = [&](int64_t t) { return memory.address(read.place.at(t, 0)) + fixed; };
  if (read.load == nullptr) return start(thread) + e;
  const int64_t lane = thread % 32, row = thread - lane + e / 2 * 8 + lane / 4;
  return start(row) + lane % 4 * 2 + e % 2;
}

void check_read(const SharedRead& read, const Layout& l, const MemoryLayout& memory) {
  std::set<int64_t> slots;
  for (size_t a = 0; a < read.accesses.size(); a++)
    for (size_t e = 0; e < read.accesses[a].slots.size(); e++) {
      const int64_t slot = read.accesses[a].slots[e];
      slots.insert(slot);
      for (int64_t t = 0; t < l.threads(); t++)
        CHECK(arrives(read, memory, a, t, static_cast<int64_t>(e)) == memory.address(l.at(t, slot)));
    }
  CHECK(static_cast<int64_t>(slots.size()) == l.slots());
}

/// Operand b of a product of tiles m x k and k x n, turned as it lies in memory: [n, k].
Layout operand_b(const Target& t, int64_t n, int64_t k, std::array<int, 3> split) {
  const auto plan = plan_mma({64, n, k, types::f16, types::f32}, split, t);
  REQUIRE(plan);
  return transpose(plan->b, {1, 0});
}

}  // namespace

TEST_CASE("every slot gets its own element, by matrix loads where lanes would read 4 bytes") {
  const Target hopper = ptx_target("sm_90a").value(), ampere = ptx_target("sm_80").value();
  for (const int64_t n : {8, 16})
    for (const int64_t k : {64, 128})
      for (const int parts : {1, 2})
        for (const int64_t pad : {0, 8, 24}) {
          CAPTURE(fmt::format("{} x {} over {}, pad {}", n, k, parts, pad));
          const Layout kept = operand_b(hopper, n, k, {1, 1, parts}),
                       renumbered = operand_b(ampere, n, k, {1, 1, parts});
          const MemoryLayout memory = row_major({n, k}, k + pad);
          const SharedRead rows = plan_shared_read(hopper, kept, memory, 16, 8);
          REQUIRE(rows.load);
          CHECK(own_elems(rows) == 2);
          CHECK(static_cast<int64_t>(rows.accesses.size()) * rows.load->registers.slots() == kept.slots());
          check_read(rows, kept, memory);
          const SharedRead own = plan_shared_read(ampere, renumbered, memory, 16, 8);
          CHECK(own.load == nullptr);
          CHECK(own_elems(own) == 8);
          check_read(own, renumbered, memory);
        }
}

TEST_CASE("no matrix load of wide elements or of columns; of swizzled memory where pieces stay whole") {
  const Target hopper = ptx_target("sm_90a").value();
  const Layout kept = operand_b(hopper, 8, 64, {1, 1, 1});
  MemoryLayout memory = row_major({8, 64}, 64);
  CHECK(plan_shared_read(hopper, kept, memory, 32, 4).load == nullptr);
  memory.modes = {{8, 0, 1, 1}, {64, 1, 1, 8}};
  CHECK(plan_shared_read(hopper, kept, memory, 16, 8).load == nullptr);
  memory = row_major({8, 64}, 64);
  memory.swizzle = {3, 3, 6};
  const SharedRead rows = plan_shared_read(hopper, kept, memory, 16, 8);
  REQUIRE(rows.load);
  CHECK(rows.phases == static_cast<int64_t>(rows.accesses.size()) * rows.load->addresses.slots() / 2);  // no conflict
  memory.swizzle = {1, 2, 6};
  CHECK(plan_shared_read(hopper, kept, memory, 16, 8).load == nullptr);
}

TEST_CASE("each subgroup brings its own box by whole runs, unless another needs it too") {
  const Target hopper = ptx_target("sm_90a").value();
  for (const int parts : {1, 2, 4}) {
    const Layout read = operand_b(hopper, 8, 256, {1, 1, parts});
    const auto copy = tile::runs_of_subgroups(read, 8, 32);
    REQUIRE(copy);
    CHECK(wide_access(*copy, row_major({8, 256}, 256), 8).elems == 8);
    for (int64_t subgroup = 0; subgroup < parts; subgroup++) {
      std::set<Coord> brought, wanted;
      for (int64_t lane = 0; lane < 32; lane++) {
        for (int64_t s = 0; s < copy->slots(); s++) brought.insert(copy->at(subgroup * 32 + lane, s));
        for (int64_t s = 0; s < read.slots(); s++) wanted.insert(read.at(subgroup * 32 + lane, s));
      }
      CHECK(brought == wanted);
    }
  }
  CHECK_FALSE(tile::runs_of_subgroups(operand_b(hopper, 8, 256, {4, 1, 1}), 8, 32));
}
