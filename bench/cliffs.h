#pragma once
// Where a few tokens more, or fewer, cost too much.
#include <string>
#include <vector>

#include "bench/report.h"

namespace lathe::bench {

/// What one device took for one shape and type, m rising.
struct Series {
  std::string by, device, type;
  Shape shape;
  std::vector<const Row*> rows;  ///< those that were measured; of two of one m the later
  std::string name() const;      ///< "lathe cuda:0 u4b8 g128"
};
/// Of all rows, in the order they begin.
std::vector<Series> series_of(const Report& report);

/// t(later) <= limit * t(earlier) does not hold for these.
struct Cliff {
  const Series* series;
  std::string rule;
  int64_t earlier, later;
  double ratio, limit;
};
struct Cliffs {
  int checked = 0;  ///< pairs of m that a rule is about
  std::vector<Cliff> found;
};
/// t(M) <= 1.10 t(M+1);  t(M+1) <= 1.3 t(M) up to 64 and 1.6 t(M) above;  t(2M) <= 2.1 t(M). Our own series only.
Cliffs cliffs_of(const std::vector<Series>& series);

}  // namespace lathe::bench
