#include "runtime/cuda/launch.h"

#include <array>

#include <fmt/format.h>

namespace lathe::runtime::cuda {
namespace {

constexpr int kMaxReplays = 4096;

/// The program, if it is of this device and the launch is within the device's limits.
Result<const CudaProgram*> checked(const Core& core, const Program& program, Dim3 grid,
                                   std::span<const uint64_t> params) {
  const auto* p = dynamic_cast<const CudaProgram*>(&program);
  if (!p || &p->core() != &core)
    return fail(Error::Code::bad_input, fmt::format("{}: the program was loaded on another device", core.info.id));
  TRY(check_launch(program.info(), core.info.facts, grid, params));
  return p;
}

/// The arguments of a launch: its slots, then a tensor map for each box.
class Arguments {
 public:
  static Result<Arguments> of(Core& core, const ProgramInfo& info, std::span<const uint64_t> params) {
    Arguments a;
    a.maps_.resize(info.boxes.size());
    for (size_t i = 0; i < info.boxes.size(); i++) TRY(describe(core, info, i, params, a.maps_[i]));
    for (const uint64_t& p : params) a.list_.push_back(const_cast<uint64_t*>(&p));
    for (TensorMap& map : a.maps_) a.list_.push_back(&map);
    return a;
  }
  void** list() { return list_.data(); }

 private:
  static uint64_t value_of(const BoxInfo::Number& n, std::span<const uint64_t> params) {
    return n.slot < 0 ? static_cast<uint64_t>(n.value) : params[static_cast<size_t>(n.slot)];
  }
  static Result<Unit> describe(Core& core, const ProgramInfo& info, size_t at, std::span<const uint64_t> params,
                               TensorMap& map) {
    constexpr uint32_t kColumns = 64, kElementBytes = 2;
    const BoxInfo& b = info.boxes[at];
    const uint64_t extents[] = {value_of(b.columns, params), value_of(b.rows, params)};
    const uint64_t pitch = value_of(b.pitch, params) * kElementBytes;
    const uint32_t box[] = {kColumns, b.box_rows}, every[] = {1, 1};
    return core.check(core.api.cuTensorMapEncodeTiled(
                          &map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, reinterpret_cast<void*>(params[b.address_slot]),
                          extents, &pitch, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                          CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                      "cuTensorMapEncodeTiled",
                      fmt::format("{}: {}: no boxes of {} x {} elements, rows of {} bytes", core.info.id, info.entry,
                                  extents[1], extents[0], pitch));
  }

  std::vector<TensorMap> maps_;
  std::vector<void*> list_;
};

/// Which nodes the next one waits for. An ordered launch waits for all since the ordered one before it, that one
/// included; an independent launch waits for what the last ordered one waited for.
class Frontier {
 public:
  const std::vector<CUgraphNode>& before(bool ordered) {
    if (ordered && !since_.empty()) {
      awaited_ = std::move(since_);
      since_.clear();
    }
    return awaited_;
  }
  void add(CUgraphNode node) { since_.push_back(node); }

