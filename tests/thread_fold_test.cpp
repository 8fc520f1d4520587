// What folding makes of a small function, as whole text.
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

TEST_CASE("fold: constants of addresses come out and into the immediate") {
  Kernel k;
  Builder& b = k.b;
  // Two rows of a tile: (thread % 8 + c) * 64 bytes, plus 4 and an unrolled step.
  for (const int row : {0, 3}) {
    const ValueId at = b.emit(Op::add, {b.emit(Op::rem_u, {k.thread, b.i32(8)}), b.i32(row)});
    const ValueId bytes = b.emit(Op::mul, {b.emit(Op::mul, {at, b.i32(16)}), b.i32(4)});
    const ValueId base = b.emit(Op::add, {b.emit(Op::add, {k.pointer, b.i64(4)}), b.cvt(Op::sext, bytes, kI64)});
    k.store(k.load(base, 8), 4 * row);
  }
  fold(k.f);
  cse(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 7
  %1: i32 = constant 6
  %2: i64 = param 0
  %3: i32 = thread_id
  %4: i32 = band %3, %0
  %5: i32 = shl %4, %1
  %6: i64 = zext %5
  %7: i64 = add %2, %6
  %8: i32 = load_global [%7 + 12]
  store_global [%2] <- %8
  %9: i32 = load_global [%7 + 204]
  store_global [%2 + 12] <- %9
}
)");
}

TEST_CASE("fold: a shared offset keeps its constant when the rest may be negative") {
  Kernel k;
  Builder& b = k.b;
  k.f.shared = {{"tile", 1024, 4}};
  const ValueId unknown = k.size(1), known = b.emit(Op::shl, {k.thread, b.i32(2)});
  for (const ValueId base : {unknown, known}) {
    const ValueId at = b.emit(Op::add, {base, b.i32(16)});
    k.store(b.emit(Op::load_shared, {at}, {.type = kI32, .imm = 4, .index = 0}));
  }
  k.store(b.emit(Op::load_shared, {b.i32(64)}, {.type = kI32, .imm = 4, .index = 0}));
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  shared @0 tile: 1024 bytes, accesses of 4
  %0: i32 = constant 2
  %1: i32 = constant 16
  %2: i32 = constant 0
  %3: i64 = param 0
  %4: i32 = thread_id
  %5: i32 = param 1
  %6: i32 = shl %4, %0
  %7: i32 = add %5, %1
  %8: i32 = load_shared @0[%7 + 4]
  store_global [%3] <- %8
  %9: i32 = load_shared @0[%6 + 20]
  store_global [%3] <- %9
  %10: i32 = load_shared @0[%2 + 68]
  store_global [%3] <- %10
}
)");
}

TEST_CASE("fold: an immediate that grows too large stays an add") {
  Kernel k;
  Builder& b = k.b;
  const ValueId near = b.emit(Op::add, {k.pointer, b.i64(1 << 23)}),
                far = b.emit(Op::add, {k.pointer, b.i64((1 << 23) + 4)});
  k.store(k.load(near));
  k.store(k.load(far));
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = constant 8388612
  %1: i64 = param 0
  %2: i64 = add %1, %0
  %3: i32 = load_global [%1 + 8388608]
  store_global [%1] <- %3
  %4: i32 = load_global [%2]
  store_global [%1] <- %4
}
)");
}

