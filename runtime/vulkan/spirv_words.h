#pragma once
// The outer structure of SPIR-V bytes, checked before a driver sees them: drivers crash on what is not SPIR-V.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace lathe::runtime::vulkan {

/// The words of `code`, if it is a header and whole instructions among which a compute entry point named `entry` is.
Result<std::vector<uint32_t>> spirv_words(std::span<const std::byte> code, std::string_view entry);

}  // namespace lathe::runtime::vulkan
