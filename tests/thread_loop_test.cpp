// What the passes over loops make of a small function, as whole text.
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

TEST_CASE("hoist: out of both loops, one, or none") {
  Kernel k;
  Builder& b = k.b;
  const ValueId n = k.size(1);
  const auto outer = k.loop(0, n, 1, {k.thread});
  const auto inner = k.loop(0, n, 1, {outer.carried[0]});
  const ValueId both = b.emit(Op::mul, {n, b.i32(12)}), one = b.emit(Op::mul, {outer.index, both});
  const ValueId none = b.emit(Op::add, {inner.index, one}), read = k.load(k.pointer);
  const auto sum = b.end_loop(inner, {b.emit(Op::add, {b.emit(Op::add, {inner.carried[0], none}), read})}, outer.body);
  const auto cond = b.begin_cond(b.emit(Op::lt_s, {sum[0], n}));
  b.yield({b.emit(Op::mul, {n, b.i32(7)})});  // only the constant leaves a branch
  b.block = cond.else_block;
  b.yield({n});
  k.store(b.end_loop(outer, b.end_cond(cond, outer.body), k.f.body)[0]);
  hoist(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = param 1
  %3: i32 = constant 0
  %4: i32 = constant 1
  %5: i32 = constant 0
  %6: i32 = constant 1
  %7: i32 = constant 12
  %8: i32 = mul %2, %7
  %9: i32 = constant 7
  %10: i32 = loop %11 = %3 to %2 step %4 carry %12: i32 = %1 {
    %13: i32 = mul %11, %8
    %14: i32 = loop %15 = %5 to %2 step %6 carry %16: i32 = %12 {
      %17: i32 = add %15, %13
      %18: i32 = load_global [%0]
      %19: i32 = add %16, %17
      %20: i32 = add %19, %18
      yield %20
    }
    %21: bool = lt_s %14, %2
    %22: i32 = cond %21 {
      %23: i32 = mul %2, %9
      yield %23
    } else {
      yield %2
    }
    yield %22
  }
  store_global [%0] <- %10
}
)");
}

TEST_CASE("hoist: a sum keeps what changes for last") {
  Kernel k;
  Builder& b = k.b;
  const ValueId n = k.size(1), row = b.cvt(Op::zext, n, kI64), column = b.cvt(Op::zext, k.size(2), kI64);
  const auto l = k.loop(0, n, 1, {});
  const ValueId step = b.cvt(Op::zext, l.index, kI64);
  const ValueId at = b.emit(Op::add, {b.emit(Op::add, {k.pointer, step}), row});
  b.effect(Op::store_global, {b.emit(Op::add, {column, at}), n});
  b.end_loop(l, {}, k.f.body);
  hoist(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = param 1
  %2: i64 = zext %1
  %3: i32 = param 2
  %4: i64 = zext %3
  %5: i32 = constant 0
  %6: i32 = constant 1
  %7: i64 = add %0, %2
  %8: i64 = add %4, %7
  loop %9 = %5 to %1 step %6 {
    %10: i64 = zext %9
    %11: i64 = add %8, %10
    store_global [%11] <- %1
    yield
  }
}
)");
}

TEST_CASE("hoist: fragments stay in their loop") {
  Kernel k;
  Builder& b = k.b;
  const Type frag{Scalar::f32, 4, Use::c, 16, 8};
  const auto l = k.loop(0, k.thread, 1, {b.f32(0)});
  const ValueId c = b.emit(Op::frag_fill, {b.f32(1)}, {.type = frag}),
                e = b.emit(Op::frag_get, {c}, {.type = kF32, .imm = 1});
  k.store(b.cvt(Op::bitcast, b.end_loop(l, {b.emit(Op::add, {l.carried[0], e})}, k.f.body)[0], kI32));
  hoist(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: f32 = constant 0x00000000 ; 0
  %3: i32 = constant 0
  %4: i32 = constant 1
  %5: f32 = constant 0x3f800000 ; 1
  %6: f32 = loop %7 = %3 to %1 step %4 carry %8: f32 = %2 {
    %9: f32[c 16x8 x4] = frag_fill %5
    %10: f32 = frag_get %9[1]
    %11: f32 = add %8, %10
    yield %11
  }
  %12: i32 = bitcast %6
  store_global [%0] <- %12
}
)");
}

TEST_CASE("unroll: the inner loop of constant length, not the outer one") {
  Kernel k;
  Builder& b = k.b;
  const auto outer = k.loop(0, k.thread, 1, {k.thread});
  const auto inner = k.loop(1, b.i32(6), 2, {outer.carried[0]});
  const auto cond = b.begin_cond(b.emit(Op::lt_s, {inner.carried[0], inner.index}));
  b.yield({inner.carried[0]});
  b.block = cond.else_block;
  b.yield({inner.index});
  const auto picked = b.end_cond(cond, inner.body);
  k.store(b.end_loop(outer, b.end_loop(inner, picked, outer.body), k.f.body)[0]);
  Func longer = k.f;
  unroll(longer, 2);
  CHECK(print(longer) == print(k.f));
  unroll(k.f, 3);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = constant 0
  %3: i32 = constant 1
  %4: i32 = loop %5 = %2 to %1 step %3 carry %6: i32 = %1 {
    %7: i32 = constant 6
    %8: i32 = constant 1
    %9: i32 = constant 2
    %10: i32 = constant 1
    %11: bool = lt_s %6, %10
    %12: i32 = cond %11 {
      yield %6
    } else {
      yield %10
    }
    %13: i32 = constant 3
    %14: bool = lt_s %12, %13
    %15: i32 = cond %14 {
      yield %12
    } else {
      yield %13
    }
    %16: i32 = constant 5
    %17: bool = lt_s %15, %16
    %18: i32 = cond %17 {
      yield %15
    } else {
      yield %16
    }
    yield %18
  }
  store_global [%0] <- %4
}
)");
}

}  // namespace
}  // namespace lathe::thread
