#include <algorithm>

#include "model/matmul.h"

namespace lathe {
namespace {

enum class TargetKind { matrix, matrix_16, matrix_tight, matrix_small, matrix_wide, fma };
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

TargetKind kind_of(const Target& t) {
  const auto atom =
      std::find_if(t.atoms.begin(), t.atoms.end(), [](const Atom& a) { return a.source != MapSource::fma; });
  if (atom == t.atoms.end()) return TargetKind::fma;
  const int64_t room = t.subgroup_size * t.max_registers / atom->layout_a.replicas();
  if (room <= 2048) return TargetKind::matrix_small;
  if (room <= 4096) return TargetKind::matrix_tight;
  if (room > 8192) return TargetKind::matrix_wide;
  return atom->n < 16 ? TargetKind::matrix : TargetKind::matrix_16;
}

/// Whether a matrix instruction on `ab` divides the tiles of the row.
bool fits(const Row& row, const Target& t, Type ab) {
  const Schedule& s = row.schedule;
  return row.kind == kind_of(t) && std::any_of(t.atoms.begin(), t.atoms.end(), [&](const Atom& a) {
           return a.source != MapSource::fma && a.a == ab && s.tile_n % (s.split[0] * a.m) == 0 &&
                  s.tile_m % (s.split[1] * a.n) == 0 && s.tile_k % (s.split[2] * a.k) == 0;
         });
}

/// The target's rows: of its matrix instructions, or where it has none that fits, of multiply-adds.
std::vector<Row> rows_of(const Target& t, const kernels::WeightFormat& format) {
  const Type ab = format.scaled() ? types::f16 : format.code;
  std::vector<Row> matrix, fma;
  for (const Row& r : rows()) {
    if (fits(r, t, ab)) matrix.push_back(r);
    if (r.kind == TargetKind::fma) fma.push_back(r);
  }
  return matrix.empty() ? fma : matrix;
}

}  // namespace

std::vector<Schedule> schedules_of(const Target& t, const kernels::WeightFormat& format) {
  std::vector<Schedule> out;
  for (const Row& r : rows_of(t, format)) out.push_back(r.schedule);
  return out;
}

Schedule choose_schedule(const Target& t, const kernels::WeightFormat& format, int64_t m, int64_t n, int64_t k) {
  const Row* best = nullptr;
  const auto all = rows_of(t, format);
  for (const Row& r : all) {
    if (r.max_m < m || (best && r.max_m > best->max_m)) continue;
    const int64_t workgroups = (n + r.schedule.tile_n - 1) / r.schedule.tile_n;
    const bool fills = best && workgroups * best->schedule.split[2] >= kEnoughSubgroups;
    if (!best || (!fills && k >= r.schedule.tile_k)) best = &r;
  }
  return best->schedule;
}

}  // namespace lathe
