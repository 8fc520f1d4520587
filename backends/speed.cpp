#include "backends/speed.h"

namespace lathe {

Speed speed_of(std::string_view target) {
  struct Row {
    std::string_view target;
    const char* device;
    int memory_gb_s, matrix_tflops, cores, mhz;
    int64_t flight_bytes;
  };
  constexpr Row kRows[] = {
#define SPEED(target, device, memory, matrix, cores, mhz, flight) {target, device, memory, matrix, cores, mhz, flight},
#include "backends/speeds.def"
  };
  for (const Row& r : kRows)
    if (r.target == target) return {r.device, r.memory_gb_s, r.matrix_tflops, r.cores, r.mhz, r.flight_bytes};
  return {};
}

}  // namespace lathe
