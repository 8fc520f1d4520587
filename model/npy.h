#pragma once
// NumPy's .npy files, versions 1 and 2: f16, f32, f64, i8, u8, i32, i64, bool, little-endian, up to 8 dimensions.
#include <string>

#include "model/tensor.h"

namespace lathe::model {

/// Reads a file; one in Fortran order is transposed. A header that is wrong, or does not agree with the size of the
/// file to the byte, is an error that names the file.
Result<Tensor> read_npy(const std::string& path);
/// Writes version 1, C order; the file appears whole or not at all.
Result<Unit> write_npy(const std::string& path, const Tensor& t);

}  // namespace lathe::model
