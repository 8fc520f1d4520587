// Any row of ir/tile.def, from its letters.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "fuzz/generator.h"

namespace lathe::fuzz {
namespace {

using tile::Op;

constexpr int kTries = 40;
constexpr int64_t kMostRepeated = 512;

int64_t elements_of(const Coord& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

bool loads_plain(Type elem) { return !refusal(Op::load, elem); }

}  // namespace

/// An instruction of this operation on this element type, and its result (an invalid V where it has none).
Generator::Maybe Generator::operation(Op op, Type elem) {
  for (const Exception* e = kExceptions; e->build; e++)
    if (e->op == op) return (this->*e->build)(op, elem);
  switch (op) {
    case Op::mma:
    case Op::mma_scaled:
      return product(op, elem, false);
    case Op::broadcast:
      return broadcast(elem);
    case Op::reshape:
      return reshape(elem);
    case Op::view:
      return view(elem);
    case Op::load:
      return add(load(elem, any_shape(elem)), any_value(elem));
    case Op::store: {
      const V v = like(elem, any_shape(elem));
      return store(v) ? Maybe(V{&b_, kNone}) : std::nullopt;
    }
    case Op::shared:
      return through_shared(like(elem, any_shape(elem)));
    case Op::group_id:
    case Op::ceildiv: {
      const Index& a = random_.pick(indices_);
      const int64_t by = random_.between(1, 5);
      const V v =
          op == Op::group_id ? b_.group_id(static_cast<int>(random_.below(3))) : b_.op(Op::ceildiv, {a.v, b_.lit(by)});
      const Coord shape = any_shape(types::i64);
      return add(b_.op(Op::fill, {note(v, {8, 1, true})}, {.elem = types::i64, .shape = shape}), {8, 1, true});
    }
    case Op::constant: {
      const V tile = b_.op(Op::fill, {literal(elem, 2)}, {.elem = elem, .shape = any_shape(elem)});
      return add(tile, {2, 1, true});
    }
    default:
      break;
  }
  for (int i = 0; i < kTries; i++)
    if (const Maybe made = by_letters(op, elem)) return made;
  return std::nullopt;
}

Generator::Maybe Generator::make(Op op, const std::vector<V>& args, tile::Attr attr) {
  std::vector<tile::Type> types;
  std::vector<Fact> facts;
  for (const V a : args) {
    types.push_back(type(a));
    facts.push_back(facts_.contains(a.id) ? fact(a) : Fact{});
  }
  const auto result = tile::infer_result(op, types, attr);
  if (!result) return std::nullopt;
  if (!*result) return effect(op, args, std::move(attr));
  const Fact f = fact_of(op, types, facts, attr, **result);
  const bool discontinuous =
      knowledge_of(op).spread == Spread::compares || op == Op::view || (op == Op::cast && !(*result)->elem.is_float());
  for (const Fact& in : facts)
    if (discontinuous && !in.certain) return std::nullopt;
  if (!fits((*result)->elem, f) && op != Op::view) return std::nullopt;
  for (const V a : args) uses_[a.id]++;
  const V v = b_.op(op, args, std::move(attr));
  if (pins_ && (*result)->is_tile() && (*result)->elem.bits >= 8 && op != Op::view && op != Op::reshape &&
      random_.percent(12))
    b_.pin(v, any_layout((*result)->shape));
  if (op == Op::view && (*result)->elem.is_float()) return note(v, {INFINITY, 0, true});
  return add(v, f);
}

/// Operands and attributes as the letters of the row say, at random; none where they turn out ill-typed.
Generator::Maybe Generator::by_letters(Op op, Type elem) {
  const std::string letters = tile::info(op).operands;
  const bool scalars = !letters.empty() && letters[0] == 'e' && random_.percent(12);
  const bool tame = random_.percent(50);
  const bool boxes = std::strchr(tile::info(op).attributes, 'o') != nullptr;
  Coord shape = any_shape(elem);
  std::vector<V> args;
  std::vector<tile::Type> types;
  for (size_t i = 0; i < letters.size(); i++) {
    Type of = elem;
    // A row may take a condition, an index or a number of another type beside its elements.
    if (i == 0 && letters == "eee" && op != Op::fma) of = types::boolean;
    if (letters[i] == 't' && i > 0 && !boxes && random_.percent(40)) of = types::i32;
    if (i > 0 && boxes) shape = box_within(shape);
    if (letters[i] == 's')
      args.push_back(scalar(elem));
    else if (letters[i] == 'i')
      args.push_back(random_.pick(indices_).v);
    else if (letters[i] == 'b')
      args.push_back(*condition());
    else if (scalars)
      args.push_back(scalar(of));
    else
      args.push_back(like(of, shape, tame && of == elem));
    if (!facts_.contains(args.back().id)) note(args.back(), any_value(type(args.back()).elem));
    types.push_back(type(args.back()));
  }
  into_domain(op, args);
  return make(op, args, attribute(op, elem, types));
}

tile::Attr Generator::attribute(Op op, Type elem, const std::vector<tile::Type>& args) {
  tile::Attr attr;
  const bool from_tile = !args.empty() && args[0].is_tile();
  const Coord shape = from_tile ? args[0].shape : any_shape(elem);
  std::optional<Coord> box;
  for (const char* letter = tile::info(op).attributes; *letter; letter++) {
    switch (*letter) {
      case 'T':
        attr.elem = any_element();
        break;
      case 'D':
        attr.elem = args.empty() && op != Op::constant ? (random_.percent(50) ? elem : types::i32) : elem;
        attr.shape = shape;
        break;
      case 'S':
        attr.shape = box ? *box : random_.percent(50) ? shape : any_shape(elem);
        break;
      case 'd':
        attr.imm = random_.below(static_cast<int64_t>(std::max<size_t>(1, shape.size())));
        break;
      case 'p': {
        attr.shape.resize(shape.size());
        std::iota(attr.shape.begin(), attr.shape.end(), 0);
        for (size_t i = attr.shape.size(); i > 1; i--)
          std::swap(attr.shape[i - 1], attr.shape[static_cast<size_t>(random_.below(static_cast<int64_t>(i)))]);
        break;
      }
      case 'k':
        attr.kind = random_.below(3);
        break;
      case 'z':
        attr.imm = random_.between(0, 8);
        break;
      case 'o':
        box = args.size() > 1 ? args[1].shape : box_within(shape);
        for (size_t d = 0; d < shape.size(); d++) attr.offset.push_back(random_.between(0, shape[d] - (*box)[d]));
        break;
      case 'c':
        attr.count = elements_of(shape) > kMostRepeated ? 1 : random_.between(1, 4);
        break;
      case 'n':
        attr.num = attr.kind = random_.below(3);
        break;
      default:
        break;
    }
  }
  return attr;
}

void Generator::into_domain(Op op, std::vector<V>& args) {
  const Domain domain = knowledge_of(op).domain;
  if (domain == Domain::any) return;
  const size_t which = domain == Domain::divisor || domain == Domain::count ? 1 : 0;
  V& x = args[which];
  const tile::Type t = type(x);
  const auto constant = [&](double value) {
    const V s = literal(t.elem, value);
    return t.is_tile() ? note(b_.op(Op::fill, {s}, {.elem = t.elem, .shape = t.shape}), fact(s)) : s;
  };
  const auto next = [&](Op by, const std::vector<V>& operands, double most) {
    return note(b_.op(by, operands), {most, fact(x).grain, fact(x).certain});
  };
  if (domain == Domain::count) {
    if (t.elem.bits == 1 || random_.percent(40)) {
      x = constant(static_cast<double>(random_.below(t.elem.bits)));
      return;
    }
    int bits = 0;
    while ((2 << bits) < t.elem.bits) bits++;
    x = next(Op::band, {x, constant((1 << bits) - 1)}, 64);
  } else if (t.elem.is_float() && domain == Domain::small) {
    x = next(Op::min, {x, constant(4)}, fact(x).most);
    x = next(Op::max, {x, constant(-4)}, 4);
  } else if (t.elem.is_float()) {  // positive, divisor
    const double least = domain == Domain::positive ? 0.125 : 0.5;
    x = next(Op::abs, {x}, fact(x).most);
    x = next(Op::max, {x, constant(least)}, fact(x).most);
    if (domain == Domain::divisor && random_.percent(50)) x = next(Op::neg, {x}, fact(x).most);
  }
}

Generator::Maybe Generator::broadcast(Type elem) {
  const Coord to = any_shape(elem);
  Coord from = to;
  for (int64_t& n : from)
    if (random_.percent(50)) n = 1;
  return make(Op::broadcast, {like(elem, from)}, {.shape = to});
}

Generator::Maybe Generator::reshape(Type elem) {
  const V v = like(elem, any_shape(elem));
  return make(Op::reshape, {v}, {.shape = split_shape(elements_of(type(v).shape))});
}

/// The bits of a row as another type: there, and mostly back or on.
Generator::Maybe Generator::view(Type elem) {
  for (int i = 0; i < kTries; i++) {
    const Type to = any_element();
    const Coord shape = any_shape(elem);
    if (refusal(Op::view, to) || shape.back() * elem.bits % to.bits) continue;
    const V from = like(elem, shape);
    if (!fact(from).certain) continue;
    const Maybe seen = make(Op::view, {from}, {.elem = to});
    if (!seen) continue;
    if (!to.is_float()) return seen;
    // Random bits as floats are mostly not finite: they only go back.
    const V back = b_.op(Op::view, {*seen}, {.elem = elem});
    return add(back, fact(from));
  }
  return std::nullopt;
}

tile::V Generator::literal(Type elem, double value) {
  if (elem.kind == Kind::boolean) value = value != 0;
  if (elem.kind == Kind::uint) value = std::min(std::abs(value), largest_whole(elem) - 1);
  if (elem.kind == Kind::sint) value = std::min(value, largest_whole(elem) - 1);
  const double v = elem.is_float() ? value : std::trunc(value);
  return note(b_.literal(elem, v, static_cast<int64_t>(v)), {std::abs(v), v == std::trunc(v) ? 1.0 : 0.125, true});
}

tile::V Generator::scalar(Type elem) {
  if (elem == types::i64 && random_.percent(60)) {
    const Index& i = random_.pick(indices_);
    return note(i.v, {static_cast<double>(i.high), 1, true});
  }
  std::vector<V> known;
  for (const V v : values_)
    if (type(v).is_scalar() && type(v).elem == elem) known.push_back(v);
  if (!known.empty() && random_.percent(60)) return random_.pick(known);
  if (elem.bits >= 32 && random_.percent(40) && names_ < 40) {
    const std::string name = "s" + std::to_string(names_++);
    const V v = b_.scalar(name, elem);
    p_.scalars[name] = Program::element(Data::exact, elem, static_cast<uint32_t>(random_.next()));
    return add(v, {2, 1, true});
  }
  if (random_.percent(30)) {
    const Type from = elem == types::i32 ? types::i64 : types::i32;
    const V s = scalar(from);
    const Fact f = elem.is_float() ? Fact{fact(s).most, 1, fact(s).certain} : any_value(elem);
    if (fits(elem, f) && fact(s).certain) return add(b_.op(Op::cast, {s}, {.elem = elem}), f);
  }
  return literal(elem, static_cast<double>(random_.between(-2, 2)));
}

Type Generator::any_element() { return random_.pick(element_types()); }

/// A base shape of the program, with rows of whole bytes for narrow elements.
Coord Generator::any_shape(Type elem) {
  Coord shape = random_.pick(shapes_);
  if (random_.percent(15))
    for (const V v : values_)
      if (type(v).is_tile() && random_.percent(30)) shape = type(v).shape;
  if (elem.bits < 8 && shape.back() % 8) shape.back() = 8;
  return shape;
}

Coord Generator::split_shape(int64_t elements) {
  Coord shape{1};
  for (int64_t n = elements, prime = 2; n > 1; prime++)
    for (; n % prime == 0; n /= prime) {
      if (shape.size() < 4 && shape.back() > 1 && random_.percent(35)) shape.push_back(1);
      shape.back() *= prime;
    }
  if (random_.percent(15) && shape.size() < 4) shape.insert(shape.begin(), 1);
  return shape;
}

/// The extents of a part of a tile.
Coord Generator::box_within(const Coord& shape) {
  Coord box;
  for (const int64_t n : shape) box.push_back(random_.percent(30) ? n : random_.between(1, n));
  return box;
}

/// A tile in scope of this type, at random.
Generator::Maybe Generator::known(Type elem, const Coord& shape) {
  std::vector<V> found;
  for (const V v : values_)
    if (type(v).is_tile() && type(v).elem == elem && type(v).shape == shape) found.push_back(v);
  if (found.empty()) return std::nullopt;
  return random_.pick(found);
}

/// A tile of this type: one in scope, or made of one, or loaded. `tame`: elements of small magnitude.
tile::V Generator::like(Type elem, Coord shape, bool tame, int depth) {
  const auto tamed = [&](V v) { return tame ? clamped(v, 2) : v; };
  if (random_.percent(60))
    if (const Maybe v = known(elem, shape); v && (!tame || fact(*v).most <= 2)) return *v;
  if (depth < 2 && random_.percent(25))
    for (const V v : values_)
      if (type(v).is_tile() && type(v).shape == shape && type(v).elem != elem && random_.percent(40) &&
          (fact(v).certain || (elem.is_float() && type(v).elem.is_float())))
        if (const Maybe made = make(Op::cast, {v}, {.elem = elem})) return tamed(*made);
  if (depth < 2 && random_.percent(10)) {
    Coord from = shape;
    from[static_cast<size_t>(random_.below(static_cast<int64_t>(from.size())))] = 1;
    if (from != shape && (elem.bits >= 8 || from.back() % 8 == 0))
      if (const Maybe made = make(Op::broadcast, {like(elem, from, tame, depth + 1)}, {.shape = shape}))
        return tamed(*made);
  }
  if (random_.percent(8) && elem != types::boolean) {
    const V s = scalar(elem);
    return tamed(note(b_.op(Op::fill, {s}, {.elem = elem, .shape = shape}), fact(s)));
  }
  if (random_.percent(8)) {
    const auto d = random_.below(static_cast<int64_t>(shape.size()));
    const V iota =
        note(b_.iota(shape, static_cast<int>(d)), {static_cast<double>(shape[static_cast<size_t>(d)]), 1, true});
    if (elem == types::i32) return iota;
    if (const Maybe made = make(Op::cast, {iota}, {.elem = elem})) return tamed(*made);
  }
  const bool whole_bytes = elem.bits >= 8 || shape.back() * elem.bits % 8 == 0;
  if (loads_plain(elem) && whole_bytes && (elem.bits >= 8 || random_.percent(10))) {
    const V v = load(elem, shape);
    return tame && !exact() ? tamed(v) : v;
  }
  const V wide = load(types::i32, shape);
  return note(b_.op(Op::cast, {wide}, {.elem = elem}), any_value(elem));
}

}  // namespace lathe::fuzz
