#pragma once
// A schedule: the row of integers beside a kernel. The same program and row give the same tile IR on every target.
#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace lathe {

struct Schedule {
  int64_t tile_n = 32;                 ///< weight rows (outputs) of a workgroup
  int64_t tile_m = 8;                  ///< tokens of a workgroup
  int64_t tile_k = 128;                ///< of one turn of the main loop
  std::array<int, 3> split{1, 1, 1};   ///< subgroups along weight rows, tokens, k
  int stages = 2;                      ///< turns in flight
  bool factor_on_accumulator = false;  ///< where a weight's scale lands
  int k_groups = 1;  ///< workgroups that share k; the last to finish adds their sums, always in one order
  bool operator==(const Schedule&) const = default;
};

/// "n32 m8 k512 s1x1x4 stages2 acc groups4".
std::string to_string(const Schedule& s);
/// The schedule whose text this is, or none.
std::optional<Schedule> parse_schedule(const std::string& text);

}  // namespace lathe
