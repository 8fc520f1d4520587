#include "tools/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lathe::tools {
namespace {

double allowed_part(Type t, bool through_mma) {
  if (!t.is_float()) return 0;
  const double own = t == types::f32 ? 1e-5 : t == types::f16 ? 1e-3 : 8e-3;
  return through_mma ? std::max(own, 4e-3) : own;
}

}  // namespace

Agreement compare(const tile::HostTensor& got, const tile::HostTensor& oracle, bool through_mma) {
  Agreement a;
  double largest = 0, worst = -1;
  const auto count = static_cast<int64_t>(oracle.raw.size());
  for (int64_t i = 0; i < count; i++)
    if (std::isfinite(oracle.at(i))) largest = std::max(largest, std::abs(oracle.at(i)));
  a.allowed = allowed_part(oracle.elem, through_mma) * largest;
  for (int64_t i = 0; i < count; i++) {
    const double want = oracle.at(i), have = got.at(i);
    const bool same = got.raw[static_cast<size_t>(i)] == oracle.raw[static_cast<size_t>(i)] || want == have ||
                      (std::isnan(want) && std::isnan(have));
    if (same) continue;
    const double error = std::isfinite(want) && std::isfinite(have) ? std::abs(have - want) : INFINITY;
    if (std::isfinite(error)) a.max_abs_err = std::max(a.max_abs_err, error);
    if (error <= a.allowed && oracle.elem.is_float()) continue;
    a.holds = false;
    if (error <= worst) continue;
    worst = error;
    a.worst = fmt::format("element {} is {}, the oracle says {}", i, have, want);
  }
  a.max_rel_err = largest > 0 ? a.max_abs_err / largest : a.max_abs_err;
  return a;
}

bool has_mma(const tile::Func& f) {
  return std::any_of(f.insts.begin(), f.insts.end(),
                     [](const tile::Func::Inst& i) { return i.op == tile::Op::mma || i.op == tile::Op::mma_scaled; });
}

}  // namespace lathe::tools
