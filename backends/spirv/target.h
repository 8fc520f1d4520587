#pragma once
// A target as JSON: the profile of a device, kept or sent where the device is not at hand. Works for every backend's
// targets.
#include <string>
#include <string_view>

#include "ir/result.h"
#include "ir/target.h"

namespace lathe {

/// Every field of Target; atoms with element types and layouts as text.
std::string to_json(const Target& target);

/// The inverse. Trusts nothing: every field must be there and in its range, every layout valid, of its atom's shape and
/// of one subgroup; anything else is bad_input that names the field.
Result<Target> spirv_target_from_json(std::string_view text);

}  // namespace lathe
