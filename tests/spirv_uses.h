#pragma once
// Small functions that use one operation, for every operation and type that the verifier admits.
#include <functional>
#include <set>
#include <string_view>

#include "ir/thread.h"

namespace lathe::thread {

inline constexpr Scalar kScalars[] = {Scalar::b1,  Scalar::i8,  Scalar::i16,  Scalar::i32,
                                      Scalar::i64, Scalar::f16, Scalar::bf16, Scalar::f32};

inline Func kernel(const std::function<void(Builder&)>& build, std::vector<SharedArray> shared = {}, int slots = 2) {
  Func f;
  f.name = "kernel";
  f.subgroups = 2;
  f.param_slots = slots;
  f.shared = std::move(shared);
  f.body = f.add_block();
  Builder b(f, f.body);
  build(b);
  return f;
}

inline ValueId argument(Builder& b, int64_t slot, Type t = kI64) {
  return b.emit(Op::param, {}, {.type = t, .imm = slot});
}

/// A value of the type that is no constant.
inline ValueId unknown(Builder& b, Type t) {
  if (t.lanes > 1) {
    const ValueId one = unknown(b, t.with_lanes(1));
    return b.emit(Op::vec, std::vector<ValueId>(t.lanes, one), {.type = t});
  }
  const int width = bits(t.scalar);
  if (t.scalar == Scalar::b1) return b.emit(Op::ne, {unknown(b, kI32), b.i32(0)});
  const Type memory = width == 8 ? kI8 : width == 16 ? kI16 : width == 32 ? kI32 : kI64;
  return b.cvt(Op::bitcast, b.emit(Op::load_global, {argument(b, 0)}, {.type = memory}), t);
}

inline bool is_bulk(Op op) { return std::string_view(info(op).name).starts_with("bulk"); }

using Source = std::function<ValueId(Builder&, Type, size_t operand)>;
using Sink = std::function<void(Builder&, ValueId)>;

/// One use of an operation: its leading type, and the result's where the row says attr. `source` gives the operands,
/// `sink` takes the result.
inline Func use_of(
    Op op, Type lead, Type result, const Source& source = [](Builder& b, Type t, size_t) { return unknown(b, t); },
    const Sink& sink = [](Builder&, ValueId) {}) {
  const bool bulk = is_bulk(op);
  Func f = kernel(
      [&](Builder& b) {
        std::vector<ValueId> args;
        for (const char* c = info(op).operands; *c != 0; c++) {
          if (*c == '?' || *c == '*' || c[1] == '?') continue;
          const bool second_is_i32 = op == Op::shl || op == Op::shr_u || op == Op::shr_s || op == Op::shuffle_index;
          Type t = lead;
          if (*c == 'a') t = kI64;
          if (*c == 'b') t = kBool;
          if (*c == 'o') t = kI32;
          if (second_is_i32 && c != info(op).operands) t = kI32;
          args.push_back(source(b, t, args.size()));
        }
        if (op == Op::vec) args.assign(result.lanes, args[0]);
        if (*info(op).results == 0)
          b.effect(op, args, {.type = result, .imm = bulk && op != Op::bulk_box ? 16 : 0});
        else
          sink(b, b.emit(op, args, {.type = result}));
      },
      {{"s", 256, 1}});
  if (bulk) f.bulk_barriers = 1, f.boxes = {{.box_rows = 8}};
  return f;
}

inline bool result_by_attr(Op op) { return std::string_view(info(op).results) == "attr"; }
inline bool is_fragment_op(Op op) { return op >= Op::frag_fill && op <= Op::frag_store_shared; }
inline bool is_control(Op op) { return info(op).effect == Effect::control; }

/// Every use of an operation that the verifier lets through, fragments and control flow aside.
inline void each_use(const std::function<void(Op, Type, Type, const Func&)>& visit) {
  for (int o = 0; o < kOpCount; o++) {
    const auto op = static_cast<Op>(o);
    if (is_fragment_op(op) || is_control(op)) continue;
    for (const Scalar lead : kScalars)
      for (const Scalar other : kScalars)
        for (const int lanes : {1, 2, 4}) {
          if (!result_by_attr(op) && other != lead) continue;
          const Type from = Type{lead}.with_lanes(op == Op::vec ? 1 : lanes);
          const Type to = Type{other}.with_lanes(op == Op::get ? 1 : lanes);
          const Func f = use_of(op, from, to);
          if (verify(f)) visit(op, from, to, f);
        }
  }
}

/// bf16 is moved and converted, no more, and not made of integers, which would round twice.
inline bool refused(Op op, Type from, Type to) {
  static const std::set<Op> kArithmetic{Op::add,  Op::sub,  Op::mul, Op::fdiv, Op::fma, Op::neg, Op::abs,
                                        Op::fmin, Op::fmax, Op::eq,  Op::ne,   Op::flt, Op::fle};
  for (const char* only_ptx : {"async", "matrix", "load_matrix", "launch", "bulk"})
    if (std::string_view(info(op).name).starts_with(only_ptx)) return true;
  if (op == Op::s2f || op == Op::u2f) return to.scalar == Scalar::bf16;
  return from.scalar == Scalar::bf16 && kArithmetic.contains(op);
}

}  // namespace lathe::thread
