#pragma once
// The table of printed forms (rows.def) and the search in it.
#include <cstdint>

#include "backends/ptx/features.h"
#include "backends/ptx/registers.h"
#include "ir/thread.h"

namespace lathe::ptx {

/// A set of parts, one bit each.
using Parts = uint32_t;
constexpr Parts bit(Part part) { return Parts{1} << static_cast<int>(part); }

struct Row {
  thread::Op op;
  Parts from;  ///< of the leading operand (select: the picked ones; no operands: the result)
  Parts to;    ///< conversions: of the result; 0: no conversion, as many lanes a part as `from`
  Features has, lacks;
  const char* text;
};

/// What a row is chosen by.
struct RowKey {
  thread::Op op;
  Part from, to;
};
/// The row for the key, or null. At most one matches (a test counts them).
const Row* find_row(const RowKey& key, Features features);
int matching_rows(const RowKey& key, Features features);

}  // namespace lathe::ptx
