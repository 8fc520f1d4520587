// The simulator's checks: each is silent on a right program and names what is wrong with the broken one.
#include <fmt/format.h>

#include "tests/sim_run.h"

using namespace lathe;
using namespace lathe::sim;
using thread::kI32;
using thread::kI32x4;
using thread::kI64;

namespace {

const std::vector<thread::SharedArray> kShared{{"tile", 1024, 4}};

ValueId load_shared(Builder& b, ValueId at, int64_t imm = 0, thread::Type type = kI32) {
  return b.emit(Op::load_shared, {at}, {.type = type, .imm = imm});
}
void store_shared(Builder& b, ValueId at, ValueId v, int64_t imm = 0) {
  b.effect(Op::store_shared, {at, v}, {.imm = imm});
}
void store_result(Builder& b, ValueId v) {
  b.effect(Op::store_global, {address(b, param(b, 0), times(b, thread_id(b), 4)), v});
}

/// Every thread writes a word and reads the one `distance` (a power of two) threads away; `between` stands on line 12.
Func exchange(int subgroups, int distance, std::optional<Op> between) {
  return make_func(
      subgroups, 1,
      [&](Builder& b) {
        b.loc.line = 11;
        const ValueId t = thread_id(b);
        store_shared(b, times(b, t, 4), t);
        b.loc.line = 12;
        if (between) b.effect(*between, {});
        b.loc.line = 13;
        store_result(b, load_shared(b, times(b, b.emit(Op::bxor, {t, b.i32(distance)}), 4)));
      },
      kShared);
}

}  // namespace

TEST_CASE("shared memory that one thread writes and another reads needs a barrier between") {
  Simulated sim;
  runtime::Buffer& out = sim.buffer(256);
  CHECK(sim.run(exchange(2, 32, Op::barrier), {out.address()}) == "");
  const auto words = sim.words(out);
  for (uint32_t t = 0; t < 64; t++) CHECK(words[t] == (t ^ 32));
  check_report(sim.run(exchange(2, 32, {}), {out.address()}),
               {"sim:sm_80", "test line 13", "load_shared", "thread 0 reads bytes 128 to 131 of shared array 'tile'",
                "which nobody wrote"});
  check_report(sim.run(exchange(1, 1, {}), {out.address()}),
               {"line 13", "thread 0 reads bytes 4 to 7", "which thread 1 wrote with no barrier between"});
}

TEST_CASE("a subgroup's barrier orders the lanes of one subgroup and no others") {
  Simulated sim;
  runtime::Buffer& out = sim.buffer(256);
  CHECK(sim.run(exchange(2, 1, Op::barrier_subgroup), {out.address()}) == "");
  // Subgroup 1 reads what subgroup 0, which ran first, has written.
  const auto other = [](bool ordered) {
    return make_func(
        2, 0,
        [&](Builder& b) {
          const ValueId t = thread_id(b);
          const auto first = b.begin_cond(b.emit(Op::lt_u, {t, b.i32(32)}));
          store_shared(b, times(b, t, 4), t);
          b.yield({});
          b.block = first.else_block;
          b.yield({});
          b.end_cond(first, b.f.body);
          b.effect(ordered ? Op::barrier : Op::barrier_subgroup, {});
          const auto second = b.begin_cond(b.emit(Op::le_u, {b.i32(32), t}));
          load_shared(b, times(b, t, 4), -128);
          b.yield({});
          b.block = second.else_block;
          b.yield({});
          b.end_cond(second, b.f.body);
        },
        kShared);
  };
  CHECK(sim.run(other(true)) == "");
  check_report(sim.run(other(false)), {"thread 32 reads bytes 0 to 3", "which thread 0 wrote with no barrier between"});
}

