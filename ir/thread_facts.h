#pragma once
// What is known of integer values without running them: bounds and powers of two that divide them.
#include <optional>
#include <vector>

#include "ir/thread.h"

namespace lathe::thread {

/// lo <= value <= hi, read as signed. `index`: made of thread numbers, loop indices and constants alone; such
/// arithmetic in i32 or i64 does not overflow (a grid that did would not run), while data may wrap and is bounded by
/// proof alone.
struct Range {
  int64_t lo, hi;
  bool index = false;
};

/// Facts of scalar i8 .. i64 values; anything else is unknown. Feed it every instruction in order of dominance.
class Facts {
 public:
  explicit Facts(const Func& f) : f_(f) {}
  void note(InstId inst);                   ///< the results of an instruction whose operands are noted
  void note_index(const Func::Inst& loop);  ///< the index of a loop, before its body
  Range range(ValueId v) const;
  bool nonnegative(ValueId v) const { return range(v).lo >= 0; }
  /// A power of two that divides v; 2^62 for zero.
  int64_t multiple(ValueId v) const;

 private:
  struct Fact {
    Range range;
    int64_t multiple = 1;
  };
  std::optional<Range> bounds(const Func::Inst& i) const;
  int64_t divisor(const Func::Inst& i) const;
  void set(ValueId v, Fact fact);
  const Func& f_;
  std::vector<std::optional<Fact>> facts_;  ///< by value
};

/// Whether the two operands may be swapped.
bool commutes(Op op);

/// attr.imm of the constant that defines v, in canonical form; none when v is no constant of integers or bool.
std::optional<int64_t> integer_constant(const Func& f, ValueId v);

/// Turns of a loop with constant bounds; none when they are not, or the step is not positive.
std::optional<int64_t> trip_count(const Func& f, const Func::Inst& loop);

}  // namespace lathe::thread
