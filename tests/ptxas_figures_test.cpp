// What ptxas makes of every kind of kernel: registers, spills, shared memory, code size, against tests/figures.txt.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <atomic>
#include <future>
#include <thread>

#include "tests/figures.h"
#include "tests/ptxas.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

constexpr const char* kTargets[] = {"sm_75", "sm_80", "sm_90a"};

Result<Figures> figures_of(const ShippedKernel& k, const Target& t, const std::string& base) {
  TRY_ASSIGN(const Compiled c, compile(k.func, t, k.options(true)));
  TRY_ASSIGN(const Assembled a, assemble(c.func, t, base));
  int64_t shared = 0;
  for (const auto& array : c.func.shared) shared += array.bytes;
  return Figures{{"registers", a.registers}, {"spills", a.spills}, {"shared", shared}, {"code", a.code.size()}};
}

}  // namespace

TEST_CASE("ptxas keeps every kind of kernel in registers, and no figure is worse than it was") {
  const model::ScratchFolder scratch("lathe_ptxas_figures");
  const std::string version = ptxas_version(scratch);
  if (version.empty()) {
    MESSAGE("SKIPPED: ptxas is not on PATH");
    return;
  }
  for (const char* name : kTargets) {
    const auto t = ptx_target(name);
    REQUIRE(t);
    const auto kernels = kernels_of_each_kind(*t);
    std::vector<Result<Figures>> all(kernels.size(), Figures{});
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t i = next++; i < all.size(); i = next++)
        all[i] = figures_of(kernels[i], *t, scratch.path(fmt::format("{}-{}", name, i)));
    };
    std::vector<std::future<void>> workers;
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); i++)
      workers.push_back(std::async(std::launch::async, work));
    for (auto& w : workers) w.get();
    FiguresFile::Section section{version, {}};
    for (size_t i = 0; i < all.size(); i++) {
      REQUIRE_MESSAGE(all[i], fmt::format("{}: {}", kernels[i].name, all[i] ? "" : all[i].error().text));
      CHECK(figure(*all[i], "registers") > 0);
      CHECK(figure(*all[i], "code") > 0);
      CHECK(figure(*all[i], "shared") <= t->shared_bytes);
      section.kernels[kernels[i].name] = *all[i];
    }
    const Comparison c = compare(fmt::format("ptxas {}", name), section);
    MESSAGE(fmt::format("{}: {} kernels, {} spill; {} figures as they were, {} others{}", name, all.size(), c.spilling,
                        c.same, c.better, c.version));
    CHECK_MESSAGE(c.faults.empty(), fmt::format("{}:\n{}", name, fmt::join(c.faults, "\n")));
  }
}

TEST_CASE("figures that got worse, spill anew or are unknown are told") {
  CHECK(is_worse("registers", 64, 60));
  CHECK_FALSE(is_worse("registers", 63, 60));
  CHECK(is_worse("occupancy", 8, 10));
  CHECK_FALSE(is_worse("occupancy", 12, 10));
  CHECK(is_worse("spills", 1, 0));
  const FiguresFile::Section unknown{"no such version", {{"k", {{"registers", 8}, {"spills", 1}}}}};
  if (std::getenv("BLESS")) return;
  const Comparison c = compare("no such compiler", unknown);
  CHECK(c.faults.size() == 1);
  CHECK_FALSE(c.version.empty());
}

TEST_CASE("figures that are the same every time: any other is told, and one that is new or gone") {
  if (std::getenv("BLESS")) return;
  const model::ScratchFolder scratch("lathe_figures");
  const FiguresFile file(scratch.write("f.txt", "[device] 1\na: x 1, y 2\nb: x 3\n"));
  const auto faults = [&](const std::string& version, std::map<std::string, Figures> kernels) {
    return changes("device", {version, std::move(kernels)}, file).faults.size();
  };
  const Figures a{{"x", 1}, {"y", 2}}, b{{"x", 3}};
  CHECK(faults("1", {{"a", a}, {"b", b}}) == 0);
  CHECK(faults("1", {{"a", b}, {"b", b}}) == 1);
  CHECK(faults("1", {{"a", a}}) == 1);
  CHECK(faults("1", {{"a", a}, {"b", b}, {"c", b}}) == 1);
  CHECK(faults("2", {{"a", b}}) == 0);  // of another version: not compared
}

}  // namespace lathe
