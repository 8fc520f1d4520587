#pragma once
// The Vulkan devices Lathe compiles for without having them, by name.
#include <string_view>
#include <vector>

#include "ir/result.h"
#include "ir/target.h"

namespace lathe {

/// "rdna3", ...: atoms are MapSource::assumed, then the multiply-adds every target has. An unknown name is bad_input
/// that lists the names.
Result<Target> spirv_profile(std::string_view name);
std::vector<std::string_view> spirv_profile_names();

}  // namespace lathe
