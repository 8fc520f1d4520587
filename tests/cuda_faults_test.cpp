// The CUDA half of the runtime over a driver that fails as it is told to (tests/fake_cuda.h): memory that runs out at
// each call, work that never ends, a device that is lost.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>

#include "runtime/cuda/device.h"
#include "tests/fake_cuda.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

using namespace lathe;
using namespace lathe::runtime;

namespace {

/// The runtime, which loads the driver by its name, is given what bears that name already.
FakeCuda& driver() {
  static FakeCuda& fake = [&]() -> FakeCuda& {
    void* library = dlopen(LATHE_FAKE_CUDA, RTLD_NOW | RTLD_GLOBAL);
    REQUIRE_MESSAGE(library != nullptr, std::string(library ? "" : dlerror()));
    return *reinterpret_cast<decltype(&fake_cuda)>(dlsym(library, "fake_cuda"))();
  }();
  return fake;
}

Result<std::unique_ptr<Device>> open(double timeout_s = 60) {
  return open_device("cuda:0", {.timeout_s = timeout_s, .cache = nullptr});
}

constexpr std::string_view kCubin =
    "\x7f"
    "ELF";

/// A launch by a queue, and by a graph that is timed.
Result<Unit> work(Device& device) {
  TRY_ASSIGN(const auto buffer, device.alloc(1000));
  const std::vector<std::byte> sent(1000, std::byte{7});
  std::vector<std::byte> back(1000);
  TRY(device.upload(*buffer, 0, sent));
  TRY(device.fill(*buffer, 0, 10, std::byte{7}));
  TRY(device.download(*buffer, 0, back));
  if (back != sent) return fail(Error::Code::internal, "wrong bytes");
  const ProgramInfo info{.entry = "main", .threads = 32, .shared_bytes = 100, .param_slots = 1};
  TRY_ASSIGN(const auto program, device.load(std::as_bytes(std::span(kCubin)), info));
  const LaunchRecord launch{program.get(), {1, 1, 1}, {buffer->address()}};
  TRY_ASSIGN(const auto queue, device.queue());
  TRY(queue->launch(*launch.program, launch.grid, launch.params));
  TRY(queue->sync());
  TRY(device.run_timed({&launch, 1}));
  const cuda::Submit nothing = [](CUstream_st*) { return Unit{}; };
  TRY(cuda::with_stream(device, nothing));
  TRY_ASSIGN(const auto captured, cuda::capture(device, nothing));
  TRY(captured->replay());
  return Unit{};
}

Result<Unit> open_and_work() {
  TRY_ASSIGN(const auto device, open());
  return work(*device);
}

std::string text_of(const Result<Unit>& r) { return r ? std::string() : r.error().text; }

}  // namespace

TEST_CASE("memory runs out at each call in turn: one line, nothing left") {
  FakeCuda& fake = driver();
  fake = {.with = cuda::CUDA_ERROR_OUT_OF_MEMORY};
  int n = 1;
  for (;; n++) {
    fake.calls = 0, fake.fail_at = n, fake.failed = nullptr;
    const Result<Unit> done = open_and_work();
    CHECK(fake.live == 0);
    if (fake.failed == nullptr) {
      CHECK(text_of(done) == "");
      break;
    }
    CAPTURE(std::string(fake.failed));
    REQUIRE_FALSE(done.has_value());
    CHECK(done.error().code == Error::Code::out_of_memory);
    CHECK(done.error().text.find(fake.failed) != std::string::npos);
    CHECK(done.error().text.find('\n') == std::string::npos);
  }
  MESSAGE(fmt::format("{} calls failed, one in each run", n - 1));
  CHECK(n > 15);
}

TEST_CASE("work that never ends is reported in time, and the device is given up") {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler leaks;  // the objects of a device that was given up are never destroyed
#endif
  FakeCuda& fake = driver();
  fake = {};
  auto device = open(0.05);
  REQUIRE(device.has_value());
  const auto buffer = (*device)->alloc(16);
  REQUIRE(buffer.has_value());
  fake.endless = true;
  const auto endless = (*device)->fill(**buffer, 0, 16, {});
  REQUIRE_FALSE(endless.has_value());
  CHECK(endless.error().code == Error::Code::timeout);
  CHECK(endless.error().text == "cuda:0: submitted work did not end within 0.05 s");
  fake.endless = false;
  CHECK(text_of(work(**device)).starts_with("the device was lost earlier: "));
  CHECK(text_of(open_and_work()) == "");
}

TEST_CASE("a lost device says so once, then refuses; another goes on in the same process") {
  FakeCuda& fake = driver();
  for (const char* call : {"cuStreamQuery", "cuLaunchKernel", "cuGraphLaunch", "cuMemcpyDtoHAsync"}) {
    CAPTURE(std::string(call));
    fake = {};
    {
      const auto other = open_device("cuda:1", {.cache = nullptr}), lost = open();
      REQUIRE(other.has_value());
      REQUIRE(lost.has_value());
      fake.fails = call, fake.with = cuda::CUDA_ERROR_ILLEGAL_ADDRESS, fake.calls = 0, fake.fail_at = 1;
      const std::string text = text_of(work(**lost));
      CHECK_MESSAGE(text.find("CUDA_ERROR_ILLEGAL_ADDRESS") != std::string::npos, text);
      CHECK(text.find('\n') == std::string::npos);
      for (int again = 0; again < 2; again++) CHECK(text_of(work(**lost)).starts_with("the device was lost earlier: "));
      CHECK(text_of(work(**other)) == "");
    }
    CHECK(fake.live == 0);
  }
}
