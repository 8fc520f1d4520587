#pragma once
// Tensors as files hold them, as the interpreter does, and as a device's memory does.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ir/tile_interp.h"
#include "model/tensor.h"

namespace lathe::tools {

/// `t` as dense elements of `elem`: floats are rounded once, integers must be in range (codes under 8 bits come as
/// bytes). bad_input names `name`: another kind of number, an integer out of range.
Result<tile::HostTensor> from_file(const model::Tensor& t, Type elem, const std::string& name);

/// Dense elements in the narrowest type that a .npy file has for them: bf16 as f32, codes as bytes, u32 as i64.
model::Tensor to_file(const tile::HostTensor& t);

/// A dense tensor in the memory of a device: elements under 8 bits share bytes, low bits first; each row of the last
/// dimension begins on a byte.
std::vector<std::byte> to_bytes(const tile::HostTensor& t);
/// Fills t.raw from such bytes; t has type and shape. `bytes` has the size that to_bytes(t) would have.
void take_bytes(tile::HostTensor& t, std::span<const std::byte> bytes);
/// Bytes of a dense tensor in that form.
int64_t device_bytes(Type elem, const Coord& shape);

}  // namespace lathe::tools
