#include "backends/sim/lane_map.h"

namespace lathe::sim {
namespace {

std::vector<std::vector<uint32_t>> table_of(const Layout& l) {
  std::vector<std::vector<uint32_t>> table(static_cast<size_t>(l.threads()));
  for (int64_t t = 0; t < l.threads(); t++)
    for (int64_t s = 0; s < l.slots(); s++) {
      const Coord at = l.at(t, s);
      table[static_cast<size_t>(t)].push_back(static_cast<uint32_t>(at[0] * l.shape()[1] + at[1]));
    }
  return table;
}

}  // namespace

thread::Scalar fragment_scalar(Type elem) {
  if (elem == types::f16) return thread::Scalar::f16;
  if (elem == types::bf16) return thread::Scalar::bf16;
  if (elem == types::f32) return thread::Scalar::f32;
  return elem.bits == 8 ? thread::Scalar::i8 : thread::Scalar::i32;
}

MatrixUnit::MatrixUnit(const Target& target) {
  for (const Atom& atom : target.atoms) {
    if (atom.source == MapSource::fma) continue;
    add(thread::Use::a, fragment_scalar(atom.a), atom.m, atom.k, table_of(atom.layout_a));
    add(thread::Use::b, fragment_scalar(atom.b), atom.k, atom.n, table_of(atom.layout_b));
    add(thread::Use::c, fragment_scalar(atom.c), atom.m, atom.n, table_of(atom.layout_c));
  }
}

void MatrixUnit::add(thread::Use use, thread::Scalar scalar, int rows, int cols,
                     const std::vector<std::vector<uint32_t>>& table) {
  const size_t lanes = table.size(), slots = table[0].size();
  constexpr uint32_t kNowhere = ~0u;
  LaneMap map{rows, cols, static_cast<int>(slots), std::vector<uint32_t>(lanes * slots), {}, false};
  map.home.assign(static_cast<size_t>(rows) * static_cast<size_t>(cols), kNowhere);
  for (size_t s = 0; s < slots; s++)
    for (size_t lane = 0; lane < lanes; lane++) {
      const uint32_t element = table[lane][s];
      map.element[s * lanes + lane] = element;
      if (map.home[element] == kNowhere)
        map.home[element] = static_cast<uint32_t>(s * lanes + lane);
      else
        map.copied = true;
    }
  maps_.try_emplace({use, scalar, rows, cols}, std::move(map));
}

const LaneMap* MatrixUnit::find(const thread::Type& f) const {
  const auto it = maps_.find({f.use, f.scalar, f.rows, f.cols});
  return it == maps_.end() ? nullptr : &it->second;
}

}  // namespace lathe::sim
