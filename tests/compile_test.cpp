// Every kernel we ship, for every target and alignment: it compiles, fits, is quick to compile, and the vendor's own
// checker takes what is emitted.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <future>
#include <set>
#include <spirv-tools/libspirv.hpp>
#include <thread>

#include "backends/ptx/emit.h"
#include "backends/spirv/emit.h"
#include "tests/scratch_files.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

constexpr double kMostMilliseconds = 100;
/// Only what the optimiser built says something about time.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
constexpr bool kTimed = true;
#else
constexpr bool kTimed = false;
#endif

struct Code {
  std::string ptx;
  std::vector<uint32_t> spirv;
};
Result<Code> emitted(const thread::Func& f, const Target& t) {
  Code code;
  if (t.backend == Backend::ptx) {
    TRY_ASSIGN(code.ptx, emit_ptx(f, t));
  } else {
    TRY_ASSIGN(code.spirv, emit_spirv(f, t));
  }
  return code;
}

Result<Unit> fits(const thread::Func& f, const Target& t) {
  TRY(thread::verify(f));
  if (shared_bytes(f) > t.shared_bytes)
    return unsupported(fmt::format("{} bytes of shared memory, the target has {}", shared_bytes(f), t.shared_bytes));
  if (f.subgroups * f.subgroup_size > t.max_threads)
    return unsupported(fmt::format("{} threads, the target has {}", f.subgroups * f.subgroup_size, t.max_threads));
  return Unit{};
}

struct Outcome {
  std::string kernel;  ///< "sm_80: softmax f16 aligned"
  Result<Code> code;
  double milliseconds = 0;  ///< of our own processor time
};

/// Compiles and emits; kernels are named by their place, so that equal ones have equal text for every target.
std::vector<Outcome> outcomes_for(const Target& t) {
  std::vector<Outcome> out;
  for (const ShippedKernel& k : shipped_kernels(t))
    for (const bool aligned : {false, true}) {
      const std::clock_t start = std::clock();
      Result<Code> code = [&]() -> Result<Code> {
        TRY_ASSIGN(Compiled c, compile(k.func, t, k.options(aligned)));
        TRY(fits(c.func, t));
        c.func.name = fmt::format("k{}", out.size());
        return emitted(c.func, t);
      }();
      const double ms = 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      out.push_back({fmt::format("{}: {}{}", t.name, k.name, aligned ? " aligned" : ""), std::move(code), ms});
    }
  return out;
}

/// One entry a failure. Says how many there were and which took longest.
std::vector<std::string> faults_of(const std::vector<Outcome>& outcomes) {
  std::vector<std::string> faults;
  const Outcome* slowest = &outcomes.at(0);
  for (const Outcome& o : outcomes) {
    if (!o.code) faults.push_back(fmt::format("{}: {}", o.kernel, o.code.error().text));
    if (kTimed && o.milliseconds > kMostMilliseconds)
      faults.push_back(fmt::format("{}: {:.0f} ms to compile", o.kernel, o.milliseconds));
    if (o.milliseconds > slowest->milliseconds) slowest = &o;
  }
  MESSAGE(
      fmt::format("{} kernels, the slowest {:.1f} ms: {}", outcomes.size(), slowest->milliseconds, slowest->kernel));
  return faults;
}

// ---- ptxas

bool ptxas_is_there() { return std::system("ptxas --version >/dev/null 2>&1") == 0; }

/// What ptxas says of kernels under one target's head; "" when it takes them.
std::string ptxas_faults(const std::string& target, const std::vector<std::string>& modules, const std::string& base) {
  std::string version, kernels;
  for (const std::string& module : modules) {
    version = std::max(version, module.substr(0, module.find('\n')));
    kernels += module.substr(module.find("\n\n") + 1);
  }
  std::ofstream(base + ".ptx") << version << "\n.target " << target << "\n.address_size 64\n" << kernels;
  const std::string command =
      fmt::format("ptxas -O1 -arch={} {}.ptx -o {}.cubin >{}.log 2>&1", target, base, base, base);
  if (std::system(command.c_str()) == 0) return "";
  return fmt::format("ptxas for {}: {}", target, model::bytes_of(base + ".log"));
}

struct Batch {
  std::string target;
  std::vector<std::string> modules;
};

