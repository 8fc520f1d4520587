#pragma once
// Accesses of single lanes with their checks, and the cost of an access of all.
#include "backends/sim/wave.h"

namespace lathe::sim {

inline constexpr uint64_t kSectorBytes = 32, kBankBytes = 4, kBanks = 32;

struct Span {
  uint64_t first, bytes;
  bool operator<(const Span& o) const { return first < o.first; }
};

/// Global memory: the sectors that one access of a subgroup touches. Sorts the spans.
void count_sectors(StepCount& count, std::vector<Span>& spans);
/// Shared memory: the rows of banks that move for the lanes of one phase.
void count_wavefronts(StepCount& count, std::span<const Span> phase);

/// Global bytes of one lane, aligned to their number; false after a fault.
bool load_bytes(Wave& w, const Step& s, int lane, uint64_t address, std::span<std::byte> to);
bool store_bytes(Wave& w, const Step& s, int lane, uint64_t address, std::span<const std::byte> from);

}  // namespace lathe::sim