TEST_CASE("fold: division by a power of two is shifts, fewer where the sign or a multiple is known") {
  Kernel k;
  Builder& b = k.b;
  const ValueId data = k.size(1);
  k.store(b.emit(Op::div_s, {data, b.i32(8)}), 0);
  k.store(b.emit(Op::div_u, {data, b.i32(8)}), 4);
  k.store(b.emit(Op::rem_u, {data, b.i32(8)}), 8);
  k.store(b.emit(Op::div_s, {k.thread, b.i32(8)}), 12);
  k.store(b.emit(Op::rem_s, {k.thread, b.i32(128)}), 16);  // a thread number is under 128 here
  k.store(b.emit(Op::div_u, {k.thread, b.i32(128)}), 20);
  k.store(b.emit(Op::div_s, {b.emit(Op::mul, {data, b.i32(24)}), b.i32(8)}), 24);  // exact, whatever the sign
  k.store(b.emit(Op::div_s, {data, b.i32(6)}), 28);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 31
  %1: i32 = constant 29
  %2: i32 = constant 3
  %3: i32 = constant 7
  %4: i32 = constant 0
  %5: i32 = constant 24
  %6: i32 = constant 6
  %7: i64 = param 0
  %8: i32 = thread_id
  %9: i32 = param 1
  %10: i32 = shr_s %9, %0
  %11: i32 = shr_u %10, %1
  %12: i32 = add %9, %11
  %13: i32 = shr_s %12, %2
  store_global [%7] <- %13
  %14: i32 = shr_u %9, %2
  store_global [%7 + 4] <- %14
  %15: i32 = band %9, %3
  store_global [%7 + 8] <- %15
  %16: i32 = shr_u %8, %2
  store_global [%7 + 12] <- %16
  store_global [%7 + 16] <- %8
  store_global [%7 + 20] <- %4
  %17: i32 = mul %9, %5
  %18: i32 = shr_s %17, %2
  store_global [%7 + 24] <- %18
  %19: i32 = div_s %9, %6
  store_global [%7 + 28] <- %19
}
)");
}

TEST_CASE("fold: a grid coordinate that is scaled up and down again") {
  Kernel k;
  Builder& b = k.b;
  const ValueId group = b.cvt(Op::zext, b.emit(Op::group_id, {}, {.type = kI32}), kI64);
  const ValueId start = b.cvt(Op::trunc, b.emit(Op::mul, {group, b.i64(64)}), kI32);
  k.store(b.emit(Op::div_u, {start, b.i32(16)}), 0);
  k.store(b.emit(Op::div_u, {b.emit(Op::add, {start, b.i32(48)}), b.i32(16)}), 4);
  k.store(b.emit(Op::rem_u, {b.emit(Op::add, {start, b.i32(5)}), b.i32(16)}), 8);
  k.store(b.emit(Op::div_u, {b.emit(Op::shl, {k.size(1), b.i32(6)}), b.i32(16)}), 12);  // data may wrap
  const ValueId eighths = b.emit(Op::mul, {b.emit(Op::group_id, {}, {.type = kI32}), b.i32(8)});
  k.store(b.emit(Op::div_u, {b.emit(Op::add, {eighths, b.i32(16)}), b.i32(16)}), 16);  // not whole sixteenths
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 6
  %1: i32 = constant 16
  %2: i32 = constant 4
  %3: i32 = constant 2
  %4: i32 = constant 3
  %5: i32 = constant 5
  %6: i64 = param 0
  %7: i32 = group_id 0
  %8: i32 = shl %7, %3
  store_global [%6] <- %8
  %9: i32 = shl %7, %3
  %10: i32 = add %9, %4
  store_global [%6 + 4] <- %10
  store_global [%6 + 8] <- %5
  %11: i32 = param 1
  %12: i32 = shl %11, %0
  %13: i32 = shr_u %12, %2
  store_global [%6 + 12] <- %13
  %14: i32 = group_id 0
  %15: i32 = shl %14, %4
  %16: i32 = add %15, %1
  %17: i32 = shr_u %16, %2
  store_global [%6 + 16] <- %17
}
)");
}

