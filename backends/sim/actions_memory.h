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

/// A memory access as a step says it: bytes a lane, and the lanes that take part (those whose operand `predicate`, if
/// there is one, is true).
struct Shape {
  size_t bytes, part;  ///< of the access and of one component
  uint64_t lanes;
};
Shape shape_of(Wave& w, const Step& s, size_t predicate);
/// Byte of the shared array that a lane accesses.
int64_t shared_at(Wave& w, const Step& s, int lane);
void count_shared(Wave& w, const Step& s, const Shape& shape);
/// What all lanes must agree on; a fault otherwise.
bool uniform(Wave& w, const Step& s, size_t operand);

}  // namespace lathe::sim
