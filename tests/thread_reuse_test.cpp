// What is computed once (cse) and what never (dce), as whole text.
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

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

}  // namespace
}  // namespace lathe::thread
