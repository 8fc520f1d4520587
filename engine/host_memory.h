#pragma once
// Tensors of the host in the memory of a device.
#include <cstddef>
#include <span>
#include <vector>

#include "ir/tile_interp.h"

namespace lathe {

/// A dense tensor in the memory of a device: elements under 8 bits share bytes, low bits first; each row of the last
/// dimension begins on a byte.
std::vector<std::byte> to_bytes(const tile::HostTensor& t);
/// Fills t.raw from such bytes; t has type and shape. `bytes` has the size that to_bytes(t) would have.
void take_bytes(tile::HostTensor& t, std::span<const std::byte> bytes);
/// Bytes of a dense tensor in that form.
int64_t device_bytes(Type elem, const Coord& shape);

}  // namespace lathe
