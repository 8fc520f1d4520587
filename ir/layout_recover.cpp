// From a probed table back to the layout: read the digits off the two axes, then prove them on every entry.
#include <algorithm>

#include "ir/layout_modes.h"

namespace lathe {
namespace {

bool is_multiple(const Coord& c, const Coord& unit, int64_t factor) {
  for (size_t d = 0; d < c.size(); ++d) {
    if (c[d] != unit[d] * factor) return false;
  }
  return true;
}

/// The digits of one axis, line[i] = coordinates at index i; none when one digit moves two coordinates.
std::optional<Modes> digits_of(const std::vector<const Coord*>& line) {
  const int64_t length = static_cast<int64_t>(line.size());
  Modes modes;
  for (int64_t step = 1; step < length;) {
    const Coord& unit = *line[step];
    Mode m{1, Mode::kReplicate, 0};
    for (int d = 0; d < static_cast<int>(unit.size()); ++d) {
      if (unit[d] == 0) continue;
      if (m.d >= 0) return std::nullopt;
      m = {1, d, unit[d]};
    }
    while (m.n * step < length && is_multiple(*line[m.n * step], unit, m.n)) ++m.n;
    if (length % (m.n * step)) return std::nullopt;
    modes.push_back(m);
    step *= m.n;
  }
  std::reverse(modes.begin(), modes.end());
  return modes;
}

constexpr int64_t kMaxCoordinate = int64_t{1} << 31;  // keeps multiples of hostile entries from overflowing

}  // namespace

std::optional<Layout> recover(const std::vector<std::vector<Coord>>& table) {
  if (table.empty() || table[0].empty()) return std::nullopt;
  const size_t rank = table[0][0].size();
  Coord shape(rank, 1);
  for (const std::vector<Coord>& row : table) {
    if (row.size() != table[0].size()) return std::nullopt;
    for (const Coord& c : row) {
      if (c.size() != rank) return std::nullopt;
      for (size_t d = 0; d < rank; ++d) {
        if (c[d] < 0 || c[d] >= kMaxCoordinate) return std::nullopt;
        shape[d] = std::max(shape[d], c[d] + 1);
      }
    }
  }
  if (!is_multiple(table[0][0], Coord(rank), 0)) return std::nullopt;  // an offset is no layout

  std::vector<const Coord*> threads, slots;
  for (const std::vector<Coord>& row : table) threads.push_back(&row[0]);
  for (const Coord& c : table[0]) slots.push_back(&c);
  std::optional<Modes> T = digits_of(threads), S = digits_of(slots);
  if (!T || !S) return std::nullopt;
  std::optional<Layout> l = Layout::make(std::move(shape), *T, *S);
  if (!l) return std::nullopt;
  for (size_t t = 0; t < table.size(); ++t) {
    for (size_t s = 0; s < table[t].size(); ++s) {
      if (l->at(static_cast<int64_t>(t), static_cast<int64_t>(s)) != table[t][s]) return std::nullopt;
    }
  }
  return l;
}

}  // namespace lathe
