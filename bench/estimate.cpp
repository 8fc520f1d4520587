#include "bench/estimate.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "backends/sim/device.h"
#include "bench/report.h"

namespace lathe::bench {
namespace {

double ceil_div(double a, double b) { return std::ceil(a / b); }

int64_t subgroups_of(const Schedule& s) { return int64_t{s.split[0]} * s.split[1] * s.split[2]; }

/// The instruction that the compiler will take: the first that divides the tiles.
const Atom* atom_of(const Schedule& s, const Target& target, Type ab) {
  for (const Atom& a : target.atoms)
    if (a.a == ab && s.tile_n % (s.split[0] * a.m) == 0 && s.tile_m % (s.split[1] * a.n) == 0 &&
        s.tile_k % (s.split[2] * a.k) == 0)
      return &a;
  return nullptr;
}

/// 32-bit registers of a thread: its sums, and what a turn's operands take twice over.
double registers_of(const Schedule& s, const Target& target) {
  const double lanes = static_cast<double>(target.subgroup_size);
  const double sums = static_cast<double>(s.tile_n * s.tile_m) / (s.split[0] * s.split[1] * lanes);
  constexpr double kOther = 48;
  return std::min(sums + kOther, static_cast<double>(target.max_registers));
}

double resident_of(const Schedule& s, const Machine& machine, const Target& target) {
  const double threads = static_cast<double>(subgroups_of(s) * target.subgroup_size);
  const bool staged = target.async_copy && s.stages > 1;
  const double shared = staged ? static_cast<double>(s.stages * s.tile_m * s.tile_k * 2) : 1024;
  const double most = std::min({machine.core_threads / threads, machine.core_shared_bytes / shared,
                                machine.core_registers / (threads * registers_of(s, target))});
  return std::max(1.0, std::floor(most));
}

}  // namespace

Machine machine_of(const runtime::Device& device) {
  const runtime::CudaFacts& facts = device.info().facts.cuda;
  const double read_gb_s = row_of(device.info()).read_gb_s;
  constexpr double kCoreBytesUs = 33e3;  ///< of large GPUs
  Machine m;
  if (read_gb_s > 0) m.read_bytes_us = read_gb_s * 1e3;
  m.cores = facts.sm_count > 0 ? facts.sm_count : read_gb_s > 0 ? std::round(m.read_bytes_us / kCoreBytesUs) : m.cores;
  if (read_gb_s <= 0) m.read_bytes_us = m.cores * kCoreBytesUs;
  if (facts.shared_bytes_per_sm > 0) m.core_shared_bytes = static_cast<double>(facts.shared_bytes_per_sm);
  return m;
}

WorkgroupCounts guess(const Schedule& s, const Target& target, const kernels::WeightFormat& format) {
  const double lanes = static_cast<double>(target.subgroup_size), split_m = s.split[1], split_n = s.split[0];
  const double n = static_cast<double>(s.tile_n), m = static_cast<double>(s.tile_m), k = static_cast<double>(s.tile_k);
  const double per_weight = !format.scaled() ? 0.25 : s.factor_on_accumulator ? 1.5 : 2.5;
  const Atom* atom = atom_of(s, target, format.scaled() ? types::f16 : format.code);
  const double products = atom ? n * m * k / (static_cast<double>(atom->m) * atom->n * atom->k) : n * m * k / lanes;
  const double subgroups = static_cast<double>(subgroups_of(s));
  constexpr double kTurn = 12, kOutside = 150;
  WorkgroupCounts c;
  c.turn = n * k * per_weight / lanes * split_m + products + m * k / (8 * lanes) * split_n + kTurn * subgroups;
  c.outside = kOutside * subgroups + n * m / lanes * 4 * s.split[2];
  c.flight_bytes = s.stages * (n * k * format.code.bits / 8 + m * k * 2);
  return c;
}

Result<WorkgroupCounts> simulate(const Schedule& schedule, const Target& target, const Format& format) {
  constexpr int64_t kTurns = 4;
  Schedule s = schedule;
  s.k_groups = 1;
  const auto device = sim::simulate(target, {.timeout_s = 20, .cache = nullptr});
  const Problem problem(format, {s.tile_k * kTurns, s.tile_n}, s.tile_m);
  TRY_ASSIGN(const auto matmul, Matmul::create(*device, target, format.weights, format.activation, false));
  TRY(matmul->store(problem.weights()));
  TRY_ASSIGN(const auto x, lift(device->alloc(problem.x().size_bytes())));
  TRY_ASSIGN(const auto y, lift(device->alloc(static_cast<uint64_t>(s.tile_n * s.tile_m) * sizeof(float))));
  TRY(lift(device->upload(*x, 0, std::as_bytes(problem.x()))));
  TRY_ASSIGN(const auto launch, matmul->launch(s, s.tile_m, x->address(), y->address()));
  device->clear_counters();
  TRY(lift(device->run({&launch, 1})));
  const sim::KernelCount count = device->counters().at(0);
  const auto issued = [](const sim::LoopCount& l) {
    double sum = 0;
    for (const uint64_t c : l.by_class) sum += static_cast<double>(c);
    return sum;
  };
  double main = 0;
  for (size_t i = 1; i < count.loops.size(); i++) main = std::max(main, issued(count.loops[i]));
  const auto flight = static_cast<double>(count.flight.copies + count.flight.loads);
  return WorkgroupCounts{main / kTurns, issued(count.total()) - main, flight};
}

double estimate_us(const Schedule& s, const WorkgroupCounts& counts, const Machine& machine, const Target& target,
                   const kernels::WeightFormat& format, Shape shape, int64_t m) {
  const auto n = static_cast<double>(shape.n), k = static_cast<double>(shape.k), tokens = static_cast<double>(m);
  const double tiles_n = ceil_div(n, static_cast<double>(s.tile_n));
  const double tiles_m = ceil_div(tokens, static_cast<double>(s.tile_m));
  const double workgroups = tiles_n * tiles_m * s.k_groups;
  const double turns = ceil_div(k, static_cast<double>(s.tile_k * s.k_groups));
  const double resident = std::min(resident_of(s, machine, target), ceil_div(workgroups, machine.cores));
  const double rounds = ceil_div(workgroups, machine.cores * resident);

  const double issue = rounds * resident * (turns * counts.turn + counts.outside) / machine.issued_us;
  const Atom* atom = atom_of(s, target, format.scaled() ? types::f16 : format.code);
  const double rate = atom && atom->b_in_shared ? machine.shared_products_us : machine.products_us;
  const double products = rounds * resident * turns * static_cast<double>(s.tile_n * s.tile_m * s.tile_k) / rate;

  // Tokens are read again by every column of tiles, from the cache.
  constexpr double kCacheGain = 3;
  const double weights = n * k * format.code.bits / 8 *
                         (format.scaled() && format.group ? 1 + 16.0 / (format.group * format.code.bits) : 1);
  const double bytes = weights * (1 + (tiles_m - 1) / kCacheGain) + tiles_n * tokens * k * 2 / kCacheGain;
  const double busy = std::min(machine.cores, workgroups);
  const double in_flight = busy * resident * counts.flight_bytes;
  const double wanted = machine.read_bytes_us * machine.latency_us;
  const double memory = bytes / (machine.read_bytes_us * std::min(1.0, in_flight / wanted));

  const double chain = rounds * (turns / std::max(1, s.stages - (s.stages > 1)) + 2) * machine.latency_us / 2;
  const double sharing = s.k_groups == 1 ? 0
                                         : 2 * machine.latency_us + tiles_n * tiles_m * s.k_groups * 8 *
                                                                        static_cast<double>(s.tile_n * s.tile_m) /
                                                                        machine.read_bytes_us;
  // What could overlap does not quite: a tenth of the lesser parts comes on top.
  const double parts[] = {issue, products, memory, chain};
  double most = 0, sum = 0;
  for (const double p : parts) most = std::max(most, p), sum += p;
  return machine.launch_us + sharing + most + (sum - most) / 10;
}

}  // namespace lathe::bench
