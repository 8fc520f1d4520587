// What each pass makes of a small function, as whole text.
#include <doctest/doctest.h>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

/// A function under construction: 4 subgroups of 32, parameter 0 a pointer, one shared array.
struct Kernel {
  Func f;
  Builder b{f, kNone};
  ValueId pointer, thread;
  Kernel() {
    f.name = std::string("k");
    f.subgroups = 4;
    f.param_slots = 4;
    f.body = b.block = f.add_block();
    pointer = b.emit(Op::param, {}, {.type = kI64});
    thread = b.emit(Op::thread_id, {}, {.type = kI32});
  }
  ValueId size(int slot) { return b.emit(Op::param, {}, {.type = kI32, .imm = slot}); }
  /// for i = lo; i < hi; i += step, with the constants in this order.
  Builder::Loop loop(int lo, ValueId hi, int step, const std::vector<ValueId>& init) {
    const ValueId first = b.i32(lo), by = b.i32(step);
    return b.begin_loop(first, hi, by, init);
  }
  ValueId load(ValueId at, int64_t imm = 0) { return b.emit(Op::load_global, {at}, {.type = kI32, .imm = imm}); }
  void store(ValueId v, int64_t imm = 0) { b.effect(Op::store_global, {pointer, v}, {.imm = imm}); }
  ValueId address(ValueId offset) { return b.emit(Op::add, {pointer, b.cvt(Op::zext, offset, kI64)}); }
};

void expect(Func f, const char* text) {
  const auto ok = verify(f);
  REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().text));
  CHECK(print(f) == text);
}

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

