#include "backends/spirv/profiles.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/fma_atom.h"
#include "backends/speed.h"

namespace lathe {
namespace {

struct ProfileRow {
  std::string_view name;
  int subgroup_size, registers;
  int64_t shared_bytes;
  bool preserve_f16, preserve_f32, mma_f16_subnormals;
};
constexpr ProfileRow kProfiles[] = {
#define PROFILE(name, subgroup, registers, shared, f16, f32, mma) {name, subgroup, registers, shared, f16, f32, mma},
#include "backends/spirv/profiles.def"
};

struct AtomRow {
  std::string_view profile;
  int m, n, k;
  const char *layout_a, *layout_b, *layout_c;
};
constexpr AtomRow kAtoms[] = {
#define PROFILE_ATOM(profile, m, n, k, layout_a, layout_b, layout_c) {profile, m, n, k, layout_a, layout_b, layout_c},
#include "backends/spirv/profile_atoms.def"
};

Result<Atom> make_atom(const AtomRow& row) {
  Atom atom{.name = fmt::format("coopmat {}x{}x{} f16 f32", row.m, row.n, row.k), .m = row.m, .n = row.n, .k = row.k};
  atom.a = atom.b = types::f16;
  atom.c = types::f32;
  TRY_ASSIGN(atom.layout_a, parse_layout(row.layout_a));
  TRY_ASSIGN(atom.layout_b, parse_layout(row.layout_b));
  TRY_ASSIGN(atom.layout_c, parse_layout(row.layout_c));
  atom.source = MapSource::assumed;
  return atom;
}

Result<Target> make_target(const ProfileRow& row) {
  Target t{.name = std::string(row.name), .backend = Backend::spirv, .subgroup_size = row.subgroup_size};
  t.max_registers = row.registers;
  t.shared_bytes = row.shared_bytes;
  t.mma_f16_subnormals = row.mma_f16_subnormals;
  t.rte_f16 = t.rte_f32 = true;
  t.preserve_f16_denorm = row.preserve_f16;
  t.preserve_f32_denorm = row.preserve_f32;
  for (const AtomRow& atom_row : kAtoms) {
    if (atom_row.profile != row.name) continue;
    TRY_ASSIGN(Atom atom, make_atom(atom_row));
    t.atoms.push_back(std::move(atom));
  }
  append_fma_atoms(t);
  t.speed = speed_of(row.name);
  return t;
}

}  // namespace

std::vector<std::string_view> spirv_profile_names() {
  std::vector<std::string_view> names;
  for (const ProfileRow& row : kProfiles) names.push_back(row.name);
  return names;
}

Result<Target> spirv_profile(std::string_view name) {
  for (const ProfileRow& row : kProfiles)
    if (row.name == name) return make_target(row);
  return bad_input(fmt::format("no profile '{}'; there are {}", name, fmt::join(spirv_profile_names(), ", ")));
}

}  // namespace lathe
