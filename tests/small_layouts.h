#pragma once
// Every layout with few places, for laws that are tested by brute force.
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/layout.h"

namespace lathe {

/// All layouts of one rank with threads * slots <= max_places, R and P among them when `marks`.
inline std::vector<Layout> all_layouts(int rank, int64_t max_places, bool marks = true) {
  struct Draft {
    Coord shape;
    std::vector<Mode> T, S;
    int64_t places = 1;
  };
  std::set<std::string> seen_drafts;
  std::map<std::string, Layout> found;
  const auto name = [](const Draft& d) {
    std::string key;
    for (const auto* list : {&d.T, &d.S}) {
      for (const Mode& m : *list) {
        key += std::to_string(m.n) + ":" + std::to_string(m.d) + "," + std::to_string(m.w) + " ";
      }
      key += "|";
    }
    return key;
  };
  // Digits of prime size are added one by one: on top of a dimension, at any place of either list.
  const std::function<void(const Draft&)> grow = [&](const Draft& draft) {
    if (!seen_drafts.insert(name(draft)).second) return;
    const Layout l(draft.shape, draft.T, draft.S);
    found.emplace(to_string(l), l);
    for (const int64_t p : {2, 3, 5, 7, 11, 13, 17, 19, 23}) {
      if (draft.places * p > max_places) break;
      for (int d = marks ? Mode::kPartial : 0; d < rank; ++d) {
        for (const bool in_threads : {true, false}) {
          if (d < 0 && !in_threads) continue;
          const size_t length = in_threads ? draft.T.size() : draft.S.size();
          for (size_t i = 0; i <= length; ++i) {
            Draft next = draft;
            auto& list = in_threads ? next.T : next.S;
            list.insert(list.begin() + static_cast<std::ptrdiff_t>(i), {p, d, d < 0 ? 0 : draft.shape[d]});
            if (d >= 0) next.shape[d] *= p;
            next.places *= p;
            grow(next);
          }
        }
      }
    }
  };
  grow({Coord(rank, 1), {}, {}, 1});
  std::vector<Layout> out;
  for (const auto& [text, l] : found) out.push_back(l);
  return out;
}

/// Calls f with every coordinate of the shape, row-major.
inline void for_each_element(const Coord& shape, const std::function<void(const Coord&)>& f) {
  int64_t elements = 1;
  for (const int64_t n : shape) elements *= n;
  for (int64_t i = 0; i < elements; ++i) {
    Coord e(shape.size());
    int64_t rest = i;
    for (size_t d = shape.size(); d-- > 0;) {
      e[d] = rest % shape[d];
      rest /= shape[d];
    }
    f(e);
  }
}

/// table[t][s] = coordinates.
inline std::vector<std::vector<Coord>> table_of(const Layout& l) {
  std::vector<std::vector<Coord>> table(static_cast<size_t>(l.threads()));
  for (int64_t t = 0; t < l.threads(); ++t) {
    for (int64_t s = 0; s < l.slots(); ++s) table[t].push_back(l.at(t, s));
  }
  return table;
}

}  // namespace lathe
