#pragma once
// Thread IR: what one invocation does. SSA with structured control flow, explicit memory spaces, short vectors, matrix
// fragments. The operations are the rows of thread.def.
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ir/result.h"
#include "ir/ssa.h"
#include "ir/types.h"

namespace lathe::thread {

enum class Op : uint8_t {
#define THREAD_OP(name, operands, results, effect, doc) name,
#include "ir/thread.def"
};
enum class Effect : uint8_t { pure, reads, writes, control, barrier };
struct OpInfo {
  const char *name, *operands, *results;
  Effect effect;
  const char* doc;
};
const OpInfo& info(Op op);
inline constexpr int kOpCount = 0
#define THREAD_OP(name, operands, results, effect, doc) +1
#include "ir/thread.def"
    ;

enum class Scalar : uint8_t { b1, i8, i16, i32, i64, f16, bf16, f32 };
int bits(Scalar s);
enum class Use : uint8_t { none, a, b, c };

/// A scalar (lanes 1), a vector (2 or 4), or with use != none a matrix fragment of rows x cols of which every lane
/// holds `lanes` elements (a: m x k, b: k x n, c: m x n).
struct Type {
  Scalar scalar = Scalar::i32;
  uint8_t lanes = 1;
  Use use = Use::none;
  uint16_t rows = 0, cols = 0;
  bool operator==(const Type&) const = default;
  bool is_frag() const { return use != Use::none; }
  Type with(Scalar s) const { return {s, lanes, use, rows, cols}; }
  Type with_lanes(int n) const { return {scalar, static_cast<uint8_t>(n), use, rows, cols}; }
};
inline constexpr Type kBool{Scalar::b1}, kI8{Scalar::i8}, kI16{Scalar::i16}, kI32{Scalar::i32}, kI64{Scalar::i64},
    kF16{Scalar::f16}, kBF16{Scalar::bf16}, kF32{Scalar::f32}, kF16x2{Scalar::f16, 2}, kI32x2{Scalar::i32, 2},
    kI32x4{Scalar::i32, 4};
bool is_float(Scalar s);
/// The bits of one lane as Attr::imm of a constant holds them: integers sign-extended, floats and bools zero-extended.
int64_t canonical_bits(Scalar s, int64_t raw);
int total_bits(const Type& t);         ///< bits a lane; bool counts 1
std::string to_string(const Type& t);  ///< "i32", "f16x2", "f32[c 16x8 x4]"

struct Attr {
  Type type;  ///< the result type where the row says "attr"
  int64_t imm = 0;
  uint32_t index = 0;  ///< shared array
  std::string name;    ///< mma: the atom's instruction
  bool operator==(const Attr&) const = default;
};

struct SharedArray {
  std::string name;
  int64_t bytes = 0;     ///< a multiple of 16
  int access_bytes = 4;  ///< every access is a multiple of this wide and aligned to its own width: 1, 2, 4, 8 or 16
  int64_t align = 16;    ///< of its start, a power of two
};

/// A view of 16-bit elements, rows of `pitch`, as bulk_box reads it: box_rows x kBoxColumns elements at a time, each
/// row 128 bytes, 16-byte piece p of row r at p ^ (r % 8). The place is a multiple of 1024 bytes.
struct Box {
  /// A launch argument, or a constant where slot is negative.
  struct Number {
    int slot = -1;
    int64_t value = 0;
    bool operator==(const Number&) const = default;
  };
  int address = 0;              ///< slot of the launch argument; 16-byte aligned
  Number columns, rows, pitch;  ///< elements; the pitch is a multiple of 8
  int box_rows = 0;             ///< at most 256
  bool operator==(const Box&) const = default;
};
inline constexpr int kBoxColumns = 64, kMaxBoxRows = 256, kBoxElementBytes = 2;

struct Func : Graph<Op, Type, Attr> {
  std::string name;
  int subgroups = 1, subgroup_size = 32;  ///< threads of a workgroup = product
  int param_slots = 0;                    ///< launch arguments: 8 bytes each
  std::vector<SharedArray> shared;
  int bulk_barriers = 0;
  std::vector<Box> boxes;
  BlockId body = kNone;
  bool operator==(const Func&) const = delete;
};

/// Appends instructions to a block.
class Builder {
 public:
  Builder(Func& func, BlockId at) : f(func), block(at) {}
  Func& f;
  BlockId block;
  Loc loc;

