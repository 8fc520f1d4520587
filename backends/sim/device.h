#pragma once
// Simulated devices: every call of the runtime, run by the host with checks and counters.
#include "backends/sim/counters.h"
#include "ir/target.h"
#include "runtime/device.h"

namespace lathe::sim {

/// Programs are the bytes of serialise(). A launch runs at once; what is wrong with it is told by sync(), replay() and
/// time_us(): internal where the compiler is at fault (races, divergence, shared memory, alignment), bad_input where
/// the caller is (foreign addresses, bytes never written, division by zero). The device stays usable.
class Device : public runtime::Device {
 public:
  /// What the device is, where that is known; null where it has to be probed.
  virtual const Target* target() const = 0;
  /// Of every launch since the device was opened or they were cleared, by kernel in order of its first launch.
  virtual std::vector<KernelCount> counters() const = 0;
  virtual void clear_counters() = 0;
};

/// `name`: a PTX target ("sm_80"), the file of a profile, or "probe?seed=N": a random machine that has to be probed
/// (random_model.h). no_device otherwise.
runtime::Result<std::unique_ptr<Device>> open(std::string_view name, const runtime::DeviceOptions& options);
/// A machine that the target describes.
std::unique_ptr<Device> simulate(const Target& target, const runtime::DeviceOptions& options);

}  // namespace lathe::sim
