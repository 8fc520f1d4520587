#pragma once
// The figures of the targets that have some: backends/speeds.def.
#include <string_view>

#include "ir/target.h"

namespace lathe {

/// By name of a target or profile; all 0 where nothing is known.
Speed speed_of(std::string_view target);
/// By the name that a device's driver gives it.
Speed speed_of_device(std::string_view name);

}  // namespace lathe
