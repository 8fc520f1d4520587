#pragma once
// Launches on a stream, and a graph of kernel nodes made once.
#include <atomic>
#include <memory>
#include <set>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/cuda/program.h"
#include "runtime/one_user.h"

namespace lathe::runtime::cuda {

class CudaQueue final : public Queue {
 public:
  static Result<std::unique_ptr<Queue>> create(const std::shared_ptr<Core>& core);
  ~CudaQueue() override;
  /// One stream runs one kernel after another: independent launches are ordered too.
  Result<Unit> launch(const Program& program, Dim3 grid, std::span<const uint64_t> params, After after) override;
  Result<Unit> sync() override;

 private:
  explicit CudaQueue(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  std::shared_ptr<Core> core_;
  Stream stream_;
  std::set<std::shared_ptr<const Module>> programs_;  ///< kept while the device may run them
  std::atomic<bool> busy_{false};
};

class CudaGraph final : public Graph {
 public:
  static Result<std::unique_ptr<Graph>> create(const std::shared_ptr<Core>& core,
                                               std::span<const LaunchRecord> launches);
  static Result<std::unique_ptr<Graph>> capture(const std::shared_ptr<Core>& core, const Submit& submit);
  Result<std::vector<double>> time_us(int replays) override;

 private:
  explicit CudaGraph(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<Unit> record(std::span<const LaunchRecord> launches);
  Result<Unit> instantiate(const GraphHandle& nodes);
  Result<Unit> prepare_events(size_t count);

  std::shared_ptr<Core> core_;
  std::vector<std::shared_ptr<const Module>> programs_;
  Stream stream_;
  GraphExec graph_;
  std::vector<Event> events_;
  std::atomic<bool> busy_{false};
};

}  // namespace lathe::runtime::cuda
