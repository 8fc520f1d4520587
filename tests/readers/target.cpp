// The JSON of a target, as --target and sim: take it from a file: what is read prints and reads the same, and can be
// simulated.
#include "backends/spirv/target.h"
#include "backends/sim/lane_map.h"
#include "tests/readers/memory_file.h"
#include "tools/target_option.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  static readers::MemoryFile input;
  const std::string& path = input.of(data, size);
  const auto t = tools::read_target(path);
  if (!t) {
    readers::require_one_line(t.error().text, path);
    return 0;
  }
  const std::string text = to_json(*t);
  const auto again = spirv_target_from_json(text);
  require(again.has_value(), "what is printed is read", again ? text : again.error().text);
  require(to_json(*again) == text, "it prints the same again", text);
  const sim::MatrixUnit matrices(*t);
  return 0;
}
