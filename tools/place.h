#pragma once
// Where a kernel runs: the tile interpreter, or an opened device with its target.
#include <memory>
#include <string>
#include <vector>

#include "backends/sim/counters.h"
#include "ir/result.h"
#include "ir/target.h"
#include "runtime/device.h"

namespace lathe::tools {

inline constexpr std::string_view kInterpreter = "interp";

struct Place {
  std::string id;
  std::unique_ptr<runtime::Device> device;                ///< null: the interpreter
  Target target;                                          ///< of the device; without one, no features and no atoms
  double timeout_s = runtime::DeviceOptions{}.timeout_s;  ///< for one run by the interpreter
  bool software() const { return !device || device->info().software; }
};

/// The first device found that is no software, else the first, else "interp".
std::string best_device();

/// "interp", or the id of a device; "" is best_device().
/// Without `probe` no lane map is asked for: matrix instructions are opaque.
Result<Place> open_place(const std::string& id, bool probe = true, const runtime::DeviceOptions& options = {});

inline constexpr const char* kNoProbeHelp = "use matrix instructions without their lane maps, through shared memory";

inline constexpr const char* kCountersHelp =
    "also what the simulator counted, by kernel and loop (on a device sim:..): instructions, sectors, bank conflicts";
/// What a simulated device counted since it was opened. bad_input: another device.
Result<std::vector<sim::KernelCount>> counters_of(const Place& place);

}  // namespace lathe::tools