TEST_CASE("fold: a constant leaves an extension only when the sum cannot wrap") {
  Kernel k;
  Builder& b = k.b;
  const ValueId data = b.emit(Op::max_s, {k.size(1), b.i32(-5)}), small = b.emit(Op::band, {data, b.i32(63)});
  for (const ValueId x : {data, small})
    for (const Op op : {Op::zext, Op::sext})
      for (const int c : {9, -3})
        k.store(b.cvt(Op::trunc, b.emit(Op::shr_u, {b.cvt(op, b.emit(Op::add, {x, b.i32(c)}), kI64), b.i32(8)}), kI32));
  fold(k.f);
  cse(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant -5
  %1: i32 = constant 63
  %2: i32 = constant 9
  %3: i32 = constant 8
  %4: i32 = constant -3
  %5: i64 = constant -3
  %6: i32 = constant 0
  %7: i64 = param 0
  %8: i32 = param 1
  %9: i32 = max_s %8, %0
  %10: i32 = band %9, %1
  %11: i32 = add %9, %2
  %12: i64 = zext %11
  %13: i64 = shr_u %12, %3
  %14: i32 = trunc %13
  store_global [%7] <- %14
  %15: i32 = add %9, %4
  %16: i64 = zext %15
  %17: i64 = shr_u %16, %3
  %18: i32 = trunc %17
  store_global [%7] <- %18
  %19: i64 = sext %11
  %20: i64 = shr_u %19, %3
  %21: i32 = trunc %20
  store_global [%7] <- %21
  %22: i64 = sext %9
  %23: i64 = add %22, %5
  %24: i64 = shr_u %23, %3
  %25: i32 = trunc %24
  store_global [%7] <- %25
  %26: i64 = zext %10
  store_global [%7] <- %6
  %27: i32 = add %10, %4
  %28: i64 = zext %27
  %29: i64 = shr_u %28, %3
  %30: i32 = trunc %29
  store_global [%7] <- %30
  store_global [%7] <- %6
  %31: i64 = add %26, %5
  %32: i64 = shr_u %31, %3
  %33: i32 = trunc %32
  store_global [%7] <- %33
}
)");
}

TEST_CASE("fold: decided control flow") {
  Kernel k;
  Builder& b = k.b;
  const auto loop = [&](int hi) {
    const auto l = k.loop(4, b.i32(hi), 2, {k.thread});
    return b.end_loop(l, {b.emit(Op::mul, {l.carried[0], l.index})}, k.f.body)[0];
  };
  k.store(loop(4), 0);
  k.store(loop(6), 4);
  k.store(loop(8), 8);
  const auto cond = b.begin_cond(b.emit(Op::lt_s, {k.thread, b.i32(128)}));
  b.yield({k.thread});
  b.block = cond.else_block;
  k.store(k.thread, 16);
  b.yield({b.i32(0)});
  k.store(b.end_cond(cond, k.f.body)[0], 12);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 4
  %1: i32 = constant 2
  %2: i32 = constant 8
  %3: i64 = param 0
  %4: i32 = thread_id
  store_global [%3] <- %4
  %5: i32 = shl %4, %1
  store_global [%3 + 4] <- %5
  %6: i32 = loop %7 = %0 to %2 step %1 carry %8: i32 = %4 {
    %9: i32 = mul %8, %7
    yield %9
  }
  store_global [%3 + 8] <- %6
  store_global [%3 + 12] <- %4
}
)");
}

TEST_CASE("fold: a carried value that never changes is the value it starts with") {
  Kernel k;
  Builder& b = k.b;
  const ValueId n = k.size(1);
  const auto l = k.loop(0, n, 1, {k.thread, k.thread, k.thread});
  const ValueId same = b.emit(Op::add, {l.carried[1], b.i32(0)}), sum = b.emit(Op::add, {l.carried[2], l.carried[0]});
  const auto r = b.end_loop(l, {l.carried[0], same, sum}, k.f.body);
  for (int i = 0; i < 3; i++) k.store(r[static_cast<size_t>(i)], 4 * i);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 0
  %1: i32 = constant 1
  %2: i64 = param 0
  %3: i32 = thread_id
  %4: i32 = param 1
  %5: i32 = loop %6 = %0 to %4 step %1 carry %7: i32 = %3 {
    %8: i32 = add %7, %3
    yield %8
  }
  store_global [%2] <- %3
  store_global [%2 + 4] <- %3
  store_global [%2 + 8] <- %5
}
)");
}

TEST_CASE("fold: predicates that are known") {
  Kernel k;
  Builder& b = k.b;
  const ValueId yes = b.constant(kBool, 1), no = b.constant(kBool, 0);
  const ValueId x = b.emit(Op::load_global, {k.pointer, yes}, {.type = kI32}),
                y = b.emit(Op::load_global, {k.pointer, no}, {.type = kI32});
  b.effect(Op::store_global, {k.pointer, x, yes}, {.imm = 4});
  b.effect(Op::store_global, {k.pointer, y, no}, {.imm = 8});
  k.store(b.emit(Op::add, {x, y}), 12);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = load_global [%0]
  store_global [%0 + 4] <- %1
  store_global [%0 + 12] <- %1
}
)");
}

