#pragma once
// A report for people, on a terminal: lines of a table as they come, and what is said at the end.
#include <string>

#include "bench/cliffs.h"
#include "bench/report.h"

namespace lathe::bench {

std::string table_head();
/// One line, or for a row without a time the reason.
std::string table_line(const Row& row, const Report& of);
/// The cliffs, if any pair of m could be checked.
std::string table_end(const Report& report);

}  // namespace lathe::bench
