#pragma once
// Cooperative-matrix devices that do not exist: random lane maps, by a seed, to show that maps are found by probing.
#include <cstdint>

#include "backends/sim/models.h"

namespace lathe::sim {

/// The same device for the same seed. It lists one or two matrix configurations of f16 into f32; subgroups have 8, 16,
/// 32 or 64 lanes; every fourth seed's maps are outside the layout algebra.
Model random_model(std::string_view name, uint64_t seed);

/// A random table[lane][slot] = row * cols + column: digits of row and column dealt to lanes and slots in any order,
/// every element held `copies` times. `scrambled`: a permutation on top that no digits express.
std::vector<std::vector<uint32_t>> random_lane_map(uint64_t seed, int lanes, int rows, int cols, int copies,
                                                   bool scrambled);

}  // namespace lathe::sim
