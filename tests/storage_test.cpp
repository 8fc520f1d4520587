// Shared storage by liveness: which arrays share bytes, and where barriers are put for it.
#include <algorithm>

#include "ir/lower/storage.h"
#include "tests/thread_case.h"

namespace lathe::thread {
namespace {

/// Arrays a, b, .. of these bytes, and code that uses them.
struct Arrays : Kernel {
  std::vector<BlockId> homes;
  explicit Arrays(const std::vector<int64_t>& bytes) {
    for (size_t a = 0; a < bytes.size(); a++) {
      f.shared.push_back({std::string(1, static_cast<char>('a' + a)), bytes[a], 4});
      homes.push_back(f.body);
    }
  }
  ValueId at() { return b.emit(Op::mul, {thread, b.i32(4)}); }
  void write(uint32_t a) { b.effect(Op::store_shared, {at(), thread}, {.index = a}); }
  void read(uint32_t a) { store(b.emit(Op::load_shared, {b.i32(0)}, {.type = kI32, .index = a})); }
  void barrier() { b.effect(Op::barrier, {}); }
  /// Writes, then others read.
  void exchange(uint32_t a) { write(a), barrier(), read(a); }
  /// A loop of run-time length whose body is the home of the arrays in it.
  Builder::Loop turns(const std::vector<uint32_t>& inside) {
    const auto l = loop(0, size(1), 1, {});
    for (const uint32_t a : inside) homes[a] = l.body;
    return l;
  }
  void end(const Builder::Loop& l) { b.end_loop(l, {}, f.body); }

  struct Outcome {
    std::vector<int64_t> bytes;  ///< of the arrays there are now
    int barriers;
    std::string error;
  };
  Outcome assigned(int64_t most = 1 << 20, Backend backend = Backend::ptx) {
    Target t;
    t.shared_bytes = most;
    t.backend = backend;
    const auto done = assign_storage(f, homes, t);
    if (!done) return {{}, 0, done.error().text};
    const auto ok = verify(f);
    REQUIRE_MESSAGE(ok, (ok ? "" : ok.error().text));
    Outcome out{{}, 0, ""};
    for (const SharedArray& a : f.shared) out.bytes.push_back(a.bytes);
    f.walk(f.body, [&](BlockId, size_t, InstId id) { out.barriers += f.inst(id).op == Op::barrier; });
    return out;
  }
};

void check(const Arrays::Outcome& got, const std::vector<int64_t>& bytes, int barriers) {
  CHECK(got.error == "");
  CHECK(got.bytes == bytes);
  CHECK(got.barriers == barriers);
}

}  // namespace

TEST_CASE("arrays used one after another share bytes, with a barrier in between") {
  Arrays k({512, 512});
  k.exchange(0);
  k.exchange(1);
  check(k.assigned(), {512}, 3);
}

TEST_CASE("arrays in use at once do not share") {
  Arrays k({512, 512});
  k.write(0);
  k.exchange(1);
  k.read(0);
  check(k.assigned(), {512, 512}, 1);
}

TEST_CASE("the third of three needs no barrier of its own where there is room for two") {
  Arrays k({1024, 512, 512, 512});
  k.exchange(0);
  for (const uint32_t a : {1, 2, 3}) k.exchange(a);
  check(k.assigned(), {1024}, 5);  // one behind array a
}

TEST_CASE("small arrays stand side by side in a large one") {
  Arrays k({1024, 512, 512});
  k.exchange(0);
  k.write(1);
  k.write(2);
  k.barrier();
  k.read(1);
  k.read(2);
  check(k.assigned(), {1024}, 3);
  std::vector<int64_t> offsets;
  k.f.walk(k.f.body, [&](BlockId, size_t, InstId id) {
    if (k.f.inst(id).op == Op::store_shared) offsets.push_back(k.f.inst(id).attr.imm);
  });
  CHECK(offsets == std::vector<int64_t>{0, 0, 512});
}

TEST_CASE("a loop's arrays share where barriers lie between them anyway, on the way to the next turn too") {
  Arrays k({512, 512});
  const auto l = k.turns({0, 1});
  k.exchange(0);
  k.barrier();
  k.exchange(1);
  k.barrier();
  k.end(l);
  check(k.assigned(), {512}, 4);
}

TEST_CASE("a loop gets barriers for storage only where the kernel does not fit without") {
  const auto build = [] {
    Arrays k({512, 512});
    const auto l = k.turns({0, 1});
    k.exchange(0);
    k.barrier();
    k.exchange(1);  // the next turn's first write follows at once
    k.end(l);
    return k;
  };
  check(build().assigned(), {512, 512}, 3);
  check(build().assigned(1023), {512}, 4);
  CHECK(build().assigned(511).error.find("needs 512 bytes of shared memory, the target has 511") != std::string::npos);
}

TEST_CASE("what a loop carries in an array is kept from turn to turn") {
  Arrays k({512, 512});
  k.write(0);
  const auto l = k.turns({1});
  k.barrier();
  k.read(0);
  k.barrier();
  k.exchange(1);
  k.end(l);
  check(k.assigned(), {512, 512}, 3);
}

TEST_CASE("copies under way keep their array until they have landed, and others wait for all of them") {
  Arrays k({512, 512});
  k.b.effect(Op::async_copy, {k.at(), k.pointer}, {.type = kI32});
  k.b.effect(Op::async_commit, {});
  k.barrier();  // does not wait for copies
  const auto early = k.f.blocks[k.f.body].insts.size();
  k.b.effect(Op::async_wait, {}, {.imm = 0});
  k.exchange(1);
  Arrays before = k;
  check(k.assigned(), {512}, 3);
  // A use in front of the wait is a use at the same time.
  auto& insts = before.f.blocks[before.f.body].insts;
  const InstId wait = insts[early];
  insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(early));
  insts.push_back(wait);
  check(before.assigned(), {512, 512}, 2);
}

