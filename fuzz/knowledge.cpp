#include "fuzz/knowledge.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lathe::fuzz {
namespace {

using tile::Op;

/// The exceptions: everything else about an operation is read from its row in ir/tile.def.
constexpr Knowledge kKnown[] = {
    {Op::add, Spread::monotone},
    {Op::sub, Spread::monotone},
    {Op::mul, Spread::monotone},
    {Op::fma, Spread::monotone},
    {Op::neg, Spread::monotone},
    {Op::abs, Spread::monotone},
    {Op::min, Spread::monotone},
    {Op::max, Spread::monotone},
    {Op::cast, Spread::monotone},
    {Op::div, Spread::monotone, Domain::divisor},
    {Op::exp, Spread::monotone, Domain::small},
    {Op::exp2, Spread::monotone, Domain::small},
    {Op::log2, Spread::monotone, Domain::positive},
    {Op::sqrt, Spread::monotone, Domain::positive},
    {Op::rsqrt, Spread::monotone, Domain::positive},
    {Op::shl, Spread::unknown, Domain::count},
    {Op::shr, Spread::unknown, Domain::count},
    {Op::lt, Spread::compares},
    {Op::le, Spread::compares},
    {Op::eq, Spread::compares},
    {Op::ne, Spread::compares},
    {Op::select, Spread::moves},
    {Op::fill, Spread::moves},
    {Op::broadcast, Spread::moves},
    {Op::transpose, Spread::moves},
    {Op::reshape, Spread::moves},
    {Op::convert, Spread::moves},
    {Op::load, Spread::moves},
    {Op::item, Spread::moves},
    {Op::slice, Spread::moves},
    {Op::assign, Spread::moves},
    {Op::repeat, Spread::moves},
    {Op::reduce, Spread::sums},
    {Op::scan, Spread::sums},
    {Op::mma, Spread::sums},
    {Op::mma_scaled, Spread::sums},
};

struct Refusal {
  Op op;
  bool (*of)(Type);
  const char* why;
};
bool splits_bytes(Type t) { return t.bits < 8 && 8 % t.bits != 0; }
bool under_byte(Type t) { return t.bits < 8; }
bool is_bool_or_wide(Type t) { return t.kind == Kind::boolean || t.bits == 64 || splits_bytes(t); }
bool is_wide(Type t) { return t.bits == 64; }
bool is_integer(Type t) { return t.is_int(); }
bool made_by_pass(Type) { return true; }
constexpr Refusal kRefused[] = {
    {Op::gather, under_byte, "only plain rows of 8 bits an element or more"},
    {Op::scatter, under_byte, "only plain rows of 8 bits an element or more"},
    {Op::view, is_bool_or_wide, "no lowering for bool, 64 bits and codes that straddle words"},
    {Op::shared, under_byte, "shared tiles of under 8 bits an element"},
    {Op::reduce, is_wide, "64-bit reductions over subgroups"},
    {Op::cast_minus, [](Type t) { return t.bits >= 32; }, "only of integers under 32 bits"},
    {Op::mma, is_integer, "no target has an atom"},
    {Op::mma_scaled, is_integer, "no target has an atom"},
    {Op::convert, made_by_pass, "layout inference makes it"},
    {Op::room, made_by_pass, "pipelining makes it"},
    {Op::issue, made_by_pass, "pipelining makes it"},
    {Op::commit, made_by_pass, "pipelining makes it"},
    {Op::wait, made_by_pass, "pipelining makes it"},
    {Op::release, made_by_pass, "pipelining makes it"},
};

/// Calls try_args for every choice of operand types that may be well typed with elements of type `elem`.
/// The first tile has the shape `first`: rows are numbered by a tile of rank 1, an item is of one element.
template <class F>
bool any_arguments(Op op, Type elem, const Coord& first, const F& try_args) {
  const Type candidates[] = {elem, types::boolean, types::i32, types::f32, types::f16};
  const char* letters = tile::info(op).operands;
  size_t letter_count = 0;
  while (letters[letter_count] && letters[letter_count] != '*') letter_count++;
  std::vector<size_t> choice(letter_count, 0);
  for (;;) {
    std::vector<tile::Type> args;
    bool is_first = true;
    for (size_t i = 0; i < letter_count; i++) {
      const Type t = candidates[choice[i]];
      if (letters[i] == 's') args.push_back(tile::scalar_of(t));
      if (letters[i] == 'i') args.push_back(tile::scalar_of(types::i64));
      if (letters[i] == 'b') args.push_back(tile::scalar_of(types::boolean));
      if (letters[i] == 't' || letters[i] == 'e')
        args.push_back(tile::tile_of(t, std::exchange(is_first, false) ? first : Coord{8, 8}));
      if (letters[i] == 'v') {
        args.push_back({tile::Form::view, t, {8, 8}, false, {}});
        args.push_back(tile::scalar_of(types::i64));
        args.push_back(tile::scalar_of(types::i64));
      }
    }
    if (try_args(args)) return true;
    size_t i = 0;
    while (i < letter_count && ++choice[i] == std::size(candidates)) choice[i++] = 0;
    if (i == letter_count) return false;
  }
}

bool admits(Op op, Type elem) {
  for (const Coord& shape : {Coord{8, 8}, Coord{1, 0}}) {
    for (const Type of : {elem, types::i32}) {
      const tile::Attr attr{.elem = of, .shape = shape, .offset = {0, 0}, .imm = 1};
      const auto well_typed = [&](const std::vector<tile::Type>& args) {
        const auto result = tile::infer_result(op, args, attr);
        if (!result) return false;
        if (args.empty()) return *result && (*result)->elem == elem;
        return args[args[0].elem == types::boolean && args.size() > 1 ? args.size() - 1 : 0].elem == elem;
      };
      for (const Coord& first : {Coord{8, 8}, Coord{8}, Coord{1, 1}})
        if (any_arguments(op, elem, first, well_typed)) return true;
    }
  }
  return false;
}

}  // namespace

