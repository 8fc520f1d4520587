#include "backends/ptx/target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/fma_atom.h"
#include "backends/ptx/features.h"
#include "backends/speed.h"

namespace lathe {
namespace ptx {
namespace {

constexpr TargetRow kTargets[] = {
#define PTX_TARGET(name, isa, shared, features) {name, isa, shared, features},
#include "backends/ptx/targets.def"
};

struct AtomRow {
  const char* instruction;
  int m, n, k;
  Type a, b, c;
  const char *layout_a, *layout_b, *layout_c;
  Features feature;
  int isa, subgroups = 1;
};
struct MatrixLoadRow {
  const char *instruction, *registers, *addresses;
};
constexpr MatrixLoadRow kMatrixLoads[] = {
#define PTX_MATRIX_LOAD(instruction, registers, addresses) {instruction, registers, addresses},
#include "backends/ptx/atoms.def"
};
constexpr const char* kLayoutA = "16x16 T[8:m1 4:k2] S[2:k8 2:m8 2:k1]";  ///< of a subgroup's rows of a warpgroup's A
constexpr AtomRow kAtoms[] = {
#define PTX_ATOM(instruction, m, n, k, a, b, c, layout_a, layout_b, layout_c, feature, isa) \
  {instruction, m, n, k, types::a, types::b, types::c, layout_a, layout_b, layout_c, feature, isa},
#define PTX_WARPGROUP_ATOM(instruction, n, ab, layout_b, layout_c) \
  {instruction, 16, n, 16, types::ab, types::ab, types::f32, kLayoutA, layout_b, layout_c, kMmaWarpgroup, 80, 4},
#include "backends/ptx/atoms.def"
};

Result<Atom> make_atom(const AtomRow& row) {
  Atom atom{.name = row.instruction, .m = row.m, .n = row.n, .k = row.k, .a = row.a, .b = row.b, .c = row.c};
  TRY_ASSIGN(atom.layout_a, parse_layout(row.layout_a));
  TRY_ASSIGN(atom.layout_b, parse_layout(row.layout_b));
  TRY_ASSIGN(atom.layout_c, parse_layout(row.layout_c));
  atom.source = MapSource::published;
  atom.subgroups = row.subgroups;
  atom.b_in_shared = row.subgroups > 1;
  return atom;
}

}  // namespace

const TargetRow* find_target(std::string_view name) {
  for (const TargetRow& row : kTargets)
    if (row.name == name) return &row;
  return nullptr;
}

int atom_isa(std::string_view instruction) {
  for (const AtomRow& row : kAtoms)
    if (row.instruction == instruction) return row.isa;
  return 0;
}

}  // namespace ptx

std::vector<std::string_view> ptx_target_names() {
  std::vector<std::string_view> names;
  for (const ptx::TargetRow& row : ptx::kTargets) names.push_back(row.name);
  return names;
}

Result<Target> ptx_target(std::string_view name) {
  const ptx::TargetRow* row = ptx::find_target(name);
  if (row == nullptr)
    return bad_input(fmt::format("no PTX target '{}'; there are {}", name, fmt::join(ptx_target_names(), ", ")));
  Target target{.name = row->name, .backend = Backend::ptx, .shared_bytes = row->shared_bytes};
  target.mma_f16_subnormals = true;
  target.bf16_arithmetic = (row->features & ptx::kBf16) != 0;
  target.rte_f16 = target.rte_f32 = true;
  target.preserve_f16_denorm = target.preserve_f32_denorm = true;
  target.ptx_isa = row->isa;
  target.async_copy = (row->features & ptx::kAsyncCopy) != 0;
  target.bulk_copy = (row->features & ptx::kBulkCopy) != 0;
  target.overlapped_launch = (row->features & ptx::kOverlappedLaunch) != 0;
  for (const ptx::AtomRow& atom_row : ptx::kAtoms) {
    if ((row->features & atom_row.feature) == 0) continue;
    TRY_ASSIGN(Atom atom, ptx::make_atom(atom_row));
    target.atoms.push_back(std::move(atom));
  }
  for (const ptx::MatrixLoadRow& load_row : ptx::kMatrixLoads) {
    MatrixLoad load{.name = load_row.instruction};
    TRY_ASSIGN(load.registers, parse_layout(load_row.registers));
    TRY_ASSIGN(load.addresses, parse_layout(load_row.addresses));
    target.matrix_loads.push_back(std::move(load));
  }
  append_fma_atoms(target);
  target.speed = speed_of(name);
  return target;
}

}  // namespace lathe
