// Memory that runs out, at each allocation in turn: the host's, by a `new` of our own, and a device's, by a device that
// refuses. What comes back is one line or bad_alloc, and everything taken by then is given back.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <malloc.h>

#include <cstdlib>
#include <new>

#include "backends/sim/device.h"
#include "engine/tile_run.h"
#include "tests/shipped_kernels.h"

namespace {

/// This program's heap: what lives in it, and which allocation fails.
struct Heap {
  int64_t blocks = 0, bytes = 0;   ///< alive
  int64_t taken = 0, fail_at = 0;  ///< since fail_next(); 0: none fails
} heap;

void* take(std::size_t bytes, std::size_t alignment) {
  if (heap.fail_at && ++heap.taken == heap.fail_at) throw std::bad_alloc();
  void* p = alignment > alignof(std::max_align_t)
                ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                : std::malloc(bytes ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  heap.blocks++;
  heap.bytes += static_cast<int64_t>(malloc_usable_size(p));
  return p;
}
void give(void* p) noexcept {
  if (p == nullptr) return;
  heap.blocks--;
  heap.bytes -= static_cast<int64_t>(malloc_usable_size(p));
  std::free(p);
}

}  // namespace

void* operator new(std::size_t bytes) { return take(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t a) { return take(bytes, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { give(p); }
void operator delete(void* p, std::size_t) noexcept { give(p); }
void operator delete(void* p, std::align_val_t) noexcept { give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give(p); }

namespace lathe {
namespace {

const int kNoCache = setenv("LATHE_CACHE_DIR", "off", 1);

constexpr const char* kProgram = R"(kernel sums(x: i32[N], y: i32[N]) grid [1] subgroups 1 {
  t = load(x[0], [32])
  store(y[0], t + broadcast(reduce(t, 0, sum), [32]))
}
)";

std::unique_ptr<sim::Device> opened() {
  auto device = sim::open("sm_80", {.timeout_s = 60, .cache = nullptr});
  REQUIRE_MESSAGE(device, device.error().text);
  return std::move(*device);
}

/// From the text to the numbers; "" if they are right.
std::string compile_and_run() {
  const auto f = tile::parse(kProgram, "sums.tile");
  if (!f) return f.error().text;
  HostTensors t;
  for (const char* name : {"x", "y"}) t[name] = {types::i32, {30}, std::vector<uint64_t>(30, 1)};
  const auto device = sim::open("sm_80", {.timeout_s = 60, .cache = nullptr});
  if (!device) return device.error().text;
  if (const auto done = run_tile(**device, *(*device)->target(), *f, t); !done) return done.error().text;
  return t["y"].raw == std::vector<uint64_t>(30, 31) ? "" : "wrong numbers";
}

/// A device whose n-th call for something new is refused.
class Refusing final : public runtime::Device {
 public:
  explicit Refusing(runtime::Device& inner) : inner_(inner) {}
  int calls = 0, refuse_at = 0;

  const runtime::DeviceInfo& info() const override { return inner_.info(); }
  runtime::Result<std::unique_ptr<runtime::Program>> load(std::span<const std::byte> code,
                                                          const runtime::ProgramInfo& program) override {
    TRY(room());
    return inner_.load(code, program);
  }
  runtime::Result<std::unique_ptr<runtime::Buffer>> alloc(uint64_t bytes) override {
    TRY(room());
    return inner_.alloc(bytes);
  }
  runtime::Result<runtime::Unit> upload(runtime::Buffer& to, uint64_t offset,
                                        std::span<const std::byte> from) override {
    TRY(room());
    return inner_.upload(to, offset, from);
  }
  runtime::Result<runtime::Unit> download(const runtime::Buffer& from, uint64_t offset,
                                          std::span<std::byte> to) override {
    TRY(room());
    return inner_.download(from, offset, to);
  }
  runtime::Result<runtime::Unit> fill(runtime::Buffer& b, uint64_t offset, uint64_t bytes, std::byte value) override {
    TRY(room());
    return inner_.fill(b, offset, bytes, value);
  }
  runtime::Result<std::unique_ptr<runtime::Queue>> queue() override { return inner_.queue(); }
  runtime::Result<std::unique_ptr<runtime::Graph>> record(std::span<const runtime::LaunchRecord> launches) override {
    TRY(room());
    return inner_.record(launches);
  }

 private:
  runtime::Result<runtime::Unit> room() {
    if (++calls != refuse_at) return runtime::Unit{};
    return runtime::fail(runtime::Error::Code::out_of_memory, "the device has no room");
  }
  runtime::Device& inner_;
};

/// Weights stored and multiplied, by a schedule with workspaces; "" if all went well.
Result<Unit> multiply(runtime::Device& device, const Target& target) {
  const kernels::WeightFormat format{.code = types::u4, .group = 32, .zeros = true};
  TRY_ASSIGN(const auto matmul, Matmul::create(device, target, format, types::f16, false));
  const int64_t n = 32, k = 64;
  const std::vector<std::byte> codes(n * k, std::byte{3});
  const std::vector<uint16_t> ones(n * 2, 0x3c00), x(k, 0x3c00);
  TRY(matmul->store({n, k, 2, codes, ones, ones}));
  TRY_ASSIGN(const auto dx, lift(device.alloc(x.size() * 2)));
  TRY_ASSIGN(const auto dy, lift(device.alloc(n * 4)));
  TRY(lift(device.upload(*dx, 0, std::as_bytes(std::span(x)))));
  Schedule s = choose_schedule(matmul->schedules(), 1, n, k);
  s.k_groups = 2;
  TRY_ASSIGN(const auto launch, matmul->launch(s, 1, dx->address(), dy->address()));
  TRY(lift(device.run({&launch, 1})));
  std::vector<float> y(n);
  TRY(lift(device.download(*dy, 0, std::as_writable_bytes(std::span(y)))));
  for (const float v : y)
    if (v != 2.0F * k) return internal_error(fmt::format("y is {}", v));
  return Unit{};
}

std::string multiply_afresh() {
  const auto device = sim::open("sm_80", {.timeout_s = 60, .cache = nullptr});
  if (!device) return device.error().text;
  const auto done = multiply(**device, *(*device)->target());
  return done ? "" : done.error().text;
}

/// Runs `work` with the n-th allocation failing until none is left to fail: for every n, or, with `sparse`, in steps
/// that grow by n / sparse. It gives "" where all went well.
void fail_each(const char* name, std::string (*work)(), int64_t sparse = INT64_MAX) {
  REQUIRE(work() == "");  // what is made once a process is there then
  int64_t runs = 0, refused = 0, lines = 0, done_without = 0;
  bool done = false;
  for (int64_t n = 1; !done; n += 1 + n / sparse, runs++) {
    const Heap before = heap;
    bool wrong = false;
    heap.taken = 0, heap.fail_at = n;
    try {
      const std::string text = work();
      done = heap.taken < n;
      heap.fail_at = 0;
      const bool said = text.find("the host has no room") != text.npos;
      wrong = !said && !text.empty();
      lines += said;
      done_without += !said && !done;  // sorting needs no memory of its own
    } catch (const std::bad_alloc&) {
      heap.fail_at = 0;
      refused++;
    }
    const bool kept = heap.blocks != before.blocks || heap.bytes != before.bytes;
    if (!wrong && !kept) continue;  // assertions take memory of their own
    CAPTURE(n);
    CHECK_FALSE(wrong);
    CHECK_FALSE(kept);
  }
  CHECK(refused > 100);
  CHECK(done_without < 10);
  MESSAGE(fmt::format("{}: {} allocations failed, one in each run: {} ended with bad_alloc, {} with a line, {} went on",
                      name, runs - 1, refused, lines, done_without));
}

}  // namespace

// Without the cache, whose JSON cannot be destroyed without memory (nlohmann's destructor allocates).
TEST_CASE("the host's memory runs out at each allocation of a compilation and a run") {
  REQUIRE(kNoCache == 0);
  fail_each("from the text to the numbers", compile_and_run);
}

TEST_CASE("and at some of those of a matmul with packed weights") { fail_each("matmul", multiply_afresh, 16); }

TEST_CASE("a device's memory runs out at each call: the reason is handed on, and nothing is kept") {
  {
    const auto inner = opened();
    Refusing all(*inner);
    const auto done = multiply(all, *inner->target());
    REQUIRE_MESSAGE(done, done.error().text);
  }
  int n = 1;
  for (;; n++) {
    const Heap before = heap;
    bool right = false;
    {
      const auto inner = opened();
      Refusing device(*inner);
      device.refuse_at = n;
      const auto done = multiply(device, *inner->target());
      if (done && device.calls < n) break;
      right = !done && done.error().text == "the device has no room";
    }
    const bool kept = heap.blocks != before.blocks;
    CAPTURE(n);
    CHECK(right);
    CHECK_FALSE(kept);
  }
  CHECK(n > 20);
  MESSAGE(fmt::format("{} calls were refused, one in each run", n - 1));
}

TEST_CASE("a simulated device says that the host has no room for a buffer") {
  const auto device = opened();
  int64_t n = 1;
  for (bool refused = true; refused; n++) {
    const Heap before = heap;
    heap.taken = 0, heap.fail_at = n;
    {
      const auto buffer = device->alloc(1000);
      heap.fail_at = 0;
      refused = !buffer.has_value();
      if (refused) CHECK(buffer.error().code == runtime::Error::Code::out_of_memory);
    }
    const bool kept = heap.blocks != before.blocks;
    CHECK_FALSE(kept);
  }
  CHECK(n > 4);
}

}  // namespace lathe
