#include "backends/sim/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "backends/sim/models.h"
#include "backends/sim/serial.h"
#include "backends/sim/wave.h"

namespace lathe::sim {
namespace {

using runtime::Error;
using runtime::fail;
using runtime::Unit;
template <class T>
using Result = runtime::Result<T>;

/// What every object of a device shares. One launch or copy at a time.
struct Core {
  Core(Model model_, double timeout_s_)
      : model(std::move(model_)), memory(model.info.memory_bytes), timeout_s(timeout_s_) {}
  const Model model;
  std::mutex mutex;
  Memory memory;
  double timeout_s;
  uint32_t window_threads = 0;  ///< of the launches since the last ordered one
  std::vector<KernelCount> counters;
};
using CorePtr = std::shared_ptr<Core>;

class SimBuffer final : public runtime::Buffer {
 public:
  SimBuffer(CorePtr core, std::shared_ptr<Block> block, std::shared_ptr<runtime::MemoryUse> use)
      : Buffer(block->address, block->bytes, std::move(use)), core_(std::move(core)), block_(std::move(block)) {}
  ~SimBuffer() override {
    const std::lock_guard lock(core_->mutex);
    core_->memory.free(*block_);
  }
  const CorePtr& core() const { return core_; }
  Block& block() const { return *block_; }

 private:
  CorePtr core_;
  std::shared_ptr<Block> block_;
};

class SimProgram final : public runtime::Program {
 public:
  SimProgram(CorePtr core, std::shared_ptr<const Code> code, const runtime::ProgramInfo& info, int64_t shared)
      : runtime::Program(
            info,
            {.spills = 0, .shared_bytes = shared, .max_threads = static_cast<int>(core->model.info.facts.max_threads)}),
        core_(std::move(core)),
        code_(std::move(code)) {}
  const CorePtr& core() const { return core_; }
  const std::shared_ptr<const Code>& code() const { return code_; }

 private:
  CorePtr core_;
  std::shared_ptr<const Code> code_;
};

Error::Code code_of(Fault::Cause cause) {
  switch (cause) {
    case Fault::Cause::arguments:
      return Error::Code::bad_input;
    case Fault::Cause::time:
      return Error::Code::timeout;
    default:
      return Error::Code::internal;
  }
}

void add_counters(std::vector<KernelCount>& all, KernelCount one) {
  const auto it = std::find_if(all.begin(), all.end(), [&](const KernelCount& k) {
    return k.name == one.name && std::equal(k.loops.begin(), k.loops.end(), one.loops.begin(), one.loops.end(),
                                            [](const LoopCount& a, const LoopCount& b) { return a.loc == b.loc; });
  });
  if (it == all.end()) return all.push_back(std::move(one));
  it->add(one);
}

Result<const SimProgram*> checked(const CorePtr& core, const runtime::Program* program, runtime::Dim3 grid,
                                  std::span<const uint64_t> params) {
  if (program == nullptr) return fail(Error::Code::bad_input, "a launch without a program");
  const auto* p = dynamic_cast<const SimProgram*>(program);
  if (p == nullptr || p->core() != core)
    return fail(Error::Code::bad_input,
                fmt::format("{}: the program was loaded on another device", core->model.info.id));
  TRY(check_launch(p->info(), core->model.info.facts, grid, params));
  return p;
}

/// Runs one launch to its end.
Result<Unit> execute(Core& core, const Code& program, runtime::Dim3 grid, std::span<const uint64_t> params,
                     bool ordered) {
  const std::lock_guard lock(core.mutex);
  if (ordered) {
    core.memory.next_window();
    core.window_threads = 0;
  }
  const auto limit =
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(core.timeout_s));
  Launch launch{program,
                core.model.matrices,
                core.memory,
                {grid.x, grid.y, grid.z},
                params,
                core.window_threads,
                std::chrono::steady_clock::now() + limit,
                {},
                {},
                {}};
  run(launch);
  core.window_threads +=
      grid.x * grid.y * grid.z * static_cast<uint32_t>(program.func.subgroups * program.func.subgroup_size);
  add_counters(core.counters, summarise(program, launch.counts, launch.flight));
  if (!launch.fault) return Unit{};
  return fail(code_of(launch.fault->cause), fmt::format("{}: {}", core.model.info.id, launch.fault->text));
}

class SimQueue final : public runtime::Queue {
 public:
  explicit SimQueue(CorePtr core) : core_(std::move(core)) {}
  Result<Unit> launch(const runtime::Program& program, runtime::Dim3 grid, std::span<const uint64_t> params,
                      runtime::After after) override {
    TRY_ASSIGN(const SimProgram* const p, checked(core_, &program, grid, params));
    if (status_) status_ = execute(*core_, *p->code(), grid, params, after == runtime::After::ordered);
    return Unit{};
  }
  Result<Unit> sync() override { return std::exchange(status_, Unit{}); }

