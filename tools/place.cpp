#include "tools/place.h"

#include <fmt/format.h>

#include "backends/sim/device.h"
#include "engine/open.h"
#include "engine/target_of.h"

namespace lathe::tools {
std::string best_device() {
  const auto devices = runtime::list_devices();
  for (const auto& d : devices)
    if (!d.software) return d.id;
  return devices.empty() ? std::string(kInterpreter) : devices.front().id;
}

Result<Place> open_place(const std::string& id, bool probe, const runtime::DeviceOptions& options) {
  Place place{id.empty() ? best_device() : id, nullptr, {}, options.timeout_s};
  if (place.id == kInterpreter) return place;
  auto device = lathe::open_device(place.id, options);
  if (!device) return tl::unexpected(Error{device.error().code, fmt::format("{}: {}", place.id, device.error().text)});
  place.device = std::move(*device);
  TRY_ASSIGN(place.target, target_of(*place.device, {.probe = probe}));
  return place;
}

Result<std::vector<sim::KernelCount>> counters_of(const Place& place) {
  const auto* simulated = dynamic_cast<const sim::Device*>(place.device.get());
  if (simulated == nullptr) return bad_input(fmt::format("--counters: {} is no simulated device", place.id));
  return simulated->counters();
}

}  // namespace lathe::tools
