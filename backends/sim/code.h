#pragma once
// A thread function decoded once for running: a flat list of steps over rows of lanes.
#include <memory>
#include <string>
#include <vector>

#include "backends/sim/lane_map.h"
#include "ir/thread.h"
#include "ir/thread_lanes.h"

namespace lathe::sim {

class Wave;
struct Step;
/// Runs one step for the lanes that are there; moves wave.pc itself only where control does.
using Action = void (*)(Wave& wave, const Step& step);

enum class Class : uint8_t { integer, floating, conversion, memory, mma, shuffle, control, move };
inline constexpr const char* kClassNames[] = {"integer", "float",   "conversion", "memory",
                                              "mma",     "shuffle", "control",    "move"};
inline constexpr size_t kClasses = std::size(kClassNames);

/// A value's rows: one of 64-bit raw bits a lane for each of its components, one after another.
struct Rows {
  uint32_t first = 0;
  uint16_t count = 0;
  bool loaded = false;  ///< may hold what a global load brings, not used since
};

/// What a step means to loads under way: nothing, it uses what they bring, or it hands that on.
enum class Watch : uint8_t { none, uses, hands_on };

struct Step {
  Action run = nullptr;
  thread::LaneRow lanes = nullptr;  ///< of an operation that works lane by lane
  thread::Op op{};
  Class kind = Class::move;
  thread::Type type;  ///< of the result; of what a store writes
  thread::Type from;  ///< of operand 0
  int64_t imm = 0;
  uint32_t index = 0;                 ///< shared array
  const std::string* name = nullptr;  ///< mma: the instruction
  Rows result;
  const Rows* args = nullptr;
  uint32_t args_count = 0;
  uint32_t target = 0;  ///< where control goes on
  bool apart = true;    ///< a move whose targets are none of its sources
  Watch watch = Watch::none;
  uint32_t loop = 0;  ///< innermost, in Code::loops
  Loc loc;
};

/// What holds for every workgroup: constants, parameters and thread numbers, set before the first step.
struct Source {
  thread::Op op{};
  thread::Type type;
  int64_t imm = 0;
  Rows rows;
};

struct LoopInfo {
  Loc loc;
  uint32_t first = 0, end = 0;  ///< its steps, those of loops inside it included
};

struct Code {
  thread::Func func;  ///< shared arrays, names; the steps point into it
  std::vector<Step> steps;
  std::vector<Rows> operands;  ///< of all steps
  std::vector<Source> sources;
  std::vector<LoopInfo> loops;  ///< 0: outside any
  std::vector<int> cell_bytes;  ///< per shared array: the narrowest access, what races are told apart by
  uint32_t rows = 0;            ///< a wave has
};

/// A fragment has the rows that `matrices` says, whatever its type says. unsupported: an operation that no action is
/// known for, or a subgroup of over 64 lanes.
Result<std::unique_ptr<const Code>> decode(thread::Func f, const MatrixUnit& matrices);

}  // namespace lathe::sim
