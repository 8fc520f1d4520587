#pragma once
// Layouts drawn: an SVG picture a tile.
#include "explain/explain.h"

namespace lathe::explain {

struct Drawing {
  std::string file;  ///< "q.svg", "shared_x.svg": unique, without a folder
  std::string svg;
};

/// Of every tile in registers which thread holds each element in which slot; of every tile in shared memory the bank of
/// each element, and which lanes read it at once. Large tiles are cut to their first rows and columns, which says so.
std::vector<Drawing> drawings(const Explanation& e, int subgroup_size);

}  // namespace lathe::explain
