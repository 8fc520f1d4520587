#pragma once
// Whether a device does with a program what the interpreter does.
#include "fuzz/program.h"
#include "ir/target.h"
#include "runtime/device.h"

namespace lathe::fuzz {

/// agrees; refused: the compiler answers `unsupported`; the rest are failures. invalid: the program itself is wrong
/// (the interpreter refuses it), which is the generator's fault.
enum class Outcome : uint8_t { agrees, refused, invalid, internal, device, differs, crashed, hangs };
const char* to_string(Outcome o);
inline bool is_failure(Outcome o) { return o != Outcome::agrees && o != Outcome::refused; }

struct Verdict {
  Outcome outcome = Outcome::agrees;
  std::string text;                              ///< the reason or the first difference
  int64_t elements = 0, checked = 0, exact = 0;  ///< of all views: how many had a bound, and one to the bit
  bool masked = false;                           ///< a load or store reached past an edge
};

Verdict judge(runtime::Device& device, const Target& target, const Program& p);

}  // namespace lathe::fuzz
