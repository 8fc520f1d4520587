#pragma once
// Devices, buffers, programs from bytes, launches and their time: the same calls on every API. Knows no kernel and no
// IR. Every object keeps what it needs of its device alive, so objects may be destroyed in any order.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/disk_cache.h"
#include "runtime/result.h"

namespace lathe::runtime {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  bool operator==(const Dim3&) const = default;
};

/// What only CUDA tells.
struct CudaFacts {
  int major = 0, minor = 0;  ///< compute capability
  int sm_count = 0;
  uint64_t l2_bytes = 0;
  uint64_t shared_bytes_per_sm = 0;
};

/// One cooperative matrix configuration: result (m x n) = a (m x k) * b (k x n) + c.
struct MatrixConfig {
  uint32_t m = 0, n = 0, k = 0;
  std::string a, b, c, result;  ///< "f16", "bf16", "f32", "e4m3", "i8", "u8", "i32", ...
  bool saturating = false;
  std::string scope;  ///< "subgroup", "workgroup", "device"
  bool operator==(const MatrixConfig&) const = default;
};

/// What only Vulkan tells.
struct VulkanFacts {
  uint32_t api_version = 0;                                            ///< as VK_MAKE_API_VERSION packs it
  uint32_t driver_id = 0;                                              ///< VkDriverId
  uint32_t driver_version = 0;                                         ///< as the driver packs it
  std::string device_uuid, pipeline_cache_uuid;                        ///< 32 hex digits
#define LATHE_VK_FEATURE(fact, member, field, doc) bool fact = false;  ///< doc
#include "runtime/vulkan/features.def"
  uint32_t subgroup_size_min = 0, subgroup_size_max = 0;
  bool can_require_subgroup_size = false;  ///< for compute
  uint32_t lane_registers = 0;             ///< that its compiler fills without spilling, where these are known; 0: not
  uint32_t max_workgroup_subgroups = 0;    ///< where a size is required; 0: no such limit known
  uint32_t subgroup_operations = 0;        ///< VkSubgroupFeatureFlags
  bool rte_f16 = false, rte_f32 = false;   ///< rounding to nearest even can be required
  bool preserve_denorm_f16 = false, preserve_denorm_f32 = false;
  bool preserve_inf_nan_f16 = false, preserve_inf_nan_f32 = false;  ///< signed zero, infinity and NaN
  std::vector<MatrixConfig> matrices;
  bool matrix_robust = false;      ///< matrix loads past a buffer's end are defined
  double timestamp_period_ns = 0;  ///< 0: no timestamps
  uint32_t max_push_constant_bytes = 0;
  uint64_t max_storage_buffer_range = 0;  ///< bytes
  uint64_t max_allocation_bytes = 0, max_buffer_bytes = 0;
};

/// Asked once, when the device is listed.
struct Facts {
  uint32_t subgroup_size = 0;  ///< default
  uint32_t max_threads = 0;    ///< threads of a workgroup
  uint64_t shared_bytes = 0;   ///< of a workgroup; CUDA: opt-in maximum
  Dim3 max_grid{0, 0, 0};      ///< workgroups per axis
  CudaFacts cuda;              ///< zero unless api is "cuda"
  VulkanFacts vulkan;          ///< zero unless api is "vulkan"
};

struct DeviceInfo {
  std::string id;  ///< "cuda:0", "vulkan:0": the API and the number its driver gives
  std::string name;
  std::string driver;         ///< name and version
  std::string api;            ///< "cuda" or "vulkan"; a simulated device is "sim"
  uint64_t memory_bytes = 0;  ///< of the device's own largest heap
  bool software = false;      ///< runs on the CPU
  Facts facts;
};

/// A parameter of a CUDA program behind its slots: rows of 16-bit elements of which the code copies boxes of 64 columns
/// to shared memory, swizzled by 128 bytes (a tensor map). Numbers are elements: of a launch argument, or a constant
/// where slot is negative.
struct BoxInfo {
  struct Number {
    int32_t slot = -1;
    int64_t value = 0;
    bool operator==(const Number&) const = default;
  };
  uint32_t address_slot = 0;  ///< of the first row: a multiple of 16
  Number columns, rows, pitch;
  uint32_t box_rows = 8;  ///< 8 .. 256
  bool operator==(const BoxInfo&) const = default;
};

