#pragma once
// Layout conversion that no subgroup leaves: what one subgroup does, and as shuffles between its lanes.
#include <optional>

#include "ir/layout.h"

namespace lathe {

/// Source and destination as one subgroup sees them: the elements it holds, numbered without gaps.
struct SubgroupExchange {
  Layout from, to;  ///< `lanes` threads; slots as in the whole layouts
};
/// none where an element may have to change its subgroup, or a layout is partial.
std::optional<SubgroupExchange> within_subgroup(const Layout& from, const Layout& to, int64_t lanes);

/// Where each destination finds its element, bit by bit: lane l, slot s takes it from the xor of what s and the bits of
/// l contribute.
struct ShufflePlan {
  struct Place {
    int64_t lane = 0, slot = 0;
    bool operator==(const Place&) const = default;
  };
  std::vector<Place> of_lane_bit, of_slot;
  /// Lane bits that choose among source slots.
  std::vector<int> choosing() const;
  /// Whether every lane finds its elements in itself.
  bool stays(int64_t slot) const;
  /// Instructions of a lane: shuffles (counted twice, as they also take a turn of the crossbar), selects.
  int64_t cost() const;
};
/// none where the places are not bit-linear.
std::optional<ShufflePlan> plan_shuffles(const SubgroupExchange& e);

}  // namespace lathe
