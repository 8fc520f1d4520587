#pragma once
// The stored order of a packed parameter, an output of compilation: units of un x uk elements, k fastest; within a unit
// pieces of at most 16 bytes, [piece][lane][bytes]; within a piece the slots of the lane in word order.
#include "ir/layout.h"
#include "ir/result.h"
#include "ir/types.h"

namespace lathe {

struct PackedLayout {
  Type elem;
  Layout unit;  ///< un x uk, threads = one subgroup (copies included)
  bool operator==(const PackedLayout&) const = default;

  int64_t unit_n() const { return unit.shape()[0]; }
  int64_t unit_k() const { return unit.shape()[1]; }
  int64_t lanes() const;        ///< distinct lanes: pieces stored
  int64_t lane_bits() const;    ///< bits a lane holds, padded to a whole byte
  int64_t piece_bytes() const;  ///< one access: at most 16
  int64_t pieces() const { return lane_bits() / 8 / piece_bytes(); }
  int64_t unit_bytes() const { return lanes() * lane_bits() / 8; }
  int64_t bytes(int64_t n, int64_t k) const;  ///< of a whole tensor of n x k, padded to units
  /// Bit of a slot in the lane's words. Codes under 16 bits: neighbours (2j, 2j + 1) stand 16 bits apart, so that both
  /// halves of a word convert at once.
  int64_t bit(int64_t slot) const { return paired_bit(elem.bits, slot); }
  static int64_t paired_bit(int elem_bits, int64_t slot);
};

/// The unit a tile of layout `l` asks for: the smallest box closed under the lanes of one subgroup; codes under 16 bits
/// are extended, a lane's nearest slots first, to whole 16-byte pieces. An error when the tile is too small for that.
Result<PackedLayout> derive_packed(const Layout& l, Type elem, int64_t subgroup_size);

/// Short name of the stored order; equal ids mean equal bytes.
std::string pack_id(const PackedLayout& p);

}  // namespace lathe