struct ProgramInfo {
  std::string entry = "main";
  uint32_t threads = 1;        ///< of a workgroup, along x; what the code itself says (.reqntid, LocalSize) must agree
  uint32_t subgroup_size = 0;  ///< required size with full subgroups, a divisor of threads; 0: the driver's choice
  uint32_t shared_bytes = 0;   ///< dynamic shared memory (CUDA only; 0 elsewhere)
  uint32_t param_slots = 0;    ///< launch arguments: 8 bytes each
  std::vector<BoxInfo> boxes;  ///< CUDA only
  /// Vulkan: the slots are the push constants; otherwise the one push constant is the 8-byte address of the slots.
  bool params_in_push_constants = true;
  /// CUDA: the code itself waits for the launches in front before it touches what they touch, so an ordered launch in a
  /// graph may start before they have ended.
  bool overlaps = false;
  bool statistics = false;  ///< Vulkan: ask the driver for figures (may bypass its own caches)
  bool texts = false;       ///< Vulkan: ask the driver for its own texts of the code, down to the machine's
};

/// What the driver tells of a loaded program; -1 where it tells nothing.
struct ProgramStats {
  int64_t registers = -1;      ///< 32-bit registers a thread (Turnip: of four words)
  int64_t spills = -1;         ///< CUDA: bytes of local memory a thread. Vulkan: as the driver counts; 0 is none
  int64_t shared_bytes = -1;   ///< static shared memory of a workgroup
  int64_t scratch_bytes = -1;  ///< Vulkan: memory behind spills and indexed arrays, as the driver counts; 0 is none
  int64_t code_bytes = -1;     ///< Vulkan
  int64_t occupancy = -1;      ///< Vulkan: subgroups (Honeykrisp: threads) a core holds at once
  int64_t cycles = -1;         ///< Vulkan: the driver's estimate of one run of the code
  int max_threads = -1;        ///< the largest workgroup this program could be launched with
  std::vector<std::pair<std::string, double>> driver;      ///< the driver's own figures by their own names
  std::vector<std::pair<std::string, std::string>> texts;  ///< the driver's own forms of the code, first to last
};

/// Bytes of a device's buffers: those alive, and the most there were at once.
class MemoryUse {
 public:
  void take(uint64_t bytes) {
    const uint64_t now = held_.fetch_add(bytes) + bytes;
    for (uint64_t most = peak_.load(); most < now && !peak_.compare_exchange_weak(most, now);) continue;
  }
  void give_back(uint64_t bytes) { held_ -= bytes; }
  uint64_t held() const { return held_; }
  uint64_t peak() const { return peak_; }
  /// The peak begins again at what is held.
  void restart() { peak_ = held_.load(); }

 private:
  std::atomic<uint64_t> held_{0}, peak_{0};
};

