#pragma once
// The atom of a target without a fitting matrix instruction: each lane multiplies and adds one element a step.
#include "ir/target.h"

namespace lathe {

/// m = lanes_m, n = lanes_n, k = 1 of a subgroup of lanes_m * lanes_n lanes: lanes along n hold copies of a, lanes
/// along m copies of b. Element types a, b = ab and c = f32.
Atom fma_atom(int lanes_m, int lanes_n, Type ab);

/// Appends the multiply-add atoms of a target, for every float type: all lanes along m first (a lane then owns whole
/// rows of a, and the stored order of weights), then ever squarer ones for tiles that those do not divide.
void append_fma_atoms(Target& target);

}  // namespace lathe
