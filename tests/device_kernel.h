#pragma once
// Runs a tile program on a device and in the interpreter on the same tensors, for tests.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/open.h"
#include "engine/target_of.h"
#include "engine/tile_run.h"

namespace lathe {

using Tensors = HostTensors;

/// A device opened once, with its measured target.
struct TestDevice {
  std::shared_ptr<runtime::Device> device;
  Target target;
  std::string id;
};
inline std::vector<TestDevice>& test_devices() {
  static std::vector<TestDevice> devices = [] {
    std::vector<TestDevice> out;
    std::vector<std::string> ids{"sim:sm_80", "sim:sm_90a", "sim:rdna3"};
    for (const auto& info : runtime::list_devices()) ids.push_back(info.id);
    for (const std::string& id : ids) {
      auto d = open_device(id);
      REQUIRE_MESSAGE(d.has_value(), (d ? "" : d.error().text));
      auto t = target_of(**d);
      REQUIRE_MESSAGE(t.has_value(), (t ? "" : t.error().text));
      // The same device once more without its lane maps, where it has any.
      const bool maps = std::any_of(t->atoms.begin(), t->atoms.end(), [](const Atom& a) {
        return a.source == MapSource::probed || a.source == MapSource::assumed;
      });
      const std::shared_ptr<runtime::Device> device = std::move(*d);
      out.push_back({device, *t, id});
      if (!maps) continue;
      auto opaque = target_of(*device, {.probe = false});
      REQUIRE_MESSAGE(opaque.has_value(), (opaque ? "" : opaque.error().text));
      out.push_back({device, std::move(*opaque), id + " opaque"});
    }
    return out;
  }();
  return devices;
}

/// Runs `f` on the device; every view is uploaded, and what the program wrote replaces `tensors`.
inline Result<Unit> run_on(TestDevice& d, const tile::Func& f, Tensors& tensors,
                           const std::map<std::string, uint64_t>& scalars = {},
                           std::vector<std::string>* printed = nullptr) {
  return run_tile(*d.device, d.target, f, tensors, scalars, printed);
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