TEST_CASE("fold: floats keep every bit") {
  Kernel k;
  Builder& b = k.b;
  const ValueId x = b.emit(Op::param, {}, {.type = kF32, .imm = 1});
  auto out = [&, at = 0](ValueId v) mutable { k.store(b.cvt(Op::bitcast, v, kI32), at += 4); };
  out(b.emit(Op::add, {x, b.f32(0)}));  // -0 + 0 is +0: it stays
  out(b.emit(Op::add, {x, b.f32(-0.0F)}));
  out(b.emit(Op::sub, {x, b.f32(0)}));
  out(b.emit(Op::mul, {b.f32(1), x}));
  out(b.emit(Op::mul, {x, b.f32(0)}));  // NaN * 0: it stays
  out(b.emit(Op::neg, {b.emit(Op::neg, {x})}));
  out(b.cvt(Op::fcvt, b.cvt(Op::fcvt, x, kF16), kF32));  // rounds: it stays
  out(b.emit(Op::mul, {b.f32(1.5F), b.f32(2)}));
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: f32 = constant 0x00000000 ; 0
  %1: i32 = constant 1077936128
  %2: i64 = param 0
  %3: f32 = param 1
  %4: f32 = add %3, %0
  %5: i32 = bitcast %4
  store_global [%2 + 4] <- %5
  %6: i32 = bitcast %3
  store_global [%2 + 8] <- %6
  %7: i32 = bitcast %3
  store_global [%2 + 12] <- %7
  %8: i32 = bitcast %3
  store_global [%2 + 16] <- %8
  %9: f32 = mul %3, %0
  %10: i32 = bitcast %9
  store_global [%2 + 20] <- %10
  %11: i32 = bitcast %3
  store_global [%2 + 24] <- %11
  %12: f16 = fcvt %3
  %13: f32 = fcvt %12
  %14: i32 = bitcast %13
  store_global [%2 + 28] <- %14
  store_global [%2 + 32] <- %1
}
)");
}

TEST_CASE("fold: vectors, bitcasts and fragments that are taken apart again") {
  Kernel k;
  Builder& b = k.b;
  const ValueId word = k.size(1), pair = b.cvt(Op::bitcast, word, kF16x2);
  const auto lane = [&](ValueId v, int i) { return b.emit(Op::get, {v}, {.type = kF16, .imm = i}); };
  const ValueId again = b.emit(Op::vec, {lane(pair, 0), lane(pair, 1)}, {.type = kF16x2});
  const ValueId swapped = b.emit(Op::vec, {lane(pair, 1), lane(pair, 0)}, {.type = kF16x2});
  k.store(b.cvt(Op::bitcast, again, kI32), 4);
  const Type frag{Scalar::f16, 4, Use::a, 16, 8};
  const ValueId made = b.emit(Op::frag_make, {again, lane(swapped, 0), lane(swapped, 1)}, {.type = frag});
  const auto element = [&](ValueId v, int i, Type t) { return b.emit(Op::frag_get, {v}, {.type = t, .imm = i}); };
  k.store(b.cvt(Op::bitcast, element(made, 0, kF16x2), kI32), 8);
  k.store(b.cvt(Op::bitcast, element(made, 2, kF16x2), kI32), 12);
  const ValueId filled = b.emit(Op::frag_fill, {element(made, 1, kF16)}, {.type = frag});
  k.store(b.cvt(Op::bitcast, element(filled, 1, kF16x2), kI32), 16);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = param 1
  %2: f16x2 = bitcast %1
  %3: f16 = get %2[1]
  %4: f16 = get %2[0]
  store_global [%0 + 4] <- %1
  store_global [%0 + 8] <- %1
  %5: f16x2 = vec %3, %4
  %6: i32 = bitcast %5
  store_global [%0 + 12] <- %6
  %7: f16 = get %2[1]
  %8: f16x2 = vec %7, %7
  %9: i32 = bitcast %8
  store_global [%0 + 16] <- %9
}
)");
}

}  // namespace
}  // namespace lathe::thread
