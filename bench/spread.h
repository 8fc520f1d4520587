#pragma once
// Several measurements of one thing, by their order.
#include <vector>

namespace lathe::bench {

struct Spread {
  double min = 0, q1 = 0, median = 0, q3 = 0, max = 0;
};

/// Quartiles between two values are on the line between them. At least one value.
Spread spread_of(std::vector<double> values);

}  // namespace lathe::bench
