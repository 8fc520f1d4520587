#pragma once
// What a command compiles: a tile program from a file, or a kernel of ours by name.
#include "tools/named_kernels.h"

namespace lathe::tools {

/// What the argument may be, for --help.
std::string source_help();
/// What --set may say of any of them, for --help.
inline constexpr const char* kSettingsHelp =
    "NAME=NUMBER: a setting of the kernel (a wrong name lists them), aligned=0 for rows that do not begin on 16 bytes, "
    "acc=1 for scales on the accumulator";

/// Takes its settings, and sets what they say of `options`. bad_input: neither a file nor a kernel.
Result<tile::Func> read_source(const std::string& source, const Target& target, Settings& settings,
                               CompileOptions& options);

}  // namespace lathe::tools
