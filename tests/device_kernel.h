#pragma once
// Runs a tile program on a device and in the interpreter on the same tensors, for tests.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/kernel.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "ir/tile_interp.h"

namespace lathe {

using Tensors = std::map<std::string, tile::HostTensor>;

/// Memory of a plain view: rows of the last dimension, each starting on a byte.
inline std::vector<std::byte> memory_of(const tile::HostTensor& t) {
  const auto row = static_cast<size_t>(t.shape.back()), bits = static_cast<size_t>(t.elem.bits),
             row_bytes = (row * bits + 7) / 8;
  std::vector<std::byte> out(t.raw.size() / row * row_bytes);
  for (size_t i = 0; i < t.raw.size(); i++)
    for (size_t b = 0; b < bits; b++)
      if (t.raw[i] >> b & 1)
        out[i / row * row_bytes + (i % row * bits + b) / 8] |= static_cast<std::byte>(1 << (i % row * bits + b) % 8);
  return out;
}
inline void read_memory(const std::vector<std::byte>& from, tile::HostTensor& t) {
  const auto row = static_cast<size_t>(t.shape.back()), bits = static_cast<size_t>(t.elem.bits),
             row_bytes = (row * bits + 7) / 8;
  for (size_t i = 0; i < t.raw.size(); i++) {
    t.raw[i] = 0;
    for (size_t b = 0; b < bits; b++)
      t.raw[i] |= static_cast<uint64_t>(
                      from[i / row * row_bytes + (i % row * bits + b) / 8] >> ((i % row * bits + b) % 8) & std::byte{1})
                  << b;
  }
}

/// A device opened once, with its measured target.
struct TestDevice {
  std::shared_ptr<runtime::Device> device;
  Target target;
  std::string id;
};
inline std::vector<TestDevice>& test_devices() {
  static std::vector<TestDevice> devices = [] {
    std::vector<TestDevice> out;
    const std::string profiles = LATHE_SOURCE_DIR "/tests/profiles/";
    std::vector<std::string> ids{"sim:sm_80", "sim:sm_90a", "sim:" + profiles + "rdna3-wave32.json"};
    for (const auto& info : runtime::list_devices()) ids.push_back(info.id);
    for (const std::string& id : ids) {
      auto d = open_device(id);
      REQUIRE_MESSAGE(d.has_value(), (d ? "" : d.error().text));
      auto t = target_of(**d);
      REQUIRE_MESSAGE(t.has_value(), (t ? "" : t.error().text));
      // The same device once more without its lane maps, where it has any.
      const bool maps =
          std::any_of(t->atoms.begin(), t->atoms.end(), [](const Atom& a) { return a.source == MapSource::probed; });
      const std::shared_ptr<runtime::Device> device = std::move(*d);
      out.push_back({device, *t, info.id});
      if (!maps) continue;
      auto opaque = target_of(*device, {.probe = false});
      REQUIRE_MESSAGE(opaque.has_value(), (opaque ? "" : opaque.error().text));
      out.push_back({device, std::move(*opaque), info.id + " opaque"});
    }
    return out;
  }();
  return devices;
}

/// Runs `f` on the device; every view is uploaded, and what the program wrote replaces `tensors`.
inline Result<Unit> run_on(TestDevice& d, const tile::Func& f, Tensors& tensors,
                           const std::map<std::string, uint64_t>& scalars = {}) {
  Kernel::Arguments args;
  std::vector<std::pair<std::string, std::unique_ptr<runtime::Buffer>>> buffers;
  for (const tile::Param& p : f.params) {
    const std::string& name = f.values[p.value].name;
    if (f.type(p.value).is_scalar()) {
      args.values[name] = scalars.at(name);
      continue;
    }
    const auto bytes = memory_of(tensors.at(name));
    TRY_ASSIGN(auto b, lift(d.device->alloc(bytes.size())));
    TRY(lift(d.device->upload(*b, 0, bytes)));
    args.values[name] = b->address();
    for (size_t i = 0; i < p.sizes.size(); i++) args.sizes[f.values[p.sizes[i]].name] = tensors.at(name).shape[i];
    for (ValueId s : p.strides)
      if (const auto it = scalars.find(f.values[s].name); it != scalars.end())
        args.sizes[it->first] = static_cast<int64_t>(it->second);
    buffers.emplace_back(name, std::move(b));
  }
  CompileOptions options;
  options.lower.aligned = is_aligned(f, args);
  TRY_ASSIGN(const auto kernel, Kernel::build(*d.device, d.target, f, options));
  TRY_ASSIGN(const auto launch, kernel->launch(args));
  TRY(lift(d.device->run({&launch, 1})));
  for (auto& [name, b] : buffers) {
    std::vector<std::byte> bytes(b->bytes());
    TRY(lift(d.device->download(*b, 0, bytes)));
    read_memory(bytes, tensors.at(name));
  }
  return Unit{};
}

/// Random raw bits that are values of the type: small integers (exact everywhere) or anything finite.
inline tile::HostTensor random_tensor(Type elem, Coord shape, bool small, uint32_t seed) {
  tile::HostTensor t{elem, shape, {}};
  int64_t count = 1;
  for (int64_t s : shape) count *= s;
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525 + 1013904223;
    const int v = static_cast<int>(seed >> 16) % (small ? 5 : 2001);
    const double value = small ? v - 2 : (v - 1000) / 237.0;
    t.raw.push_back(elem.is_float() || small ? encode(elem, value) : encode_int(elem, static_cast<int64_t>(seed >> 8)));
  }
  return t;
}

}  // namespace lathe
