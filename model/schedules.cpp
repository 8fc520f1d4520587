#include <algorithm>

#include "model/matmul.h"

namespace lathe {
namespace {

enum class TargetKind { matrix, matrix_small, fma };
constexpr int64_t kManyRows = int64_t{1} << 40;
constexpr int64_t kEnoughSubgroups = 2048;  ///< fill a large device with a few workgroups a core

struct Row {
  TargetKind kind;
  int64_t max_m;
  Schedule schedule;
};

std::vector<Row> rows() {
  return {
#define SCHEDULE(kind, max_m, tn, tm, tk, sn, sm, sk, stages) \
  {TargetKind::kind, max_m, {tn, tm, tk, {sn, sm, sk}, stages, false}},
#include "model/schedules.def"
  };
}

TargetKind kind_of(const Target& t, const kernels::WeightFormat& format, Type activation) {
  const Type ab = format.scaled() ? activation : format.code;
  for (const Atom& a : t.atoms)
    if (a.a == ab && a.source != MapSource::fma)
      return t.subgroup_size >= 16 ? TargetKind::matrix : TargetKind::matrix_small;
  return TargetKind::fma;
}

}  // namespace

std::vector<Schedule> schedules_of(const Target& t, const kernels::WeightFormat& format) {
  std::vector<Schedule> out;
  const TargetKind kind = kind_of(t, format, types::f16);
  for (const Row& r : rows())
    if (r.kind == kind) out.push_back(r.schedule);
  return out;
}

Schedule choose_schedule(const Target& t, const kernels::WeightFormat& format, int64_t m, int64_t n, int64_t k) {
  const TargetKind kind = kind_of(t, format, types::f16);
  const Row* best = nullptr;
  const auto all = rows();
  for (const Row& r : all) {
    if (r.kind != kind || r.max_m < m || (best && r.max_m > best->max_m)) continue;
    const int64_t workgroups = (n + r.schedule.tile_n - 1) / r.schedule.tile_n;
    const bool fills = best && workgroups * best->schedule.split[2] >= kEnoughSubgroups;
    if (!best || (!fills && k >= r.schedule.tile_k)) best = &r;
  }
  return best->schedule;
}

}  // namespace lathe
