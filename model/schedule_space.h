#pragma once
// Every schedule that might be worth a try, for a tuner.
#include "model/matmul.h"

namespace lathe {

/// Of the columns of schedules.def: what a matrix instruction of the target (its multiply-adds, where it has none)
/// divides, that is no larger than m tokens ask for, and that fills registers and shared memory no further than there
/// are. Some are refused by the compiler still, or read the weights in another order.
std::vector<Schedule> schedule_space(const Target& target, const kernels::WeightFormat& format, Type activation,
                                     int64_t m, int64_t n, int64_t k);

}  // namespace lathe
