#pragma once
// Files from outside: read by offset, every offset checked against the size first; written whole or not at all.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/result.h"

namespace lathe::model {

/// A regular file opened for reading. Every error names it.
class InputFile {
 public:
  static Result<InputFile> open(const std::string& path);
  uint64_t size() const { return size_; }  ///< in bytes, when it was opened
  /// Fills `into` with the bytes at `offset`; asking for bytes past the end is an error.
  Result<Unit> read(uint64_t offset, std::span<std::byte> into);
  /// `bytes` bytes at `offset` in memory of their own; checked against the size before anything is allocated.
  Result<std::vector<std::byte>> read(uint64_t offset, uint64_t bytes);
  /// An error of one line: "PATH: message".
  tl::unexpected<Error> fail(std::string_view message, Error::Code code = Error::Code::bad_input) const;

 private:
  InputFile(std::string path, uint64_t size, std::ifstream stream)
      : path_(std::move(path)), size_(size), stream_(std::move(stream)) {}
  Result<Unit> check_range(uint64_t offset, uint64_t bytes) const;

  std::string path_;
  uint64_t size_;
  std::ifstream stream_;
};

/// Writes the parts one after the other to a file beside `path`, then renames it: `path` is never seen half written.
/// What is there and is no regular file (a pipe, /dev/null) is written to as it is.
Result<Unit> write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);

/// A path or a name from a file, fit for a one-line message: quoted, control characters escaped, cut when long.
std::string in_quotes(std::string_view text);

}  // namespace lathe::model
