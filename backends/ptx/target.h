#pragma once
// The PTX targets Lathe knows, by name; no device is needed.
#include <string_view>
#include <vector>

#include "ir/result.h"
#include "ir/target.h"

namespace lathe {

/// "sm_75", ...; an unknown name is bad_input that lists the names.
Result<Target> ptx_target(std::string_view name);
std::vector<std::string_view> ptx_target_names();

}  // namespace lathe
