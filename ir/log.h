#pragma once
// The log of a launch, where asserts and prints leave their records: a u32 that counts them, then, from kRecordsAt on,
// the first kRecords of them in the order of arrival. Zero before the launch.
#include <cstdint>

#include "ir/tile.h"

namespace lathe {

struct LogRecord {
  uint32_t site = 0;  ///< number of the assert or print, in program order
  uint32_t group[3] = {0, 0, 0};
  uint64_t raw = 0;  ///< bits of the printed value
  uint64_t unused = 0;
};
inline constexpr int64_t kRecordsAt = 32, kRecords = 4096;
inline constexpr int64_t kLogBytes = kRecordsAt + kRecords * static_cast<int64_t>(sizeof(LogRecord));

/// The asserts and prints of a kernel: site i is the i-th.
inline std::vector<InstId> log_sites(const tile::Func& f) {
  std::vector<InstId> sites;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op == tile::Op::assert || f.inst(id).op == tile::Op::print) sites.push_back(id);
  });
  return sites;
}

}  // namespace lathe
