#pragma once
// What a command leaves behind: text or bytes in a file that appears whole or not at all, or on stdout.
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "model/file.h"

namespace lathe::tools {

/// To the file, or to stdout when `path` is empty.
inline Result<Unit> write_output(const std::string& path, std::string_view bytes) {
  const auto part = std::as_bytes(std::span(bytes.data(), bytes.size()));
  if (!path.empty()) return model::write_file(path, {&part, 1});
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0)
    return bad_input("stdout cannot be written");
  return Unit{};
}

}  // namespace lathe::tools