/// Memory of a device; freed with the object. Work that uses it must have ended by then.
class Buffer {
 public:
  virtual ~Buffer() { use_->give_back(bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  uint64_t address() const { return address_; }  ///< device address, a multiple of 256
  uint64_t bytes() const { return bytes_; }

 protected:
  Buffer(uint64_t address, uint64_t bytes, std::shared_ptr<MemoryUse> use)
      : address_(address), bytes_(bytes), use_(std::move(use)) {
    use_->take(bytes_);
  }

 private:
  uint64_t address_, bytes_;
  std::shared_ptr<MemoryUse> use_;
};

/// A kernel ready to launch. Thread-safe.
class Program {
 public:
  virtual ~Program() = default;
  const ProgramInfo& info() const { return info_; }
  const ProgramStats& stats() const { return stats_; }

 protected:
  Program(ProgramInfo info, ProgramStats stats) : info_(std::move(info)), stats_(std::move(stats)) {}

 private:
  ProgramInfo info_;
  ProgramStats stats_;
};

/// ordered: starts after everything launched before it has ended, and sees what it wrote.
/// independent: may overlap with the launches back to the last ordered one, that one included.
enum class After { ordered, independent };

/// Launches in order. Used by one thread at a time.
class Queue {
 public:
  virtual ~Queue() = default;  ///< waits for what was launched
  /// Starts `program`, at sync() at the latest, and returns at once; errors of the kernel itself surface at sync().
  /// grid: workgroups per axis, each 1 .. facts.max_grid. params: exactly program.info().param_slots; copied.
  virtual Result<Unit> launch(const Program& program, Dim3 grid, std::span<const uint64_t> params,
                              After after = After::ordered) = 0;
  /// Waits until everything launched has ended, DeviceOptions::timeout_s at most.
  virtual Result<Unit> sync() = 0;
};

struct LaunchRecord {
  const Program* program = nullptr;
  Dim3 grid;
  std::vector<uint64_t> params;
  bool ordered = true;  ///< After::ordered
};

/// A list of launches recorded once. Used by one thread at a time. It keeps its programs' code, not its buffers, alive.
class Graph {
 public:
  virtual ~Graph() = default;
  /// Runs the list `replays` (1 .. 4096) times, with no host wait in between, and waits. Returns the microseconds each
  /// took, measured on the device (by the host's clock where the device has no timestamps: then each is the mean).
  virtual Result<std::vector<double>> time_us(int replays) = 0;
  /// Runs the list once and waits; the microseconds it took.
  Result<double> replay();
};

struct DeviceOptions {
  double timeout_s = 120;  ///< longest wait for submitted work; after it the device object is given up
  std::shared_ptr<const DiskCache> cache = DiskCache::standard();  ///< of driver binaries; null: none
};

/// An opened device. Thread-safe. Once the device is lost, or given up after a timeout, every call answers device_lost.
class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  /// code: PTX text or a cubin (CUDA), SPIR-V words in host byte order (Vulkan); no alignment needed; copied.
  /// bad_input with the driver's log where it does not compile; unsupported where the device cannot run it.
  virtual Result<std::unique_ptr<Program>> load(std::span<const std::byte> code, const ProgramInfo& info) = 0;
  /// Contents undefined; any size the memory holds, 0 and more than 4 GiB included. out_of_memory otherwise.
  virtual Result<std::unique_ptr<Buffer>> alloc(uint64_t bytes) = 0;
  /// The three copies end before they return. They do not wait for launches: sync the queue first. Any byte offsets and
  /// sizes inside the buffer, which must be of this device; bad_input otherwise.
  virtual Result<Unit> upload(Buffer& to, uint64_t offset, std::span<const std::byte> from) = 0;
  virtual Result<Unit> download(const Buffer& from, uint64_t offset, std::span<std::byte> to) = 0;
  virtual Result<Unit> fill(Buffer& buffer, uint64_t offset, uint64_t bytes, std::byte value) = 0;
  virtual Result<std::unique_ptr<Queue>> queue() = 0;
  /// Records the launches (at least one); the same rules as Queue::launch.
  virtual Result<std::unique_ptr<Graph>> record(std::span<const LaunchRecord> launches) = 0;
  /// Of its buffers.
  MemoryUse& memory_use() { return *memory_use_; }
  /// Records, runs once and waits.
  Result<Unit> run(std::span<const LaunchRecord> launches);
  /// The same; the microseconds the whole list took on the device.
  Result<double> run_timed(std::span<const LaunchRecord> launches);

 protected:
  const std::shared_ptr<MemoryUse> memory_use_ = std::make_shared<MemoryUse>();
};

/// The devices of every API, CUDA's first. Never fails: `absent`, if given, gets a line for each API or device that
/// cannot be used and why.
std::vector<DeviceInfo> list_devices(std::vector<std::string>* absent = nullptr);

/// no_device: no device has this id.
Result<std::unique_ptr<Device>> open_device(std::string_view id, const DeviceOptions& options = {});

/// The rules every device checks before a launch; `info` of the program, `facts` of the device.
Result<Unit> check_launch(const ProgramInfo& info, const Facts& facts, Dim3 grid, std::span<const uint64_t> params);
/// offset + bytes lies inside the buffer.
Result<Unit> check_range(const Buffer& buffer, uint64_t offset, uint64_t bytes);

}  // namespace lathe::runtime
