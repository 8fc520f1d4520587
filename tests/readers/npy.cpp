// A .npy file: the elements fill their shape, and their values can be asked for.
#include "model/npy.h"

#include "tests/readers/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  static readers::MemoryFile input;
  const std::string& path = input.of(data, size);
  const auto t = model::read_npy(path);
  if (!t) {
    readers::require_one_line(t.error().text, path);
    return 0;
  }
  const auto count = model::element_count(t->shape, t->type);
  require(t->shape.size() <= model::kMaxRank, "the rank is at most the greatest");
  require(count && static_cast<uint64_t>(*count * model::element_bytes(t->type)) == t->data.size(),
          "the elements fill the shape");
  const auto values = model::convert(*t, types::f32);
  require(values && model::f32_values(*values).size() == static_cast<size_t>(*count), "there is a value an element");
  return 0;
}
