#pragma once
// What a launch did, counted: by static instruction while it runs, by loop for the reader.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/sim/code.h"

namespace lathe::sim {

/// Of one step.
struct StepCount {
  uint64_t issued = 0;  ///< by subgroups
  uint64_t sectors = 0,
           least_sectors = 0;  ///< 32 bytes of global memory: touched, and those that the bytes asked for fill
  uint64_t wavefronts = 0,
           least_wavefronts = 0;  ///< of shared memory: rows of 32 banks moved, and those the words need
};

/// Bytes on their way, at most at any time, of one workgroup.
struct FlightCount {
  uint64_t copies = 0;  ///< asynchronous copies issued and not yet waited for
  uint64_t loads = 0;   ///< global loads issued and not yet used
};

/// Of one loop body, or of all that lies outside loops.
struct LoopCount {
  Loc loc;
  uint64_t by_class[kClasses] = {};
  uint64_t barriers = 0;
  uint64_t sectors = 0, least_sectors = 0, wavefronts = 0, least_wavefronts = 0;
  std::optional<int> operand_lead;  ///< see lead.h
  void add(const LoopCount& other);
  uint64_t of(Class c) const { return by_class[static_cast<size_t>(c)]; }
  uint64_t instructions() const;  ///< all but moves, which are names
};

/// Of the accesses of one kind that a place of the program makes in one loop.
struct AccessCount {
  Loc loc;
  uint32_t loop = 0;  ///< in KernelCount::loops
  thread::Op op{};
  uint32_t bytes = 0;   ///< a lane
  uint64_t issued = 0;  ///< by subgroups
  uint64_t sectors = 0, least_sectors = 0, wavefronts = 0, least_wavefronts = 0;
  bool same_place(const AccessCount& o) const {
    return loc == o.loc && loop == o.loop && op == o.op && bytes == o.bytes;
  }
};

/// Of all launches of one kernel.
struct KernelCount {
  std::string name;
  uint64_t launches = 0;
  std::vector<LoopCount> loops;       ///< 0: outside any; the innermost loop counts
  std::vector<AccessCount> accesses;  ///< of memory, in the order of the program
  FlightCount flight;                 ///< the most of any launch
  /// Another launch of the same code.
  void add(const KernelCount& other);
  void add(const AccessCount& access);
  LoopCount total() const;
  /// The loop with the most matrix instructions, else with the most instructions; what lies outside where there is
  /// none.
  const LoopCount& main_loop() const;
};

/// What one launch adds.
KernelCount summarise(const Code& program, const std::vector<StepCount>& counts, const FlightCount& flight);

/// Lines for a reader; and JSON: a list of kernels, each with "total" and "loops".
std::string to_text(const std::vector<KernelCount>& kernels);
std::string to_json(const std::vector<KernelCount>& kernels);

}  // namespace lathe::sim
