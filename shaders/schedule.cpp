#include "shaders/schedule.h"

#include <fmt/format.h>

namespace lathe {

std::string to_string(const Schedule& s) {
  const std::string groups = s.k_groups == 1 ? "" : fmt::format(" groups{}", s.k_groups);
  return fmt::format("n{} m{} k{} s{}x{}x{} stages{}{}{}", s.tile_n, s.tile_m, s.tile_k, s.split[0], s.split[1],
                     s.split[2], s.stages, s.factor_on_accumulator ? " acc" : "", groups);
}

}  // namespace lathe
