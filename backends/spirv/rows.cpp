#include "backends/spirv/rows.h"

#include <spirv/unified1/GLSL.std.450.h>

#include "backends/spirv/body.h"

namespace lathe::spirv {
namespace {

using thread::Scalar;
constexpr Scalars b1 = bit(Scalar::b1), i32 = bit(Scalar::i32), i64 = bit(Scalar::i64), f32 = bit(Scalar::f32),
                  bf16 = bit(Scalar::bf16);
constexpr Scalars ints = bit(Scalar::i8) | bit(Scalar::i16) | i32 | i64;
constexpr Scalars floats = bit(Scalar::f16) | f32;
constexpr Scalars every = b1 | ints | floats | bf16;

constexpr Row kRows[] = {
#define SPV_CORE(op, types, opcode) {thread::Op::op, types, Row::Form::core, word(spv::Op::opcode), nullptr},
#define SPV_EXACT(op, types, opcode) {thread::Op::op, types, Row::Form::exact, word(spv::Op::opcode), nullptr},
#define SPV_GLSL(op, types, name) {thread::Op::op, types, Row::Form::glsl, GLSLstd450##name, nullptr},
#define SPV_CODE(op, types, function) {thread::Op::op, types, Row::Form::code, 0, &Body::function},
#include "backends/spirv/rows.def"
};

bool matches(const Row& row, thread::Op op, Scalar scalar) { return row.op == op && (row.types & bit(scalar)) != 0; }

}  // namespace

const Row* find_row(thread::Op op, Scalar scalar) {
  for (const Row& row : kRows)
    if (matches(row, op, scalar)) return &row;
  return nullptr;
}

int matching_rows(thread::Op op, Scalar scalar) {
  int count = 0;
  for (const Row& row : kRows) count += matches(row, op, scalar);
  return count;
}

}  // namespace lathe::spirv
