// The bench's peer over a driver and a library without a GPU: rows and columns, recording, and what is said without it.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include "bench/cublas.h"
#include "tests/fake_cublas.h"
#include "tests/fake_cuda.h"

namespace lathe::bench {
namespace {

template <class T>
T& symbol(const char* library, const char* name, int flags) {
  void* opened = dlopen(library, RTLD_NOW | flags);
  REQUIRE_MESSAGE(opened != nullptr, std::string(opened ? "" : dlerror()));
  return *reinterpret_cast<T* (*)()>(dlsym(opened, name))();
}

/// The runtime, which loads the driver by its name, is given what bears that name already.
FakeCuda& driver() {
  static FakeCuda& fake = symbol<FakeCuda>(LATHE_FAKE_CUDA, "fake_cuda", RTLD_GLOBAL);
  return fake;
}
FakeCublas& library() {
  static FakeCublas& fake = symbol<FakeCublas>(LATHE_FAKE_CUBLAS, "fake_cublas", RTLD_LOCAL);
  return fake;
}

constexpr Rotation kRotation{10'000};

struct Bench {
  FakeCuda& cuda = driver();
  FakeCublas& cublas = library();
  std::unique_ptr<runtime::Device> device;
  Bench() {
    cuda = {}, cublas = {.again = cublas.again};
    cuda.on_graph_launch = cublas.again;
    auto opened = runtime::open_device("cuda:0", {.cache = nullptr});
    REQUIRE(opened.has_value());
    device = std::move(*opened);
  }
  ~Bench() {
    device.reset();
    CHECK(cuda.live == 0);
    CHECK(cublas.live == 0);
  }
  Result<std::unique_ptr<Cublas>> open(const char* file = LATHE_FAKE_CUBLAS) {
    return Cublas::open(*device, file, kRotation);
  }
};

Problem problem() {
  const auto format = format_of("u4", 16, types::f16);
  REQUIRE(format.has_value());
  return Problem(*format, {48, 20}, 5);
}

}  // namespace

TEST_CASE("the peer multiplies the same weights and tokens, by rows, and is checked") {
  Bench bench;
  const Problem p = problem();
  auto peer = bench.open();
  REQUIRE_MESSAGE(peer, peer.error().text);
  CHECK((*peer)->version().starts_with("cuBLAS 13.1.2 from "));
  REQUIRE((*peer)->set(p));
  for (const int64_t m : {1, 3, 5}) {
    bench.cublas.products = 0;
    const Row row = (*peer)->run(m);
    CHECK_MESSAGE(row.measured(), row.error);
    CHECK(row.of_bound <= 1);
    CHECK(row.us.median > 0);
    CHECK(row.copies == 6);  // of 1920 bytes, past 10000
    CHECK(row.launches == 24);
    CHECK(bench.cublas.products == 1 + row.launches);
    CHECK(row.weight_bytes == 48 * 20 * 2);
  }
}

TEST_CASE("a peer that is wrong has no time") {
  Bench bench;
  const Problem p = problem();
  auto peer = bench.open();
  REQUIRE(peer);
  REQUIRE((*peer)->set(p));
  bench.cublas.factor = 1.01F;
  Row row = (*peer)->run(4);
  CHECK(row.wrong);
  CHECK(row.error.starts_with("wrong: an output is "));
  bench.cublas.factor = 1;
  bench.cuda.on_graph_launch = nullptr;  // the recorded list writes nothing
  row = (*peer)->run(4);
  CHECK(row.error == "wrong: an output is no number");
}

TEST_CASE("without a library, or with another one, the reason is a line") {
  Bench bench;
  const auto refused = [&](const char* file) {
    const auto peer = bench.open(file);
    REQUIRE_FALSE(peer.has_value());
    CHECK(peer.error().code == Error::Code::unsupported);
    CHECK(peer.error().text.find('\n') == std::string::npos);
    return peer.error().text;
  };
  CHECK(refused("nowhere/libcublas.so").starts_with("nowhere/libcublas.so is not cuBLAS: "));
  CHECK(refused(LATHE_FAKE_CUDA) == "libcublas is too old: it has no cublasCreate_v2");
  bench.cublas.status = 1;
  const auto peer = bench.open();
  REQUIRE_FALSE(peer.has_value());
  CHECK(peer.error().text.find("cublasCreate answers 1") != std::string::npos);
  bench.cublas.live = 0;
}

}  // namespace lathe::bench
