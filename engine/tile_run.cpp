#include "engine/tile_run.h"

#include <fmt/format.h>

#include "engine/host_memory.h"

namespace lathe {
namespace {

/// The same values as elements of another type of the same kind.
tile::HostTensor with_type(const tile::HostTensor& t, Type to) {
  if (t.elem == to) return t;
  tile::HostTensor out{to, t.shape, {}};
  for (const uint64_t raw : t.raw) out.raw.push_back(encode_int(to, decode_int(t.elem, raw)));
  return out;
}

/// A tensor whose shape is its storage: what strides leave between elements counts as elements.
tile::HostTensor as_stored(const tile::HostTensor& t, bool strided) {
  if (!strided) return t;
  return {t.elem, {static_cast<int64_t>(t.raw.size())}, t.raw};
}

}  // namespace

Result<TileRun> TileRun::build(runtime::Device& device, const Target& target, const tile::Func& f,
                               const HostTensors& tensors, const std::map<std::string, uint64_t>& scalars,
                               CompileOptions options) {
  TileRun run(device, target);
  for (const auto& [name, value] : scalars) run.args_.sizes[name] = static_cast<int64_t>(value);
  for (const tile::Param& p : f.params) {
    const std::string& name = f.values[p.value].name;
    const tile::Type& type = f.type(p.value);
    if (type.is_scalar()) {
      const auto it = scalars.find(name);
      if (it == scalars.end()) return bad_input(fmt::format("scalar {} is missing", name));
      run.args_.values[name] = it->second;
      continue;
    }
    if (p.workspace) continue;
    const auto tensor = tensors.find(name);
    if (tensor == tensors.end() || tensor->second.shape.size() != p.sizes.size())
      return bad_input(fmt::format("tensor {} is missing or has another rank", name));
    if (!p.strides.empty() && type.elem.bits < 8)
      return unsupported(fmt::format("'{}': rows of {} with strides", name, to_string(type.elem)));
    for (size_t d = 0; d < p.sizes.size(); d++) run.args_.sizes[f.values[p.sizes[d]].name] = tensor->second.shape[d];
    run.args_.values[name] = 0;  // addresses of buffers are aligned
    run.views_.push_back({name, !p.strides.empty(), nullptr});
  }
  options.lower.aligned = is_aligned(f, run.args_);
  TRY_ASSIGN(run.kernel_, Kernel::build(device, target, f, options));
  return run;
}

const PackedLayout* TileRun::packed(const std::string& name) const {
  const auto it = kernel_->packed().find(name);
  return it == kernel_->packed().end() ? nullptr : &it->second;
}

Result<Unit> TileRun::upload(const HostTensors& tensors) {
  for (View& view : views_) {
    const tile::HostTensor& t = tensors.at(view.name);
    const PackedLayout* order = packed(view.name);
    const auto bytes = to_bytes(order ? with_type(t, plain_type(t.elem)) : as_stored(t, view.strided));
    const uint64_t room = order ? static_cast<uint64_t>(order->bytes(t.shape[0], t.shape[1])) : bytes.size();
    TRY_ASSIGN(view.buffer, lift(device_->alloc(room)));
    args_.values[view.name] = view.buffer->address();
    if (order)
      TRY(packer_.pack(*order, t.shape[0], t.shape[1], bytes, *view.buffer));
    else
      TRY(lift(device_->upload(*view.buffer, 0, bytes)));
  }
  return Unit{};
}

Result<Unit> TileRun::download(HostTensors& tensors) {
  for (const View& view : views_) {
    tile::HostTensor& t = tensors.at(view.name);
    if (const PackedLayout* order = packed(view.name)) {
      TRY_ASSIGN(const auto bytes, packer_.unpack(*order, t.shape[0], t.shape[1], *view.buffer));
      tile::HostTensor plain{plain_type(t.elem), t.shape, {}};
      take_bytes(plain, bytes);
      t = with_type(plain, t.elem);
      continue;
    }
    tile::HostTensor stored = as_stored(t, view.strided);
    std::vector<std::byte> bytes(static_cast<size_t>(device_bytes(stored.elem, stored.shape)));
    TRY(lift(device_->download(*view.buffer, 0, bytes)));
    take_bytes(stored, bytes);
    t.raw = std::move(stored.raw);
  }
  return Unit{};
}

Result<Unit> run_tile(runtime::Device& device, const Target& target, const tile::Func& f, HostTensors& tensors,
                      const std::map<std::string, uint64_t>& scalars, std::vector<std::string>* printed,
                      CompileOptions options) {
  TRY_ASSIGN(TileRun run, TileRun::build(device, target, f, tensors, scalars, options));
  TRY(run.upload(tensors));
  TRY_ASSIGN(const runtime::LaunchRecord launch, run.launch());
  TRY(lift(device.run({&launch, 1})));
  TRY_ASSIGN(const auto lines, run.kernel().take_log());
  if (printed) *printed = lines;
  return run.download(tensors);
}

}  // namespace lathe
