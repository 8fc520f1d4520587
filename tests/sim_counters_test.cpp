// The simulator's counters on kernels small enough to count by hand.
#include "tests/sim_run.h"

using namespace lathe;
using namespace lathe::sim;
using thread::kI32;
using thread::kI32x4;

namespace {

/// What one launch counted.
KernelCount counted(Simulated& sim, const Func& f, std::vector<uint64_t> params = {}) {
  sim.device().clear_counters();
  const std::string report = sim.run(f, std::move(params));
  REQUIRE_MESSAGE(report.empty(), report);
  REQUIRE(sim.device().counters().size() == 1);
  return sim.device().counters()[0];
}

uint64_t of(const LoopCount& c, Class k) { return c.by_class[static_cast<size_t>(k)]; }

ValueId load(Builder& b, int64_t bytes_apart, int64_t imm = 0, thread::Type type = kI32) {
  return b.emit(Op::load_global, {address(b, param(b, 0), times(b, thread_id(b), bytes_apart))},
                {.type = type, .imm = imm});
}

}  // namespace

TEST_CASE("sectors that an access touches, and those that its bytes fill") {
  Simulated sim;
  runtime::Buffer& in = sim.filled(4096);
  struct Case {
    int subgroups;
    int64_t apart;
    thread::Type type;
    uint64_t sectors, least;
  };
  for (const Case& c : {Case{2, 16, kI32x4, 32, 32},
                        {1, 4, kI32, 4, 4},
                        {1, 32, kI32, 32, 4},
                        {1, 0, kI32, 1, 1},
                        {1, 8, kI32, 8, 4}}) {
    const auto k =
        counted(sim, make_func(c.subgroups, 1, [&](Builder& b) { load(b, c.apart, 0, c.type); }), {in.address()});
    CHECK(k.total().sectors == c.sectors);
    CHECK(k.total().least_sectors == c.least);
    CHECK(of(k.total(), Class::memory) == static_cast<uint64_t>(c.subgroups));
  }
  // 128 bytes that begin in the middle of a sector touch five.
  CHECK(counted(sim, make_func(1, 1, [](Builder& b) { load(b, 4, 16); }), {in.address()}).total().sectors == 5);
}

TEST_CASE("wavefronts of shared memory, and those without conflicts") {
  Simulated sim;
  struct Case {
    int64_t apart;
    thread::Type type;
    uint64_t wavefronts, least;
  };
  // Four bytes: 32 lanes a phase. Sixteen: eight lanes, whose words fill the 32 banks once.
  for (const Case& c : {Case{4, kI32, 1, 1},
                        {128, kI32, 32, 1},
                        {8, kI32, 2, 1},
                        {16, kI32x4, 4, 4},
                        {32, kI32x4, 8, 4},
                        {144, kI32x4, 4, 4}}) {
    const Func f = make_func(
        1, 0,
        [&](Builder& b) {
          const ValueId at = times(b, thread_id(b), c.apart), zero = b.i32(0);
          const ValueId v = c.type == kI32 ? zero : b.emit(Op::vec, {zero, zero, zero, zero}, {.type = kI32x4});
          b.effect(Op::store_shared, {at, v});
        },
        {{"tile", 8192, 4}});
    const LoopCount total = counted(sim, f).total();
    CHECK(total.wavefronts == c.wavefronts);
    CHECK(total.least_wavefronts == c.least);
  }
}

TEST_CASE("instructions by class and loop, barriers") {
  Simulated sim;
  const Func f = make_func(2, 0, [](Builder& b) {
    const ValueId t = thread_id(b), sum = add(b, t, b.i32(5));
    b.loc.line = 7;
    const auto l = b.begin_loop(b.i32(0), b.i32(4), b.i32(1), {b.f32(0)});
    b.loc.line = 8;
    const ValueId x = b.cvt(Op::s2f, add(b, sum, l.index), thread::kF32);
    const ValueId y = b.emit(Op::mul, {x, x});
    b.effect(Op::barrier, {});
    b.end_loop(l, {b.emit(Op::add, {y, l.carried[0]})}, b.f.body);
  });
  const auto k = counted(sim, f);
  REQUIRE(k.loops.size() == 2);
  CHECK(of(k.loops[0], Class::integer) == 2);
  CHECK(k.loops[0].barriers == 0);
  const LoopCount& loop = k.loops[1];
  CHECK(loop.loc.line == 7);
  CHECK(of(loop, Class::integer) == 2 * 4);
  CHECK(of(loop, Class::conversion) == 2 * 4);
  CHECK(of(loop, Class::floating) == 2 * 4 * 2);
  CHECK(of(loop, Class::control) == 2 * (5 + 4 + 4));  // tests, turns, barriers
  CHECK(loop.barriers == 2 * 4);
  CHECK_FALSE(loop.operand_lead.has_value());
}

