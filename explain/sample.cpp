#include "explain/sample.h"

#include <fmt/format.h>

#include "backends/sim/device.h"
#include "engine/host_memory.h"
#include "engine/kernel.h"
#include "ir/log.h"

namespace lathe::explain {
namespace {

constexpr double kTimeout_s = 20;

class Sample {
 public:
  Sample(const Subject& s, const Sizes& sizes, const std::array<int64_t, 3>& grid, sim::Device& device)
      : f_(s.program), compiled_(s.compiled), sizes_(sizes), grid_(grid), device_(device) {}

  Result<runtime::LaunchRecord> arguments() {
    runtime::LaunchRecord r;
    for (const tile::Param& p : f_.params) {
      const tile::Type& t = f_.type(p.value);
      if (t.is_scalar()) {
        r.params.push_back(encode(t.elem, 1));
        continue;
      }
      TRY_ASSIGN(const uint64_t address, zeros(bytes_of(p)));
      r.params.push_back(address);
    }
    for (const int64_t size : symbol_values(f_, sizes_))
      r.params.push_back(static_cast<uint64_t>(size ? size : workgroups()));
    if (compiled_.logs) {
      TRY_ASSIGN(const uint64_t log, zeros(kLogBytes));
      r.params.push_back(log);
    }
    r.grid = {static_cast<uint32_t>(grid_[0]), static_cast<uint32_t>(grid_[1]), static_cast<uint32_t>(grid_[2])};
    return r;
  }

 private:
  int64_t workgroups() const { return grid_[0] * grid_[1] * grid_[2]; }

  int64_t value_of(ValueId v) const {
    if (const auto* def = f_.def(v)) return def->attr.imm;
    const auto it = sizes_.find(f_.values[v].name);
    return it == sizes_.end() ? workgroups() : it->second;
  }

  /// The whole storage.
  int64_t bytes_of(const tile::Param& p) const {
    const tile::Type& t = f_.type(p.value);
    Coord shape;
    for (const ValueId s : p.sizes) shape.push_back(value_of(s));
    if (const auto order = compiled_.packed.find(f_.values[p.value].name); order != compiled_.packed.end())
      return order->second.bytes(shape[0], shape[1]);
    if (p.strides.empty()) return device_bytes(t.elem, shape);
    int64_t elements = 1;
    for (size_t d = 0; d < shape.size(); d++) elements += (shape[d] - 1) * value_of(p.strides[d]);
    return device_bytes(t.elem, {elements});
  }

  Result<uint64_t> zeros(int64_t bytes) {
    TRY_ASSIGN(auto buffer, lift(device_.alloc(static_cast<uint64_t>(bytes + 15) / 16 * 16)));
    TRY(lift(device_.fill(*buffer, 0, buffer->bytes(), std::byte{0})));
    buffers_.push_back(std::move(buffer));
    return buffers_.back()->address();
  }

  const tile::Func& f_;
  const Compiled& compiled_;
  const Sizes& sizes_;
  const std::array<int64_t, 3>& grid_;
  sim::Device& device_;
  std::vector<std::unique_ptr<runtime::Buffer>> buffers_;
};

}  // namespace

Result<sim::KernelCount> run_sample(const Subject& s, const Sizes& sizes, const std::array<int64_t, 3>& grid) {
  const auto device = sim::simulate(*s.target, {.timeout_s = kTimeout_s, .cache = nullptr});
  TRY_ASSIGN(const Emitted code, emit(s.compiled.func, *s.target, device->info().api));
  TRY_ASSIGN(const auto program, load(*device, code));
  Sample sample(s, sizes, grid, *device);
  TRY_ASSIGN(runtime::LaunchRecord launch, sample.arguments());
  launch.program = program.get();
  TRY(lift(device->run({&launch, 1})));
  return device->counters().at(0);
}

}  // namespace lathe::explain
