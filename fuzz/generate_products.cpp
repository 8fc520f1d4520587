// Matrix products as the target's atoms have them: alone or over a loop, of loaded, computed and packed operands.
#include <algorithm>

#include "fuzz/generator.h"

namespace lathe::fuzz {

using tile::Op;

/// a or b of a product: what is in scope, a load, or codes made into the type of the atom.
Generator::Maybe Generator::operand_of_product(const Atom& atom, int64_t rows, int64_t columns, bool weights,
                                               std::optional<V> at) {
  const Type elem = atom.a;
  const Coord shape{rows, columns};
  if (weights && random_.percent(35)) {
    static const std::vector<Type> codes{types::u4, types::i4, types::u8, types::i8};
    const Type code = random_.percent(25) ? elem : random_.pick(codes);
    const bool packed = random_.percent(50);
    Coord extents{rows * random_.between(1, 2), columns * random_.between(1, 2)};
    for (int64_t& n : extents)
      if (random_.percent(50)) n = std::max<int64_t>(1, n - random_.between(0, 7));
    if (aligned_ && !packed) extents[1] = std::max<int64_t>(columns, 32);
    const View view = new_view(code, extents, false, packed);
    const V zero = b_.lit(0);
    std::vector<V> index{zero, zero};
    if (at)
      index[1] = b_.op(Op::mul, {*at, b_.lit(columns)});
    else if (random_.percent(50))
      index[0] = b_.op(Op::mul, {b_.group_id(0), b_.lit(rows)});
    const V v = note(b_.load(view.v, index, shape), exact() ? Fact{2, 1, true} : any_value(code));
    if (code == elem) return v;
    if (random_.percent(30)) return make(Op::cast_minus, {v}, {.elem = elem, .imm = random_.between(0, 8)});
    const Maybe cast = make(Op::cast, {v}, {.elem = elem});
    if (!cast || random_.percent(50)) return cast;
    const V z = b_.op(Op::fill, {literal(elem, 2)}, {.elem = elem, .shape = shape});
    return make(Op::sub, {*cast, note(z, {2, 1, true})}, {});
  }
  const bool turned = random_.percent(30);
  const V v = like(elem, turned ? Coord{columns, rows} : shape, true);
  return turned ? make(Op::transpose, {v}, {.shape = {1, 0}}) : Maybe(v);
}

Generator::Maybe Generator::product(Op op, Type elem, bool in_loop) {
  std::vector<const Atom*> atoms;
  for (const Atom& a : target_.atoms)
    if (a.a == elem && !a.b_in_shared && (op == Op::mma || a.c == types::f32)) atoms.push_back(&a);
  if (atoms.empty()) return std::nullopt;
  const Atom& atom = *random_.pick(atoms);
  const int64_t m = int64_t{split_[0]} * atom.m * (random_.percent(75) ? 1 : 2);
  const int64_t n = int64_t{split_[1]} * atom.n * (random_.percent(60) ? 1 : 2);
  const int64_t least = atom.k == 1 ? random_.between(1, 8) : 1;
  const int64_t k = int64_t{split_[2]} * atom.k * least * (random_.percent(50) ? 1 : 4);
  std::optional<V> at;
  if (in_loop && random_.percent(70)) at = indices_.back().v;
  const Maybe a = operand_of_product(atom, m, k, true, at), b = operand_of_product(atom, k, n, false, std::nullopt);
  if (!a || !b) return std::nullopt;
  const V c = like(atom.c, {m, n}, true);
  Maybe made;
  if (op == Op::mma_scaled) {
    const int64_t groups = random_.percent(50) ? split_[2] : 1;
    const V s = like(random_.percent(50) ? types::f16 : types::f32, {m, groups}, true);
    made = make(op, {*a, s, *b, c}, {});
  } else {
    made = make(op, {*a, *b, c}, {});
  }
  has_product_ = has_product_ || made;
  return made;
}

}  // namespace lathe::fuzz
