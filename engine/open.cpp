#include "engine/open.h"

#include "backends/sim/device.h"

namespace lathe {

Result<std::unique_ptr<runtime::Device>> open_device(std::string_view id, const runtime::DeviceOptions& options) {
  constexpr std::string_view kSimulated = "sim:";
  if (!id.starts_with(kSimulated)) return lift(runtime::open_device(id, options));
  TRY_ASSIGN(std::unique_ptr<runtime::Device> device, lift(sim::open(id.substr(kSimulated.size()), options)));
  return device;
}

}  // namespace lathe
