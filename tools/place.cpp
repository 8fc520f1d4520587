#include "tools/place.h"

#include "engine/result.h"
#include "engine/target_of.h"

namespace lathe::tools {
namespace {

std::string best_device() {
  const auto devices = runtime::list_devices();
  for (const auto& d : devices)
    if (!d.software) return d.id;
  return devices.empty() ? std::string(kInterpreter) : devices.front().id;
}

}  // namespace

Result<Place> open_place(const std::string& id) {
  Place place{id.empty() ? best_device() : id, nullptr, {}};
  if (place.id == kInterpreter) return place;
  TRY_ASSIGN(place.device, lift(runtime::open_device(place.id)));
  TRY_ASSIGN(place.target, target_of(*place.device));
  return place;
}

}  // namespace lathe::tools