TEST_CASE("shared memory is not written while another thread may still read it") {
  Simulated sim;
  const auto rewrite = [](bool ordered) {
    return make_func(
        1, 0,
        [&](Builder& b) {
          const ValueId t = thread_id(b), mine = times(b, t, 4);
          store_shared(b, mine, t);
          b.effect(Op::barrier, {});
          load_shared(b, times(b, b.emit(Op::bxor, {t, b.i32(1)}), 4));
          if (ordered) b.effect(Op::barrier, {});
          store_shared(b, mine, b.i32(7));
        },
        kShared);
  };
  CHECK(sim.run(rewrite(true)) == "");
  check_report(sim.run(rewrite(false)),
               {"store_shared", "thread 0 writes bytes 0 to 3", "which thread 1 read with no barrier between"});
}

TEST_CASE("two threads may write equal values to shared memory, but no others") {
  Simulated sim;
  const auto all_to_one = [](bool equal) {
    return make_func(
        1, 0, [&](Builder& b) { store_shared(b, b.i32(0), equal ? b.i32(5) : thread_id(b)); }, kShared);
  };
  CHECK(sim.run(all_to_one(true)) == "");
  check_report(sim.run(all_to_one(false)), {"thread 1 writes bytes 0 to 3", "which thread 0 wrote otherwise"});
}

TEST_CASE("shared memory: undefined bytes, bounds, alignment") {
  Simulated sim;
  const auto at = [](int64_t first, int64_t step, thread::Type type) {
    return make_func(
        1, 0,
        [&](Builder& b) {
          const ValueId t = thread_id(b);
          const auto zeros = b.emit(Op::vec, {b.i32(0), b.i32(0), b.i32(0), b.i32(0)}, {.type = kI32x4});
          store_shared(b, times(b, t, 16), zeros);
          b.effect(Op::barrier, {});
          load_shared(b, add(b, times(b, t, step), b.i32(first)), 0, type);
        },
        kShared);
  };
  CHECK(sim.run(at(0, 16, kI32x4)) == "");
  check_report(sim.run(at(512, 4, kI32)), {"thread 0 reads bytes 512 to 515", "which nobody wrote"});
  check_report(sim.run(at(-16, 16, kI32x4)), {"thread 0 reads bytes -16 to -1", "which has 1024"});
  check_report(sim.run(at(1024, 16, kI32x4)), {"reads bytes 1024 to 1039", "which has 1024"});
  check_report(sim.run(at(4, 16, kI32x4)), {"reads bytes 4 to 19", "not aligned"});
}

TEST_CASE("global memory: bounds, alignment, bytes never written") {
  Simulated sim;
  const auto word = [](int64_t offset, bool store) {
    return make_func(1, 1, [&](Builder& b) {
      const ValueId at = address(b, param(b, 0), times(b, thread_id(b), 4));
      if (store)
        b.effect(Op::store_global, {at, b.i32(1)}, {.imm = offset});
      else
        b.emit(Op::load_global, {at}, {.type = kI32, .imm = offset});
    });
  };
  runtime::Buffer& whole = sim.filled(128);
  CHECK(sim.run(word(0, false), {whole.address()}) == "");
  CHECK(sim.run(word(0, true), {whole.address()}) == "");
  check_report(sim.run(word(4, false), {whole.address()}), {"thread 31 reads 4 bytes at address", "in no buffer"});
  check_report(sim.run(word(-4, true), {whole.address()}), {"thread 0 writes 4 bytes at address", "in no buffer"});
  check_report(sim.run(word(2, false), {whole.address()}), {"thread 0 reads", "not aligned"});
  runtime::Buffer& fresh = sim.buffer(128);
  check_report(sim.run(word(0, false), {fresh.address()}),
               {"thread 0 reads", "byte 0 of a buffer of 128 was never written"});
  REQUIRE(sim.device().fill(fresh, 0, 64, std::byte{1}).has_value());
  check_report(sim.run(word(0, false), {fresh.address()}), {"thread 16 reads", "byte 64"});
  CHECK(sim.run(word(0, true), {fresh.address()}) == "");
  CHECK(sim.run(word(0, false), {fresh.address()}) == "");
  uint64_t gone = 0;
  {
    auto freed = sim.device().alloc(128);
    REQUIRE(freed.has_value());
    gone = (*freed)->address();
  }
  check_report(sim.run(word(0, true), {gone}), {"in no buffer"});
}

