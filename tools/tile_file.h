#pragma once
// A tile program from a file.
#include <string>

#include "ir/tile.h"

namespace lathe::tools {

/// Reads and parses; an error names the file, and the line where there is one.
Result<tile::Func> read_tile_file(const std::string& path);

}  // namespace lathe::tools
