// A .safetensors file: its tensors lie in the file, back to back, and each is read or refused by type.
#include "model/safetensors.h"

#include "tests/readers/memory_file.h"

namespace {

void read_all(lathe::model::Safetensors& file, const std::string& path) {
  using namespace lathe;
  using readers::require;
  for (const auto& e : file.entries()) {
    const auto t = file.read(e.name);
    require(t.has_value() == e.type.has_value(), "a tensor of a known type is read", e.name);
    if (t) {
      require(t->data.size() == e.bytes, "a tensor has its bytes", e.name);
      require(file.read_f32(e.name).has_value(), "numbers of every known type are read as f32", e.name);
    } else {
      require(t.error().code == Error::Code::unsupported, "another type is unsupported", t.error().text);
      readers::require_one_line(t.error().text, path);
    }
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  static readers::MemoryFile input;
  const std::string& path = input.of(data, size);
  auto file = model::Safetensors::open(path);
  if (!file) {
    readers::require_one_line(file.error().text, path);
    return 0;
  }
  uint64_t at = file->entries().empty() ? size : file->entries().front().begin;
  for (const auto& e : file->entries()) {
    require(e.begin == at, "the tensors leave no gap", e.name);
    at += e.bytes;
  }
  require(at == size, "the tensors end with the file");
  read_all(*file, path);
  return 0;
}
