// What ptxas makes of every kind of kernel: registers, spills, shared memory, code size, against tests/figures.txt.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <sstream>
#include <thread>

#include "backends/ptx/emit.h"
#include "tests/figures.h"
#include "tests/scratch_files.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

constexpr const char* kTargets[] = {"sm_75", "sm_80", "sm_90a"};

/// "release 13.0, V13.0.88", or "" where there is no ptxas.
std::string ptxas_version(const model::ScratchFolder& scratch) {
  if (std::system(fmt::format("ptxas --version >{} 2>/dev/null", scratch.path("version")).c_str()) != 0) return "";
  const std::string text = model::bytes_of(scratch.path("version"));
  const size_t at = text.find("release ");
  return at == text.npos ? "" : text.substr(at, text.find('\n', at) - at);
}

template <class T>
T field(const std::string& bytes, size_t at) {
  T value{};
  if (at + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

/// Bytes of the section ".text.<entry>" of an ELF64 file.
int64_t code_bytes(const std::string& elf, const std::string& entry) {
  constexpr size_t kSectionBytes = 64;
  const auto table = field<uint64_t>(elf, 40);
  const auto sections = field<uint16_t>(elf, 60), names = field<uint16_t>(elf, 62);
  const auto name_table = field<uint64_t>(elf, table + names * kSectionBytes + 24);
  for (size_t s = 0; s < sections; s++) {
    const size_t at = table + s * kSectionBytes;
    const size_t name = name_table + field<uint32_t>(elf, at);
    const std::string wanted = ".text." + entry + '\0';
    if (name < elf.size() && elf.compare(name, wanted.size(), wanted) == 0)
      return static_cast<int64_t>(field<uint64_t>(elf, at + 32));
  }
  return 0;
}

/// The number that stands before `words` in the text.
int64_t number_before(const std::string& text, const std::string& words) {
  size_t at = text.find(words);
  if (at == text.npos) return 0;
  size_t begin = at;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') begin--;
  return std::strtoll(text.substr(begin, at - begin).c_str(), nullptr, 10);
}

Result<Figures> assemble(const ShippedKernel& k, const Target& t, const std::string& base) {
  TRY_ASSIGN(Compiled c, compile(k.func, t, k.options(true)));
  c.func.name = "k";
  TRY_ASSIGN(const std::string ptx, emit_ptx(c.func, t));
  std::ofstream(base + ".ptx") << ptx;
  const int status =
      std::system(fmt::format("ptxas -v -arch={} {}.ptx -o {}.cubin >{}.log 2>&1", t.name, base, base, base).c_str());
  const std::string log = model::bytes_of(base + ".log");
  if (status != 0) return internal_error("ptxas: " + log);
  int64_t shared = 0;
  for (const auto& a : c.func.shared) shared += a.bytes;
  return Figures{{"registers", number_before(log, " registers")},
                 {"spills", number_before(log, " bytes spill stores")},
                 {"shared", shared},
                 {"code", code_bytes(model::bytes_of(base + ".cubin"), "k")}};
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
        all[i] = assemble(kernels[i], *t, scratch.path(fmt::format("{}-{}", name, i)));
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

}  // namespace lathe
