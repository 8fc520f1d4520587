#include "shaders/schedule.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace lathe {

std::string to_string(const Schedule& s) {
  const std::string groups = s.k_groups == 1 ? "" : fmt::format(" groups{}", s.k_groups);
  return fmt::format("n{} m{} k{} s{}x{}x{} stages{}{}{}", s.tile_n, s.tile_m, s.tile_k, s.split[0], s.split[1],
                     s.split[2], s.stages, s.factor_on_accumulator ? " acc" : "", groups);
}

std::optional<Schedule> parse_schedule(const std::string& text) {
  Schedule s;
  long long n = 0, m = 0, k = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "n%lld m%lld k%lld s%dx%dx%d stages%d%n", &n, &m, &k, &s.split[0], &s.split[1],
                  &s.split[2], &s.stages, &used) != 7)
    return std::nullopt;
  s.tile_n = n, s.tile_m = m, s.tile_k = k;
  const std::string rest = text.substr(static_cast<size_t>(used));
  s.factor_on_accumulator = rest.starts_with(" acc");
  if (const size_t at = rest.find(" groups"); at != rest.npos) s.k_groups = std::atoi(rest.c_str() + at + 7);
  constexpr int64_t kMost = 1 << 20;
  for (const int64_t v : {s.tile_n, s.tile_m, s.tile_k, int64_t{s.split[0]}, int64_t{s.split[1]}, int64_t{s.split[2]},
                          int64_t{s.stages}, int64_t{s.k_groups}})
    if (v < 1 || v > kMost) return std::nullopt;
  if (to_string(s) != text) return std::nullopt;  // overflow, or words of no schedule
  return s;
}

}  // namespace lathe
