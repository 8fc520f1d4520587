#pragma once
// The emission table (rows.def) and the search in it.
#include <cstdint>

#include "ir/thread.h"

namespace lathe::spirv {

class Body;

/// A set of scalars, one bit each.
using Scalars = uint32_t;
constexpr Scalars bit(thread::Scalar s) { return Scalars{1} << static_cast<int>(s); }

struct Row {
  enum class Form : uint8_t { core, exact, glsl, code };
  using Code = Result<Unit> (Body::*)(const thread::Func::Inst&);
  thread::Op op;
  Scalars types;
  Form form;
  uint32_t opcode;  ///< core, exact: spv::Op; glsl: GLSLstd450
  Code code;
};

/// The row for an operation on this scalar, or null.
const Row* find_row(thread::Op op, thread::Scalar scalar);
/// How many rows match: at most one, a test sees to it.
int matching_rows(thread::Op op, thread::Scalar scalar);

}  // namespace lathe::spirv
