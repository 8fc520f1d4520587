// Neighbouring loads and stores made wide, as whole text.
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

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
