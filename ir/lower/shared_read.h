#pragma once
// How the threads of a workgroup read a tile from shared memory.
#include "ir/layout.h"
#include "ir/target.h"

namespace lathe {

/// One memory access of a thread: slots in memory order, and the coordinates of the first.
struct Access {
  std::vector<int64_t> slots;
  Coord first;
};
/// The slots of a thread, cut into accesses of at most `max_elems` neighbours in memory.
std::vector<Access> plan_accesses(const Layout& l, const MemoryLayout& m, int64_t max_elems);

/// Loads of each thread's own elements, or matrix loads, for which a thread says where elements of others are.
struct SharedRead {
  Layout place;                      ///< the thread part of an address, and `first` of an access, are of this layout
  std::vector<Access> accesses;      ///< slots are the tile's own, in the order that they arrive
  const MatrixLoad* load = nullptr;  ///< null: loads of one's own
  int64_t phases = 0;                ///< of shared memory, all accesses together
};
/// Neighbours in memory that one access brings to a thread.
int64_t own_elems(const SharedRead& r);
/// Those whose place a lane gives at once: its own, or a row of a matrix load.
int64_t asked_elems(const SharedRead& r);
/// The cheaper way for a tile of layout `l` that lies in memory as `m`, elements of `elem_bits`; own loads bring at
/// most `max_elems`.
SharedRead plan_shared_read(const Target& t, const Layout& l, const MemoryLayout& m, int elem_bits, int64_t max_elems);

}  // namespace lathe
