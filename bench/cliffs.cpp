#include "bench/cliffs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace lathe::bench {
namespace {

struct Rule {
  const char* text;
  int64_t (*later)(int64_t m);
  int64_t first, last;  ///< of the m it is about
  double limit;
  bool backwards;  ///< bounds the time of the fewer tokens by that of the more
};
constexpr int64_t kAny = int64_t{1} << 40;
int64_t next(int64_t m) { return m + 1; }
int64_t twice(int64_t m) { return 2 * m; }
constexpr Rule kRules[] = {
    {"t(M) <= 1.10 t(M+1)", next, 1, kAny, 1.10, true},
    {"t(M+1) <= 1.3 t(M) up to 64", next, 1, 63, 1.3, false},
    {"t(M+1) <= 1.6 t(M) above 64", next, 64, kAny, 1.6, false},
    {"t(2M) <= 2.1 t(M)", twice, 1, kAny, 2.1, false},
};

}  // namespace

std::string Series::name() const {
  return fmt::format("{} {}{}{}", by, device, by.ends_with(type) ? "" : " ", by.ends_with(type) ? "" : type);
}

std::vector<Series> series_of(const Report& report) {
  std::vector<Series> all;
  for (const Row& r : report.rows) {
    if (!r.measured()) continue;
    auto of = std::find_if(all.begin(), all.end(), [&](const Series& s) {
      return s.by == r.by && s.device == r.device && s.type == r.type && s.shape == r.shape;
    });
    if (of == all.end()) of = all.insert(all.end(), {r.by, r.device, r.type, r.shape, {}});
    std::erase_if(of->rows, [&](const Row* old) { return old->m == r.m; });
    of->rows.push_back(&r);
  }
  for (Series& s : all) std::sort(s.rows.begin(), s.rows.end(), [](const Row* a, const Row* b) { return a->m < b->m; });
  return all;
}

Cliffs cliffs_of(const std::vector<Series>& series) {
  Cliffs out;
  for (const Series& s : series) {
    if (s.by != kOurs) continue;
    std::map<int64_t, double> us;
    for (const Row* r : s.rows) us[r->m] = r->us.median;
    for (const auto& [m, t] : us)
      for (const Rule& rule : kRules) {
        const auto later = us.find(rule.later(m));
        if (m < rule.first || m > rule.last || later == us.end()) continue;
        out.checked++;
        const double ratio = rule.backwards ? t / later->second : later->second / t;
        if (ratio > rule.limit) out.found.push_back({&s, rule.text, m, later->first, ratio, rule.limit});
      }
  }
  return out;
}

}  // namespace lathe::bench
