#pragma once
// Lists of modes, below the Layout type: the canonical form, what makes a list valid, and cutting. For ir/layout*.cpp.
#include <cstdint>
#include <optional>
#include <vector>

#include "ir/layout.h"

namespace lathe {

using Modes = std::vector<Mode>;

/// Threads times slots of a layout stay below this, so that no product of its numbers with bits or bytes overflows.
inline constexpr int64_t kMaxPlaces = int64_t{1} << 48;

[[noreturn]] void internal_abort(const char* what);

/// a * b, or none above kMaxPlaces. 0 <= a, b.
std::optional<int64_t> bounded_product(int64_t a, int64_t b);
int64_t product(const Coord& extents);
/// Drops n = 1 and merges neighbours that continue each other.
Modes canonical(const Modes& modes);

/// Why modes are no layout.
struct ModeFault {
  enum class Kind { bad_mode, mark_in_slots, no_chain, too_large };
  Kind kind = Kind::bad_mode;
  int d = 0;            ///< no_chain: of this dimension
  int64_t reached = 1;  ///< no_chain: the modes reach so far without a gap
};
/// T and S are canonical.
std::optional<ModeFault> find_fault(const Coord& shape, const Modes& T, const Modes& S);

/// The same digits with the modes of dimension d cut at weights `cuts` (ascending); none when a cut does not divide.
std::optional<Modes> cut(const Modes& modes, int d, const std::vector<int64_t>& cuts);

}  // namespace lathe
