#pragma once
// Tensors as files hold them, and as the interpreter does.
#include <string>

#include "ir/tile_interp.h"
#include "model/tensor.h"

namespace lathe::tools {

/// `t` as dense elements of `elem`: floats are rounded once, integers must be in range (codes under 8 bits come as
/// bytes). bad_input names `name`: another kind of number, an integer out of range.
Result<tile::HostTensor> from_file(const model::Tensor& t, Type elem, const std::string& name);

/// Dense elements in the narrowest type that a .npy file has for them: bf16 as f32, codes as bytes, u32 as i64.
model::Tensor to_file(const tile::HostTensor& t);

}  // namespace lathe::tools
