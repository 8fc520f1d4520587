#pragma once
// The --target option: a PTX target by name, or the profile of a device.
#include <string>

#include "ir/result.h"
#include "ir/target.h"

namespace lathe::tools {

inline constexpr const char* kTargetHelp =
    "sm_75, sm_80, sm_86, sm_89, sm_90a, or a profile: a file with what `lathe devices --json` prints (FILE#ID picks "
    "one "
    "of several devices)";

/// bad_input: no such name and no such file, a file that is no profile, a profile of several devices without #ID.
Result<Target> read_target(const std::string& text);

}  // namespace lathe::tools
