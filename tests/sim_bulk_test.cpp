// Copies in bulk on the simulator: what lands, when it may be read, and what is reported.
#include <functional>

#include "sim_run.h"

namespace lathe::sim {
namespace {

constexpr int kSubgroups = 2;
const std::vector<thread::SharedArray> kRoom{{"room", 2048, 4, 1024}};

Func bulk_func(int params, const std::function<void(Builder&)>& build) {
  Func f = make_func(kSubgroups, 0, [](Builder&) {});
  f.param_slots = params;
  f.shared = kRoom;
  f.bulk_barriers = 1;
  f.boxes = {{.address = 0, .columns = {-1, 72}, .rows = {-1, 11}, .pitch = {-1, 80}, .box_rows = 8}};
  Builder b(f, f.body);
  build(b);
  const auto status = thread::verify(f);
  REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().text));
  return f;
}

ValueId first_subgroup(Builder& b) {
  return b.emit(Op::eq, {b.emit(Op::subgroup_id, {}, {.type = thread::kI32}), b.i32(0)});
}
void expect(Builder& b, int64_t bytes) { b.effect(Op::bulk_expect, {b.i32(0), first_subgroup(b)}, {.imm = bytes}); }
/// 128 bytes, of which `inside` come from memory, by the first subgroup.
void copy(Builder& b, int64_t inside) {
  b.effect(Op::bulk_copy, {b.i32(0), b.i32(0), param(b, 0), b.i32(inside), first_subgroup(b)}, {.imm = 128});
}
void wait(Builder& b, int parity) { b.effect(Op::bulk_wait, {b.i32(0), b.i32(parity)}); }
ValueId load(Builder& b) {
  const ValueId lane = b.emit(Op::lane_id, {}, {.type = thread::kI32});
  return b.emit(Op::load_shared, {times(b, lane, 4)}, {.type = thread::kI32});
}
void store_all(Builder& b, ValueId v, int slot) {
  b.effect(Op::store_global, {address(b, param(b, slot), times(b, thread_id(b), 4)), v});
}

std::vector<uint32_t> counted(size_t words) {
  std::vector<uint32_t> list;
  for (size_t i = 0; i < words; i++) list.push_back(static_cast<uint32_t>(i + 1));
  return list;
}

}  // namespace

TEST_CASE("what a copy in bulk brings is there for whoever has waited, zeros where memory ends") {
  Simulated sim("sm_90a");
  runtime::Buffer &in = sim.buffer(128, counted(32)), &out = sim.buffer(256);
  // The second subgroup waits before the first has begun the copy: it goes on when the bytes have come.
  const Func f = bulk_func(2, [](Builder& b) {
    copy(b, 48);
    expect(b, 128);
    wait(b, 0);
    store_all(b, load(b), 1);
  });
  CHECK(sim.run(f, {in.address(), out.address()}) == "");
  const auto words = sim.words(out);
  for (size_t t = 0; t < 64; t++) CHECK(words[t] == (t % 32 < 12 ? t % 32 + 1 : 0));
}

TEST_CASE("bytes of a copy in bulk that were not waited for are not read, nor written over") {
  Simulated sim("sm_90a");
  runtime::Buffer &in = sim.buffer(128, counted(32)), &out = sim.buffer(256);
  const auto run = [&](const std::function<void(Builder&)>& build) {
    return sim.run(bulk_func(2, build), {in.address(), out.address()});
  };
  check_report(run([](Builder& b) {
                 copy(b, 128);
                 expect(b, 128);
                 store_all(b, load(b), 1);
               }),
               {"load_shared", "has not been waited for"});
  check_report(run([](Builder& b) {
                 copy(b, 128);
                 copy(b, 128);
                 expect(b, 256);
                 wait(b, 0);
               }),
               {"bulk_copy", "has not been waited for"});
  check_report(run([](Builder& b) {
                 copy(b, 128);
                 expect(b, 128);
                 wait(b, 0);
                 store_all(b, load(b), 1);
                 copy(b, 128);  // the other subgroup may still read
                 expect(b, 128);
                 wait(b, 1);
               }),
               {"bulk_copy", "read with no barrier between"});
  CHECK(run([](Builder& b) {
          copy(b, 128);
          expect(b, 128);
          wait(b, 0);
          store_all(b, load(b), 1);
          b.effect(Op::barrier, {});
          copy(b, 128);
          expect(b, 128);
          wait(b, 1);
        }) == "");
}