/// Runs ptxas over all batches, on all cores.
std::vector<std::string> assemble(const std::vector<Batch>& batches) {
  const model::ScratchFolder scratch("lathe_compile_test");
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    std::vector<std::string> faults;
    for (size_t i = next++; i < batches.size(); i = next++) {
      const auto fault = ptxas_faults(batches[i].target, batches[i].modules, scratch.path(fmt::format("batch{}", i)));
      if (!fault.empty()) faults.push_back(fault);
    }
    return faults;
  };
  std::vector<std::future<std::vector<std::string>>> workers;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); i++)
    workers.push_back(std::async(std::launch::async, work));
  std::vector<std::string> faults;
  for (auto& worker : workers)
    for (std::string& fault : worker.get()) faults.push_back(std::move(fault));
  return faults;
}

/// PTX of one target runs on every later one, so a text that an older target was given is not assembled again.
std::vector<Batch> batches_of(const std::vector<std::pair<Target, std::vector<Outcome>>>& all) {
  constexpr size_t kKernels = 24;
  std::set<std::string> given;
  std::vector<Batch> batches;
  for (const auto& [target, outcomes] : all) {
    batches.push_back({target.name, {}});
    for (const Outcome& o : outcomes) {
      if (!o.code || !given.insert(o.code->ptx.substr(o.code->ptx.find("\n\n"))).second) continue;
      if (batches.back().modules.size() == kKernels) batches.push_back({target.name, {}});
      batches.back().modules.push_back(o.code->ptx);
    }
    // One at least is assembled for each target.
    if (batches.back().modules.empty() && outcomes[0].code) batches.back().modules.push_back(outcomes[0].code->ptx);
  }
  return batches;
}

// ---- spirv-val

std::string spirv_faults(const std::vector<uint32_t>& words) {
  std::string said;
  spvtools::SpirvTools tools(SPV_ENV_VULKAN_1_2);
  tools.SetMessageConsumer([&](spv_message_level_t, const char*, const spv_position_t&, const char* text) {
    said += fmt::format("{}\n", text);
  });
  return tools.Validate(words) ? "" : said + "(invalid)";
}

std::vector<Target> targets_of(Backend backend) {
  std::vector<Target> out;
  for (const char* name : kTestTargets) {
    const auto t = test_target(name);
    REQUIRE_MESSAGE(t, t.error().text);
    if (t->backend == backend) out.push_back(*t);
  }
  REQUIRE_FALSE(out.empty());
  return out;
}

void check_none(const std::vector<std::string>& faults) {
  CHECK_MESSAGE(faults.empty(), fmt::format("{} failures:\n{}", faults.size(), fmt::join(faults, "\n")));
}

}  // namespace

TEST_CASE("every kernel compiles for every PTX target, in time, and ptxas takes it") {
  std::vector<std::pair<Target, std::vector<Outcome>>> all;
  for (const Target& t : targets_of(Backend::ptx)) {
    all.emplace_back(t, outcomes_for(t));
    check_none(faults_of(all.back().second));
  }
  const auto batches = batches_of(all);
  size_t kernels = 0;
  for (const Batch& b : batches) kernels += b.modules.size();
  if (ptxas_is_there())
    check_none(assemble(batches));
  else
    MESSAGE("SKIPPED: ptxas is not on PATH, ", kernels, " kernels not assembled");
}

TEST_CASE("every kernel compiles for every profile, in time, and its module is valid") {
  for (const Target& t : targets_of(Backend::spirv)) {
    const auto outcomes = outcomes_for(t);
    check_none(faults_of(outcomes));
    std::vector<std::string> invalid;
    for (const Outcome& o : outcomes)
      if (const std::string said = o.code ? spirv_faults(o.code->spirv) : ""; !said.empty())
        invalid.push_back(fmt::format("{}: {}", o.kernel, said));
    check_none(invalid);
  }
}

TEST_CASE("the checkers would say so") {
  CHECK_FALSE(spirv_faults({1, 2, 3}).empty());
  if (!ptxas_is_there()) return;
  const model::ScratchFolder scratch("lathe_compile_test_wrong");
  const std::string wrong = ".version 7.0\n.target sm_80\n.address_size 64\n\n.visible .entry k() { not.ptx; }\n";
  CHECK_FALSE(ptxas_faults("sm_80", {wrong}, scratch.path("wrong")).empty());
}

}  // namespace lathe
