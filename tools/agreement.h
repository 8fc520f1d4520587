#pragma once
// Whether a result agrees with the oracle's.
#include <string>

#include "ir/tile_interp.h"

namespace lathe::tools {

struct Agreement {
  double max_abs_err = 0, max_rel_err = 0;  ///< largest difference; the same over the oracle's largest value
  double allowed = 0;                       ///< largest difference allowed
  bool holds = true;
  std::string worst;  ///< the element that is worst off, when it does not hold
};

/// Equal bits for integers and bool. Floats may differ by this part of the oracle's largest finite value: f32 1e-5, f16
/// 1e-3, bf16 8e-3; 4e-3 at least where `through_mma`, whose operands are rounded to 11 bits. What is not finite in the
/// oracle must be the same infinity, or NaN.
Agreement compare(const tile::HostTensor& got, const tile::HostTensor& oracle, bool through_mma);

/// Whether the program multiplies matrices.
bool has_mma(const tile::Func& f);

}  // namespace lathe::tools