TEST_CASE("what one subgroup has waited for is there for the others after a barrier") {
  Simulated sim("sm_90a");
  runtime::Buffer &in = sim.buffer(128, counted(32)), &out = sim.buffer(256);
  const auto one_waits = [](bool barrier) {
    return bulk_func(2, [&](Builder& b) {
      copy(b, 128);
      expect(b, 128);
      const auto c = b.begin_cond(first_subgroup(b));
      wait(b, 0);
      b.yield({});
      b.block = c.else_block;
      b.yield({});
      b.end_cond(c, b.f.body);
      if (barrier) b.effect(Op::barrier, {});
      store_all(b, load(b), 1);
    });
  };
  CHECK(sim.run(one_waits(true), {in.address(), out.address()}) == "");
  check_report(sim.run(one_waits(false), {in.address(), out.address()}), {"load_shared", "has not been waited for"});
}

TEST_CASE("a phase that nobody ends, or that ends with the workgroup, is reported") {
  Simulated sim("sm_90a");
  runtime::Buffer& in = sim.buffer(128, counted(32));
  const auto run = [&](const std::function<void(Builder&)>& build) {
    return sim.run(bulk_func(1, build), {in.address()});
  };
  check_report(run([](Builder& b) {
                 copy(b, 128);
                 expect(b, 256);
                 wait(b, 0);
               }),
               {"bulk_wait", "waits for bytes that nobody copies"});
  check_report(run([](Builder& b) {
                 copy(b, 128);
                 expect(b, 128);
                 b.effect(Op::barrier, {});
                 wait(b, 1);
               }),
               {"bulk_wait", "waits for bytes that nobody copies"});
  check_report(run([](Builder& b) { copy(b, 128); }), {"under way"});
  check_report(run([](Builder& b) {
                 expect(b, 16);
                 copy(b, 128);
               }),
               {"bulk_copy", "128 bytes where 16 are expected"});
}

TEST_CASE("a box has zeros where it leaves its view, and its rows' pieces change places") {
  Simulated sim("sm_90a");
  runtime::Buffer &in = sim.buffer(11 * 160, counted(11 * 40)), &out = sim.buffer(1024);
  // Rows 8 to 15 of 11, columns 64 to 127 of 72: three rows of one piece.
  const Func f = bulk_func(2, [](Builder& b) {
    b.effect(Op::bulk_box, {b.i32(1024), b.i32(0), b.i32(64), b.i32(8), first_subgroup(b)}, {.imm = 0});
    expect(b, 1024);
    wait(b, 0);
    const ValueId at = times(b, thread_id(b), 16);
    const ValueId v = b.emit(Op::load_shared, {at}, {.type = thread::kI32x4, .imm = 1024});
    b.effect(Op::store_global, {address(b, param(b, 1), at), v});
  });
  CHECK(sim.run(f, {in.address(), out.address()}) == "");
  const auto words = sim.words(out);
  for (uint32_t row = 0; row < 8; row++)
    for (uint32_t piece = 0; piece < 8; piece++)
      for (uint32_t word = 0; word < 4; word++) {
        const uint32_t want = row < 3 && piece == 0 ? (8 + row) * 40 + 32 + word + 1 : 0;
        CHECK(words[row * 32 + (piece ^ row) * 4 + word] == want);
      }
}

}  // namespace lathe::sim
