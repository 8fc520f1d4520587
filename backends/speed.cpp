#include "backends/speed.h"

namespace lathe {
namespace {

struct Row {
  std::string_view target, name;
  const char* device;
  int memory_gb_s, matrix_tflops, cores, mhz;
  int64_t flight_bytes;
};
constexpr Row kRows[] = {
#define SPEED(target, name, device, memory, matrix, cores, mhz, flight) \
  {target, name, device, memory, matrix, cores, mhz, flight},
#include "backends/speeds.def"
};

Speed first(std::string_view Row::*key, std::string_view value) {
  for (const Row& r : kRows)
    if (!value.empty() && r.*key == value)
      return {r.device, r.memory_gb_s, r.matrix_tflops, r.cores, r.mhz, r.flight_bytes};
  return {};
}

}  // namespace

Speed speed_of(std::string_view target) { return first(&Row::target, target); }
Speed speed_of_device(std::string_view name) { return first(&Row::name, name); }

}  // namespace lathe
