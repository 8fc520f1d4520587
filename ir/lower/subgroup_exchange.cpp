#include "ir/lower/subgroup_exchange.h"

#include <bit>

namespace lathe {
namespace {

struct Digits {
  std::vector<Mode> above, lanes;
};

/// The thread digits of a layout, cut at `lanes` threads.
std::optional<Digits> cut_at(const Layout& l, int64_t lanes) {
  Digits out;
  int64_t below = l.threads();
  for (const Mode& m : l.T()) {
    const int64_t top = below;
    below /= m.n;
    if (below >= lanes) {
      out.above.push_back(m);
    } else if (top <= lanes) {
      out.lanes.push_back(m);
    } else {
      const int64_t inner = lanes / below;
      if (lanes % below || m.n % inner) return std::nullopt;
      out.above.push_back({m.n / inner, m.d, m.w * inner});
      out.lanes.push_back({inner, m.d, m.w});
    }
  }
  return out;
}

/// The layout without the digits `removed`, whose gaps close.
Layout without(const Layout& l, const std::vector<Mode>& lanes, const std::vector<Mode>& removed) {
  Coord shape = l.shape();
  const auto closed = [&](std::vector<Mode> modes) {
    for (Mode& m : modes)
      if (m.d >= 0) {
        const int64_t w = m.w;
        for (const Mode& r : removed)
          if (r.d == m.d && r.w < w) m.w /= r.n;
      }
    return modes;
  };
  for (const Mode& r : removed)
    if (r.d >= 0) shape[static_cast<size_t>(r.d)] /= r.n;
  return Layout(shape, closed(lanes), closed(l.S()));
}

}  // namespace

std::optional<SubgroupExchange> within_subgroup(const Layout& from, const Layout& to, int64_t lanes) {
  if (from.partials() > 1 || to.partials() > 1 || from.threads() % lanes) return std::nullopt;
  const auto f = cut_at(from, lanes), t = cut_at(to, lanes);
  if (!f || !t || f->above != t->above) return std::nullopt;
  return SubgroupExchange{without(from, f->lanes, f->above), without(to, t->lanes, t->above)};
}

std::vector<int> ShufflePlan::choosing() const {
  std::vector<int> bits;
  for (size_t b = 0; b < of_lane_bit.size(); b++)
    if (of_lane_bit[b].slot != 0) bits.push_back(static_cast<int>(b));
  return bits;
}

bool ShufflePlan::stays(int64_t slot) const {
  if (of_slot[static_cast<size_t>(slot)].lane != 0) return false;
  for (size_t b = 0; b < of_lane_bit.size(); b++)
    if (of_lane_bit[b].lane != int64_t{1} << b) return false;
  return true;
}

int64_t ShufflePlan::cost() const {
  const int64_t candidates = int64_t{1} << choosing().size();
  int64_t sum = 0;
  for (size_t s = 0; s < of_slot.size(); s++)
    sum += (stays(static_cast<int64_t>(s)) ? 0 : 2 * candidates) + candidates - 1;
  return sum;
}

std::optional<ShufflePlan> plan_shuffles(const SubgroupExchange& e) {
  const auto source = [&](int64_t lane, int64_t slot) {
    const auto [l, s] = inverse(e.from, e.to.at(lane, slot)).front();
    return ShufflePlan::Place{l, s};
  };
  ShufflePlan p;
  for (int64_t s = 0; s < e.to.slots(); s++) p.of_slot.push_back(source(0, s));
  for (int64_t bit = 1; bit < e.to.threads(); bit *= 2) {
    const auto at = source(bit, 0);
    p.of_lane_bit.push_back({at.lane ^ p.of_slot[0].lane, at.slot ^ p.of_slot[0].slot});
  }
  for (int64_t lane = 0; lane < e.to.threads(); lane++)
    for (int64_t s = 0; s < e.to.slots(); s++) {
      ShufflePlan::Place want = p.of_slot[static_cast<size_t>(s)];
      for (size_t b = 0; b < p.of_lane_bit.size(); b++)
        if (lane >> b & 1) want.lane ^= p.of_lane_bit[b].lane, want.slot ^= p.of_lane_bit[b].slot;
      if (want != source(lane, s)) return std::nullopt;
    }
  return p;
}

}  // namespace lathe
