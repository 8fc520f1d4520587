#pragma once
// Which matrix instruction an mma becomes, and the register layouts of its operands.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "ir/layout.h"
#include "ir/result.h"
#include "ir/target.h"

namespace lathe {

struct MmaShape {
  int64_t m = 0, n = 0, k = 0;
  Type ab, c;
};

/// Why an atom is not the one that a product runs on.
enum class Refusal : uint8_t { types, b_in_registers, alone, panels, m, n, k, preferred };
struct RefusedAtom {
  const Atom* atom = nullptr;
  Refusal why = Refusal::types;
  int64_t extent = 0;    ///< panels, m, n, k: of the tile
  int64_t multiple = 0;  ///< that the extent would have to be one of
};
/// "m 32 is no multiple of 64 (4 subgroups of 16)".
std::string to_string(const RefusedAtom& r);

/// Slot numbers are fixed by construction: with walk_x atoms a subgroup along each dimension,
///   a: (im * walk_k + ik) * la + i      b: (ik * walk_n + in) * lb + i      c: (im * walk_n + in) * lc + i
/// K is renumbered (alike in a and b) so that a lane's elements of b are neighbours in k: first the slots of one atom,
/// then of as many steps as fill 16 bytes, then the lanes, then the other steps, then the subgroups. It keeps its order
/// where the target has an instruction that reads b from shared memory.
struct MmaPlan {
  const Atom* atom = nullptr;
  int64_t walk_m = 1, walk_n = 1, walk_k = 1;
  Layout a, b, c;                    ///< c is partial when the subgroups divide k
  std::vector<RefusedAtom> refused;  ///< the target's other atoms

  /// Of an mma_scaled with `columns` factors a row over `parts` subgroups along k: runs of steps between two foldings.
  int64_t runs(int64_t columns, int64_t parts) const { return std::max<int64_t>(1, columns / parts); }
};

/// The layout tiles of operand a have for one atom: the instruction's, with the slots in the order that unpacks best.
/// Rows stand right above a pair of 16-bit elements, so that codes at one place of a word's halves have one row.
Layout operand_a(const Atom& atom);

/// The first atom of the target that has the element types and divides the tile as `split` (subgroups along m, n, k)
/// leaves it; an error names what was looked for. b_in_room: b waits in shared memory, and nobody else reads it.
Result<MmaPlan> plan_mma(const MmaShape& shape, const std::array<int, 3>& split, const Target& target,
                         bool b_in_room = false);

}  // namespace lathe