TEST_CASE("bytes of global loads in flight") {
  Simulated sim;
  runtime::Buffer& in = sim.filled(1024);
  const auto most = [&](const auto& build) {
    return counted(sim, make_func(2, 1, build), {in.address()}).flight.loads;
  };
  constexpr uint64_t kOne = 2 * 128;  // both subgroups, a word a lane
  CHECK(most([](Builder& b) {
          const ValueId x = load(b, 4), y = load(b, 4, 256);
          add(b, x, y);
        }) == 2 * kOne);
  CHECK(most([](Builder& b) {
          const ValueId x = add(b, load(b, 4), b.i32(1));
          add(b, load(b, 4, 256), x);
        }) == kOne);
  // One turn ahead, carried through a vector: two are under way while the loop turns.
  const auto ahead = [](bool use_first) {
    return [=](Builder& b) {
      const auto l = b.begin_loop(b.i32(0), b.i32(3), b.i32(1), {load(b, 4), b.i32(0)});
      ValueId sum = kNone;
      if (use_first) sum = add(b, l.carried[0], l.carried[1]);
      const ValueId pair = b.emit(Op::vec, {load(b, 4, 256), b.i32(0)}, {.type = thread::kI32x2});
      const ValueId next = b.emit(Op::get, {pair}, {.type = kI32, .imm = 0});
      if (!use_first) sum = add(b, l.carried[0], l.carried[1]);
      b.end_loop(l, {next, sum}, b.f.body);
    };
  };
  CHECK(most(ahead(false)) == 2 * kOne);
  CHECK(most(ahead(true)) == kOne);
}

TEST_CASE("bytes of asynchronous copies in flight") {
  Simulated sim;
  runtime::Buffer& in = sim.filled(4096);
  for (const int stages : {2, 4}) {
    const Func f =
        make_func(1, 1,
                  [&](Builder& b) {
                    const ValueId t = thread_id(b), at = times(b, t, 16);
                    const auto copy = [&](int64_t to) {
                      b.effect(Op::async_copy, {at, address(b, param(b, 0), at)}, {.type = kI32x4, .imm = to});
                      b.effect(Op::async_commit, {});
                    };
                    for (int s = 0; s + 1 < stages; s++) copy(s * 512);
                    for (int turn = 0; turn < 6; turn++) {
                      b.effect(Op::async_wait, {}, {.imm = stages - 2});
                      b.effect(Op::barrier, {});
                      copy((turn + stages - 1) % stages * 512);
                    }
                  },
                  {{"stages", 4 * 512, 16}});
    const auto k = counted(sim, f, {in.address()});
    CHECK(k.flight.copies == static_cast<uint64_t>(stages - 1) * 512);
    CHECK(k.total().barriers == 6);
  }
}

TEST_CASE("how far ahead of its multiply an operand is made") {
  Simulated sim;
  using thread::Scalar;
  using thread::Use;
  const thread::Type a{Scalar::f16, 8, Use::a, 16, 16}, b_type{Scalar::f16, 4, Use::b, 16, 8},
      c{Scalar::f32, 4, Use::c, 16, 8};
  const char* instruction = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32";
  const auto lead = [&](bool ahead) {
    const Func f = make_func(1, 0, [&](Builder& b) {
      const auto operand = [&](ValueId i) {
        const ValueId v = b.cvt(Op::s2f, i, thread::kF16);
        return b.emit(Op::frag_make, std::vector<ValueId>(8, v), {.type = a});
      };
      const ValueId one = b.emit(Op::frag_fill, {b.constant(thread::kF16, 0x3c00)}, {.type = b_type});
      const auto times = [&](ValueId x, ValueId sum) { return b.emit(Op::mma, {x, one, sum}, {.name = instruction}); };
      const auto l = b.begin_loop(b.i32(0), b.i32(3), b.i32(1), {b.emit(Op::frag_fill, {b.f32(0)}, {.type = c})});
      const ValueId early = operand(l.index), sum = times(early, l.carried[0]);
      const ValueId late = operand(add(b, l.index, b.i32(1)));
      b.end_loop(l, {times(late, times(ahead ? early : late, sum))}, b.f.body);
    });
    const auto k = counted(sim, f);
    CHECK(of(k.loops[1], Class::mma) == 9);
    return k.loops[1].operand_lead;
  };
  CHECK(lead(false) == 0);
  CHECK(lead(true) == 1);
}
