#include "runtime/vulkan/launch.h"

#include <chrono>
#include <cstring>

#include <fmt/format.h>

namespace lathe::runtime::vulkan {
namespace {

constexpr uint64_t kParamAlignment = 64;
constexpr uint64_t kBatchParamBytes = 64 << 10;
constexpr size_t kBatchLaunches = 64, kBatches = 3;
constexpr int kMaxReplays = 4096;

/// The program, if it is of this device and the launch is within the device's limits.
Result<const VulkanProgram*> checked(const Core& core, const Program& program, Dim3 grid,
                                     std::span<const uint64_t> params) {
  const auto* p = dynamic_cast<const VulkanProgram*>(&program);
  if (!p || &p->core() != &core)
    return fail(Error::Code::bad_input, fmt::format("{}: the program was loaded on another device", core.info.id));
  TRY(check_launch(program.info(), core.info.facts, grid, params));
  return p;
}

void record_launch(const Core& core, VkCommandBuffer commands, const VulkanProgram& program, Dim3 grid,
                   std::span<const uint64_t> params, ParamSpace& space) {
  const Pipeline& pipeline = *program.pipeline();
  core.vk.vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline.get());
  uint64_t address = 0;
  if (!params.empty() && !program.info().params_in_push_constants) {
    address = space.put(program.info(), params);
    params = {&address, 1};
  }
  if (!params.empty()) {
    core.vk.vkCmdPushConstants(commands, pipeline.layout.get(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               static_cast<uint32_t>(params.size_bytes()), params.data());
  }
  core.vk.vkCmdDispatch(commands, grid.x, grid.y, grid.z);
}

}  // namespace

Result<ParamSpace> ParamSpace::create(const std::shared_ptr<Core>& core, uint64_t bytes) {
  ParamSpace space;
  if (bytes == 0) return space;
  TRY_ASSIGN(space.memory_, Memory::create(core, bytes, Place::shared));
  space.bytes_ = bytes;
  return space;
}

uint64_t ParamSpace::bytes_of(const ProgramInfo& info) {
  if (info.params_in_push_constants) return 0;
  return (uint64_t{info.param_slots} * 8 + kParamAlignment - 1) / kParamAlignment * kParamAlignment;
}

uint64_t ParamSpace::put(const ProgramInfo& info, std::span<const uint64_t> params) {
  const uint64_t at = used_;
  std::memcpy(memory_.mapped + at, params.data(), params.size_bytes());
  used_ += bytes_of(info);
  return memory_.address + at;
}

Result<std::unique_ptr<Queue>> VulkanQueue::create(const std::shared_ptr<Core>& core) {
  TRY(core->health.alive());
  std::unique_ptr<VulkanQueue> queue(new VulkanQueue(core));
  TRY_ASSIGN(queue->pool_, make_command_pool(core));
  TRY_ASSIGN(const std::vector<VkCommandBuffer> commands, make_commands(queue->pool_, kBatches));
  for (VkCommandBuffer c : commands) {
    Batch batch{.commands = c};
    TRY_ASSIGN(batch.done, make_fence(core));
    TRY_ASSIGN(batch.params, ParamSpace::create(core, kBatchParamBytes));
    queue->batches_.push_back(std::move(batch));
  }
  return queue;
}

VulkanQueue::~VulkanQueue() {
  if (!core_->health.lost()) static_cast<void>(sync());  // nobody is left to tell of an error
}

Result<Unit> VulkanQueue::launch(const Program& program, Dim3 grid, std::span<const uint64_t> params, After after) {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  TRY_ASSIGN(const VulkanProgram* const p, checked(*core_, program, grid, params));
  const Batch& open = batches_[current_];
  if (recording_ && (open.programs.size() == kBatchLaunches || !open.params.fits(program.info()))) TRY(submit_batch());
  const bool first = !recording_;  // the batch itself begins with a barrier
  if (first) TRY(open_batch());
  Batch& batch = batches_[current_];
  if (after == After::ordered && !first) barrier(*core_, batch.commands, kKernels, kKernels);
  record_launch(*core_, batch.commands, *p, grid, params, batch.params);
  batch.programs.push_back(p->pipeline());
  return Unit{};
}

Result<Unit> VulkanQueue::open_batch() {
  Batch& batch = batches_[current_];
  TRY(finish(batch));
  batch.params.clear();
  batch.programs.clear();
  TRY(begin(*core_, batch.commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT));
  barrier(*core_, batch.commands, kKernels | kCopies, kKernels);
  recording_ = true;
  return Unit{};
}

Result<Unit> VulkanQueue::submit_batch() {
  Batch& batch = batches_[current_];
  recording_ = false;
  TRY(end(*core_, batch.commands));
  TRY(core_->submit({&batch.commands, 1}, batch.done.get()));
  batch.in_flight = true;
  current_ = (current_ + 1) % batches_.size();
  return Unit{};
}

Result<Unit> VulkanQueue::finish(Batch& batch) {
  if (!batch.in_flight) return Unit{};
  TRY(core_->wait(batch.done.get()));
  batch.in_flight = false;
  return Unit{};
}

Result<Unit> VulkanQueue::sync() {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  if (recording_) TRY(submit_batch());
  for (size_t i = 0; i < batches_.size(); ++i) TRY(finish(batches_[(current_ + i) % batches_.size()]));
  return Unit{};
}

Result<std::unique_ptr<Graph>> VulkanGraph::create(const std::shared_ptr<Core>& core,
                                                   std::span<const LaunchRecord> launches) {
  TRY(core->health.alive());
  if (launches.empty()) return fail(Error::Code::bad_input, "a graph of no launches");
  uint64_t param_bytes = 0;
  for (const LaunchRecord& l : launches) {
    if (!l.program) return fail(Error::Code::bad_input, "a launch without a program");
    TRY(checked(*core, *l.program, l.grid, l.params));
    param_bytes += ParamSpace::bytes_of(l.program->info());
  }
  std::unique_ptr<VulkanGraph> graph(new VulkanGraph(core));
  TRY_ASSIGN(graph->pool_, make_command_pool(core));
  TRY_ASSIGN(graph->done_, make_fence(core));
  TRY_ASSIGN(graph->params_, ParamSpace::create(core, param_bytes));
  TRY(graph->record(launches));
  return graph;
}

Result<Unit> VulkanGraph::record(std::span<const LaunchRecord> launches) {
  TRY_ASSIGN(const std::vector<VkCommandBuffer> commands, make_commands(pool_, 1));
  commands_ = commands[0];
  TRY(begin(*core_, commands_, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT));  // time_us submits it several times
  barrier(*core_, commands_, kKernels | kCopies, kKernels);
  for (const LaunchRecord& l : launches) {
    if (l.ordered && &l != &launches.front()) barrier(*core_, commands_, kKernels, kKernels);
    const auto& program = static_cast<const VulkanProgram&>(*l.program);
    record_launch(*core_, commands_, program, l.grid, l.params, params_);
    programs_.push_back(program.pipeline());
  }
  return end(*core_, commands_);
}

/// Command buffers that take the time before the first, between and after the last replay: each once all kernels before
/// it have ended, so no barrier is needed.
Result<Unit> VulkanGraph::prepare_stamps(uint32_t replays) {
  if (stamped_replays_ == replays || !core_->timestamp_mask) return Unit{};
  const uint32_t count = replays + 1;
  if (stamp_commands_.size() < count) {
    VkQueryPoolCreateInfo create{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    create.queryType = VK_QUERY_TYPE_TIMESTAMP;
    create.queryCount = count;
    VkQueryPool pool = VK_NULL_HANDLE;
    TRY(core_->check(core_->vk.vkCreateQueryPool(core_->device, &create, nullptr, &pool), "vkCreateQueryPool",
                     "no timestamps"));
    stamps_ = QueryPool(core_, pool);
    TRY_ASSIGN(const std::vector<VkCommandBuffer> more,
               make_commands(pool_, count - static_cast<uint32_t>(stamp_commands_.size())));
    stamp_commands_.insert(stamp_commands_.end(), more.begin(), more.end());
  }
  stamped_replays_ = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const VkCommandBuffer commands = stamp_commands_[i];
    TRY(begin(*core_, commands, 0));
    if (i == 0) core_->vk.vkCmdResetQueryPool(commands, stamps_.get(), 0, count);
    core_->vk.vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, stamps_.get(), i);
    TRY(end(*core_, commands));
  }
  stamped_replays_ = replays;
  return Unit{};
}

