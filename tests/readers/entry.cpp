// The cache's entry of a device's target: what is read prints and reads the same.
#include "backends/spirv/target.h"
#include "engine/target_entry.h"
#include "tests/readers/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  const auto entry = target_entry(readers::as_text(data, size));
  if (!entry) return 0;
  const std::string text = to_text(*entry);
  const auto again = target_entry(text);
  require(again.has_value(), "what is printed is read", text);
  require(to_text(*again) == text && again->maps == entry->maps, "it prints the same again", text);
  return 0;
}
