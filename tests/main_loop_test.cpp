// The main loops of the shipped matmul, counted by the simulator: enough bytes on their way, no conflict of banks, no
// sector fetched in vain, and no operand that is made behind the multiply before its own. What they count stands in
// tests/counters.txt, and beside it what ptxas makes of them.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "backends/sim/device.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "tests/figures.h"
#include "tests/ptxas.h"
#include "tests/shipped_kernels.h"

using namespace lathe;

namespace {

constexpr int64_t kTurns = 6;  ///< of each subgroup's loop
constexpr int64_t kGroup = 128;
constexpr const char* kDevices[] = {"sm_80", "sm_90a", "nvidia"};
const NamedFormat kCounted[] = {
    {"u4 zero 8", {.code = types::u4, .group = kGroup, .constant_zero = 8}},
    {"u4 zeros", {.code = types::u4, .group = kGroup, .zeros = true}},
    {"u4 zero 8 x bf16", {.code = types::u4, .group = kGroup, .constant_zero = 8}, types::bf16},
    {"f16", {.code = types::f16, .group = 0}}};

const FiguresFile& counters_file() {
  static const FiguresFile file(
      FiguresFile::in_tests("counters.txt"),
      "The matmul's main loops, counted by the simulator and made by ptxas.\n"
      "# instructions: of the thread program, for 1000 weights; machine: of the machine's code, for 1000 weights;\n"
      "# barriers: a turn; conflicts: shared wavefronts over their least; sectors: for 100 of their least; flight: "
      "bytes\n"
      "# on their way.");
  return file;
}

/// None where no matrix instruction has the type of x.
std::vector<ScheduleRow> rows_of(const Target& target, const NamedFormat& f) {
  if (std::none_of(target.atoms.begin(), target.atoms.end(),
                   [&](const Atom& a) { return a.source != MapSource::fma && a.a == f.activation; }))
    return {};
  const auto rows = schedules_of(target, f.format, f.activation);
  REQUIRE(rows);
  std::vector<ScheduleRow> out = rows->rows;
  std::erase_if(out, [](const ScheduleRow& r) { return r.schedule.k_groups > 1; });  // the loop is the same
  return out;
}

std::string name_of(const NamedFormat& f, const Schedule& s) { return fmt::format("{} {}", f.name, to_string(s)); }

/// What one launch of the row counts on one workgroup's tile of whole rows and turns.
sim::KernelCount counted(sim::Device& device, const Target& target, const NamedFormat& f, const Schedule& s) {
  const int64_t n = s.tile_n, m = s.tile_m, k = s.tile_k * kTurns;
  const bool scaled = f.format.scaled();
  auto matmul = Matmul::create(device, target, f.format, f.activation, false);
  REQUIRE(matmul);
  const std::vector<std::byte> codes(static_cast<size_t>(scaled ? n * k : n * k * 2), std::byte{9});
  const std::vector<uint16_t> ones(static_cast<size_t>(n * k / kGroup), static_cast<uint16_t>(encode(f.activation, 1)));
  REQUIRE((*matmul)->store(scaled ? PlainWeights{n, k, k / kGroup, codes, ones, ones}
                                  : PlainWeights{n, k, 0, codes, {}, {}}));
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

int64_t ratio(uint64_t scale, uint64_t part, uint64_t whole) {
  return std::llround(static_cast<double>(scale * part) / static_cast<double>(std::max<uint64_t>(1, whole)));
}

Figures figures_of(const sim::KernelCount& k, const Schedule& s, int lanes) {
  const sim::LoopCount& loop = k.main_loop();
  const auto weights = static_cast<uint64_t>(s.tile_n * s.tile_k * kTurns);
  const auto subgroups = static_cast<uint64_t>(s.split[0] * s.split[1] * s.split[2]);
  return {{"instructions", ratio(1000, loop.instructions() * static_cast<uint64_t>(lanes), weights)},
          {"barriers", static_cast<int64_t>(loop.barriers / subgroups / kTurns)},
          {"conflicts", static_cast<int64_t>(loop.wavefronts - loop.least_wavefronts)},
          {"sectors", ratio(100, loop.sectors, loop.least_sectors)},
          {"flight", static_cast<int64_t>(k.flight.copies + k.flight.loads)}};
}

void check(const std::string& name, const FiguresFile::Section& section) {
  const Comparison c = changes(name, section, counters_file());
  MESSAGE(fmt::format("{}: {} of {} loops as they were{}", name, c.same, section.kernels.size(), c.version));
  CHECK_MESSAGE(c.faults.empty(), fmt::format("{}:\n{}", name, fmt::join(c.faults, "\n")));
}

/// What ptxas makes of the row's kernel, and how much of its loop a weight costs.
Figures machine_figures(const NamedFormat& f, const Schedule& s, const Target& t, const std::string& base) {
  CompileOptions options{.factor = s.factor_on_accumulator ? tile::Factor::accumulator : tile::Factor::operand};
  options.lower.aligned = true;
  const auto c = compile(shipped_matmul(f, s, false).func, t, options);
  REQUIRE_MESSAGE(c, c.error().text);
  const auto a = assemble(c->func, t, base);
  REQUIRE_MESSAGE(a, a.error().text);
  int64_t multiplies = 0;  // of a turn, by each subgroup
  c->func.walk(c->func.body, [&](BlockId block, size_t, InstId id) {
    const auto op = c->func.inst(id).op;
    multiplies += block != c->func.body && (op == thread::Op::mma || op == thread::Op::mma_shared);
  });
  const auto loop = machine_loop(a->code);
  REQUIRE(loop);
  REQUIRE(loop->multiplies > 0);
  const int64_t weights_a_lane = s.tile_n * s.tile_k / (c->func.subgroups * c->func.subgroup_size) * s.split[1];
  return {{"registers", a->registers},
          {"spills", a->spills},
          {"machine", std::llround(1000.0 * static_cast<double>(loop->instructions * multiplies) /
                                   static_cast<double>(loop->multiplies * weights_a_lane))}};
}

}  // namespace

TEST_CASE("the main loops of the matmul's rows") {
  for (const char* name : kDevices) {
    const auto device = open_device(fmt::format("sim:{}", name));
    REQUIRE(device);
    auto& simulated = dynamic_cast<sim::Device&>(**device);
    const Target target = target_of(**device).value();
    FiguresFile::Section section{"simulated", {}};
    for (const NamedFormat& f : kCounted)
      for (const ScheduleRow& row : rows_of(target, f)) {
        const Schedule& s = row.schedule;
        CAPTURE(fmt::format("{}: {}", name, name_of(f, s)));
        const sim::KernelCount k = counted(simulated, target, f, s);
        const sim::LoopCount& loop = k.main_loop();
        CHECK(loop.wavefronts == loop.least_wavefronts);
        CHECK(loop.sectors == loop.least_sectors);
        section.kernels[name_of(f, s)] = figures_of(k, s, target.subgroup_size);
        if (!f.format.scaled()) continue;
        REQUIRE(loop.operand_lead);
        CHECK(*loop.operand_lead >= 1);
        const auto stage = static_cast<uint64_t>(s.tile_n * s.tile_k / 2);  // of weights; what else waits comes on top
        const uint64_t turns_ahead = static_cast<uint64_t>(s.stages) - 1;
        CHECK(k.flight.copies + k.flight.loads >= turns_ahead * stage);
      }
    check(name, section);
  }
}

TEST_CASE("what ptxas makes of the main loops") {
  const model::ScratchFolder scratch("lathe_main_loops");
  const std::string version = ptxas_version(scratch);
  if (version.empty()) {
    MESSAGE("SKIPPED: registers, spills and machine code of the main loops: ptxas is not on PATH");
    return;
  }
  for (const char* name : kDevices) {
    const auto target = ptx_target(name);
    if (!target) continue;
    FiguresFile::Section section{version, {}};
    for (const NamedFormat& f : kCounted)
      for (const ScheduleRow& row : rows_of(*target, f))
        section.kernels[name_of(f, row.schedule)] = machine_figures(f, row.schedule, *target, scratch.path("k"));
    check(fmt::format("ptxas {}", name), section);
  }
}
