#pragma once
// Errors of the compiler are values: one line a user can act on, and the place in the program where there is one.
#include <string>
#include <tl/expected.hpp>
#include <variant>

namespace lathe {

struct Error {
  /// bad_input: the user's program or arguments. unsupported: the target lacks a feature. internal: our fault.
  enum class Code { bad_input, unsupported, internal };
  Code code = Code::bad_input;
  std::string text;  ///< "message" or "file:line:col: error: message\n  source line\n  ^"
};

template <class T>
using Result = tl::expected<T, Error>;
using Unit = std::monostate;

inline tl::unexpected<Error> bad_input(std::string text) {
  return tl::unexpected(Error{Error::Code::bad_input, std::move(text)});
}
inline tl::unexpected<Error> unsupported(std::string text) {
  return tl::unexpected(Error{Error::Code::unsupported, std::move(text)});
}
inline tl::unexpected<Error> internal_error(std::string text) {
  return tl::unexpected(Error{Error::Code::internal, "internal error: " + std::move(text)});
}

}  // namespace lathe

/// TRY(expression): return the error of a Result, or go on.   TRY_ASSIGN(declaration, expression): ... or take its
/// value.
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
