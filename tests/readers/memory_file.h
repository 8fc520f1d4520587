#pragma once
// Bytes as a regular file that has a path and never touches a disk, for readers that open their files themselves.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/readers/reader.h"

namespace lathe::readers {

class MemoryFile {
 public:
  MemoryFile() : file_(::memfd_create("input", 0)), path_("/proc/self/fd/" + std::to_string(file_)) {
    require(file_ >= 0, "a file in memory can be made");
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;

  /// The path of a file of exactly these bytes, until the next call.
  const std::string& of(const uint8_t* data, size_t size) {
    const auto bytes = static_cast<ssize_t>(size);
    require(::ftruncate(file_, bytes) == 0 && ::pwrite(file_, data, size, 0) == bytes, "the file holds the input");
    return path_;
  }

 private:
  int file_;
  std::string path_;
};

/// What an error owes its reader: one line that names the file.
inline void require_one_line(const std::string& text, const std::string& path) {
  require(text.find('\n') == text.npos, "an error is one line", text);
  require(text.starts_with(path + ": "), "an error names the file", text);
}

}  // namespace lathe::readers
