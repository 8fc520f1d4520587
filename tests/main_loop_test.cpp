// The main loops of the shipped matmul, counted by the simulator: enough bytes on their way, no conflict of banks, no
// sector fetched in vain, and no operand that is made behind the multiply before its own.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <random>

#include "backends/sim/device.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "model/matmul.h"

using namespace lathe;

namespace {

constexpr int64_t kTurns = 6;  ///< of each subgroup's loop

kernels::WeightFormat format() {
  kernels::WeightFormat f;
  f.constant_zero = 8;
  f.group = 128;
  return f;
}

/// What one launch of the row counts on one workgroup's tile of whole rows and turns.
sim::KernelCount counted(sim::Device& device, const Target& target, const Schedule& s) {
  const int64_t n = s.tile_n, m = s.tile_m, k = s.tile_k * kTurns;
  auto matmul = Matmul::create(device, target, format(), types::f16, false);
  REQUIRE(matmul);
  const std::vector<std::byte> codes(static_cast<size_t>(n * k), std::byte{9});
  const std::vector<uint16_t> scales(static_cast<size_t>(n * k / 128), 0x3c00);
  REQUIRE((*matmul)->store({n, k, k / 128, codes, scales, {}}));
  const auto x = device.alloc(static_cast<uint64_t>(m * k) * 2), y = device.alloc(static_cast<uint64_t>(m * n) * 4);
  REQUIRE((x && y));
  REQUIRE(device.fill(**x, 0, (*x)->bytes(), std::byte{0}));
  const auto launch = (*matmul)->launch(s, m, (*x)->address(), (*y)->address());
  REQUIRE_MESSAGE(launch, (launch ? "" : launch.error().text));
  device.clear_counters();
  const auto ran = device.run({&*launch, 1});
  REQUIRE_MESSAGE(ran, (ran ? "" : ran.error().text));
  REQUIRE(device.counters().size() == 1);
  return device.counters()[0];
}

const sim::LoopCount& main_loop(const sim::KernelCount& k) {
  const auto multiplies = [](const sim::LoopCount& l) { return l.by_class[static_cast<size_t>(sim::Class::mma)]; };
  return *std::max_element(k.loops.begin() + 1, k.loops.end(),
                           [&](const auto& a, const auto& b) { return multiplies(a) < multiplies(b); });
}

}  // namespace

TEST_CASE("the main loops of the matmul's rows") {
  for (const char* name : {"sim:sm_80", "sim:sm_90a", "sim:nvidia"}) {
    const auto device = open_device(name);
    REQUIRE(device);
    auto& simulated = dynamic_cast<sim::Device&>(**device);
    const Target target = target_of(**device).value();
    const auto rows = schedules_of(target, format());
    REQUIRE(rows);
    for (const ScheduleRow& row : rows->rows) {
      const Schedule& s = row.schedule;
      if (s.k_groups > 1) continue;
      CAPTURE(fmt::format("{}: {}", name, to_string(s)));
      const sim::KernelCount k = counted(simulated, target, s);
      const sim::LoopCount& loop = main_loop(k);
      CHECK(loop.wavefronts == loop.least_wavefronts);
      CHECK(loop.sectors == loop.least_sectors);
      REQUIRE(loop.operand_lead);
      CHECK(*loop.operand_lead >= 1);
      const auto stage = static_cast<uint64_t>(s.tile_n * s.tile_k / 2);  // of weights; what else waits comes on top
      const uint64_t turns_ahead = static_cast<uint64_t>(s.stages) - 1;
      CHECK(k.flight.copies + k.flight.loads >= turns_ahead * stage);
    }
  }
}
