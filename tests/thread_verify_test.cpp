// verify: each rule broken once, and the message that names it.
#include <doctest/doctest.h>

#include <functional>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

struct Kernel {
  Func f;
  Builder b{f, kNone};
  ValueId pointer, thread, real, yes;
  Kernel() {
    f.name = std::string("k");
    f.param_slots = 2;
    f.shared = {{"tile", 256, 4}};
    f.body = b.block = f.add_block();
    pointer = b.emit(Op::param, {}, {.type = kI64});
    thread = b.emit(Op::thread_id, {}, {.type = kI32});
    real = b.f32(1);
    yes = b.constant(kBool, 1);
  }
  ValueId zero() { return b.i32(0); }
  Func::Inst& last() { return f.inst(f.blocks[b.block].insts.back()); }
};

constexpr Type kA{Scalar::f16, 4, Use::a, 16, 8}, kB{Scalar::f16, 2, Use::b, 8, 8}, kC{Scalar::f32, 4, Use::c, 16, 8};

struct Case {
  const char* message;
  std::function<void(Kernel&)> build;
};

const Case kCases[] = {
    {"add has 1 operands", [](Kernel& k) { k.b.emit(Op::add, {k.thread}); }},
    {"operand 0 is bool, expected a number",
     [](Kernel& k) {
       k.b.emit(Op::add, {k.yes, k.yes});
     }},
    {"operand 1 is f32, operand 0 is i32",
     [](Kernel& k) {
       k.b.emit(Op::add, {k.thread, k.real});
     }},
    {"operand 0 is f32, expected an integer",
     [](Kernel& k) {
       k.b.emit(Op::div_s, {k.real, k.real});
     }},
    {"operand 0 is i32, expected a float",
     [](Kernel& k) {
       k.b.emit(Op::flt, {k.thread, k.thread});
     }},
    {"a float",
     [](Kernel& k) {
       k.b.emit(Op::band, {k.real, k.real});
     }},
    {"the count is not i32",
     [](Kernel& k) {
       k.b.emit(Op::shl, {k.pointer, k.pointer});
     }},
    {"expected f32", [](Kernel& k) { k.b.emit(Op::exp2, {k.b.constant(kF16, 0)}); }},
    {"the two values differ in type",
     [](Kernel& k) {
       k.b.emit(Op::select, {k.yes, k.thread, k.real});
     }},
    {"operand 0 is i32, expected a scalar bool",
     [](Kernel& k) {
       k.b.emit(Op::select, {k.thread, k.thread, k.thread});
     }},
    {"the width goes the other way", [](Kernel& k) { k.b.cvt(Op::zext, k.pointer, kI32); }},
    {"the width goes the other way", [](Kernel& k) { k.b.cvt(Op::trunc, k.thread, kI64); }},
    {"to f32", [](Kernel& k) { k.b.cvt(Op::sext, k.thread, kF32); }},
    {"a conversion keeps the lanes", [](Kernel& k) { k.b.cvt(Op::fcvt, k.real, kF16x2); }},
    {"the two types differ in width", [](Kernel& k) { k.b.cvt(Op::bitcast, k.pointer, kF16x2); }},
    {"the result is not i64",
     [](Kernel& k) { k.b.cvt(Op::zext, k.thread, kI64), k.last().attr.type = kI64, k.f.values.back().type = kI32; }},
    {"no value is i32x3", [](Kernel& k) { k.b.cvt(Op::bitcast, k.thread, kI32.with_lanes(3)); }},
    {"1 lanes are given", [](Kernel& k) { k.b.emit(Op::vec, {k.thread}, {.type = kI32x2}); }},
    {"lane 1 is f32",
     [](Kernel& k) {
       k.b.emit(Op::vec, {k.thread, k.real}, {.type = kI32x2});
     }},
    {"no such lane", [](Kernel& k) { k.b.emit(Op::get, {k.b.constant(kI32x2, 1)}, {.type = kI32, .imm = 2}); }},
    {"expected a vector", [](Kernel& k) { k.b.emit(Op::get, {k.thread}, {.type = kI32}); }},
    {"no such parameter slot", [](Kernel& k) { k.b.emit(Op::param, {}, {.type = kI64, .imm = 2}); }},
    {"a parameter is i64, i32 or f32", [](Kernel& k) { k.b.emit(Op::param, {}, {.type = kF16}); }},
    {"no such axis", [](Kernel& k) { k.b.emit(Op::group_id, {}, {.type = kI32, .imm = 3}); }},
    {"expected i32", [](Kernel& k) { k.b.emit(Op::thread_id, {}, {.type = kI64}); }},
    {"operand 0 is i32, expected an i64 address",
     [](Kernel& k) { k.b.emit(Op::load_global, {k.thread}, {.type = kI32}); }},
    {"operand 1 is i32, expected a scalar bool",
     [](Kernel& k) {
       k.b.emit(Op::load_global, {k.pointer, k.thread}, {.type = kI32});
     }},
    {"memory holds i8, i16, i32", [](Kernel& k) { k.b.emit(Op::load_global, {k.pointer}, {.type = kF32}); }},
    {"memory holds i8, i16, i32",
     [](Kernel& k) {
       k.b.effect(Op::store_global, {k.pointer, k.b.constant(kI8.with_lanes(4), 1)});
     }},
    {"operand 0 is i64, expected an i32 offset",
     [](Kernel& k) { k.b.emit(Op::load_shared, {k.pointer}, {.type = kI32}); }},
    {"no such shared array", [](Kernel& k) { k.b.emit(Op::load_shared, {k.thread}, {.type = kI32, .index = 1}); }},
    {"2 bytes, accesses are of 4", [](Kernel& k) { k.b.emit(Op::load_shared, {k.thread}, {.type = kI16}); }},
    {"byte 8 is not aligned to 16",
     [](Kernel& k) { k.b.emit(Op::load_shared, {k.zero()}, {.type = kI32x4, .imm = 8}); }},
    {"at byte 256 of 256",
     [](Kernel& k) {
       k.b.effect(Op::store_shared, {k.zero(), k.thread}, {.imm = 256});
     }},
    {"shared array tile has 8 bytes", [](Kernel& k) { k.f.shared[0].bytes = 8; }},
    {"expected a 32-bit scalar", [](Kernel& k) { k.b.emit(Op::shuffle_xor, {k.pointer}, {.imm = 1}); }},
    {"the lane is not i32",
     [](Kernel& k) {
       k.b.emit(Op::shuffle_index, {k.thread, k.pointer});
     }},
    {"not a scalar of the fragment", [](Kernel& k) { k.b.emit(Op::frag_fill, {k.real}, {.type = kA}); }},
    {"3 elements are given",
     [](Kernel& k) {
       k.b.emit(Op::frag_make, {k.real, k.real, k.real}, {.type = kC});
     }},
    {"element 0 is i32", [](Kernel& k) { k.b.emit(Op::frag_make, {k.thread}, {.type = kC}); }},
    {"no such element",
     [](Kernel& k) {
       k.b.emit(Op::frag_get, {k.b.emit(Op::frag_fill, {k.real}, {.type = kC})}, {.type = kF32, .imm = 4});
     }},
    {"operand 0 is f32, expected a matrix fragment",
     [](Kernel& k) { k.b.emit(Op::frag_get, {k.real}, {.type = kF32}); }},
    {"a fragment",
     [](Kernel& k) {
       const ValueId c = k.b.emit(Op::frag_fill, {k.real}, {.type = kC});
       k.b.emit(Op::select, {k.yes, c, c});
     }},
    {"the fragments are not a, b, c",
     [](Kernel& k) {
       const ValueId c = k.b.emit(Op::frag_fill, {k.real}, {.type = kC});
       k.b.emit(Op::mma, {c, c, c}, {.name = "mma"});
     }},
    {"the fragments do not fit together",
     [](Kernel& k) {
       const ValueId half = k.b.constant(kF16, 0);
       const Type wide{Scalar::f16, 4, Use::b, 16, 8};
       const ValueId a = k.b.emit(Op::frag_fill, {half}, {.type = kA}),
                     b = k.b.emit(Op::frag_fill, {half}, {.type = wide});
       k.b.emit(Op::mma, {a, b, k.b.emit(Op::frag_fill, {k.real}, {.type = kC})}, {.name = "mma"});
     }},
    {"the instruction has no name",
     [](Kernel& k) {
       const ValueId half = k.b.constant(kF16, 0);
       const ValueId a = k.b.emit(Op::frag_fill, {half}, {.type = kA}),
                     b = k.b.emit(Op::frag_fill, {half}, {.type = kB});
       k.b.emit(Op::mma, {a, b, k.b.emit(Op::frag_fill, {k.real}, {.type = kC})});
     }},
    {"an operand is not defined here",
     [](Kernel& k) {
       const auto loop = k.b.begin_loop(k.thread, k.thread, k.thread, {});
       const ValueId inner = k.b.emit(Op::add, {loop.index, loop.index});
       k.b.end_loop(loop, {}, k.f.body);
       k.b.emit(Op::add, {inner, inner});
     }},
    {"an operand is not defined here",
     [](Kernel& k) {
       const ValueId later = k.b.emit(Op::add, {k.thread, k.thread});
       auto& insts = k.f.blocks[k.f.body].insts;
       k.b.emit(Op::add, {later, later});
       std::swap(insts[insts.size() - 1], insts[insts.size() - 2]);
     }},
    {"a bound is not i32",
     [](Kernel& k) { k.b.end_loop(k.b.begin_loop(k.thread, k.pointer, k.thread, {}), {}, k.f.body); }},
    {"the results of the block's owner are 1, expected 0",
     [](Kernel& k) {
       const auto loop = k.b.begin_loop(k.thread, k.thread, k.thread, {k.thread});
       k.b.end_loop(loop, {}, k.f.body);
     }},
    {"the results of the block's owner: 0 is i32, expected f32",
     [](Kernel& k) {
       const auto loop = k.b.begin_loop(k.thread, k.thread, k.thread, {k.thread});
       k.b.end_loop(loop, {k.real}, k.f.body);
     }},
    {"the parameters: 0 is i64, expected i32",
     [](Kernel& k) {
       const auto loop = k.b.begin_loop(k.thread, k.thread, k.thread, {k.thread});
       k.b.end_loop(loop, {k.thread}, k.f.body);
       k.f.values[loop.carried[0]].type = kI64;
     }},
    {"a nested block does not end with its only yield",
     [](Kernel& k) {
       k.b.begin_loop(k.thread, k.thread, k.thread, {});
       k.zero();
     }},
    {"a nested block without a yield", [](Kernel& k) { k.b.begin_loop(k.thread, k.thread, k.thread, {}); }},
    {"the body has a yield", [](Kernel& k) { k.b.yield({}); }},
    {"an instruction is out of range or used twice", [](Kernel& k) { k.f.blocks[k.f.body].insts.push_back(0); }},
    {"a block is out of range or used twice",
     [](Kernel& k) {
       const auto loop = k.b.begin_loop(k.thread, k.thread, k.thread, {});
       k.b.end_loop(loop, {}, k.f.body);
       k.f.inst(loop.inst).blocks[0] = k.f.body;
     }},
    {"an operand names no value",
     [](Kernel& k) {
       k.b.emit(Op::add, {k.thread, k.thread}), k.last().args[1] = 1000;
     }},
    {"a value names another definition", [](Kernel& k) { k.zero(), k.f.values.back().def = 0; }},
    {"a branch has parameters",
     [](Kernel& k) {
       const auto cond = k.b.begin_cond(k.yes);
       k.b.yield({});
       k.b.block = cond.else_block;
       k.b.yield({});
       k.f.add_param(cond.else_block, kI32);
       k.b.end_cond(cond, k.f.body);
     }},
    {"an offset out of range",
     [](Kernel& k) { k.b.emit(Op::load_global, {k.pointer}, {.type = kI32, .imm = INT64_MAX}); }},
    {"an offset out of range",
     [](Kernel& k) { k.b.emit(Op::load_shared, {k.b.i32(1)}, {.type = kI32, .imm = INT64_MAX}); }},
    {"a workgroup of over 65536 threads", [](Kernel& k) { k.f.subgroups = INT32_MAX; }},
    {"over 1073741824 shared bytes",
     [](Kernel& k) {
       k.f.shared = {{"a", int64_t{1} << 62, 4}, {"b", int64_t{1} << 62, 4}};
     }},
    {"blocks nested over 1000 deep",
     [](Kernel& k) {
       std::vector<BlockId> around{k.f.body};
       std::vector<Builder::Loop> loops;
       for (int i = 0; i < 50000; i++) {
         loops.push_back(k.b.begin_loop(k.thread, k.thread, k.thread, {}));
         around.push_back(loops.back().body);
       }
       for (size_t i = loops.size(); i-- > 0;) k.b.end_loop(loops[i], {}, around[i]);
     }},
};

TEST_CASE("the function without a fault is accepted") {
  const Kernel k;
  CHECK(verify(k.f));
}

TEST_CASE("each fault is named, with the instruction") {
  for (const Case& c : kCases) {
    Kernel k;
    c.build(k);
    const auto result = verify(k.f);
    INFO(c.message);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Error::Code::internal);
    INFO(result.error().text);
    CHECK(result.error().text.find(c.message) != std::string::npos);
  }
}

TEST_CASE("a message shows the instruction as print does") {
  Kernel k;
  k.b.emit(Op::load_shared, {k.zero(), k.yes}, {.type = kI16, .imm = 4});
  const auto result = verify(k.f);
  REQUIRE_FALSE(result);
  CHECK(result.error().text ==
        "internal error: k: 2 bytes, accesses are of 4\n  %5: i16 = load_shared @0[%4 + 4] if %3");
}

}  // namespace
}  // namespace lathe::thread
