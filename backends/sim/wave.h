#pragma once
// The running state of a launch, and what each step does to it.
#include <array>
#include <chrono>
#include <optional>

#include "backends/sim/code.h"
#include "backends/sim/counters.h"
#include "backends/sim/lane_map.h"
#include "backends/sim/memory.h"
#include "backends/sim/shared.h"

namespace lathe::sim {

struct Fault {
  enum class Cause { program, arguments, time };  ///< whose fault: ours, the caller's, or nobody's yet
  Cause cause = Cause::program;
  std::string text;
};

struct Launch {
  const Code& code;
  const MatrixUnit& matrices;
  Memory& memory;
  std::array<uint32_t, 3> grid;
  std::span<const uint64_t> params;
  uint32_t first_thread = 0;  ///< number of the launch's first thread among those of its window
  std::chrono::steady_clock::time_point deadline;
  std::vector<StepCount> counts;  ///< one a step
  FlightCount flight;             ///< of all workgroups
  std::optional<Fault> fault;     ///< the first; it ends the launch
};

/// What copies in bulk are counted by.
struct BulkBarrier {
  struct Copy {
    uint32_t subgroup, array;  ///< who began it, where to
    int64_t at;
    std::vector<std::byte> bytes;
  };
  uint32_t phases = 0;  ///< that have ended
  bool expects = false;
  int64_t left = 0;                     ///< bytes expected and not begun; below 0 before they are expected
  std::vector<Copy> under_way, landed;  ///< of this phase, of the one before
};

struct Workgroup {
  Workgroup(Launch& launch_, const std::vector<Shared::Array>& arrays) : launch(launch_), shared(arrays) {}
  Launch& launch;
  Shared shared;
  std::array<uint32_t, 3> id{};
  uint64_t number = 0;        ///< in the order they run
  uint32_t epoch = 0;         ///< barriers passed
  uint32_t global_epoch = 0;  ///< of those, what global memory is ordered by
  std::vector<BulkBarrier> bulk;
};

/// A subgroup: its lanes step together, those not in `mask` without effect.
class Wave {
 public:
  enum class State : uint8_t { running, at_barrier, at_bulk, ended };  ///< at_bulk: the phase of a bulk barrier
  struct Frame {
    uint64_t before, other;  ///< the mask before; the lanes of the other branch
  };

  Wave(Workgroup& group, uint32_t subgroup);
  void restart();  ///< for the next workgroup
  /// Runs until the end, a barrier or a fault.
  void run();

  int lanes() const { return lanes_; }
  uint64_t* row(uint32_t r) { return rows_.data() + static_cast<size_t>(r) * static_cast<size_t>(lanes_); }
  uint64_t* result(const Step& s, uint32_t component = 0) { return row(s.result.first + component); }
  const uint64_t* arg(const Step& s, size_t i, uint32_t component = 0) { return row(s.args[i].first + component); }
  bool active(int lane) const { return mask >> lane & 1; }
  uint64_t full() const { return full_; }
  uint16_t thread(int lane) const {
    return static_cast<uint16_t>(subgroup * static_cast<uint32_t>(lanes_) + static_cast<uint32_t>(lane));
  }
  Access access(int lane) const { return {thread(lane), static_cast<uint16_t>(subgroup), group.epoch, turn}; }
  /// Who a fragment's access counts as: no lane in particular, since the lane map is the device's own affair.
  Access access_together() const {
    return {static_cast<uint16_t>(Access::kTogether | subgroup), static_cast<uint16_t>(subgroup), group.epoch, turn};
  }
  StepCount& count(const Step& s) {
    return group.launch.counts[static_cast<size_t>(&s - group.launch.code.steps.data())];
  }
  /// The line of the tile program, the thread if there is one, and what it did.
  void fail(const Step& s, int lane, const std::string& what, Fault::Cause cause = Fault::Cause::program);
  /// Whether all lanes are there; a fault otherwise.
  bool together(const Step& s);

  Workgroup& group;
  const uint32_t subgroup;
  uint32_t pc = 0;
  State state = State::running;
  uint64_t mask = 0;
  uint32_t turn = 0;  ///< barriers passed, of the subgroup and the workgroup
  std::vector<Frame> frames;

  /// An asynchronous copy under way: where to, and the bytes that will be there.
  struct Copy {
    int lane;
    uint32_t group;  ///< of the lane's, counted from 0
    uint32_t array;
    int64_t at;
    uint8_t size, travels;  ///< bytes; those that come from memory (0: zeros)
    std::array<std::byte, 16> bytes;
  };
  std::vector<Copy> copies;
  std::vector<uint32_t> committed;  ///< groups, by lane

  // Global loads come back in order: the use of one means that all before it are there.
  void note_load(const Rows& result, uint64_t bytes);
  void note_copies(int64_t bytes);  ///< begun, or landed (negative)
  const FlightCount& most() const { return most_; }

 private:
  void watch(const Step& s);

  int lanes_;
  uint64_t full_;
  std::vector<uint64_t> rows_;
  uint64_t issued_ = 0, used_ = 0;  ///< bytes of global loads
  std::vector<uint64_t> brought_;   ///< by row: the bytes issued up to the load whose result it holds
  uint64_t copies_in_flight_ = 0;
  FlightCount most_;
};

/// Whether the phase that the subgroup's bulk_wait names has ended.
bool bulk_phase_ended(Wave& w, const Step& s);

/// Runs every workgroup of the launch; the first fault ends it.
void run(Launch& launch);

/// The functions of rows.def, and the steps that control becomes.
namespace actions {
#define SIM_STEP(op, class, function) void function(Wave& w, const Step& s);
#include "backends/sim/rows.def"
void lanewise(Wave& w, const Step& s);
void move(Wave& w, const Step& s);  ///< the first half of args to the rows of the second
void enter_loop(Wave& w, const Step& s);
void test_loop(Wave& w, const Step& s);   ///< args: index, bound
void next_turn(Wave& w, const Step& s);   ///< args: index, step
void test_while(Wave& w, const Step& s);  ///< args: condition
void again(Wave& w, const Step& s);
void enter_branch(Wave& w, const Step& s);  ///< args: condition
void other_branch(Wave& w, const Step& s);
void leave_branch(Wave& w, const Step& s);
}  // namespace actions

}  // namespace lathe::sim