TEST_CASE("fold: division needs to know the sign") {
  Kernel k;
  Builder& b = k.b;
  const ValueId data = k.size(1);
  k.store(b.emit(Op::div_s, {data, b.i32(8)}), 0);
  k.store(b.emit(Op::div_u, {data, b.i32(8)}), 4);
  k.store(b.emit(Op::rem_u, {data, b.i32(8)}), 8);
  k.store(b.emit(Op::div_s, {k.thread, b.i32(8)}), 12);
  k.store(b.emit(Op::rem_s, {k.thread, b.i32(128)}), 16);  // a thread number is under 128 here
  k.store(b.emit(Op::div_u, {k.thread, b.i32(128)}), 20);
  fold(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i32 = constant 8
  %1: i32 = constant 3
  %2: i32 = constant 7
  %3: i32 = constant 0
  %4: i64 = param 0
  %5: i32 = thread_id
  %6: i32 = param 1
  %7: i32 = div_s %6, %0
  store_global [%4] <- %7
  %8: i32 = shr_u %6, %1
  store_global [%4 + 4] <- %8
  %9: i32 = band %6, %2
  store_global [%4 + 8] <- %9
  %10: i32 = shr_u %5, %1
  store_global [%4 + 12] <- %10
  store_global [%4 + 16] <- %5
  store_global [%4 + 20] <- %3
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

TEST_CASE("cse: a branch sees what stands before it, and nobody sees into a branch") {
  Kernel k;
  Builder& b = k.b;
  const ValueId x = k.size(1), before = b.emit(Op::add, {x, k.thread});
  const auto cond = b.begin_cond(b.emit(Op::lt_s, {k.thread, x}));
  const ValueId same = b.emit(Op::add, {k.thread, x}), inner = b.emit(Op::sub, {x, k.thread});
  b.yield({b.emit(Op::mul, {same, inner})});
  b.block = cond.else_block;
  b.yield({b.emit(Op::mul, {before, b.emit(Op::sub, {x, k.thread})})});
  k.store(b.end_cond(cond, k.f.body)[0]);
  k.store(b.emit(Op::sub, {x, k.thread}), 4);
  const ValueId first = k.load(k.pointer), second = k.load(k.pointer);  // memory may have changed between them
  k.store(b.emit(Op::sub, {first, second}), 8);
  cse(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = param 1
  %3: i32 = add %2, %1
  %4: bool = lt_s %1, %2
  %5: i32 = cond %4 {
    %6: i32 = sub %2, %1
    %7: i32 = mul %3, %6
    yield %7
  } else {
    %8: i32 = sub %2, %1
    %9: i32 = mul %3, %8
    yield %9
  }
  store_global [%0] <- %5
  %10: i32 = sub %2, %1
  store_global [%0 + 4] <- %10
  %11: i32 = load_global [%0]
  %12: i32 = load_global [%0]
  %13: i32 = sub %11, %12
  store_global [%0 + 8] <- %13
}
)");
}

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

TEST_CASE("dce: values that only feed themselves, and results that nobody takes") {
  Kernel k;
  Builder& b = k.b;
  const ValueId unused = k.load(k.pointer);
  const auto l = k.loop(0, k.thread, 1, {k.thread, unused, k.thread});
  const ValueId circle = b.emit(Op::add, {l.carried[0], l.carried[1]});
  const auto cond = b.begin_cond(b.emit(Op::lt_s, {l.index, k.thread}));
  b.yield({circle, l.carried[2]});
  b.block = cond.else_block;
  b.yield({unused, l.index});
  const auto taken = b.end_cond(cond, l.body);
  const auto r = b.end_loop(l, {circle, taken[0], taken[1]}, k.f.body);
  const auto empty = k.loop(0, k.thread, 1, {});
  b.emit(Op::add, {empty.index, empty.index});
  b.end_loop(empty, {}, k.f.body);
  const auto meeting = k.loop(0, k.thread, 1, {});
  b.effect(Op::barrier, {});
  b.end_loop(meeting, {}, k.f.body);
  k.store(r[2]);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = constant 0
  %3: i32 = constant 1
  %4: i32 = loop %5 = %2 to %1 step %3 carry %6: i32 = %1 {
    %7: bool = lt_s %5, %1
    %8: i32 = cond %7 {
      yield %6
    } else {
      yield %5
    }
    yield %8
  }
  %9: i32 = constant 0
  %10: i32 = constant 1
  loop %11 = %9 to %1 step %10 {
    barrier
    yield
  }
  store_global [%0] <- %4
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

TEST_CASE("vectorise: neighbours whose address is known to be aligned") {
  Kernel k;
  Builder& b = k.b;
  const ValueId aligned = k.address(b.emit(Op::mul, {k.thread, b.i32(16)})),
                half = k.address(b.emit(Op::mul, {k.thread, b.i32(8)}));
  const ValueId odd = k.address(b.emit(Op::mul, {k.thread, b.i32(4)}));
  std::vector<ValueId> loaded;
  for (const ValueId base : {aligned, half, odd})
    for (const int imm : {20, 16, 28, 24, 32}) loaded.push_back(k.load(base, imm));
  for (size_t i = 0; i < 5; i++)
    b.effect(Op::store_global,
             {aligned, b.emit(Op::add, {loaded[i], b.emit(Op::add, {loaded[i + 5], loaded[i + 10]})})},
             {.imm = 4 * static_cast<int64_t>(i)});
  vectorise(k.f);
  dce(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = constant 16
  %3: i32 = mul %1, %2
  %4: i64 = zext %3
  %5: i64 = add %0, %4
  %6: i32 = constant 8
  %7: i32 = mul %1, %6
  %8: i64 = zext %7
  %9: i64 = add %0, %8
  %10: i32 = constant 4
  %11: i32 = mul %1, %10
  %12: i64 = zext %11
  %13: i64 = add %0, %12
  %14: i32x4 = load_global [%5 + 16]
  %15: i32 = get %14[0]
  %16: i32 = get %14[1]
  %17: i32 = get %14[2]
  %18: i32 = get %14[3]
  %19: i32 = load_global [%5 + 32]
  %20: i32x2 = load_global [%9 + 16]
  %21: i32 = get %20[0]
  %22: i32 = get %20[1]
  %23: i32x2 = load_global [%9 + 24]
  %24: i32 = get %23[0]
  %25: i32 = get %23[1]
  %26: i32 = load_global [%9 + 32]
  %27: i32 = load_global [%13 + 20]
  %28: i32 = load_global [%13 + 16]
  %29: i32 = load_global [%13 + 28]
  %30: i32 = load_global [%13 + 24]
  %31: i32 = load_global [%13 + 32]
  %32: i32 = add %22, %27
  %33: i32 = add %16, %32
  %34: i32 = add %21, %28
  %35: i32 = add %15, %34
  %36: i32 = add %25, %29
  %37: i32 = add %18, %36
  %38: i32 = add %24, %30
  %39: i32 = add %17, %38
  %40: i32x4 = vec %33, %35, %37, %39
  store_global [%5] <- %40
  %41: i32 = add %26, %31
  %42: i32 = add %19, %41
  store_global [%5 + 16] <- %42
}
)");
}

TEST_CASE("vectorise: of two stores to one place the later one counts") {
  Kernel k;
  const ValueId x = k.size(1), y = k.size(2);
  k.store(x, 4);
  k.store(y, 4);
  k.store(x, 0);
  vectorise(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = param 1
  %3: i32 = param 2
  store_global [%0 + 4] <- %2
  %4: i32x2 = vec %2, %3
  store_global [%0] <- %4
}
)");
}

