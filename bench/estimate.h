#pragma once
// What a schedule's launch should take, from counts of one workgroup and a few figures of the machine: good enough to
// leave most candidates out before any is measured.
#include "bench/problem.h"
#include "ir/target.h"

namespace lathe::bench {

/// Figures of a device, some of them guessed: their proportions matter, not their size.
struct Machine {
  double cores = 64;                ///< that share nothing but memory and its cache
  double read_bytes_us = 1e6;       ///< of all cores together
  double issued_us = 6000;          ///< instructions of subgroups, of one core
  double products_us = 1.7e6;       ///< multiply-adds of one core's matrix unit, operands in registers
  double shared_products_us = 3e6;  ///< the same, one operand in shared memory
  double latency_us = 0.7;          ///< of a read that no cache holds
  double launch_us = 2;             ///< from the end of one launch to the first load of the next
  double core_threads = 2048, core_registers = 65536, core_shared_bytes = 160e3;
};
Machine machine_of(const runtime::Device& device);

/// Of one workgroup, k not shared among workgroups.
struct WorkgroupCounts {
  double turn = 0;          ///< instructions issued in one turn of the main loop, all subgroups
  double outside = 0;       ///< issued before and after it
  double flight_bytes = 0;  ///< on their way at once
};
/// By rules of thumb.
WorkgroupCounts guess(const Schedule& s, const Target& target, const kernels::WeightFormat& format);
/// By running one workgroup on the simulator. An error: the schedule cannot be compiled, or reads another order.
Result<WorkgroupCounts> simulate(const Schedule& s, const Target& target, const Format& format);

/// Microseconds of one launch.
double estimate_us(const Schedule& s, const WorkgroupCounts& counts, const Machine& machine, const Target& target,
                   const kernels::WeightFormat& format, Shape shape, int64_t m);

}  // namespace lathe::bench
