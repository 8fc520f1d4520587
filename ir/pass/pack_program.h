#pragma once
// The packer: tile programs made from a packed layout. There is no other.
#include "ir/pass/packed.h"
#include "ir/tile.h"

namespace lathe {

/// Words of 32 bits a unit takes in the packed view.
int64_t unit_words(const PackedLayout& p);

/// pack(plain: T[N, K], stored: u32[NU, KU, unit_words]): NU x KU units. Codes past an edge are 0. Grid (KU, NU).
/// plain holds codes as u8 or i8, or the element type itself.
Result<tile::Func> pack_program(const PackedLayout& p, Type plain);
/// unpack(stored: u32[NU, KU, W], plain: T[N, K]): the inverse.
Result<tile::Func> unpack_program(const PackedLayout& p, Type plain);

}  // namespace lathe