TEST_CASE("vectorise: not across what may touch the same memory, another predicate, or another array") {
  Kernel k;
  Builder& b = k.b;
  k.f.shared = {{"one", 1024, 4}, {"two", 1024, 4}};
  const ValueId at = b.emit(Op::mul, {k.thread, b.i32(16)}), n = k.size(1);
  const ValueId small = b.emit(Op::lt_s, {k.thread, n}), large = b.emit(Op::lt_s, {n, k.thread});
  const auto load = [&](ValueId predicate, int imm, uint32_t array) {
    return b.emit(Op::load_shared, {at, predicate}, {.type = kI32, .imm = imm, .index = array});
  };
  std::vector<ValueId> loaded{load(small, 0, 0), load(large, 4, 0), load(small, 8, 0)};
  b.effect(Op::barrier, {});
  loaded.push_back(load(small, 4, 0));
  loaded.push_back(load(small, 12, 0));
  loaded.push_back(load(small, 8, 1));
  for (size_t i = 0; i < loaded.size(); i++) {
    b.effect(Op::store_global, {k.pointer, loaded[i]}, {.imm = 4 * static_cast<int64_t>(i)});
    if (i == 2) loaded[5] = b.emit(Op::add, {loaded[5], k.load(k.pointer)});  // reads what the stores before it wrote
  }
  vectorise(k.f);
  expect(k.f, R"(kernel k: 4 x 32 threads, 4 params {
  shared @0 one: 1024 bytes, accesses of 4
  shared @1 two: 1024 bytes, accesses of 4
  %0: i64 = param 0
  %1: i32 = thread_id
  %2: i32 = constant 16
  %3: i32 = mul %1, %2
  %4: i32 = param 1
  %5: bool = lt_s %1, %4
  %6: bool = lt_s %4, %1
  %7: i32 = load_shared @0[%3] if %5
  %8: i32 = load_shared @0[%3 + 4] if %6
  %9: i32 = load_shared @0[%3 + 8] if %5
  barrier
  %10: i32 = load_shared @0[%3 + 4] if %5
  %11: i32 = load_shared @0[%3 + 12] if %5
  %12: i32 = load_shared @1[%3 + 8] if %5
  %13: i32x2 = vec %7, %8
  store_global [%0] <- %13
  store_global [%0 + 8] <- %9
  %14: i32 = load_global [%0]
  %15: i32 = add %12, %14
  store_global [%0 + 12] <- %10
  %16: i32x2 = vec %11, %15
  store_global [%0 + 16] <- %16
}
)");
}

}  // namespace
}  // namespace lathe::thread
