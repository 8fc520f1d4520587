#pragma once
// Makes a failing program small.
#include <functional>

#include "fuzz/program.h"

namespace lathe::fuzz {

/// The smallest program found for which `fails` still holds: stores, operations, loops and branches taken away, carried
/// values dropped, tiles, views, the grid and the workgroup made smaller, data made plainer. At most `most_tries`
/// calls.
Program shrink(Program p, const std::function<bool(const Program&)>& fails, int most_tries = 2000);

}  // namespace lathe::fuzz