 private:
  CorePtr core_;
  Result<Unit> status_ = Unit{};  ///< of the launches since the last sync
};

class SimGraph final : public runtime::Graph {
 public:
  struct Node {
    std::shared_ptr<const Code> code;
    runtime::Dim3 grid;
    std::vector<uint64_t> params;
    bool ordered;
  };
  SimGraph(CorePtr core, std::vector<Node> nodes) : core_(std::move(core)), nodes_(std::move(nodes)) {}
  Result<std::vector<double>> time_us(int replays) override {
    constexpr int kMaxReplays = 4096;
    if (replays < 1 || replays > kMaxReplays)
      return fail(Error::Code::bad_input, fmt::format("{} replays, not 1 .. {}", replays, kMaxReplays));
    std::vector<double> us;
    for (int r = 0; r < replays; r++) {
      const auto start = std::chrono::steady_clock::now();
      for (const Node& n : nodes_) TRY(execute(*core_, *n.code, n.grid, n.params, n.ordered));
      us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    }
    return us;
  }

 private:
  CorePtr core_;
  std::vector<Node> nodes_;
};

class SimDevice final : public Device {
 public:
  explicit SimDevice(CorePtr core) : core_(std::move(core)) {}
  const runtime::DeviceInfo& info() const override { return core_->model.info; }
  const Target* target() const override { return core_->model.target ? &*core_->model.target : nullptr; }

  Result<std::unique_ptr<runtime::Program>> load(std::span<const std::byte> code,
                                                 const runtime::ProgramInfo& info) override {
    const auto refuse = [&](const lathe::Error& e) {
      return fail(e.code == lathe::Error::Code::unsupported ? Error::Code::unsupported : Error::Code::bad_input,
                  fmt::format("{}: {}", core_->model.info.id, e.text));
    };
    auto func = deserialise(code);
    if (!func) return refuse(func.error());
    const runtime::Facts& facts = core_->model.info.facts;
    const auto threads = static_cast<uint32_t>(func->subgroups * func->subgroup_size);
    if (static_cast<uint32_t>(func->subgroup_size) != facts.subgroup_size || threads > facts.max_threads)
      return refuse({lathe::Error::Code::unsupported,
                     fmt::format("{} subgroups of {} lanes", func->subgroups, func->subgroup_size)});
    if (info.threads != threads || info.param_slots != static_cast<uint32_t>(func->param_slots) ||
        info.entry != func->name)
      return refuse({lathe::Error::Code::bad_input, "the program is not what is said of it"});
    int64_t shared = 0;
    for (const auto& a : func->shared) shared += a.bytes;
    if (shared > static_cast<int64_t>(facts.shared_bytes))
      return refuse({lathe::Error::Code::unsupported,
                     fmt::format("{} bytes of shared memory, there are {}", shared, facts.shared_bytes)});
    auto program = decode(std::move(*func), core_->model.matrices);
    if (!program) return refuse(program.error());
    return std::make_unique<SimProgram>(core_, std::move(*program), info, shared);
  }

