#pragma once
// Where the shared arrays of a lowered kernel lie: arrays that are not in use at once share bytes.
#include <span>

#include "ir/target.h"
#include "ir/thread.h"

namespace lathe {

/// Assigns shared memory by liveness. Arrays that share bytes become one array, in which their accesses get offsets; a
/// barrier is put before the first access of an array that takes over bytes, where none lies there yet. Inside loops
/// only arrays that barriers separate already share, unless the kernel needs it to fit.
///   homes: by array, the block at whose start what the array holds is undefined; barriers may stand in it.
///   needs: barriers order the accesses of each array.   unsupported: over t.shared_bytes.
Result<Unit> assign_storage(thread::Func& f, std::span<const BlockId> homes, const Target& t);

}  // namespace lathe
