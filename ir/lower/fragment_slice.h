#pragma once
// Shared memory of one subgroup through which fragments of an opaque matrix instruction come and go.
#include "ir/target.h"
#include "ir/thread.h"

namespace lathe {

/// Fragments stand side by side along their lines (rows of a; columns of b and c, along which nominal layouts run), and
/// below that in blocks of lines. Lines start on 16 bytes, as the API asks of matrix loads, and 8 of them one below the
/// other meet all banks.
struct FragmentSlice {
  /// Of as many fragments as `room` bytes hold, at most `count` and at least one.
  FragmentSlice(const Atom& atom, thread::Use use, int64_t room, int64_t count);

  Layout layout;        ///< nominal, lines first
  MemoryLayout memory;  ///< of one fragment, in elements
  bool column_major = false;
  int64_t elem_bytes = 0, pitch = 0;  ///< of a line, in elements
  int64_t beside = 1, holds = 1;      ///< fragments in a block of lines, in the slice
  int64_t access_elems = 1;           ///< neighbours that a lane moves at once
  int64_t bytes() const { return start(holds - 1 - (holds - 1) % beside) + layout.shape()[0] * pitch * elem_bytes; }
  /// Byte at which fragment j < holds starts.
  int64_t start(int64_t j) const {
    return (j / beside * layout.shape()[0] * pitch + j % beside * layout.shape()[1]) * elem_bytes;
  }
};

}  // namespace lathe
