#pragma once
// Random well-formed tile programs, driven by the rows of ir/tile.def.
#include "fuzz/program.h"
#include "ir/target.h"

namespace lathe::fuzz {

/// Program number `index` of a seed: the same for the same target and table. It holds the pair of operation and element
/// type admitted_pairs()[index % count] among others, matrix products as the target's atoms have them, views of awkward
/// sizes, loops, branches, shared tiles and pins. internal: the program built is not well-formed.
Result<Program> generate(uint64_t seed, uint64_t index, const Target& target);

}  // namespace lathe::fuzz