  Result<std::unique_ptr<runtime::Buffer>> alloc(uint64_t bytes) override {
    const auto refuse = [&](const char* why) {
      return fail(Error::Code::out_of_memory,
                  fmt::format("{}: {} bytes cannot be allocated{}", core_->model.info.id, bytes, why));
    };
    const std::lock_guard lock(core_->mutex);
    std::shared_ptr<Block> block;
    try {
      block = core_->memory.alloc(bytes);
      if (!block) return refuse("");
      return std::make_unique<SimBuffer>(core_, block, memory_use_);
    } catch (const std::bad_alloc&) {
      if (block) core_->memory.free(*block);
      return refuse(": the host has no room for them");
    }
  }
  Result<Unit> upload(runtime::Buffer& to, uint64_t offset, std::span<const std::byte> from) override {
    TRY_ASSIGN(Block* const b, part(to, offset, from.size()));
    if (!from.empty()) std::memcpy(b->data.get() + offset, from.data(), from.size());
    std::memset(b->written.get() + offset, 0xff, from.size());
    return Unit{};
  }
  Result<Unit> download(const runtime::Buffer& from, uint64_t offset, std::span<std::byte> to) override {
    TRY_ASSIGN(const Block* const b, part(from, offset, to.size()));
    if (!to.empty()) std::memcpy(to.data(), b->data.get() + offset, to.size());
    return Unit{};
  }
  Result<Unit> fill(runtime::Buffer& buffer, uint64_t offset, uint64_t bytes, std::byte value) override {
    TRY_ASSIGN(Block* const b, part(buffer, offset, bytes));
    std::memset(b->data.get() + offset, std::to_integer<int>(value), bytes);
    std::memset(b->written.get() + offset, 0xff, bytes);
    return Unit{};
  }
  Result<std::unique_ptr<runtime::Queue>> queue() override { return std::make_unique<SimQueue>(core_); }
  Result<std::unique_ptr<runtime::Graph>> record(std::span<const runtime::LaunchRecord> launches) override {
    if (launches.empty()) return fail(Error::Code::bad_input, "a graph of no launches");
    std::vector<SimGraph::Node> nodes;
    for (const runtime::LaunchRecord& l : launches) {
      TRY_ASSIGN(const SimProgram* const p, checked(core_, l.program, l.grid, l.params));
      nodes.push_back({p->code(), l.grid, l.params, l.ordered});
    }
    return std::make_unique<SimGraph>(core_, std::move(nodes));
  }

  std::vector<KernelCount> counters() const override {
    const std::lock_guard lock(core_->mutex);
    return core_->counters;
  }
  void clear_counters() override {
    const std::lock_guard lock(core_->mutex);
    core_->counters.clear();
  }

 private:
  Result<Block*> part(const runtime::Buffer& buffer, uint64_t offset, uint64_t bytes) const {
    const auto* b = dynamic_cast<const SimBuffer*>(&buffer);
    if (b == nullptr || b->core() != core_)
      return fail(Error::Code::bad_input, fmt::format("{}: the buffer is of another device", core_->model.info.id));
    TRY(check_range(buffer, offset, bytes));
    return &b->block();
  }

  CorePtr core_;
};

}  // namespace

runtime::Result<std::unique_ptr<Device>> open(std::string_view name, const runtime::DeviceOptions& options) {
  TRY_ASSIGN(Model model, find_model(name));
  return std::make_unique<SimDevice>(std::make_shared<Core>(std::move(model), options.timeout_s));
}

std::unique_ptr<Device> simulate(const Target& target, const runtime::DeviceOptions& options) {
  return std::make_unique<SimDevice>(std::make_shared<Core>(model_of(target.name, target), options.timeout_s));
}

}  // namespace lathe::sim
