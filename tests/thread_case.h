#pragma once
// A small thread function built by hand, and its whole text, for the tests of passes.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ir/thread.h"

namespace lathe::thread {

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

inline void expect(Func f, const char* text) {
  const auto ok = verify(f);
  REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().text));
  CHECK(print(f) == text);
}

}  // namespace lathe::thread
