// Every kind of kernel we ship through one driver's own compiler. For drivers without a device (cmake/vkbox): nothing
// is probed or run, the target is the profile.
//   driver_kernels list        the names of the drivers, of cmake/vkbox
//   driver_kernels DRIVER      compiles for each of its rows; the last line is "N passed, N failed, N skipped"
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <future>
#include <thread>

#include "backends/spirv/profiles.h"
#include "engine/kernel.h"
#include "engine/result.h"
#include "tests/figures.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

struct Row {
  const char* driver;       ///< of cmake/vkbox
  const char* profile;      ///< where fragments' lane maps come from
  const char* instruction;  ///< that every matmul's code has; "" where there is no matrix hardware
  int least;                ///< kernels that compile, as well with lane maps as without
};
constexpr Row kRows[] = {
    {"radv-navi21", "rdna2", "", 40},
    {"radv-navi31", "rdna3", "v_wmma", 44},
    {"radv-navi31", "rdna3-wave64", "v_wmma", 44},
    {"radv-gfx1201", "rdna4", "v_wmma", 48},
    {"radv-gfx1201", "rdna4-wave64", "v_wmma", 48},
    {"nvk-ampere", "nvk", "hmma", 40},
    {"anv-bmg", "xe2", "dpas", 36},
    {"turnip-740", "adreno", "", 40},
    {"honeykrisp", "apple", "", 40},
};

struct Built {
  std::string kernel;
  bool matmul = false;
  Result<runtime::ProgramStats> stats = runtime::ProgramStats{};
  int64_t shared = 0;  ///< bytes our code asks for
};

Built build(runtime::Device& device, const Target& t, const ShippedKernel& k, bool aligned) {
  Built b{k.name + (aligned ? "" : " unaligned"), k.func.name.starts_with("matmul")};
  b.stats = [&]() -> Result<runtime::ProgramStats> {
    TRY_ASSIGN(const Compiled c, compile(k.func, t, k.options(aligned)));
    for (const auto& a : c.func.shared) b.shared += a.bytes;
    TRY_ASSIGN(Emitted e, emit(c.func, t, device.info().api));
    e.info.statistics = e.info.texts = true;
    TRY_ASSIGN(const auto program, load(device, e));
    return program->stats();
  }();
  return b;
}

/// On all cores; in the order of the kernels.
std::vector<Built> build_all(runtime::Device& device, const Target& t) {
  const auto kernels = kernels_of_each_kind(t);
  std::vector<Built> out(2 * kernels.size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < out.size(); i = next++) out[i] = build(device, t, kernels[i / 2], i % 2 == 0);
  };
  std::vector<std::future<void>> workers;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); i++)
    workers.push_back(std::async(std::launch::async, work));
  for (auto& w : workers) w.get();
  return out;
}

/// What the driver says of the device, against what the profile assumes of it.
std::vector<std::string> profile_faults(const Target& t, const runtime::DeviceInfo& info) {
  const runtime::Facts& f = info.facts;
  const runtime::VulkanFacts& v = f.vulkan;
  std::vector<std::string> faults;
  const auto expect = [&](bool holds, std::string what) {
    if (!holds) faults.push_back("the profile is not of this device: " + std::move(what));
  };
  const auto lanes = static_cast<uint32_t>(t.subgroup_size);
  expect(t.shared_bytes == static_cast<int64_t>(f.shared_bytes),
         fmt::format("{} bytes of shared memory", f.shared_bytes));
  expect(t.max_threads <= static_cast<int>(f.max_threads), fmt::format("{} threads a workgroup", f.max_threads));
  expect(lanes >= v.subgroup_size_min && lanes <= v.subgroup_size_max, "its subgroup size");
  expect(v.can_require_subgroup_size || v.subgroup_size_min == v.subgroup_size_max, "its fixed subgroup size");
  expect(v.lane_registers == 0 || t.max_registers == static_cast<int>(v.lane_registers), "its registers");
  expect(t.rte_f16 == v.rte_f16 && t.rte_f32 == v.rte_f32, "rounding");
  expect(t.preserve_f16_denorm == v.preserve_denorm_f16, "f16 subnormals");
  expect(t.preserve_f32_denorm == v.preserve_denorm_f32, "f32 subnormals");
  for (const Atom& a : t.atoms)
    expect(a.source == MapSource::fma || std::any_of(v.matrices.begin(), v.matrices.end(),
                                                     [&](const runtime::MatrixConfig& m) {
                                                       return static_cast<int>(m.m) == a.m &&
                                                              static_cast<int>(m.n) == a.n &&
                                                              static_cast<int>(m.k) == a.k && m.a == to_string(a.a) &&
                                                              m.c == to_string(a.c) && m.scope == "subgroup";
                                                     }),
           a.name);
  return faults;
}

