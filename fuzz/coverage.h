#pragma once
// What a number of programs has in it: features and pairs of operation and element type that survive dead code removal.
#include <set>

#include "fuzz/knowledge.h"
#include "fuzz/program.h"
#include "ir/target.h"

namespace lathe::fuzz {

struct Features {
  bool mma = false, pipelined = false, conversion = false, partial = false, masked = false;
};
/// Of a program as compiled for the target (false for conversions when it refuses it); runs the interpreter.
Features features_of(const Program& p, const Target& target);

/// Operations of the program, without what nobody uses.
std::vector<Pair> pairs_of(const Program& p);
std::set<tile::Op> operations_of(const Program& p);

}  // namespace lathe::fuzz
