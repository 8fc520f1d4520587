#include "model/schedule_space.h"

#include <algorithm>
#include <bit>

namespace lathe {
namespace {

constexpr int64_t kTilesN[] = {16, 32, 64, 128, 256};
constexpr int64_t kTilesM[] = {1, 8, 16, 32, 64, 128, 256};
constexpr int64_t kTilesK[] = {32, 64, 128, 256, 512, 1024, 2048};
constexpr int kSplitsN[] = {1, 2, 4, 8}, kSplitsM[] = {1, 2, 4}, kSplitsK[] = {1, 2, 4, 8, 16};
constexpr int kStages[] = {1, 2, 3, 4};
constexpr int kGroups[] = {1, 2, 4, 8};
constexpr int kMostSubgroups = 16;
constexpr int64_t kMostTurnBytes = 128;  ///< of weights a lane loads in one turn

/// What does not change while the columns do.
struct Limits {
  const Target& target;
  const kernels::WeightFormat& format;
  Type ab;
  int64_t m, n, k;

  bool tile_m(int64_t tile) const {
    const auto wanted = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(m)));
    return tile <= std::max<int64_t>(wanted, 8) && 4 * tile >= std::min<int64_t>(wanted, 256);
  }
  /// Multiply-adds take what is left over in any number.
  bool divided(const Schedule& s) const {
    const bool any = std::none_of(target.atoms.begin(), target.atoms.end(),
                                  [&](const Atom& a) { return a.source != MapSource::fma && a.a == ab; });
    return any || std::any_of(target.atoms.begin(), target.atoms.end(), [&](const Atom& a) {
             return a.source != MapSource::fma && a.a == ab && s.tile_n % (s.split[0] * a.m) == 0 &&
                    s.tile_m % (s.split[1] * a.n) == 0 && s.tile_k % (s.split[2] * a.k) == 0;
           });
  }
  /// Subgroups that share k each take whole groups, as scales are stored for.
  bool whole_groups(const Schedule& s) const {
    return s.split[2] == 1 || !format.scaled() || format.group == 0 || s.tile_k / s.split[2] % format.group == 0;
  }
  bool holds(const Schedule& s) const {
    const int64_t lanes = target.subgroup_size, subgroups = int64_t{s.split[0]} * s.split[1] * s.split[2];
    const int64_t sums = s.tile_n * s.tile_m / (int64_t{s.split[0]} * s.split[1] * lanes);
    const int64_t weights = s.tile_n * s.tile_k * format.code.bits / 8 / (subgroups * lanes);
    const int64_t waiting = s.stages * s.tile_m * s.tile_k * 2;
    const bool staged = target.async_copy && s.stages > 1;
    return subgroups <= kMostSubgroups && subgroups * lanes <= target.max_threads &&
           sums <= target.max_registers * 5 / 8 && weights >= 1 && weights <= kMostTurnBytes &&
           (!staged || waiting <= target.shared_bytes);
  }
  bool shares(const Schedule& s) const { return s.k_groups == 1 || k >= 2 * s.k_groups * s.tile_k; }
};

template <class F>
void each_split(F f) {
  for (const int n : kSplitsN)
    for (const int m : kSplitsM)
      for (const int k : kSplitsK) f(std::array<int, 3>{n, m, k});
}

}  // namespace

std::vector<Schedule> schedule_space(const Target& target, const kernels::WeightFormat& format, Type activation,
                                     int64_t m, int64_t n, int64_t k) {
  const Limits limits{target, format, format.scaled() ? activation : format.code, m, n, k};
  std::vector<Schedule> out;
  const auto add = [&](Schedule s) {
    for (const int stages : kStages) {
      s.stages = stages;
      if (!limits.holds(s)) continue;
      for (const bool folds : {false, true})
        for (const int groups : kGroups) {
          s.factor_on_accumulator = folds, s.k_groups = groups;
          if ((format.scaled() || !folds) && limits.shares(s)) out.push_back(s);
        }
    }
  };
  for (const int64_t tile_n : kTilesN)
    for (const int64_t tile_m : kTilesM)
      for (const int64_t tile_k : kTilesK)
        each_split([&](std::array<int, 3> split) {
          const Schedule s{.tile_n = tile_n, .tile_m = tile_m, .tile_k = tile_k, .split = split};
          if (limits.tile_m(tile_m) && tile_k <= std::max<int64_t>(k, kTilesK[0]) && limits.divided(s) &&
              limits.whole_groups(s))
            add(s);
        });
  return out;
}

}  // namespace lathe
