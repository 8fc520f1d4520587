#pragma once
// Tile IR with layouts -> Thread IR.
#include <map>

#include "ir/pass/packed.h"
#include "ir/pass/passes.h"
#include "ir/thread.h"

namespace lathe {

struct LowerOptions {
  /// Every view's address is 16-byte aligned and its rows are whole 16-byte pieces: the last size and the strides are
  /// multiples of 16 bytes. Without it rows are accessed element by element.
  bool aligned = false;
};

/// A tile in shared memory, for those who look at a kernel: where its elements are, who writes and who reads them.
struct SharedTile {
  std::string name;
  Loc loc;
  lathe::Type elem;
  MemoryLayout memory;
  /// none: by elements that nobody planned (`shared` of the program), or by the matrix instruction
  std::optional<Layout> written, read;
  int64_t write_elems = 1, read_elems = 1;  ///< of one access
};

struct Lowered {
  thread::Func func;
  std::map<std::string, PackedLayout> packed;  ///< by parameter name
  bool logs = false;                           ///< its last launch argument is the address of a log: see ir/log.h
  std::vector<SharedTile> shared_tiles;
};

/// needs: infer_layouts. Errors: a packed parameter whose loads ask for different units; shared memory over the
/// target's; an operation on a type the target lacks.
Result<Lowered> lower(const tile::Func& f, const Target& target, const LowerOptions& options);

}  // namespace lathe
