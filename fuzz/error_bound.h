#pragma once
// How far a device may be from the interpreter, element by element, worked out while the interpreter runs: from what
// ir/tile.def promises of each operation's rounding, never from what a device was seen to do.
#include "fuzz/knowledge.h"
#include "ir/tile_interp.h"

namespace lathe::fuzz {

/// What is known of an element, kept in the upper half of its word: 0: these bits. Same value: this number, or a zero
/// or NaN of other bits. Else the number within an absolute error; infinite: nothing is known.
inline constexpr float kSameValue = 0x1p-149F, kUnknown = __builtin_inff();
float note_of(uint64_t raw);

class ErrorBound : public tile::Witness {
 public:
  void ran(const tile::Func& f, const tile::Func::Inst& inst, std::vector<std::vector<uint64_t>>& values) override;

  /// A 64-bit element came from an inexact one: nothing in the program's results can be trusted to be checkable.
  bool lost() const { return lost_; }
  bool masked() const { return masked_; }  ///< a load or store reached past an edge of its view

 private:
  bool lost_ = false, masked_ = false;
};

/// Elements of `got` that differ from `want` by more than its notes allow; `checked`: how many had a bound.
struct Difference {
  int64_t elements = 0, checked = 0, exact = 0, wrong = 0;
  std::string first;  ///< the first that is wrong
};
Difference difference(const tile::HostTensor& got, const tile::HostTensor& want);

}  // namespace lathe::fuzz
