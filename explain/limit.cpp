// What limits a kernel: of all that a core does for its share of the problem, in cycles, whatever takes longest; before
// that, whatever is done in vain and takes a tenth as long.
#include <fmt/format.h>

#include <algorithm>

#include "explain/explain.h"

namespace lathe::explain {
namespace {

// A core as all targets have it, roughly.
constexpr double kIssues = 4;           ///< instructions of subgroups a cycle
constexpr double kWavefronts = 1;       ///< a cycle
constexpr double kSectors = 2;          ///< a cycle, from the caches
constexpr double kMatrixFlops = 2048;   ///< a cycle, where the target does not tell
constexpr double kBarrierCycles = 40;   ///< until all have come and gone on
constexpr double kWorth = 0.1;          ///< of the longest
constexpr int64_t kCoreThreads = 2048;  ///< at once

struct Cost {
  Cause cause;
  double cycles;
};
/// What is done in vain.
struct Waste {
  double cycles = 0;
  Limit limit;
};

class Model {
 public:
  Model(const Explanation& e, const tile::Func& program) : e_(e), program_(program) {
    const auto groups = static_cast<double>(e.work.workgroups());
    busy_ = std::min(groups, e.speed().cores ? static_cast<double>(e.speed().cores) : groups);
    const double grids = groups / static_cast<double>(e.sample_work.workgroups());
    for (const sim::LoopCount& l : e.count.loops) {
      const auto large = e.work.turns.find(l.loc.line), small = e.sample_work.turns.find(l.loc.line);
      const bool known = large != e.work.turns.end() && small != e.sample_work.turns.end() && small->second > 0;
      times_.push_back(grids * (known ? large->second / small->second : 1) / busy_);
    }
    weigh();
  }

  Limit limit() const {
    const Cost longest = *std::max_element(costs_.begin(), costs_.end(), by_cycles<Cost>);
    const Waste worst = std::max({conflicts(), sectors(), short_step()}, by_cycles<Waste>);
    if (worst.cycles > kWorth * longest.cycles) return worst.limit;
    return {longest.cause, 0, ""};
  }

 private:
  void weigh() {
    double issued = 0, wavefronts = 0, read = 0;
    for (size_t l = 0; l < times_.size(); l++) {
      const sim::LoopCount& c = e_.count.loops[l];
      issued += times_[l] * static_cast<double>(c.instructions());
      wavefronts += times_[l] * static_cast<double>(c.wavefronts);
      read += times_[l] * static_cast<double>(c.sectors);
    }
    costs_ = {
        {Cause::issue, issued / kIssues}, {Cause::shared, wavefronts / kWavefronts}, {Cause::reads, read / kSectors}};
    if (const auto us = memory_us(e_)) costs_.push_back({Cause::memory, *us * e_.speed().mhz});
    costs_.push_back({Cause::matrix, matrix_cycles()});
  }

  template <class T>
  static bool by_cycles(const T& a, const T& b) {
    return a.cycles < b.cycles;
  }

  /// By what the instructions do, rows past an edge included.
  double matrix_cycles() const {
    if (e_.products.empty() || e_.products[0].plan.atom->source == MapSource::fma) return 0;
    const Atom& atom = *e_.products[0].plan.atom;
    double instructions = 0;
    for (size_t l = 0; l < times_.size(); l++)
      instructions += times_[l] * static_cast<double>(e_.count.loops[l].of(sim::Class::mma));
    const double known = e_.speed().cores ? e_.speed().matrix_tflops * 1e6 / e_.speed().mhz / e_.speed().cores : 0;
    return 2.0 * atom.m * atom.n * atom.k * instructions / (known > 0 ? known : kMatrixFlops);
  }

  static double over(uint64_t part, uint64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<uint64_t>(1, whole));
  }

  /// The sum over all accesses of what `cycles` says, told of the worst.
  template <class Cycles, class Tell>
  Waste sum(const Cycles& cycles, const Tell& tell) const {
    Waste all;
    const Copy* worst = nullptr;
    double most = 0;
    for (const Copy& copy : e_.copies) {
      const double own = times_[copy.count.loop] * cycles(copy.count);
      all.cycles += own;
      if (own > most) most = own, worst = &copy;
    }
    if (worst) all.limit = tell(*worst);
    return all;
  }

  Waste conflicts() const {
    const auto cycles = [](const sim::AccessCount& a) {
      return static_cast<double>(a.wavefronts - a.least_wavefronts) / kWavefronts;
    };
    return sum(cycles, [](const Copy& copy) -> Limit {
      const sim::AccessCount& a = copy.count;
      return {Cause::bank_conflicts, a.loc.line,
              fmt::format("shared memory bank conflicts: {:.1f} wavefronts where {:.1f} would do, line {} ({})",
                          over(a.wavefronts, a.issued), over(a.least_wavefronts, a.issued), a.loc.line, copy.what)};
    });
  }

  Waste sectors() const {
    const auto cycles = [](const sim::AccessCount& a) {
      return static_cast<double>(a.sectors - a.least_sectors) / kSectors;
    };
    return sum(cycles, [](const Copy& copy) -> Limit {
      const sim::AccessCount& a = copy.count;
      const bool stores = thread::info(a.op).effect == thread::Effect::writes && a.op != thread::Op::async_copy;
      return {Cause::sectors, a.loc.line,
              fmt::format("global {} {} bytes wide: {:.1f} sectors where {:.1f} would do, line {} ({})",
                          stores ? "stores" : "loads", a.bytes, over(a.sectors, a.issued),
                          over(a.least_sectors, a.issued), a.loc.line, copy.what)};
    });
  }

