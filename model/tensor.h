#pragma once
// A dense row-major tensor on the host, as files hold it.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/result.h"
#include "ir/types.h"

namespace lathe::model {

/// Files may hold it; no kernel does.
inline constexpr Type kF64{Kind::flt, 64, 11, 52};
/// No file read here has more dimensions.
inline constexpr size_t kMaxRank = 8;

struct Tensor {
  Type type;
  std::vector<int64_t> shape;   ///< none of them negative; empty: a scalar
  std::vector<std::byte> data;  ///< little-endian, element_bytes(type) an element
};

/// A byte, or 2, 4, 8: bool and everything of up to 8 bits takes one.
constexpr int64_t element_bytes(Type t) { return (t.bits + 7) / 8; }
/// Elements of a shape; none when an extent is negative or the bytes would not fit an int64_t.
std::optional<int64_t> element_count(std::span<const int64_t> shape, Type t);
/// "[512, 1536]"
std::string to_string(std::span<const int64_t> shape);
/// "f64", or the type's own name.
std::string type_name(Type t);

/// The tensor with elements of another type: from any type a file holds to f16, f32 or itself, each value rounded once,
/// to nearest even (beyond f16's range to infinity).
Result<Tensor> convert(const Tensor& t, Type to);
/// The values of an f32 tensor (convert first).   needs: t.type is f32
std::vector<float> f32_values(const Tensor& t);

}  // namespace lathe::model
