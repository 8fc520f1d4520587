#pragma once
// The first fault of a kernel with its place, for verify() and for the parser, which knows the file.
#include <optional>
#include <string>

#include "ir/tile.h"

namespace lathe::tile {

struct Fault {
  Loc loc;
  std::string text;
};
std::optional<Fault> find_fault(const Func& f);

}  // namespace lathe::tile