  /// Barriers of a loop that cuts something into steps.
  Waste short_step() const {
    Waste worst;
    program_.walk(program_.body, [&](BlockId, size_t, InstId id) {
      const tile::Func::Inst& i = program_.inst(id);
      if (i.op != tile::Op::loop) return;
      const auto* step = program_.def(i.args[2]);
      const auto turns = e_.sample_work.turns.find(i.loc.line);
      if (!step || step->op != tile::Op::constant || turns == e_.sample_work.turns.end()) return;
      for (size_t l = 1; l < times_.size(); l++) {
        if (e_.count.loops[l].loc.line != i.loc.line) continue;
        const double barriers = static_cast<double>(e_.count.loops[l].barriers) / program_.subgroups;
        if (times_[l] * barriers * kBarrierCycles <= worst.cycles) continue;
        const std::string index = program_.values[program_.blocks[i.blocks[0]].params[0]].name;
        const double each = barriers / (turns->second * static_cast<double>(e_.sample_work.workgroups()));
        worst = {times_[l] * barriers * kBarrierCycles,
                 {Cause::short_step, i.loc.line,
                  fmt::format("{0} step too short: barriers {1:.3g} per {2} {0}, line {3}",
                              index.empty() ? "loop" : index, each, step->attr.imm, i.loc.line)}};
      }
    });
    return worst;
  }

  const Explanation& e_;
  const tile::Func& program_;
  double busy_ = 1;
  std::vector<double> times_;  ///< by loop: from the sample's counts to those of one core in the problem
  std::vector<Cost> costs_;
};

std::string bytes_text(double bytes) {
  return bytes < 1e6 ? fmt::format("{:.1f} kB", bytes / 1e3) : fmt::format("{:.1f} MB", bytes / 1e6);
}

/// Bytes on their way to a core, at most: as many workgroups as fit, and as there are for each.
double flight_of_core(const Explanation& e) {
  const auto fit =
      std::min(kCoreThreads / e.threads, e.shared_bytes ? e.target->shared_bytes / e.shared_bytes : kCoreThreads);
  const double there = static_cast<double>(e.work.workgroups()) / e.speed().cores;
  return std::min(static_cast<double>(std::max<int64_t>(1, fit)), there) *
         static_cast<double>(e.count.flight.copies + e.count.flight.loads);
}

std::string issue_text(const Explanation& e) {
  const sim::LoopCount& loop = e.count.main_loop();
  size_t most = 0;
  for (size_t k = 0; k < sim::kClasses; k++)
    if (k != static_cast<size_t>(sim::Class::move) && loop.by_class[k] > loop.by_class[most]) most = k;
  const double part =
      static_cast<double>(loop.by_class[most]) / static_cast<double>(std::max<uint64_t>(1, loop.instructions()));
  const std::string where = loop.loc.line ? fmt::format(" of the loop at line {}", loop.loc.line) : "";
  return fmt::format("instruction issue: {:.0f}% of the instructions{} are {}", 100 * part, where,
                     sim::kClassNames[most]);
}

}  // namespace

const char* to_string(Cause c) {
  constexpr const char* kNames[] = {
#define CAUSE(name) #name,
#include "explain/causes.def"
  };
  return kNames[static_cast<size_t>(c)];
}

std::optional<double> memory_us(const Explanation& e) {
  if (!e.speed().memory_gb_s) return std::nullopt;
  return e.work.bytes / (e.speed().memory_gb_s * 1e3);
}

std::optional<double> matrix_us(const Explanation& e) {
  if (!e.speed().matrix_tflops || !e.work.flops) return std::nullopt;
  return *e.work.flops / (e.speed().matrix_tflops * 1e6);
}

Limit limit_of(const Explanation& e, const tile::Func& program) {
  if (!e.not_counted.empty())
    return {Cause::unknown, 0, "something unknown: the sample does not run: " + e.not_counted};
  Limit limit = Model(e, program).limit();
  if (!limit.text.empty()) return limit;
  const double flight = e.speed().cores ? flight_of_core(e) : 0;
  if (limit.cause == Cause::memory && flight < static_cast<double>(e.speed().flight_bytes)) {
    limit.cause = Cause::latency;
    limit.text = fmt::format("latency: {:.0f} bytes in flight to a core of {} needed", flight, e.speed().flight_bytes);
    if (e.work.workgroups() < e.speed().cores)
      limit.text += fmt::format(", {} workgroups for {} cores", e.work.workgroups(), e.speed().cores);
    return limit;
  }
  switch (limit.cause) {
    case Cause::memory:
      limit.text = fmt::format("memory bandwidth: {} take {:.2f} us", bytes_text(e.work.bytes), *memory_us(e));
      break;
    case Cause::matrix:
      limit.text = fmt::format("matrix instructions: {}", e.products[0].plan.atom->name);
      break;
    case Cause::shared:
      limit.text = "shared memory: without conflicts, but more of it than of anything else";
      break;
    case Cause::reads:
      limit.text = "reads through the caches: whole sectors, but each of them by many workgroups";
      break;
    default:
      limit.text = issue_text(e);
  }
  if (e.speed().device.empty())
    limit.text += fmt::format(", as far as is known: {} has no figures of its memory", e.target->name);
  return limit;
}

}  // namespace lathe::explain
