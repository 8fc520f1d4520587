#include "runtime/cuda/program.h"

#include <array>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace lathe::runtime::cuda {
namespace {

constexpr uint32_t kDynamicSharedWithoutAsking = 48 << 10;

/// The compiler's messages, in a buffer that the driver writes while the options are in use.
class JitLog {
 public:
  unsigned count() const { return static_cast<unsigned>(options_.size()); }
  CUjit_option* options() { return options_.data(); }
  void** values() { return values_.data(); }
  /// ": " and the messages, or nothing.
  std::string text() const {
    std::string log(buffer_.data(), strnlen(buffer_.data(), buffer_.size()));
    while (!log.empty() && (log.back() == '\n' || log.back() == ' ')) log.pop_back();
    return log.empty() ? log : ": " + log;
  }

 private:
  std::array<char, 16 << 10> buffer_{};
  std::array<CUjit_option, 2> options_{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  std::array<void*, 2> values_{buffer_.data(), reinterpret_cast<void*>(buffer_.size())};
};

bool is_binary(std::span<const std::byte> code) {
  static constexpr std::array<unsigned char, 4> elf{0x7F, 'E', 'L', 'F'};
  return code.size() >= elf.size() && std::memcmp(code.data(), elf.data(), elf.size()) == 0;
}

/// `image`: a cubin, or PTX text with its NUL.
Result<Module> load_image(const std::shared_ptr<Core>& core, const void* image) {
  const auto log = std::make_unique<JitLog>();
  CUmodule module = nullptr;
  const CUresult r = core->api.cuModuleLoadDataEx(&module, image, log->count(), log->options(), log->values());
  if (r != CUDA_SUCCESS)
    TRY(core->check(r, "cuModuleLoadDataEx", core->info.id + ": the driver cannot load the program" + log->text()));
  return Module(core, module);
}

/// The cubin that the driver's compiler makes of PTX text; none where it cannot.
std::optional<std::vector<std::byte>> link(const Core& core, std::string& ptx) {
  const auto log = std::make_unique<JitLog>();
  CUlinkState state = nullptr;
  if (core.api.cuLinkCreate_v2(log->count(), log->options(), log->values(), &state) != CUDA_SUCCESS)
    return std::nullopt;
  std::optional<std::vector<std::byte>> cubin;
  void* bytes = nullptr;  // belongs to the link state
  size_t size = 0;
  if (core.api.cuLinkAddData_v2(state, CU_JIT_INPUT_PTX, ptx.data(), ptx.size() + 1, "kernel.ptx", 0, nullptr,
                                nullptr) == CUDA_SUCCESS &&
      core.api.cuLinkComplete(state, &bytes, &size) == CUDA_SUCCESS) {
    cubin.emplace(static_cast<const std::byte*>(bytes), static_cast<const std::byte*>(bytes) + size);
  }
  core.api.cuLinkDestroy(state);
  return cubin;
}

/// Through the disk cache where there is one. Whatever goes wrong with a binary, the text itself is loaded: its error
/// is the one that the user sees.
Result<Module> load_ptx(const std::shared_ptr<Core>& core, std::string ptx) {
  const DiskCache* cache = core->options.cache.get();
  if (cache) {
    const CudaFacts& facts = core->info.facts.cuda;
    const std::string key = hash_key(
        {"cuda cubin", ptx, core->info.driver, core->info.name, fmt::format("{}.{}", facts.major, facts.minor)});
    if (const auto cubin = cache->get(key); cubin && is_binary(*cubin)) {
      if (Result<Module> module = load_image(core, cubin->data())) return module;
    }
    if (const auto cubin = link(*core, ptx)) {
      if (Result<Module> module = load_image(core, cubin->data())) {
        cache->put(key, *cubin);
        return module;
      }
    }
  }
  TRY(core->health.alive());
  return load_image(core, ptx.c_str());
}

int attribute(const Core& core, CUfunction function, CUfunction_attribute which) {
  int value = -1;
  return core.api.cuFuncGetAttribute(&value, which, function) == CUDA_SUCCESS ? value : -1;
}

ProgramStats stats_of(const Core& core, CUfunction function) {
  ProgramStats stats;
  stats.registers = attribute(core, function, CU_FUNC_ATTRIBUTE_NUM_REGS);
  stats.spills = attribute(core, function, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  stats.shared_bytes = attribute(core, function, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  stats.max_threads = attribute(core, function, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  return stats;
}

/// That the workgroup fits the device; allows the dynamic shared memory it needs.
Result<Unit> prepare(Core& core, CUfunction function, const ProgramInfo& info, const ProgramStats& stats) {
  const auto refuse = [&](const std::string& why) {
    return fail(Error::Code::unsupported, fmt::format("{}: {}: {}", core.info.id, info.entry, why));
  };
  if (stats.max_threads >= 0 && info.threads > static_cast<uint32_t>(stats.max_threads))
    return refuse(
        fmt::format("{} threads; with {} registers each at most {}", info.threads, stats.registers, stats.max_threads));
  const uint64_t shared = uint64_t{info.shared_bytes} + static_cast<uint64_t>(std::max<int64_t>(stats.shared_bytes, 0));
  if (shared > core.info.facts.shared_bytes)
    return refuse(fmt::format("{} bytes of shared memory, at most {}", shared, core.info.facts.shared_bytes));
  if (shared <= kDynamicSharedWithoutAsking) return Unit{};
  return core.check(core.api.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                                static_cast<int>(info.shared_bytes)),
                    "cuFuncSetAttribute",
                    fmt::format("{}: no {} bytes of shared memory", info.entry, info.shared_bytes));
}

Result<Unit> check_info(const DeviceInfo& device, const ProgramInfo& info) {
  const uint32_t warp = device.facts.subgroup_size;
  const auto refuse = [&](Error::Code code, const std::string& why) {
    return fail(code, fmt::format("{}: {}: {}", device.id, info.entry, why));
  };
  if (info.threads == 0) return refuse(Error::Code::bad_input, "a workgroup of no threads");
  if (info.param_slots > 512) return refuse(Error::Code::unsupported, "more than 512 parameter slots");
  for (const BoxInfo& b : info.boxes) {
    const auto known = [&](int64_t slot) { return slot < int64_t{info.param_slots}; };
    if (!known(b.address_slot) || !known(b.columns.slot) || !known(b.rows.slot) || !known(b.pitch.slot))
      return refuse(Error::Code::bad_input, "a box of no launch argument");
  }
  if (info.subgroup_size && info.subgroup_size != warp)
    return refuse(Error::Code::unsupported, fmt::format("subgroups of {}, it has {}", info.subgroup_size, warp));
  if (info.subgroup_size && info.threads % warp)
    return refuse(Error::Code::bad_input, fmt::format("{} threads are no whole subgroups of {}", info.threads, warp));
  return Unit{};
}

}  // namespace

Result<std::unique_ptr<Program>> CudaProgram::create(const std::shared_ptr<Core>& core, std::span<const std::byte> code,
                                                     const ProgramInfo& info) {
  TRY(core->health.alive());
  TRY(check_info(core->info, info));
  if (!info.boxes.empty() && !core->api.cuTensorMapEncodeTiled)
    return fail(Error::Code::unsupported,
                fmt::format("{}: the driver knows no tensor maps; a newer one does", core->info.id));
  if (code.empty()) return fail(Error::Code::bad_input, "an empty program");
  const Current current(*core);
  TRY_ASSIGN(Module module, is_binary(code)
                                ? load_image(core, code.data())
                                : load_ptx(core, {reinterpret_cast<const char*>(code.data()), code.size()}));
  CUfunction function = nullptr;
  TRY(core->check(core->api.cuModuleGetFunction(&function, module.get(), info.entry.c_str()), "cuModuleGetFunction",
                  fmt::format("{}: the program has no kernel \"{}\"", core->info.id, info.entry)));
  ProgramStats stats = stats_of(*core, function);
  TRY(prepare(*core, function, info, stats));
  return std::make_unique<CudaProgram>(std::make_shared<const Module>(std::move(module)), function, info,
                                       std::move(stats));
}

}  // namespace lathe::runtime::cuda