  ValueId emit(Op op, std::vector<ValueId> args, Attr attr = {});  ///< one result, its type by the row's rule
  void effect(Op op, std::vector<ValueId> args, Attr attr = {});   ///< no result
  ValueId constant(Type t, int64_t raw);
  ValueId i32(int64_t v) { return constant(kI32, v); }
  ValueId i64(int64_t v) { return constant(kI64, v); }
  ValueId f32(float v);
  ValueId cvt(Op op, ValueId v, Type to) { return emit(op, {v}, {.type = to}); }
  const Type& type(ValueId v) const { return f.values[v].type; }

  struct Loop {
    InstId inst;
    BlockId body;
    ValueId index;
    std::vector<ValueId> carried;  ///< block parameters
  };
  /// Opens a loop and moves the insertion point into it; close it with end_loop(values of the next turn).
  Loop begin_loop(ValueId lo, ValueId hi, ValueId step, const std::vector<ValueId>& init);
  std::vector<ValueId> end_loop(const Loop& loop, const std::vector<ValueId>& next, BlockId outer);
  struct Cond {
    InstId inst;
    BlockId then_block, else_block;
  };
  struct While {
    InstId inst;
    BlockId condition, body;
    std::vector<ValueId> seen, carried;  ///< parameters of the condition and of the body
  };
  /// Opens a while in its condition; the caller yields a bool, sets `block` to the body and closes it with end_while.
  While begin_while(const std::vector<ValueId>& init);
  std::vector<ValueId> end_while(const While& loop, const std::vector<ValueId>& next, BlockId outer);
  /// Opens a conditional in its then-block; the caller sets `block` to else_block for the other branch, ends each with
  /// yield(values), and calls end_cond.
  Cond begin_cond(ValueId condition);
  void yield(const std::vector<ValueId>& values);
  std::vector<ValueId> end_cond(const Cond& cond, BlockId outer);
};

std::string print(const Func& f);
/// Operand classes and counts against the table, types, dominance, yields, shared arrays; the first fault found.
Result<Unit> verify(const Func& f);

// The passes (one file each in ir/pass). Each keeps meaning; all run to a fixed point where that is theirs.
void fold(Func& f);   ///< constants and identities
void cse(Func& f);    ///< equal pure values, dominating one kept
void hoist(Func& f);  ///< loop-invariant pure values leave their loops
void dce(Func& f);    ///< what nobody uses
/// Loops with a constant trip count of at most `max_trips` are unrolled.
void unroll(Func& f, int max_trips);
/// Adjacent scalar loads and stores (same base, neighbouring immediates) become vectors when alignment is known.
void vectorise(Func& f);
/// Between barriers and writes: what feeds the matrix instructions of a step goes before those of the step before it.
void interleave(Func& f);
/// mma_shared runs beside the thread: begins, commits and waits are put around it. The last pass: code after it no
/// longer reads as if each ended at once.
void group_matrices(Func& f);
/// The whole thread-level pipeline, in order.
void optimise(Func& f);
/// Constants in the operands a and b of these matrix instructions become values that no compiler after us knows.
void hide_constants(Func& f, const std::set<std::string>& instructions);

/// Host meaning of a pure operation on one lane's raw bits (constants): the definition that fold and the tests use.
/// `lane_type`: scalar type of operand 0; false when the operation has no host meaning on constants.
bool evaluate(Op op, const Attr& attr, Type result, const std::vector<Type>& types,
              const std::vector<std::vector<uint64_t>>& args, std::vector<uint64_t>& out);

}  // namespace lathe::thread
