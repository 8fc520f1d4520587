#pragma once
// What every pure operation of the Tile IR computes, on raw bits. Part of the tile interpreter.
#include <cstdint>
#include <vector>

#include "ir/tile.h"

namespace lathe::tile {

/// Raw bits an element, row-major; a scalar is one element. The bits above the element's width are 0, or a witness's
/// notes.
using Raw = std::vector<uint64_t>;
struct Operand {
  const Type& type;
  const Raw& raw;
};

int64_t element_count(const Coord& shape);
/// Strides in elements of a dense row-major array.
Coord dense_strides(const Coord& shape);
/// Sum of coordinate * stride of every element of `shape`, in row-major order.
std::vector<int64_t> offsets(const Coord& shape, const Coord& strides);

/// Value of an operation that is pure and has operands and attributes only (no group_id, no shared).
/// needs: a kernel that verifies.
Result<Raw> evaluate(Op op, const Attr& attr, const std::vector<Operand>& args, const Type& result);

}  // namespace lathe::tile
