// The printed form of the thread IR.
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

TEST_CASE("print: every kind of line") {
  Kernel k;
  k.f.shared = {{"tile", 256, 4}};
  Builder& b = k.b;
  const ValueId half = b.constant(kF16, 0x3800), yes = b.constant(kBool, 1), n = b.i32(-4);
  const Type fa{Scalar::f16, 4, Use::a, 16, 8}, fb{Scalar::f16, 2, Use::b, 8, 8}, fc{Scalar::f32, 4, Use::c, 16, 8};
  const ValueId a = b.emit(Op::frag_fill, {half}, {.type = fa});
  const ValueId w = b.emit(Op::frag_load_shared, {b.i32(0), b.i32(8)}, {.type = fb, .imm = 1, .index = 0});
  const ValueId c = b.emit(Op::frag_fill, {b.f32(1.5F)}, {.type = fc});
  const ValueId d = b.emit(Op::mma, {a, w, c}, {.imm = 3, .name = "mma.m16n8k8"});
  b.effect(Op::frag_store, {k.pointer, d, b.i32(8)}, {.imm = 1});
  const ValueId x = b.emit(Op::load_global, {k.pointer, yes}, {.type = kI32x4, .imm = -16});
  const ValueId e = b.emit(Op::get, {x}, {.type = kI32, .imm = 2});
  const ValueId s = b.emit(Op::shuffle_xor, {e}, {.imm = 8});
  b.effect(Op::store_shared, {n, s, yes}, {.imm = 8, .index = 0});
  b.effect(Op::barrier, {});
  const auto loop = k.loop(0, k.thread, 1, {s});
  const auto last = b.end_loop(loop, {b.emit(Op::add, {loop.carried[0], loop.index})}, k.f.body);
  const auto cond = b.begin_cond(yes);
  b.yield({last[0]});
  b.block = cond.else_block;
  b.yield({n});
  k.store(b.end_cond(cond, k.f.body)[0]);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  shared @0 tile: 256 bytes, accesses of 4
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: f16 = constant 0x3800 ; 0.5
  %3: bool = constant true
  %4: i32 = constant -4
  %5: f16[a 16x8 x4] = frag_fill %2
  %6: i32 = constant 0
  %7: i32 = constant 8
  %8: f16[b 8x8 x2] = frag_load_shared @0 %6, %7 column-major
  %9: f32 = constant 0x3fc00000 ; 1.5
  %10: f32[c 16x8 x4] = frag_fill %9
  %11: f32[c 16x8 x4] = mma %5, %8, %10 "mma.m16n8k8" signed a signed b
  %12: i32 = constant 8
  frag_store %0, %11, %12 column-major
  %13: i32x4 = load_global [%0 - 16] if %3
  %14: i32 = get %13[2]
  %15: i32 = shuffle_xor %14 ^ 8
  store_shared @0[%4 + 8] <- %15 if %3
  barrier
  %16: i32 = constant 0
  %17: i32 = constant 1
  %18: i32 = loop %19 = %16 to %1 step %17 carry %20: i32 = %15 {
    %21: i32 = add %20, %19
    yield %21
  }
  %22: i32 = cond %3 {
    yield %18
  } else {
    yield %4
  }
  store_global [%0] <- %22
}
)");
}

}  // namespace
}  // namespace lathe::thread
