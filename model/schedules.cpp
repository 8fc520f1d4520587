#include <algorithm>

#include "ir/compile.h"
#include "model/matmul.h"

namespace lathe {
namespace {

enum class TargetKind { matrix, matrix_async, matrix_shared, matrix_16, matrix_tight, matrix_small, matrix_wide, fma };
constexpr int64_t kManyRows = int64_t{1} << 40;
// What keeps a large device busy: workgroups whose subgroups share k already, or subgroups of any others.
constexpr int64_t kEnoughWorkgroups = 64, kEnoughSubgroups = 768;
constexpr int kMostGroups = 8;  ///< workgroups that share k: more cost more than they bring

constexpr int64_t kSharedRows = 8;  ///< rows of up to so many tokens are listed with shared k too
constexpr int kSharedGroups = 4;

struct Row {
  TargetKind kind;
  ScheduleRow row;
};

std::vector<Row> rows() {
  return {
#define SCHEDULE(kind, max_m, tn, tm, tk, sn, sm, sk, stages, factor, fewest) \
  {TargetKind::kind,                                                          \
   {max_m, {tn, tm, tk, {sn, sm, sk}, stages, tile::Factor::factor == tile::Factor::accumulator}, fewest}},
#include "model/schedules.def"
  };
}

TargetKind kind_of(const Target& t) {
  const auto atom = std::find_if(t.atoms.begin(), t.atoms.end(),
                                 [](const Atom& a) { return a.source != MapSource::fma && !a.b_in_shared; });
  if (atom == t.atoms.end()) return TargetKind::fma;
  if (std::any_of(t.atoms.begin(), t.atoms.end(), [](const Atom& a) { return a.b_in_shared; }))
    return TargetKind::matrix_shared;
  const int64_t room = t.subgroup_size * t.max_registers / atom->layout_a.replicas();
  if (room <= 2048) return TargetKind::matrix_small;
  if (room <= 4096) return TargetKind::matrix_tight;
  // How many copies an opaque fragment has is not known.
  if (room > 8192 && atom->source != MapSource::opaque) return TargetKind::matrix_wide;
  if (atom->n >= 16) return TargetKind::matrix_16;
  return t.async_copy ? TargetKind::matrix_async : TargetKind::matrix;
}

/// Whether a matrix instruction on `ab` divides the tiles of the row.
bool fits(const Row& row, const Target& t, Type ab) {
  const Schedule& s = row.row.schedule;
  return row.kind == kind_of(t) && std::any_of(t.atoms.begin(), t.atoms.end(), [&](const Atom& a) {
           return a.source != MapSource::fma && a.a == ab && s.tile_n % (s.split[0] * a.m) == 0 &&
                  s.tile_m % (s.split[1] * a.n) == 0 && s.tile_k % (s.split[2] * a.k) == 0;
         });
}

/// The rows are for codes of 4 bits; weights of 16 bits take a quarter of k a turn, so that as many bytes are on their
/// way; where subgroups read x by matrix loads, at least one row of banks each. Zero points need registers that 16
/// subgroups do not have beside those of 64 rows.
Schedule for_weights(Schedule s, const kernels::WeightFormat& format, const Target& t) {
  constexpr int64_t kLeast = 64;
  const int64_t least_of_subgroup = kind_of(t) == TargetKind::matrix_shared ? 64 : 32;
  if (format.code.bits == 16)
    s.tile_k = std::max({s.tile_k / 4, least_of_subgroup * s.split[2], std::min(s.tile_k, kLeast)});
  if (format.zeros && s.tile_n >= 64 && s.split[2] >= 16) s.split[2] /= 2, s.tile_k /= 2;
  return s;
}

/// The target's rows: of its matrix instructions, or where it has none that fits, of multiply-adds.
std::vector<ScheduleRow> rows_of(const Target& t, Type ab) {
  std::vector<ScheduleRow> matrix, fma;
  for (const Row& r : rows()) {
    if (fits(r, t, ab)) matrix.push_back(r.row);
    if (r.kind == TargetKind::fma) fma.push_back(r.row);
  }
  return matrix.empty() ? fma : matrix;
}

/// How the row stores its parameters; an error where the target cannot run it.
Result<std::map<std::string, PackedLayout>> stored_by(const Schedule& s, const Target& t,
                                                      const kernels::WeightFormat& format, Type activation,
                                                      tile::Factor factor) {
  const CompileOptions options{.factor = factor};
  TRY_ASSIGN(tile::Func f, kernels::matmul(format, activation, false, s));
  TRY_ASSIGN(f, prepare(std::move(f), options));
  TRY_ASSIGN(f, lay_out(f, t, options));
  TRY_ASSIGN(Lowered lowered, lower(f, t, options.lower));
  return std::move(lowered.packed);
}

/// Whether the target compiles the schedule and it reads what is stored.
bool reads(const std::string& schedule, const ScheduleSet& set, const Target& t, const kernels::WeightFormat& format,
           Type activation) {
  const auto s = parse_schedule(schedule);
  if (!s || (s->factor_on_accumulator && !format.scaled())) return false;
  const auto factor = s->factor_on_accumulator ? tile::Factor::accumulator : tile::Factor::operand;
  const auto packed = stored_by(*s, t, format, activation, factor);
  return packed && *packed == set.packed;
}

}  // namespace

Result<ScheduleSet> schedules_of(const Target& t, const kernels::WeightFormat& format, Type activation,
                                 std::span<const Choice> choices) {
  ScheduleSet out{.weight_bits = format.code.bits};
  if (t.async_copy) out.cores = t.speed.cores, out.shared_bytes = t.shared_bytes;
  std::optional<Error> refused;
  for (ScheduleRow row : rows_of(t, format.scaled() ? activation : format.code)) {
    row.schedule = for_weights(row.schedule, format, t);
    auto packed = stored_by(row.schedule, t, format, activation, tile::Factor::operand);
    if (!packed) {
      if (packed.error().code != Error::Code::unsupported) return tl::unexpected(packed.error());
      refused = packed.error();
      continue;
    }
    if (out.rows.empty()) out.packed = *packed;
    if (out.packed != *packed) continue;
    bool& folds = row.schedule.factor_on_accumulator;
    if (folds) {
      const auto folded = stored_by(row.schedule, t, format, activation, tile::Factor::accumulator);
      folds = format.scaled() && folded && *folded == *packed;
    }
    out.rows.push_back(row);
    if (row.max_m > kSharedRows) continue;
    out.rows.push_back(row);  // stores the same
    out.rows.back().schedule.k_groups = kSharedGroups;
  }
  if (out.rows.empty()) return tl::unexpected(*refused);
  std::map<std::string, bool> readable;
  for (const Choice& c : choices) {
    if (!readable.contains(c.schedule)) readable[c.schedule] = reads(c.schedule, out, t, format, activation);
    if (readable[c.schedule]) out.tuned.push_back({c.k, c.n, c.m, *parse_schedule(c.schedule)});
  }
  return out;
}

namespace {

/// Workgroups that a core holds: by the stages in its shared memory, and by the registers, which sums fill, operands by
/// half as much again, and addresses.
int64_t resident(const ScheduleSet& set, const Schedule& s) {
  constexpr int64_t kRegisterBytes = 256 * 1024, kAddressBytes = 48 * 4 * 32;
  const int64_t stage = s.tile_k * (s.tile_n * set.weight_bits + s.tile_m * 16) / 8;
  const int64_t sums = s.tile_n * s.tile_m * 4, subgroups = int64_t{s.split[0]} * s.split[1] * s.split[2];
  const int64_t registers = sums + sums / 2 + subgroups * kAddressBytes;
  return std::max<int64_t>(1, std::min(set.shared_bytes / (stage * s.stages), kRegisterBytes / registers));
}

/// Whether as many workgroups again would find room, where that is known.
bool idle(const ScheduleSet& set, const Schedule& s, int64_t tiles) {
  const int64_t workgroups = tiles * s.k_groups;
  if (s.split[2] > 1) return workgroups < kEnoughWorkgroups;
  if (set.cores == 0 || s.stages < 2) return workgroups * s.split[0] * s.split[1] < kEnoughSubgroups;
  return 2 * workgroups <= set.cores * resident(set, s);
}

}  // namespace

Schedule choose_schedule(const ScheduleSet& schedules, int64_t m, int64_t n, int64_t k) {
  const Tuned* tuned = nullptr;
  for (const Tuned& t : schedules.tuned)
    if (t.k == k && t.n == n && m <= t.m && t.m < 2 * m && (!tuned || t.m < tuned->m)) tuned = &t;
  if (tuned) return tuned->schedule;
  // Meant for as many tokens, the fewest; else the most.
  const auto rank = [&](const ScheduleRow& r) { return std::pair(r.max_m < m, r.max_m < m ? -r.max_m : r.max_m); };
  const auto tiles = [&](const Schedule& s) { return (n + s.tile_n - 1) / s.tile_n * ((m + s.tile_m - 1) / s.tile_m); };
  const ScheduleRow* best = nullptr;
  for (const ScheduleRow& r : schedules.rows) {
    if (r.schedule.k_groups > 1 || (best && rank(r) > rank(*best))) continue;
    const bool same = best && rank(r) == rank(*best);
    if (!same || (tiles(best->schedule) < best->fewest && k >= r.schedule.tile_k)) best = &r;
  }
  Schedule chosen = best->schedule;
  while (idle(schedules, chosen, tiles(chosen)) && chosen.k_groups < kMostGroups &&
         k >= 4 * chosen.k_groups * chosen.tile_k)
    chosen.k_groups *= 2;
  return chosen;
}

Schedule for_rows(Schedule s, bool aligned, const Target& t) {
  if (!aligned && t.async_copy) s.stages = 1;
  return s;
}

}  // namespace lathe
