// A program of the simulator, as the cache keeps it: what loads is the same bytes again.
#include "backends/sim/device.h"
#include "backends/sim/serial.h"
#include "tests/readers/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto f = sim::deserialise(bytes);
  if (!f) {
    require(f.error().code == Error::Code::bad_input, "an error is of the input", f.error().text);
    return 0;
  }
  const auto again = sim::serialise(*f);
  require(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()), "what is read is written the same");
  static const auto device = sim::open("sm_80", {.cache = nullptr});
  require(device.has_value(), "there is a device");
  runtime::ProgramInfo info{.entry = f->name};
  info.threads = static_cast<uint32_t>(f->subgroups * f->subgroup_size);
  info.param_slots = static_cast<uint32_t>(f->param_slots);
  const auto loaded = (*device)->load(bytes, info);  // or refused
  require(loaded || loaded.error().code != runtime::Error::Code::internal, "a refusal is not our fault");
  return 0;
}