 private:
  std::vector<CUgraphNode> awaited_, since_;
};

}  // namespace

Result<std::unique_ptr<Queue>> CudaQueue::create(const std::shared_ptr<Core>& core) {
  TRY(core->health.alive());
  const Current current(*core);
  std::unique_ptr<CudaQueue> queue(new CudaQueue(core));
  TRY_ASSIGN(queue->stream_, make_stream(core));
  return queue;
}

CudaQueue::~CudaQueue() {
  if (!core_->health.lost()) static_cast<void>(sync());  // nobody is left to tell of an error
}

Result<Unit> CudaQueue::launch(const Program& program, Dim3 grid, std::span<const uint64_t> params, After) {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  TRY_ASSIGN(const CudaProgram* const p, checked(*core_, program, grid, params));
  const Current current(*core_);
  const ProgramInfo& info = p->info();
  TRY_ASSIGN(Arguments arguments, Arguments::of(*core_, info, params));
  TRY(core_->check(core_->api.cuLaunchKernel(p->function(), grid.x, grid.y, grid.z, info.threads, 1, 1,
                                             info.shared_bytes, stream_.get(), arguments.list(), nullptr),
                   "cuLaunchKernel", fmt::format("{}: {} cannot be launched", core_->info.id, info.entry)));
  programs_.insert(p->module());
  return Unit{};
}

Result<Unit> CudaQueue::sync() {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  const Current current(*core_);
  TRY(core_->wait(stream_.get()));
  programs_.clear();
  return Unit{};
}

Result<std::unique_ptr<Graph>> CudaGraph::create(const std::shared_ptr<Core>& core,
                                                 std::span<const LaunchRecord> launches) {
  TRY(core->health.alive());
  if (launches.empty()) return fail(Error::Code::bad_input, "a graph of no launches");
  for (const LaunchRecord& l : launches) {
    if (!l.program) return fail(Error::Code::bad_input, "a launch without a program");
    TRY(checked(*core, *l.program, l.grid, l.params));
  }
  const Current current(*core);
  std::unique_ptr<CudaGraph> graph(new CudaGraph(core));
  TRY_ASSIGN(graph->stream_, make_stream(core));
  TRY(graph->record(launches));
  return graph;
}

/// Kernel nodes and their dependencies, rather than the capture of a stream: a stream has no independent launches.
Result<Unit> CudaGraph::record(std::span<const LaunchRecord> launches) {
  CUgraph made = nullptr;
  TRY(core_->check(core_->api.cuGraphCreate(&made, 0), "cuGraphCreate", "no graph"));
  const GraphHandle nodes(core_, made);
  Frontier frontier;
  for (const LaunchRecord& l : launches) {
    const auto& program = static_cast<const CudaProgram&>(*l.program);
    TRY_ASSIGN(Arguments arguments, Arguments::of(*core_, program.info(), l.params));
    const KernelNode kernel{program.function(),     l.grid.x, l.grid.y, l.grid.z,
                            program.info().threads, 1,        1,        program.info().shared_bytes,
                            arguments.list(),       nullptr};
    const std::vector<CUgraphNode>& before = frontier.before(l.ordered);
    const bool overlaps = program.info().overlaps && core_->api.cuGraphAddDependencies_v2 && !before.empty();
    CUgraphNode node = nullptr;
    const std::string failed = fmt::format("{}: {} cannot be recorded", core_->info.id, program.info().entry);
    TRY(core_->check(
        core_->api.cuGraphAddKernelNode(&node, nodes.get(), before.data(), overlaps ? 0 : before.size(), &kernel),
        "cuGraphAddKernelNode", failed));
    if (overlaps) {  // it waits itself, once those in front have all begun
      const GraphEdge edge{kPortLaunchOrder, 0, CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
      const std::vector<CUgraphNode> to(before.size(), node);
      const std::vector<GraphEdge> edges(before.size(), edge);
      TRY(core_->check(
          core_->api.cuGraphAddDependencies_v2(nodes.get(), before.data(), to.data(), edges.data(), before.size()),
          "cuGraphAddDependencies", failed));
    }
    frontier.add(node);
    programs_.push_back(program.module());
  }
  return instantiate(nodes);
}

Result<std::unique_ptr<Graph>> CudaGraph::capture(const std::shared_ptr<Core>& core, const Submit& submit) {
  TRY(core->health.alive());
  const Current current(*core);
  std::unique_ptr<CudaGraph> graph(new CudaGraph(core));
  TRY_ASSIGN(graph->stream_, make_stream(core));
  const CUstream stream = graph->stream_.get();
  TRY(core->check(core->api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED), "cuStreamBeginCapture",
                  "no graph"));
  const Result<Unit> submitted = submit(stream);
  CUgraph made = nullptr;
  const Result<Unit> ended = core->check(core->api.cuStreamEndCapture(stream, &made), "cuStreamEndCapture", "no graph");
  const GraphHandle nodes(core, made);
  TRY(submitted);
  TRY(ended);
  TRY(graph->instantiate(nodes));
  return graph;
}

Result<Unit> CudaGraph::instantiate(const GraphHandle& nodes) {
  CUgraphExec executable = nullptr;
  TRY(core_->check(core_->api.cuGraphInstantiateWithFlags(&executable, nodes.get(), 0), "cuGraphInstantiateWithFlags",
                   core_->info.id + ": the graph cannot be made"));
  graph_ = GraphExec(core_, executable);
  return Unit{};
}

Result<Unit> CudaGraph::prepare_events(size_t count) {
  while (events_.size() < count) {
    CUevent event = nullptr;
    TRY(core_->check(core_->api.cuEventCreate(&event, CU_EVENT_DEFAULT), "cuEventCreate", "no event"));
    events_.emplace_back(core_, event);
  }
  return Unit{};
}

Result<std::vector<double>> CudaGraph::time_us(int replays) {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  if (replays < 1 || replays > kMaxReplays)
    return fail(Error::Code::bad_input, fmt::format("{} replays, not 1 .. {}", replays, kMaxReplays));
  const auto n = static_cast<size_t>(replays);
  const Current current(*core_);
  TRY(prepare_events(n + 1));
  const Api& api = core_->api;
  const auto stamp = [&](size_t i) {
    return core_->check(api.cuEventRecord(events_[i].get(), stream_.get()), "cuEventRecord", "no time can be taken");
  };
  TRY(stamp(0));
  for (size_t i = 0; i < n; ++i) {
    TRY(core_->check(api.cuGraphLaunch(graph_.get(), stream_.get()), "cuGraphLaunch", core_->info.id + ": no replay"));
    TRY(stamp(i + 1));
  }
  TRY(core_->wait(stream_.get()));
  std::vector<double> us(n);
  for (size_t i = 0; i < n; ++i) {
    float milliseconds = 0;
    TRY(core_->check(api.cuEventElapsedTime(&milliseconds, events_[i].get(), events_[i + 1].get()),
                     "cuEventElapsedTime", "no time can be taken"));
    us[i] = double{milliseconds} * 1e3;
  }
  return us;
}

}  // namespace lathe::runtime::cuda
