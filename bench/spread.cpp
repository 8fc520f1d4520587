#include "bench/spread.h"

#include <algorithm>
#include <cmath>

namespace lathe::bench {

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return std::lerp(values[below], values[above], place - static_cast<double>(below));
  };
  return {at(0), at(0.25), at(0.5), at(0.75), at(1)};
}

}  // namespace lathe::bench
