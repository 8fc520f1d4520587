#include "backends/sim/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace lathe::sim {
namespace {

using Random = std::mt19937_64;

/// std::shuffle and the distributions differ between libraries; a seed must not.
uint64_t below(Random& random, uint64_t n) { return random() % n; }
template <class T>
void shuffle(Random& random, std::vector<T>& list) {
  for (size_t i = list.size(); i > 1; i--) std::swap(list[i - 1], list[below(random, i)]);
}

struct Configuration {
  int m, n, k;
};
// Each is divided by some schedule of the matmul, at the subgroup sizes of its row.
constexpr Configuration kUsable[] = {{16, 16, 16}, {16, 8, 16}, {8, 16, 16}, {16, 8, 8}, {8, 8, 8},
                                     {16, 8, 32},  {8, 8, 16},  {16, 16, 8}, {32, 8, 16}};
constexpr Configuration kOdd[] = {{12, 8, 8}, {8, 12, 16}, {24, 8, 16}};

/// Copies that a map of the shape must have at least: every lane holds something.
int least_copies(int lanes, int elements) { return std::max(1, lanes / std::gcd(lanes, elements)); }

}  // namespace

std::vector<std::vector<uint32_t>> random_lane_map(uint64_t seed, int lanes, int rows, int cols, int copies,
                                                   bool scrambled) {
  Random random(seed);
  std::vector<Mode> digits;
  for (int d = 0; d < 2; d++) {
    int64_t weight = 1;
    for (int64_t rest = d == 0 ? rows : cols; rest > 1;) {
      int64_t n = 2;
      while (rest % n != 0) n++;
      digits.push_back({n, d, weight});
      weight *= n, rest /= n;
    }
  }
  std::vector<Mode> T, S;
  int64_t threads = 1;
  for (int c = copies; c > 1; c /= 2, threads *= 2) T.push_back({2, Mode::kReplicate, 0});
  shuffle(random, digits);
  for (const Mode& m : digits) {
    const bool to_lanes = m.n == 2 && threads < lanes;
    (to_lanes ? T : S).push_back(m);
    if (to_lanes) threads *= 2;
  }
  shuffle(random, T);
  shuffle(random, S);
  const Layout layout({rows, cols}, T, S);
  std::vector<uint32_t> renumbered(static_cast<size_t>(rows * cols));
  std::iota(renumbered.begin(), renumbered.end(), 0);
  if (scrambled) shuffle(random, renumbered);
  std::vector<std::vector<uint32_t>> table(static_cast<size_t>(lanes));
  for (int64_t t = 0; t < lanes; t++)
    for (int64_t s = 0; s < layout.slots(); s++) {
      const Coord at = layout.at(t, s);
      table[static_cast<size_t>(t)].push_back(renumbered[static_cast<size_t>(at[0] * cols + at[1])]);
    }
  return table;
}

Model random_model(std::string_view name, uint64_t seed) {
  Random random(seed);
  const int lanes = 8 << below(random, 4);
  const bool scrambled = seed % 4 == 3;
  Model model;
  runtime::DeviceInfo& info = model.info;
  info.id = fmt::format("sim:{}", name);
  info.name = fmt::format("random machine {}", seed);
  info.driver = "simulator";
  info.api = "sim";
  info.memory_bytes = uint64_t{1} << 30;
  info.software = true;
  info.facts.subgroup_size = static_cast<uint32_t>(lanes);
  info.facts.max_threads = 1024;
  info.facts.shared_bytes = 48 << 10;
  info.facts.max_grid = {UINT16_MAX, UINT16_MAX, UINT16_MAX};
  runtime::VulkanFacts& v = info.facts.vulkan;
  v.cooperative_matrix = v.full_subgroups = v.float16 = v.storage16 = v.storage8 = true;
  v.can_require_subgroup_size = true;
  v.subgroup_size_min = v.subgroup_size_max = static_cast<uint32_t>(lanes);
  v.rte_f16 = v.rte_f32 = v.preserve_denorm_f16 = v.preserve_denorm_f32 = true;
  model.matrices.keeps_f16_subnormals = below(random, 2) == 0;
  model.matrices.loses_constant_signs = seed % 3 == 1;

  std::vector<Configuration> list{kUsable[below(random, std::size(kUsable))]};
  if (below(random, 2) == 0) list.push_back(kOdd[below(random, std::size(kOdd))]);
  for (const Configuration& c : list) {
    v.matrices.push_back({static_cast<uint32_t>(c.m), static_cast<uint32_t>(c.n), static_cast<uint32_t>(c.k), "f16",
                          "f16", "f32", "f32", false, "subgroup"});
    struct Part {
      thread::Use use;
      thread::Scalar scalar;
      int rows, cols;
    };
    for (const Part& p :
         {Part{thread::Use::a, thread::Scalar::f16, c.m, c.k}, Part{thread::Use::b, thread::Scalar::f16, c.k, c.n},
          Part{thread::Use::c, thread::Scalar::f32, c.m, c.n}}) {
      const int least = least_copies(lanes, p.rows * p.cols);
      // Copies of an accumulator would be held by no device that is known; of operands they are.
      const bool doubled = p.use != thread::Use::c && 2 * least < lanes && below(random, 3) == 0;
      model.matrices.add(p.use, p.scalar, p.rows, p.cols,
                         random_lane_map(random(), lanes, p.rows, p.cols, doubled ? 2 * least : least, scrambled));
    }
  }
  return model;
}

}  // namespace lathe::sim
