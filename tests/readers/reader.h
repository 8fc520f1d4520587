#pragma once
// One reader of input from outside: what it must do with any bytes. libFuzzer calls it (preset `fuzz`), and replay.cpp
// on files that are kept (ctest).
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

/// Always returns 0; a broken promise ends the process.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace lathe::readers {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the process, as a sanitizer would, unless the reader kept its promise.
inline void require(bool kept, const char* promise, std::string_view detail = "") {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n%.*s\n", promise, static_cast<int>(detail.size()), detail.data());
  std::abort();
}

}  // namespace lathe::readers