Result<std::vector<double>> VulkanGraph::read_stamps(uint32_t replays) {
  std::vector<uint64_t> ticks(replays + 1);
  TRY(core_->check(core_->vk.vkGetQueryPoolResults(core_->device, stamps_.get(), 0, replays + 1,
                                                   ticks.size() * sizeof(uint64_t), ticks.data(), sizeof(uint64_t),
                                                   VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
                   "vkGetQueryPoolResults", "the timestamps cannot be read"));
  std::vector<double> us(replays);
  for (uint32_t i = 0; i < replays; ++i) {
    const uint64_t elapsed = (ticks[i + 1] - ticks[i]) & core_->timestamp_mask;
    us[i] = static_cast<double>(elapsed) * core_->info.facts.vulkan.timestamp_period_ns * 1e-3;
  }
  return us;
}

Result<std::vector<double>> VulkanGraph::time_us(int replays) {
  const OneUser user(busy_);
  TRY(core_->health.alive());
  if (replays < 1 || replays > kMaxReplays)
    return fail(Error::Code::bad_input, fmt::format("{} replays, not 1 .. {}", replays, kMaxReplays));
  const auto n = static_cast<uint32_t>(replays);
  TRY(prepare_stamps(n));
  const bool stamped = core_->timestamp_mask != 0;
  std::vector<VkCommandBuffer> commands;
  for (uint32_t i = 0; i < n; ++i) {
    if (stamped) commands.push_back(stamp_commands_[i]);
    commands.push_back(commands_);
  }
  if (stamped) commands.push_back(stamp_commands_[n]);
  const auto start = std::chrono::steady_clock::now();
  TRY(core_->submit(commands, done_.get()));
  TRY(core_->wait(done_.get()));
  if (stamped) return read_stamps(n);
  const std::chrono::duration<double, std::micro> elapsed = std::chrono::steady_clock::now() - start;
  return std::vector<double>(n, elapsed.count() / n);
}

}  // namespace lathe::runtime::vulkan