Knowledge knowledge_of(Op op) {
  for (const Knowledge& k : kKnown)
    if (k.op == op) return k;
  return {op};
}

const char* refusal(Op op, Type elem) {
  for (const Refusal& r : kRefused)
    if (r.op == op && r.of(elem)) return r.why;
  return nullptr;
}

const std::vector<Type>& element_types() {
  static const std::vector<Type> all = [] {
    std::vector<Type> out{
#define LATHE_TYPE(id, name, kind, bits, exp, man) types::id,
#include "ir/types.def"
    };
    for (int bits = 1; bits <= 8; bits++) out.push_back(types::uint_of(bits));
    for (int bits = 2; bits <= 8; bits++) out.push_back(types::sint_of(bits));
    return out;
  }();
  return all;
}

std::optional<Pair> pair_of(const tile::Func& f, const tile::Func::Inst& inst) {
  if (tile::info(inst.op).effect == tile::Effect::control) return std::nullopt;
  if (inst.args.empty()) return Pair{inst.op, f.type(inst.results.at(0)).elem};
  const bool led_by_bool = f.type(inst.args[0]).elem == types::boolean && f.type(inst.args[0]).form != tile::Form::view;
  return Pair{inst.op, f.type(led_by_bool && inst.args.size() > 1 ? inst.args.back() : inst.args[0]).elem};
}

std::vector<Pair> admitted_pairs() {
  std::vector<Pair> out;
  for (int i = 0; i < tile::kOpCount; i++) {
    const auto op = static_cast<Op>(i);
    if (tile::info(op).effect == tile::Effect::control) continue;
    for (const Type elem : element_types())
      if (!refusal(op, elem) && admits(op, elem)) out.push_back({op, elem});
  }
  return out;
}

char operand_class(Op op, size_t i, size_t count) {
  const char* letters = tile::info(op).operands;
  if (letters[0] != 'v') return letters[std::min(i, std::strlen(letters) - 1)];
  const size_t rank = count - std::strlen(letters);
  return i == 0 ? 'v' : i <= rank ? 'i' : letters[i - rank];
}

}  // namespace lathe::fuzz
