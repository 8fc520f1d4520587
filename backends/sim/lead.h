#pragma once
// Whether a loop keeps its matrix unit busy while it makes the next operands.
#include <optional>

#include "backends/sim/code.h"

namespace lathe::sim {

/// The fewest multiplies issued between the step that made an operand (A or B) of a multiply and that multiply, in
/// turns of the loop after its first; moves are seen through. Steps issue in order, so at 0 the unit idles while the
/// operand is made, and the steps that make it wait behind the multiply before them. A turn's first multiply is left
/// out: what it reads may have come with the turn. None: no turn of the loop itself multiplies twice.
std::optional<int> operand_lead(const Code& code, uint32_t loop);

}  // namespace lathe::sim
