#pragma once
// The whole compiler on one screen: tile program in, thread program out. The same for every target.
#include "ir/lower/lower.h"

namespace lathe {

struct CompileOptions {
  tile::Factor factor = tile::Factor::operand;
  LowerOptions lower;
};

struct Compiled {
  tile::Func laid_out;  ///< after layout inference, as printed by --emit tile --after layouts
  thread::Func func;
  std::map<std::string, PackedLayout> packed;
  bool logs = false;  ///< see Lowered
  std::vector<SharedTile> shared_tiles;
};

/// The target-independent half: linearity, pipelines. Equal text for every target at the same schedule.
Result<tile::Func> prepare(tile::Func f, const CompileOptions& options);

/// The target's half of the tile passes, of a prepared kernel: how tokens travel, layouts.
Result<tile::Func> lay_out(const tile::Func& f, const Target& target, const CompileOptions& options);

Result<Compiled> compile(tile::Func f, const Target& target, const CompileOptions& options);

}  // namespace lathe
