#pragma once
// What fuzzing needs to know of an operation beyond its row in ir/tile.def. A row that is missing here is fuzzed too:
// its operands are tried until they are well typed, its result is taken to be exact for exact operands and unknown for
// any others.
#include <optional>
#include <vector>

#include "ir/tile.h"

namespace lathe::fuzz {

/// How an error of the operands goes on into the result.
enum class Spread : uint8_t {
  unknown,   ///< any inexact operand makes the result (element by element for `e` rows) unknown
  moves,     ///< the interpreter moves elements, and what is noted about them
  monotone,  ///< a float function, monotone in each operand: its largest change at the corners of the errors
  compares,  ///< certain where the errors cannot change the answer
  sums,      ///< a sum of products, in any order
};

/// What operands must be for the result to mean something.
enum class Domain : uint8_t {
  any,
  small,     ///< |x| <= 4: the result stays in range
  positive,  ///< x >= 1/8
  divisor,   ///< operand 1: |x| >= 1/2
  count,     ///< operand 1: 0 <= n < width
};

struct Knowledge {
  tile::Op op;
  Spread spread = Spread::unknown;
  Domain domain = Domain::any;
};
/// The row of `op`, or one that says nothing.
Knowledge knowledge_of(tile::Op op);

/// Why no target compiles an operation on an element type, though it is well typed; null where it does.
const char* refusal(tile::Op op, Type elem);

/// Every element type a tile may have.
const std::vector<Type>& element_types();
/// The operation with its element type: that of the first operand, past select's condition; of the result where there
/// is none.
struct Pair {
  tile::Op op;
  Type elem;
  bool operator==(const Pair&) const = default;
};
/// Of an instruction of f; none for control and for rows without an element type.
std::optional<Pair> pair_of(const tile::Func& f, const tile::Func::Inst& inst);
/// Every pair that is well typed, and that `refusal` does not name: the rows of ir/tile.def against infer_result.
std::vector<Pair> admitted_pairs();

/// Part of a row's letters: the class of operand `i` of `count`.
char operand_class(tile::Op op, size_t i, size_t count);

}  // namespace lathe::fuzz
