#pragma once
// One instruction as print(f) shows it, for messages.
#include <string>

#include "ir/thread.h"

namespace lathe::thread {

/// The line of `inst`, without its nested blocks. Every id in `f` must be in range, and no block nested in itself.
std::string print_instruction(const Func& f, InstId inst);

}  // namespace lathe::thread
