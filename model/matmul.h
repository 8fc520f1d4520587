#pragma once
// The low-bit matmul: weights stored once on a device, every number of tokens served from the same bytes.
#include <memory>
#include <mutex>

#include "engine/packer.h"
#include "model/choices.h"
#include "shaders/kernels.h"

namespace lathe {

/// Plain weights in host memory. codes: one byte a code (u8, or i8 for signed types), N x K; for f16 and bf16 weights
/// the 2-byte elements. scales: raw 16-bit patterns of the activation type, N x G. zeros: f16 patterns of integers, N x
/// G.
struct PlainWeights {
  int64_t n = 0, k = 0, groups = 0;
  std::span<const std::byte> codes;
  std::span<const uint16_t> scales, zeros;
};

/// A row of the table model/schedules.def.
struct ScheduleRow {
  int64_t max_m;  ///< preferred up to as many tokens
  Schedule schedule;
  int64_t fewest;  ///< workgroups it is preferred from
};
/// A Choice whose schedule the target compiles and that reads the stored order.
struct Tuned {
  int64_t k, n, m;
  Schedule schedule;
};
/// The target's rows, what was measured better on the device, and the stored order they all read.
struct ScheduleSet {
  int weight_bits = 16;
  int cores = 0;             ///< of the device, where known and where stages wait in shared memory; else 0
  int64_t shared_bytes = 0;  ///< of a workgroup, which is about what a core has
  std::vector<ScheduleRow> rows;
  std::vector<Tuned> tuned;
  std::map<std::string, PackedLayout> packed;
};
/// Rows that no matrix instruction of the target divides are passed over; so are rows and choices that cannot read what
/// the first one stores.
Result<ScheduleSet> schedules_of(const Target& t, const kernels::WeightFormat& format, Type activation = types::f16,
                                 std::span<const Choice> choices = {});
/// What was measured for the shape and about as many tokens, else the row for m tokens.
Schedule choose_schedule(const ScheduleSet& schedules, int64_t m, int64_t n, int64_t k);
/// The schedule as it is compiled: stages that wait in shared memory need rows that begin on 16 bytes, and registers do
/// not hold as much.
Schedule for_rows(Schedule s, bool aligned, const Target& t);

class Matmul {
 public:
  /// x is `activation` (f16), y is f32.
  static Result<std::unique_ptr<Matmul>> create(runtime::Device& device, const Target& target,
                                                const kernels::WeightFormat& format, Type activation, bool biased);
  /// A layer of the same format without weights yet: what either compiles serves both.
  std::unique_ptr<Matmul> another() const;
  /// Uploads and packs on the device. bad_input: sizes that do not match.
  Result<Unit> store(const PlainWeights& weights);
  /// Room for n x k without contents (benchmarks fill it).
  Result<Unit> reserve(int64_t n, int64_t k, int64_t groups);

  /// The launch for m tokens; x: m x k elements, y: m x n f32, bias: n f32 (device addresses). Compiles at the first
  /// use of a schedule; with probed lane maps the first use also proves itself on a known tile, and does without the
  /// maps where it fails.
  Result<runtime::LaunchRecord> launch(int64_t m, uint64_t x, uint64_t y, uint64_t bias = 0);
  /// The same with a row of one's own, of the same stored order.
  Result<runtime::LaunchRecord> launch(const Schedule& s, int64_t m, uint64_t x, uint64_t y, uint64_t bias = 0);

  /// Compiles for these rows, on as many threads as the host has cores, what their first launches would; what cannot be
  /// compiled is said there. `aligned`: rows of x begin on 16 bytes.
  void prepare(std::span<const Schedule> rows, bool aligned);

  std::string pack_id() const;  ///< of weights, scales, zero points
  const ScheduleSet& schedules() const { return schedules_; }
  const PackedLayout* packed(const std::string& parameter) const;
  uint64_t weight_bytes() const;  ///< held on the device
  const Kernel* kernel_of(const Schedule& s, bool aligned) const;
  /// A line for each kernel whose probed lane maps proved wrong and which goes through shared memory instead.
  const std::vector<std::string>& distrusted() const { return kernels_->distrusted; }
  int compilations() const { return static_cast<int>(kernels_->built.size()); }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  runtime::Buffer* buffer(const std::string& parameter);  ///< "w", "s", "z"; null if none

 private:
  Result<std::shared_ptr<Kernel>> kernel(const Schedule& s, bool aligned);
  Kernel::Arguments arguments(int64_t m, uint64_t x, uint64_t y, uint64_t bias) const;
  /// What is wrong with the kernel's result on a known tile; nothing if it is right.
  Result<std::string> disprove(const Kernel& kernel, const tile::Func& f, const Schedule& s);

  runtime::Device* device_ = nullptr;
  Target target_;
  kernels::WeightFormat format_;
  Type activation_ = types::f16;
  bool biased_ = false;
  int64_t n_ = 0, k_ = 0, groups_ = 0;
  ScheduleSet schedules_;
  std::shared_ptr<Packer> packer_;
  std::map<std::string, std::unique_ptr<runtime::Buffer>> buffers_;
  struct Kernels {
    std::map<std::string, std::shared_ptr<Kernel>> built;  ///< by schedule and alignment
    std::vector<std::string> distrusted;
    std::mutex lock;  ///< of what is above, and of proofs on the device
  };
  std::shared_ptr<Kernels> kernels_ = std::make_shared<Kernels>();
};

}  // namespace lathe
