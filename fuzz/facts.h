#pragma once
// What the generator knows of a value before it runs: enough to keep sums exact and results in range. The comparison
// does not rest on it.
#include "ir/tile.h"

namespace lathe::fuzz {

struct Fact {
  double most = 0;      ///< no element is larger in magnitude
  double grain = 1;     ///< every element is a multiple of this power of two; 0: of none
  bool certain = true;  ///< every device has the same value, not only nearly
};

/// The largest magnitude of an integer type; of a float type infinity.
double largest_whole(Type elem);
/// Anything of the type.
Fact any_value(Type elem);
/// Of the result of a pure operation.
Fact fact_of(tile::Op op, const std::vector<tile::Type>& types, const std::vector<Fact>& args, const tile::Attr& attr,
             const tile::Type& result);
/// Whether floats like this are exact in every order of sums; else whether they are in comfortable range.
bool is_exact(Type elem, const Fact& f);
bool in_range(Type elem, const Fact& f);

}  // namespace lathe::fuzz
