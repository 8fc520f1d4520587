#include "tools/execution.h"

#include <fmt/format.h>

#include <chrono>

#include "engine/packer.h"
#include "tools/host_tensor.h"
#include "tools/timing.h"

namespace lathe::tools {
namespace {

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The same values as elements of another type of the same kind.
tile::HostTensor with_type(const tile::HostTensor& t, Type to) {
  if (t.elem == to) return t;
  tile::HostTensor out{to, t.shape, {}};
  for (const uint64_t raw : t.raw) out.raw.push_back(encode_int(to, decode_int(t.elem, raw)));
  return out;
}

/// A tensor whose shape is its storage: what strides leave between elements counts as elements.
tile::HostTensor as_stored(const tile::HostTensor& t, const tile::Param& p) {
  if (p.strides.empty()) return t;
  return {t.elem, {static_cast<int64_t>(t.raw.size())}, t.raw};
}

class DeviceRun {
 public:
  DeviceRun(const Place& place, const tile::Func& f, Binding& b)
      : device_(*place.device), target_(place.target), f_(f), b_(b), packer_(*place.device, place.target) {}

  Result<Execution> run(bool timed) {
    const double start = now_us();
    TRY(build());
    Execution e;
    e.ready_ms = (now_us() - start) / 1000;
    TRY(upload());
    TRY_ASSIGN(const runtime::LaunchRecord launch, kernel_->launch(args_));
    TRY(lift(device_.run({&launch, 1})));
    TRY(download());
    if (timed) {
      TRY_ASSIGN(e.us, median_us(device_, launch));
    }
    e.path = to_string(kernel_->source());
    e.atoms = kernel_->atoms();
    e.compile_ms = kernel_->times().compile_ms;
    e.driver_ms = kernel_->times().driver_ms;
    e.from_cache = kernel_->times().from_cache;
    return e;
  }

 private:
  const std::string& name_of(const tile::Param& p) const { return f_.values[p.value].name; }
  bool is_view(const tile::Param& p) const { return !f_.type(p.value).is_scalar(); }

  Result<Unit> build() {
    args_.sizes = b_.sizes;
    for (const tile::Param& p : f_.params) {
      if (is_view(p) && !p.strides.empty() && f_.type(p.value).elem.bits < 8)
        return unsupported(fmt::format("'{}': rows of {} with strides", name_of(p), to_string(f_.type(p.value).elem)));
      args_.values[name_of(p)] = is_view(p) ? 0 : b_.scalars.at(name_of(p));
    }
    CompileOptions options;
    options.lower.aligned = is_aligned(f_, args_);  // addresses of buffers are aligned
    TRY_ASSIGN(kernel_, Kernel::build(device_, target_, f_, options));
    return Unit{};
  }

  Result<Unit> upload() {
    for (const tile::Param& p : f_.params) {
      if (!is_view(p)) continue;
      const tile::HostTensor& t = b_.tensors.at(name_of(p));
      const PackedLayout* packed = packed_of(p);
      const auto bytes = to_bytes(packed ? with_type(t, plain_type(t.elem)) : as_stored(t, p));
      auto& buffer = buffers_[name_of(p)];
      const uint64_t room = packed ? static_cast<uint64_t>(packed->bytes(t.shape[0], t.shape[1])) : bytes.size();
      TRY_ASSIGN(buffer, lift(device_.alloc(room)));
      args_.values[name_of(p)] = buffer->address();
      if (packed)
        TRY(packer_.pack(*packed, t.shape[0], t.shape[1], bytes, *buffer));
      else
        TRY(lift(device_.upload(*buffer, 0, bytes)));
    }
    return Unit{};
  }

  Result<Unit> download() {
    for (const tile::Param& p : f_.params) {
      if (!is_view(p)) continue;
      tile::HostTensor& t = b_.tensors.at(name_of(p));
      if (const PackedLayout* packed = packed_of(p)) {
        TRY_ASSIGN(const auto bytes, packer_.unpack(*packed, t.shape[0], t.shape[1], *buffers_.at(name_of(p))));
        tile::HostTensor plain{plain_type(t.elem), t.shape, {}};
        take_bytes(plain, bytes);
        t = with_type(plain, t.elem);
        continue;
      }
      tile::HostTensor stored = as_stored(t, p);
      std::vector<std::byte> bytes(static_cast<size_t>(device_bytes(stored.elem, stored.shape)));
      TRY(lift(device_.download(*buffers_.at(name_of(p)), 0, bytes)));
      take_bytes(stored, bytes);
      t.raw = std::move(stored.raw);
    }
    return Unit{};
  }

  const PackedLayout* packed_of(const tile::Param& p) const {
    const auto it = kernel_->packed().find(name_of(p));
    return it == kernel_->packed().end() ? nullptr : &it->second;
  }

  runtime::Device& device_;
  const Target& target_;
  const tile::Func& f_;
  Binding& b_;
  Packer packer_;
  std::shared_ptr<Kernel> kernel_;
  Kernel::Arguments args_;
  std::map<std::string, std::unique_ptr<runtime::Buffer>> buffers_;
};

}  // namespace

Result<Execution> execute(const Place& place, const tile::Func& f, Binding& b, bool timed) {
  if (place.device) return DeviceRun(place, f, b).run(timed);
  const double start = now_us();
  TRY(tile::interpret(f, b.tensors, b.scalars));
  Execution e;
  e.path = e.atoms = kInterpreter;
  if (timed) e.us = now_us() - start;
  return e;
}

}  // namespace lathe::tools
