#pragma once
// The --target option: a PTX target or a profile by name, or the profile of a device in a file.
#include <string>

#include "ir/result.h"
#include "ir/target.h"

namespace lathe::tools {

/// What the option takes, for --help.
std::string target_help();

/// bad_input: no such name and no such file, a file that is no profile, a profile of several devices without #ID.
Result<Target> read_target(const std::string& text);

}  // namespace lathe::tools