TEST_CASE("a false predicate makes no access and reads 0") {
  Simulated sim;
  runtime::Buffer& out = sim.filled(128, 0xff);
  const Func f = make_func(1, 1, [&](Builder& b) {
    const ValueId t = thread_id(b), ok = b.emit(Op::lt_u, {t, b.i32(0)});
    store_result(b, b.emit(Op::load_global, {b.i64(8), ok}, {.type = kI32}));
    b.effect(Op::store_global, {b.i64(8), t, ok});
  });
  CHECK(sim.run(f, {out.address()}) == "");
  for (const uint32_t w : sim.words(out)) CHECK(w == 0);
}

TEST_CASE("two threads of a launch write one global byte: only with equal values") {
  Simulated sim;
  runtime::Buffer& out = sim.buffer(256);
  const auto to_one = [](bool equal) {
    return make_func(1, 1, [&](Builder& b) {
      const ValueId group = b.emit(Op::group_id, {}, {.type = kI32, .imm = 0});
      b.effect(Op::store_global, {param(b, 0), equal ? b.i32(3) : group});
    });
  };
  CHECK(sim.run(to_one(true), {out.address()}, {2, 1, 1}) == "");
  check_report(
      sim.run(to_one(false), {out.address()}, {2, 1, 1}),
      {"store_global", "workgroup (1, 0, 0)", "byte 0 was written otherwise by thread", "of workgroup number 0"});
  CHECK(sim.run(to_one(false), {out.address()}) == "");  // after the launch before, in order
}

TEST_CASE("barriers, shuffles and matrix operations need every lane") {
  Simulated sim;
  const auto in_branch = [](int lanes, const auto& what) {
    return make_func(1, 0, [&](Builder& b) {
      const ValueId t = thread_id(b);
      const auto c = b.begin_cond(b.emit(Op::lt_u, {t, b.i32(lanes)}));
      what(b, t);
      b.yield({});
      b.block = c.else_block;
      b.yield({});
      b.end_cond(c, b.f.body);
    });
  };
  const auto barrier = [](Builder& b, ValueId) { b.effect(Op::barrier, {}); };
  const auto both = [](Builder& b, ValueId) { b.effect(Op::barrier_subgroup, {}); };
  const auto shuffle = [](Builder& b, ValueId t) { b.emit(Op::shuffle_xor, {t}, {.imm = 1}); };
  const auto fill = [](Builder& b, ValueId) {
    b.emit(Op::frag_fill, {b.f32(0)}, {.type = {thread::Scalar::f32, 4, thread::Use::c, 16, 8}});
  };
  CHECK(sim.run(in_branch(32, barrier)) == "");
  CHECK(sim.run(in_branch(0, barrier)) == "");
  CHECK(sim.run(in_branch(32, shuffle)) == "");
  CHECK(sim.run(in_branch(32, fill)) == "");
  check_report(sim.run(in_branch(7, barrier)), {"barrier", "only 7 of the 32 lanes of subgroup 0"});
  check_report(sim.run(in_branch(7, both)), {"barrier_subgroup", "only 7 of the 32 lanes"});
  check_report(sim.run(in_branch(7, shuffle)), {"shuffle_xor", "only 7 of the 32 lanes"});
  check_report(sim.run(in_branch(7, fill)), {"frag_fill", "only 7 of the 32 lanes"});
}

TEST_CASE("all subgroups of a workgroup meet at the same barrier") {
  Simulated sim;
  const auto uneven = [](bool another) {
    return make_func(2, 0, [&](Builder& b) {
      const ValueId sg = b.emit(Op::subgroup_id, {}, {.type = kI32});
      const auto c = b.begin_cond(b.emit(Op::eq, {sg, b.i32(0)}));
      b.effect(Op::barrier, {});
      b.yield({});
      b.block = c.else_block;
      if (another) b.effect(Op::barrier, {});
      b.yield({});
      b.end_cond(c, b.f.body);
    });
  };
  check_report(sim.run(uneven(false)), {"subgroup 0 waits at a barrier, subgroup 1 has ended"});
  check_report(sim.run(uneven(true)), {"subgroup 0 waits at another barrier than subgroup 1"});
}

