#pragma once
// A kernel ready to launch on a device: compiled, emitted, loaded, its arguments by name.
#include <map>
#include <memory>
#include <mutex>

#include "engine/result.h"
#include "ir/compile.h"
#include "runtime/device.h"

namespace lathe {

/// Emitted code of a compiled kernel and what a device needs to load it.
struct Emitted {
  std::vector<std::byte> code;  ///< PTX text, SPIR-V words, or the bytes of the simulator
  runtime::ProgramInfo info;
};
/// `api`: what the device takes (DeviceInfo::api).
Result<Emitted> emit(const thread::Func& f, const Target& t, std::string_view api);
/// Loads it; a subgroup size is required only where the device lets one be (elsewhere it is the only one there is).
Result<std::unique_ptr<runtime::Program>> load(runtime::Device& device, const Emitted& e);

struct KernelTimes {
  double compile_ms = 0;  ///< ours: passes and emission (0 when found in the cache)
  double driver_ms = 0;   ///< the driver's part of loading
  bool from_cache = false;
};

class Kernel {
 public:
  /// Compiles (or finds in the disk cache: key of text, target, options and compiler build) and loads.
  static Result<std::shared_ptr<Kernel>> build(runtime::Device& device, const Target& target, const tile::Func& f,
                                               const CompileOptions& options);

  /// Launch arguments by parameter name; views as addresses, scalars as raw bits; sizes by symbol name.
  struct Arguments {
    std::map<std::string, uint64_t> values;
    std::map<std::string, int64_t> sizes;
  };
  /// bad_input: an argument that is missing, a size that is not positive, a grid beyond the device's.
  /// Workspaces are the kernel's own: two launches of one kernel must not overlap if it has any.
  Result<runtime::LaunchRecord> launch(const Arguments& args) const;
  /// The lines that prints left on the device since the last call, workgroup after workgroup; call it after the sync.
  /// bad_input: an assert did not hold, or a line was lost because there were too many.
  Result<std::vector<std::string>> take_log() const;

  const std::map<std::string, PackedLayout>& packed() const { return packed_; }
  const KernelTimes& times() const { return times_; }
  const runtime::Program& program() const { return *program_; }
  std::string atoms() const { return atoms_; }  ///< "mma.sync... x64", the matrix instructions in the code
  MapSource source() const { return source_; }  ///< of its atoms; fma when it has none

 private:
  Result<uint64_t> workspace(const tile::Param& p, int64_t workgroups) const;
  Result<Unit> check_promises(const Arguments& args) const;

  tile::Func func_;  ///< parameters and grid
  runtime::Device* device_ = nullptr;
  std::unique_ptr<runtime::Buffer> log_;  ///< null: it has no assert or print
  mutable std::mutex workspaces_lock_;
  mutable std::map<std::string, std::vector<std::unique_ptr<runtime::Buffer>>> workspaces_;  ///< the last one is in use
  std::map<std::string, PackedLayout> packed_;
  std::unique_ptr<runtime::Program> program_;
  KernelTimes times_;
  std::string atoms_;
  MapSource source_ = MapSource::fma;
};

/// Whether a kernel compiled with LowerOptions::aligned may run on these arguments: every view's address, last size and
/// strides are multiples of 16 bytes.
bool is_aligned(const tile::Func& f, const Kernel::Arguments& args);

}  // namespace lathe
