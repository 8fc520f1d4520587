#pragma once
// The cost of an access to shared memory.
#include "ir/layout.h"

namespace lathe {

/// Rows of 32 four-byte banks that lanes 0 .. lanes - 1 of layout `l` touch in their first access of `elems` neighbours
/// in `m`, in phases of 128 bytes: the wavefronts it takes. The least is lanes * elems * elem_bytes / 128.
int64_t bank_phases(const Layout& l, const MemoryLayout& m, int64_t elems, int elem_bytes, int lanes);

}  // namespace lathe
