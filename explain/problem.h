#pragma once
// The sizes a kernel is looked at with, and the work of a launch of them: what any device has to do.
#include <array>
#include <map>
#include <optional>
#include <string>

#include "ir/compile.h"
#include "ir/tile.h"

namespace lathe::explain {

/// By symbol; symbols of workspaces are not among them.
using Sizes = std::map<std::string, int64_t>;

/// All sizes of the program: those of `given`; for one that the grid or a loop is cut from, 4096 rounded up to whole
/// tiles; the smallest that holds every tile loaded or stored for the others.
Sizes sizes_of_problem(const tile::Func& f, const Sizes& given);
/// The part of a problem that is enough to count: one tile of each axis of the grid, `turns` of each loop.
Sizes sizes_of_sample(const tile::Func& f, const Sizes& problem, int64_t turns);

/// Values of the symbols in the program's order, 0 for those of workspaces.
std::vector<int64_t> symbol_values(const tile::Func& f, const Sizes& sizes);
/// Whether the rows of every view are whole pieces of 16 bytes.
bool rows_aligned(const tile::Func& f, const Sizes& sizes);

struct Work {
  std::array<int64_t, 3> grid{1, 1, 1};
  double bytes = 0;             ///< of the views, each read or written once
  std::optional<double> flops;  ///< of its mma, on whole tiles; none where a loop's length is not known before
  std::map<int, double> turns;  ///< of the loop on a line, for one workgroup; of those whose length is known before
  int64_t workgroups() const { return grid[0] * grid[1] * grid[2]; }
};
Result<Work> work_of(const tile::Func& f, const Sizes& sizes, const std::map<std::string, PackedLayout>& packed);

}  // namespace lathe::explain
