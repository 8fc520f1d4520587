#pragma once
// Matrix instructions whose lane map nobody knows.
#include "ir/target.h"

namespace lathe {

/// Makes the atom opaque: its layouts become nominal ones, of `subgroup_size` lanes, in which a lane's elements are
/// held in registers on the way to and from a fragment. A lane holds up to 16 bytes that are neighbours: of a and b
/// along k, of c along m; then lanes take the other dimension first. Copies only where the matrix has too few elements.
void make_opaque(Atom& atom, int subgroup_size);

/// All matrix instructions of the target but those whose map is published; the others stay.
Target with_opaque_atoms(Target target);

}  // namespace lathe