TEST_CASE("division by zero and wide shifts, in lanes that are there") {
  Simulated sim;
  const auto divide = [](int64_t from, Op op) {
    return make_func(1, 0, [&](Builder& b) {
      const ValueId t = thread_id(b);
      const auto c = b.begin_cond(b.emit(Op::le_u, {b.i32(from), t}));
      b.emit(op, {b.i32(100), t});
      b.yield({});
      b.block = c.else_block;
      b.yield({});
      b.end_cond(c, b.f.body);
    });
  };
  CHECK(sim.run(divide(1, Op::div_s)) == "");
  check_report(sim.run(divide(0, Op::div_s)), {"div_s", "thread 0 divides by zero"});
  check_report(sim.run(divide(0, Op::rem_u)), {"rem_u", "thread 0 divides by zero"});
  CHECK(sim.run(divide(0, Op::shl)) == "");
}

TEST_CASE("an asynchronous copy is there after the wait, for others after a barrier more") {
  struct Case {
    bool commit, wait, barrier;
    int64_t newest;
    const char* report;
  };
  for (const Case& c : {Case{true, true, true, 0, ""},
                        {true, false, true, 0, "where an asynchronous copy of thread 1 has not been waited for"},
                        {false, true, true, 0, "where an asynchronous copy of thread 1 has not been waited for"},
                        {true, true, true, 1, "where an asynchronous copy of thread 1 has not been waited for"},
                        {true, true, false, 0, "which thread 1 wrote with no barrier between"}}) {
    Simulated sim;
    std::vector<uint32_t> numbers(32);
    for (uint32_t i = 0; i < 32; i++) numbers[i] = 1000 + i;
    runtime::Buffer& in = sim.buffer(128, numbers);
    runtime::Buffer& out = sim.buffer(128);
    const Func f = make_func(
        1, 2,
        [&](Builder& b) {
          const ValueId t = thread_id(b), at = times(b, t, 4);
          const ValueId ok = b.emit(Op::ne, {t, b.i32(5)});
          b.effect(Op::async_copy, {at, address(b, param(b, 1), at), ok}, {.type = kI32});
          if (c.commit) b.effect(Op::async_commit, {});
          if (c.wait) b.effect(Op::async_wait, {}, {.imm = c.newest});
          if (c.barrier) b.effect(Op::barrier, {});
          store_result(b, load_shared(b, times(b, b.emit(Op::bxor, {t, b.i32(1)}), 4)));
        },
        kShared);
    const std::string report = sim.run(f, {out.address(), in.address()});
    if (*c.report) {
      check_report(report, {"load_shared", "thread 0 reads bytes 4 to 7", c.report});
      continue;
    }
    CHECK(report == "");
    const auto words = sim.words(out);
    for (uint32_t t = 0; t < 32; t++) CHECK(words[t] == ((t ^ 1) == 5 ? 0 : 1000 + (t ^ 1)));
  }
}

