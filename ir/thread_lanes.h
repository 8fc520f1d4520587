#pragma once
// The host meaning of the operations that work lane by lane, over rows of lanes: the one definition behind `evaluate`,
// folding and the simulator.
#include "ir/thread.h"

namespace lathe::thread {

/// out[l] = operation of x[0][l], x[1][l], .. for l < n <= 64, on raw bits whose unused high bits are 0 (so are the
/// results'). Bit l of what it returns is set where the operation has no value: division by 0, a shift by the width.
using LaneRow = uint64_t (*)(const uint64_t* const* x, uint64_t* out, int n);

/// `from`: scalar type of operand 0; `to`: of the result. Null: the operation moves lanes, or is not of these types.
LaneRow lane_row(Op op, Scalar from, Scalar to);

/// bitcast: rows of from_bits at `x` become `to_lanes` rows of to_bits at `out`, the first in the low bits.
void regroup_rows(const uint64_t* const* x, int from_bits, uint64_t* const* out, int to_lanes, int to_bits, int n);

/// Values of a row of floats, and the nearest (even) floats of values: decode and encode of their element type.
void decode_row(Scalar s, const uint64_t* raw, double* out, int n);
void encode_row(Scalar s, const double* values, uint64_t* out, int n);

}  // namespace lathe::thread