TEST_CASE("bulk copies land before others take over, and take over nothing themselves") {
  const auto build = [](bool first) {
    Arrays k({512, 512});
    k.f.bulk_barriers = 1;
    if (!first) k.exchange(1);
    k.barrier();
    k.b.effect(Op::bulk_copy, {k.b.i32(0), k.b.i32(0), k.pointer, k.b.i32(512), k.b.constant(kBool, 1)},
               {.imm = 512, .index = 0});
    k.barrier();  // waits for no copy
    k.b.effect(Op::bulk_wait, {k.b.i32(0), k.b.i32(0)});
    if (first) k.exchange(1);
    return k;
  };
  check(build(true).assigned(), {512}, 4);
  check(build(false).assigned(), {512, 512}, 3);
}

TEST_CASE("where shared memory has types, a loop's accesses stay as wide as they are") {
  const auto build = [] {
    Arrays k({512, 512});
    k.f.shared[0].access_bytes = 2;
    const auto l = k.turns({1});
    k.exchange(1);
    k.barrier();
    k.end(l);
    k.exchange(0);
    return k;
  };
  check(build().assigned(1 << 20, Backend::spirv), {512, 512}, 3);
  check(build().assigned(1 << 20, Backend::ptx), {512}, 3);
  Arrays tight = build();
  check(tight.assigned(512, Backend::spirv), {512}, 3);
  CHECK(tight.f.shared[0].access_bytes == 2);
}

TEST_CASE("a fragment's access goes along, though its immediate is no offset") {
  Arrays k({1024, 512, 512});
  const Type c{Scalar::f32, 8, Use::c, 16, 16};
  k.exchange(0);
  k.write(1);
  const ValueId frag = k.b.emit(Op::frag_fill, {k.b.f32(0)}, {.type = c});
  k.b.effect(Op::frag_store_shared, {k.b.i32(0), frag, k.b.i32(8)}, {.imm = 1, .index = 2});
  k.barrier();
  k.read(1);
  k.read(2);
  check(k.assigned(), {1024}, 3);
  const auto& insts = k.f.blocks[k.f.body].insts;
  const auto store =
      std::find_if(insts.begin(), insts.end(), [&](InstId id) { return k.f.inst(id).op == Op::frag_store_shared; });
  REQUIRE(store != insts.end());
  CHECK(k.f.inst(*store).attr.imm == 1);
  const Func::Inst* at = k.f.def(k.f.inst(*store).args[0]);
  REQUIRE(at != nullptr);
  CHECK(at->op == Op::add);
  CHECK(k.f.def(at->args[1])->attr.imm == 512);
}

}  // namespace lathe::thread
