#include "ir/opaque.h"

#include <numeric>

namespace lathe {
namespace {

/// Lanes that get elements of their own when a lane holds runs of `run` elements of a `line`, of which there are
/// `lines`.
int64_t owners(int64_t lanes, int64_t lines, int64_t line, int64_t run) {
  const int64_t along_lines = std::gcd(lanes, lines);
  return along_lines * std::gcd(lanes / along_lines, line / run);
}

/// A matrix of `shape` whose lines run along dimension `d`.
Layout nominal(const Coord& shape, int d, Type elem, int64_t lanes) {
  const int other = 1 - d;
  const int64_t line = shape[static_cast<size_t>(d)], lines = shape[static_cast<size_t>(other)];
  int64_t run = 1;
  while (run * 2 * elem.bits <= 128 && line % (run * 2) == 0 &&
         owners(lanes, lines, line, run * 2) == owners(lanes, lines, line, 1))
    run *= 2;
  const int64_t across = std::gcd(lanes, lines), along = std::gcd(lanes / across, line / run);
  return Layout(shape, {{lanes / across / along, Mode::kReplicate, 0}, {along, d, run}, {across, other, 1}},
                {{lines / across, other, across}, {line / run / along, d, run * along}, {run, d, 1}});
}

}  // namespace

void make_opaque(Atom& atom, int subgroup_size) {
  atom.layout_a = nominal({atom.m, atom.k}, 1, atom.a, subgroup_size);
  atom.layout_b = nominal({atom.k, atom.n}, 0, atom.b, subgroup_size);
  atom.layout_c = nominal({atom.m, atom.n}, 0, atom.c, subgroup_size);
  atom.source = MapSource::opaque;
}

Target with_opaque_atoms(Target target) {
  for (Atom& atom : target.atoms)
    if (atom.source != MapSource::fma && atom.source != MapSource::published) make_opaque(atom, target.subgroup_size);
  return target;
}

}  // namespace lathe