Figures figures_of(const Built& b) {
  const runtime::ProgramStats& s = *b.stats;
  Figures out;
  for (const auto& [name, value] : {std::pair("registers", s.registers),
                                    {"spills", s.spills},
                                    {"scratch", s.scratch_bytes},
                                    {"shared", b.shared},
                                    {"code", s.code_bytes},
                                    {"occupancy", s.occupancy},
                                    {"cycles", s.cycles}})
    if (value >= 0) out.emplace_back(name, value);
  return out;
}

struct Count {
  int passed = 0, failed = 0;
};

/// `profile`: how the target is called in the table and in the figures.
Count run(runtime::Device& device, const Row& row, const std::string& profile, const Target& t) {
  std::vector<std::string> faults = profile_faults(t, device.info());
  FiguresFile::Section section{device.info().driver, {}};
  int matmuls = 0, seen = 0;
  const auto all = build_all(device, t);
  for (const Built& b : all) {
    if (!b.stats) {
      faults.push_back(fmt::format("{}: {}", b.kernel, b.stats.error().text));
      continue;
    }
    section.kernels[b.kernel] = figures_of(b);
    if (b.shared > static_cast<int64_t>(device.info().facts.shared_bytes) || b.stats->shared_bytes > t.shared_bytes)
      faults.push_back(
          fmt::format("{}: {} bytes of shared memory", b.kernel, std::max(b.shared, b.stats->shared_bytes)));
    if (!b.matmul || !*row.instruction) continue;
    matmuls++;
    const bool has = !b.stats->texts.empty() && b.stats->texts.back().second.find(row.instruction) != std::string::npos;
    seen += has;
    if (!has) faults.push_back(fmt::format("{}: no {} in its code", b.kernel, row.instruction));
  }
  const int compiled = static_cast<int>(section.kernels.size());
  if (compiled < row.least) faults.push_back(fmt::format("{} kernels compiled, {} did", compiled, row.least));
  const Comparison c = compare(fmt::format("{} {}", row.driver, profile), section);
  faults.insert(faults.end(), c.faults.begin(), c.faults.end());
  for (const std::string& fault : faults) fmt::print("FAILED {} {}: {}\n", row.driver, profile, fault);
  fmt::print("{:<12} {:<20} {}: {} of {} kernels compiled; {}; {} spill; {} figures as they were, {} others{}\n",
             row.driver, profile, section.version, compiled, all.size(),
             *row.instruction ? fmt::format("{} in {} of {} matmuls", row.instruction, seen, matmuls) : "no matrices",
             c.spilling, c.same, c.better, c.version);
  return {compiled, static_cast<int>(faults.size())};
}

Result<Count> run(const std::string& driver) {
  runtime::DeviceOptions options;
  options.cache = nullptr;
  const auto devices = runtime::list_devices();
  if (devices.empty()) return unsupported("no device");
  TRY_ASSIGN(const auto device, lift(runtime::open_device(devices[0].id, options)));
  Count sum;
  for (const Row& row : kRows) {
    if (row.driver != driver) continue;
    TRY_ASSIGN(const Target t, spirv_profile(row.profile));
    std::vector<std::pair<std::string, Target>> variants{{row.profile, t}};
    if (*row.instruction) variants.emplace_back(fmt::format("{} opaque", row.profile), with_opaque_atoms(t));
    for (const auto& [profile, target] : variants) {
      const Count c = run(*device, row, profile, target);
      sum.passed += c.passed, sum.failed += c.failed;
    }
  }
  return sum;
}

}  // namespace
}  // namespace lathe

int main(int argc, char** argv) {
  doctest::Context context;  // the kernels' builders check by doctest's macros
  context.setAsDefaultForAssertsOutOfTestCases();
  const std::string driver = argc == 2 ? argv[1] : "list";
  if (driver == "list") {
    std::string last;
    for (const auto& row : lathe::kRows)
      if (std::exchange(last, row.driver) != row.driver) fmt::print("{}\n", row.driver);
    return 0;
  }
  const auto sum = lathe::run(driver);
  if (!sum) {
    fmt::print("FAILED {}: {}\n", driver, sum.error().text);
    return 1;
  }
  fmt::print("{} passed, {} failed, 0 skipped\n", sum->passed, sum->failed);
  return sum->failed == 0 && sum->passed > 0 ? 0 : 1;
}
