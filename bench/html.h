#pragma once
// A report as one page that needs nothing but itself: plots, cliffs, the table, where and how it was measured.
#include <string>

#include "bench/report.h"

namespace lathe::bench {

/// Well-formed as XML too.
std::string html(const Report& report);

}  // namespace lathe::bench
