#pragma once
// The state of one program in the making. generate.cpp: the whole and control; generate_operations.cpp: any row of the
// table; generate_memory.cpp: views, loads, stores, shared tiles; generate_products.cpp: matrix products;
// generate_effects.cpp: rows that could break a program or differ between devices, in a form that does neither.
#include <functional>
#include <optional>

#include "fuzz/facts.h"
#include "fuzz/knowledge.h"
#include "fuzz/program.h"
#include "fuzz/random.h"
#include "ir/target.h"

namespace lathe::fuzz {

class Generator {
 public:
  Generator(uint64_t seed, uint64_t index, const Target& target);
  Result<Program> run();

 private:
  using V = tile::V;
  using Maybe = std::optional<V>;
  /// An i64 scalar that is never negative: index of a loop, size, place in the grid.
  struct Index {
    V v;
    int64_t low, high;
  };
  struct View {
    V v;
    Coord shape;
    bool is_output, packed;
  };

  // generate.cpp
  void body(int steps);
  void step();
  void loop();
  std::vector<V> to_carry();
  Fact carried(const Fact& f) const;
  void branch();
  void outputs();
  void grid();
  Maybe condition();
  V clamped(V v, double most);

  // generate_operations.cpp
  Maybe operation(tile::Op op, Type elem);
  Maybe by_letters(tile::Op op, Type elem);
  tile::Attr attribute(tile::Op op, Type elem, const std::vector<tile::Type>& args);
  void into_domain(tile::Op op, std::vector<V>& args);
  Maybe broadcast(Type elem);
  Maybe reshape(Type elem);
  Maybe view(Type elem);
  Maybe make(tile::Op op, const std::vector<V>& args, tile::Attr attr);
  bool fits(Type elem, const Fact& f) const { return exact() ? is_exact(elem, f) : in_range(elem, f); }
  V like(Type elem, Coord shape, bool tame = false, int depth = 0);
  Maybe known(Type elem, const Coord& shape);
  V scalar(Type elem);
  V literal(Type elem, double value);
  Type any_element();
  Coord any_shape(Type elem);
  Coord split_shape(int64_t elements);
  Coord box_within(const Coord& shape);

  // generate_memory.cpp
  std::string size(int64_t value);
  View& new_view(Type elem, const Coord& shape, bool is_output, bool packed = false);
  V index_below(int64_t size, int64_t extent, int64_t multiple = 1);
  V load(Type elem, const Coord& shape);
  V load_from(const View& view, const Coord& shape, int64_t multiple = 1);
  /// A new output, and where this workgroup's own part of it starts.
  struct Part {
    V view;
    std::vector<V> at;
  };
  Part own_part(tile::Type t);
  bool store(V value);
  Maybe gather(tile::Op op, Type elem);
  Maybe scatter(tile::Op op, Type elem);
  Maybe atomic_add(tile::Op op, Type elem);
  V through_shared(V value);
  int64_t awkward(int64_t extent);

  // generate_products.cpp
  Maybe product(tile::Op op, Type elem, bool in_loop);
  Maybe operand_of_product(const Atom& atom, int64_t rows, int64_t columns, bool weights, std::optional<V> at);

  // generate_effects.cpp
  struct Exception {
    tile::Op op;
    Maybe (Generator::*build)(tile::Op op, Type elem);
    const char* why;
  };
  static const Exception kExceptions[];
  void exception();
  Maybe effect(tile::Op op, const std::vector<V>& args, tile::Attr attr = {});
  Maybe arrive(tile::Op op, Type elem);
  Maybe item(tile::Op op, Type elem);
  Maybe print(tile::Op op, Type elem);
  Maybe exit_if(tile::Op op, Type elem);
  Maybe holds(tile::Op op, Type elem);
  Maybe multiple(tile::Op op, Type elem);
  Maybe within(tile::Op op, Type elem);
  void while_loop();

  bool exact() const { return p_.data == Data::exact; }
  const tile::Type& type(V v) const { return b_.type(v); }
  const Fact& fact(V v) const { return facts_.at(v.id); }
  V note(V v, const Fact& f) {
    facts_[v.id] = f;
    return v;
  }
  V add(V v, const Fact& f);  ///< a value that later operations may use
  Layout any_layout(const Coord& shape);
  int64_t threads() const { return subgroups_ * target_.subgroup_size; }

  Random random_;
  const Target& target_;
  std::vector<Pair> pairs_;
  Pair focus_;
  Program p_;
  int64_t subgroups_ = 1;
  std::array<int, 3> split_{1, 1, 1};
  tile::Builder b_;
  bool aligned_ = false, pins_ = false;
  std::array<int64_t, 2> groups_{1, 1};
  std::map<ValueId, Fact> facts_;
  std::vector<V> values_;  ///< tiles and scalars in scope
  std::vector<Index> indices_;
  std::vector<View> views_;
  std::vector<std::pair<std::string, int64_t>> symbols_;
  std::vector<Coord> shapes_;  ///< of tiles, base of this program
  std::map<ValueId, int> uses_;
  int depth_ = 0, budget_ = 0, names_ = 0;
  bool has_product_ = false;
};

}  // namespace lathe::fuzz
