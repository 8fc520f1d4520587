#pragma once
// Files for the tests of readers: a folder of its own for each test program, gone at its end.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace lathe::model {

class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& name)
      : folder_(std::filesystem::temp_directory_path() / (name + "." + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  std::string path(const std::string& file) const { return (folder_ / file).string(); }
  std::string write(const std::string& file, const std::string& bytes) const {
    std::filesystem::remove(path(file));  // overwriting in place makes some file systems wait for the disk
    std::ofstream(path(file), std::ios::binary) << bytes;
    return path(file);
  }
  size_t files() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {})); }

 private:
  std::filesystem::path folder_;
};

inline std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The file with a few bytes changed, cut short, lengthened, or a piece of it repeated.
inline std::string mutate(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t n) { return n ? random() % n : 0; };
  const size_t edits = 1 + below(4);
  for (size_t i = 0; i < edits && !bytes.empty(); i++) {
    const size_t at = below(bytes.size());
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes[at] = "0123456789{}[]()',:\" -"[below(22)];
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.append(below(9), '\0');
        break;
      case 5:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(12)));
        break;
    }
  }
  return bytes;
}

}  // namespace lathe::model
