#include "ir/lower/banks.h"

#include <algorithm>
#include <map>
#include <set>

namespace lathe {

int64_t bank_phases(const Layout& l, const MemoryLayout& m, int64_t elems, int elem_bytes, int lanes) {
  constexpr int kBanks = 32;
  const int64_t bytes = elems * elem_bytes,
                per_phase = std::max<int64_t>(1, std::min<int64_t>(lanes, kBanks * 4 / bytes));
  int64_t total = 0;
  for (int64_t first = 0; first < lanes; first += per_phase) {
    std::map<int64_t, std::set<int64_t>> rows;  // bank -> rows touched
    for (int64_t lane = first; lane < std::min<int64_t>(lanes, first + per_phase); lane++) {
      const int64_t at = m.address(l.at(lane, 0)) * elem_bytes;
      for (int64_t b = at / 4; b <= (at + bytes - 1) / 4; b++) rows[b % kBanks].insert(b / kBanks);
    }
    size_t worst = 1;
    for (const auto& [bank, set] : rows) worst = std::max(worst, set.size());
    total += static_cast<int64_t>(worst);
  }
  return total;
}

}  // namespace lathe
