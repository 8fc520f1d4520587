#pragma once
// Errors of the runtime are values: a code a program can branch on, one line a user can act on, the driver's own text.
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <variant>

namespace lathe::runtime {

struct Error {
  /// bad_input: the caller's arguments or program bytes. no_device: the device asked for is not there.
  /// unsupported: the device lacks something the program needs. out_of_memory: of the device or the host.
  /// device_lost: the device stopped working for this process; open it again or end. timeout: work did not end in time,
  /// the device is given up. io: a file. internal: our fault or the driver's.
  enum class Code { bad_input, no_device, unsupported, out_of_memory, device_lost, timeout, io, internal };
  Code code = Code::internal;
  std::string text;  ///< "what was attempted and why it failed", then the driver's own words
};

template <class T>
using Result = tl::expected<T, Error>;
using Unit = std::monostate;

inline tl::unexpected<Error> fail(Error::Code code, std::string text) {
  return tl::unexpected(Error{code, std::move(text)});
}

}  // namespace lathe::runtime

/// TRY(expression): return the error of a Result, or go on.   TRY_ASSIGN(declaration, expression): ... or take its
/// value. The same two macros as the compiler's, since neither library may include the other.
#ifndef TRY
#define LATHE_CAT_(a, b) a##b
#define LATHE_CAT(a, b) LATHE_CAT_(a, b)
#define TRY(...)                                                                                            \
  do {                                                                                                      \
    if (auto try_result = (__VA_ARGS__); !try_result) return tl::unexpected(std::move(try_result).error()); \
  } while (0)
#define TRY_ASSIGN(declaration, ...)                                                                   \
  auto LATHE_CAT(try_, __LINE__) = (__VA_ARGS__);                                                      \
  if (!LATHE_CAT(try_, __LINE__)) return tl::unexpected(std::move(LATHE_CAT(try_, __LINE__)).error()); \
  declaration = std::move(*LATHE_CAT(try_, __LINE__))
#endif
