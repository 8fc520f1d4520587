#include "backends/fma_atom.h"

#include <fmt/format.h>

namespace lathe {

Atom fma_atom(int lanes_m, int lanes_n, Type ab) {
  const int64_t m = lanes_m, n = lanes_n;
  const Mode copies_m{m, Mode::kReplicate, 0}, copies_n{n, Mode::kReplicate, 0};
  Atom atom{.name = fmt::format("fma {}x{}", m, n), .m = lanes_m, .n = lanes_n, .k = 1};
  atom.a = atom.b = ab;
  atom.c = types::f32;
  atom.layout_a = Layout({m, 1}, {{m, 0, 1}, copies_n}, {});
  atom.layout_b = Layout({1, n}, {copies_m, {n, 1, 1}}, {});
  atom.layout_c = Layout({m, n}, {{m, 0, 1}, {n, 1, 1}}, {});
  atom.source = MapSource::fma;
  return atom;
}

void append_fma_atoms(Target& target) {
  for (int lanes_n = 1; lanes_n * lanes_n <= target.subgroup_size; lanes_n *= 2)
    for (const Type ab : {types::f16, types::bf16, types::f32})
      target.atoms.push_back(fma_atom(target.subgroup_size / lanes_n, lanes_n, ab));
}

}  // namespace lathe
