#pragma once
// The matmul on one device: weights in as many copies as it takes to find none of them in the cache, outputs checked
// before any time is given.
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "bench/problem.h"
#include "bench/report.h"
#include "ir/target.h"

namespace lathe::bench {

struct Rotation {
  uint64_t bytes = 300'000'000;  ///< of weights between two uses of one copy; software devices are given one copy
};
int64_t copies_of(uint64_t weight_bytes, const Rotation& rotation, const runtime::Device& device);
/// Launches in one recorded list: few where one is long, else each copy at least once.
int launches_of(const Problem& problem, int64_t m, int64_t copies, const runtime::Device& device);

/// Runs the list and checks `y` (m x n of `type`), then times it and fills what the row says of speed, or of the error.
Result<Unit> check_and_time(runtime::Device& device, runtime::Graph& graph, runtime::Buffer& y, Type type,
                            const Problem& problem, Row& row);

class MatmulBench {
 public:
  /// unsupported: a simulated device, which has no speed.
  static Result<std::unique_ptr<MatmulBench>> open(const std::string& id, bool probe, const Rotation& rotation);
  runtime::Device& device() { return *device_; }
  const Target& target() const { return target_; }
  /// Stores the problem's weights; `problem` must outlive what follows.
  Result<Unit> set(const Problem& problem);
  /// What the table chooses for m tokens, whatever was measured before.
  Schedule untuned(int64_t m) const;
  /// Compiles what these cases need on all cores of the host: while a driver compiles, an idle device's clock sinks.
  void prepare(const std::vector<std::pair<int64_t, std::optional<Schedule>>>& cases);
  /// Without a schedule the one that is chosen for m tokens. An error is one of this m alone: the row holds it.
  Row run(int64_t m, const std::optional<Schedule>& schedule);

 private:
  Schedule chosen_for(int64_t m) const;
  Result<Unit> measure(const Schedule& schedule, Row& row);

  std::unique_ptr<runtime::Device> device_;
  Target target_;
  Rotation rotation_;
  const Problem* problem_ = nullptr;
  uint64_t held_bytes_ = 0, peak_bytes_ = 0;  ///< by what was set: all the time, and at most while it was stored
  std::unique_ptr<runtime::Buffer> x_, y_;
  std::vector<std::unique_ptr<Matmul>> copies_;
};

}  // namespace lathe::bench