TEST_CASE("a matrix load brings rows that other lanes wrote, after a barrier, to the lanes of their elements") {
  Simulated sim;
  runtime::Buffer& out = sim.buffer(512);
  const auto kernel = [](bool ordered) {
    return make_func(
        1, 1,
        [&](Builder& b) {
          const ValueId t = thread_id(b), row = times(b, t, 16);
          for (int word = 0; word < 4; word++)
            store_shared(b, row, b.emit(Op::add, {times(b, t, 4), b.i32(word)}), 4 * word);
          if (ordered) b.effect(Op::barrier_subgroup, {});
          const ValueId v = b.emit(Op::load_matrix, {row}, {.type = kI32x4, .name = "ldmatrix"});
          for (int m = 0; m < 4; m++)
            b.effect(Op::store_global,
                     {address(b, param(b, 0), times(b, t, 16)), b.emit(Op::get, {v}, {.type = kI32, .imm = m})},
                     {.imm = 4 * m});
        },
        kShared);
  };
  CHECK(sim.run(kernel(true), {out.address()}) == "");
  const auto words = sim.words(out);
  for (uint32_t lane = 0; lane < 32; lane++)
    for (uint32_t m = 0; m < 4; m++) CHECK(words[4 * lane + m] == 4 * (8 * m + lane / 4) + lane % 4);
  check_report(sim.run(kernel(false), {out.address()}), {"load_matrix", "with no barrier between"});
}

TEST_CASE("an asynchronous copy does not land on bytes that others still use") {
  Simulated sim;
  runtime::Buffer& in = sim.filled(128);
  const auto copy_after_read = [](bool ordered) {
    return make_func(
        1, 1,
        [&](Builder& b) {
          const ValueId t = thread_id(b), at = times(b, t, 4);
          store_shared(b, at, t);
          b.effect(Op::barrier, {});
          load_shared(b, times(b, b.emit(Op::bxor, {t, b.i32(1)}), 4));
          if (ordered) b.effect(Op::barrier, {});
          b.effect(Op::async_copy, {at, address(b, param(b, 0), at)}, {.type = kI32});
        },
        kShared);
  };
  CHECK(sim.run(copy_after_read(true), {in.address()}) == "");
  check_report(sim.run(copy_after_read(false), {in.address()}),
               {"async_copy", "thread 0 copies to bytes 0 to 3", "which thread 1 read with no barrier between"});
}

TEST_CASE("a loop whose lanes leave at different turns") {
  Simulated sim;
  runtime::Buffer& out = sim.buffer(128);
  const Func f = make_func(1, 1, [&](Builder& b) {
    const ValueId t = thread_id(b);
    const auto l = b.begin_loop(b.i32(0), t, b.i32(3), {b.i32(0), b.i32(1)});
    // Both values are handed on in the other's place.
    const auto sums = b.end_loop(l, {l.carried[1], add(b, l.carried[0], l.index)}, b.f.body);
    store_result(b, add(b, times(b, sums[0], 1000), sums[1]));
  });
  CHECK(sim.run(f, {out.address()}) == "");
  const auto words = sim.words(out);
  for (uint32_t t = 0; t < 32; t++) {
    uint32_t x = 0, y = 1;
    for (uint32_t i = 0; i < t; i += 3) {
      const uint32_t next = x + i;
      x = y, y = next;
    }
    CHECK(words[t] == x * 1000 + y);
  }
}

TEST_CASE("a loop that does not end is stopped") {
  Simulated sim("sm_80", 0.2);
  const Func f = make_func(1, 0, [&](Builder& b) {
    const auto l = b.begin_loop(b.i32(0), b.i32(1), b.i32(0), {});
    b.end_loop(l, {}, b.f.body);
  });
  check_report(sim.run(f), {"loop", "does not end in time"});
  CHECK(sim.run(make_func(1, 0, [](Builder&) {})) == "");  // the device goes on
}

TEST_CASE("a damaged program is refused") {
  const Func f = exchange(2, 32, Op::barrier);
  const auto code = serialise(f);
  const auto again = deserialise(code);
  REQUIRE(again.has_value());
  CHECK(serialise(*again) == code);
  for (size_t n = 0; n < code.size(); n++) CHECK_FALSE(deserialise(std::span(code).first(n)).has_value());
  for (size_t i = 0; i < code.size(); i++)
    for (const int flip : {0x01, 0x80, 0xff}) {
      auto bad = code;
      bad[i] ^= static_cast<std::byte>(flip);
      const auto got = deserialise(bad);  // refused, or another well-formed function
      if (got) CHECK(thread::verify(*got).has_value());
    }
}
