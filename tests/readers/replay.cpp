// Runs a reader on every file of the folders that are named: in place of libFuzzer, where the inputs are known.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/readers/reader.h"

int main(int count, char** arguments) {
  size_t files = 0;
  for (int i = 1; i < count; i++)
    for (const auto& entry : std::filesystem::directory_iterator(arguments[i])) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
      std::fprintf(stderr, "%s\n", entry.path().c_str());
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      files++;
    }
  std::printf("%zu inputs\n", files);
  return files > 0 ? 0 : 1;
}
