#pragma once
// The engine speaks to users: an error of the compiler or of a device, with the exit code it means.
#include "ir/result.h"
#include "runtime/result.h"

namespace lathe {

/// A device's error as the engine's own: bad_input stays, what the device lacks is unsupported, the rest is device.
inline Error from_runtime(const runtime::Error& e) {
  using Code = runtime::Error::Code;
  const bool ours = e.code == Code::internal;
  const auto code = ours                          ? Error::Code::internal
                    : e.code == Code::unsupported ? Error::Code::unsupported
                                                  : Error::Code::bad_input;
  return {code, ours ? "internal error: " + e.text : e.text};
}
template <class T>
Result<T> lift(runtime::Result<T> r) {
  if (!r) return tl::unexpected(from_runtime(r.error()));
  if constexpr (std::is_same_v<T, runtime::Unit>)
    return Unit{};
  else
    return std::move(*r);
}

}  // namespace lathe
