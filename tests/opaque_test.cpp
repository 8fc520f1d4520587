// Matrix instructions without a lane map: nominal layouts, the way through shared memory, and probed maps that prove
// wrong.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstring>
#include <set>
#include <spirv-tools/libspirv.hpp>

#include "backends/spirv/emit.h"
#include "ir/lower/fragment_slice.h"
#include "ir/opaque.h"
#include "tests/device_kernel.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

constexpr const char* kProfiles[] = {"lavapipe", "nvidia", "rdna3", "rdna4-wave64"};

Atom opaque(int m, int n, int k, Type ab, int lanes) {
  Atom a{"coopmat", m, n, k, ab, ab, types::f32};
  make_opaque(a, lanes);
  return a;
}

/// Rows of banks that 8 lines of 16 bytes, one below the other, need: 1 where no bank is met twice.
int most_on_a_bank(const FragmentSlice& s) {
  std::map<int64_t, std::set<int64_t>> words;
  for (int64_t line = 0; line < std::min<int64_t>(8, s.layout.shape()[0]); line++)
    for (int64_t word = 0; word < std::min<int64_t>(4, s.layout.shape()[1] * s.elem_bytes / 4); word++) {
      const int64_t at = line * s.pitch * s.elem_bytes / 4 + word;
      words[at % 32].insert(at);
    }
  size_t most = 0;
  for (const auto& [bank, set] : words) most = std::max(most, set.size());
  return static_cast<int>(most);
}

struct Counts {
  int loads = 0, stores = 0, by_element = 0, mmas = 0, workgroup_barriers = 0;
};
Counts count(const thread::Func& f) {
  Counts c;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const thread::Op op = f.inst(id).op;
    c.loads += op == thread::Op::frag_load_shared;
    c.stores += op == thread::Op::frag_store_shared;
    c.by_element += op == thread::Op::frag_make || op == thread::Op::frag_get;
    c.mmas += op == thread::Op::mma;
    c.workgroup_barriers += op == thread::Op::barrier;
  });
  return c;
}

}  // namespace

TEST_CASE("nominal layouts belong to their atom, and hold copies only where elements are too few") {
  const Coord sizes{4, 8, 12, 16, 24, 32};
  for (const int lanes : {8, 16, 32, 64})
    for (const int64_t m : sizes)
      for (const int64_t n : sizes)
        for (const int64_t k : sizes)
          for (const Type t : {types::f16, types::i8}) {
            const Atom a = opaque(static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), t, lanes);
            CAPTURE(fmt::format("{} lanes, {} x {} x {} {}", lanes, m, n, k, to_string(t)));
            CHECK(a.source == MapSource::opaque);
            for (const auto& [l, shape] : {std::pair{a.layout_a, Coord{m, k}}, std::pair{a.layout_b, Coord{k, n}},
                                           std::pair{a.layout_c, Coord{m, n}}}) {
              CHECK(l.shape() == shape);
              CHECK(l.threads() == lanes);
              const auto twos = int64_t{1} << std::countr_zero(static_cast<uint64_t>(l.elements()));
              CHECK(l.replicas() == std::max<int64_t>(1, lanes / twos));
            }
          }
}

TEST_CASE("a slice is aligned as matrix loads ask, without bank conflicts, in its room, one fragment at least") {
  for (const auto& size : {std::array{16, 8, 16, 32}, {16, 16, 16, 64}, {8, 8, 8, 8}, {8, 16, 16, 16}})
    for (const thread::Use use : {thread::Use::a, thread::Use::b, thread::Use::c})
      for (const int64_t room : {64, 768, 4096}) {
        const FragmentSlice s(opaque(size[0], size[1], size[2], types::f16, size[3]), use, room, 16);
        CAPTURE(fmt::format("{}, use {}, room {}", fmt::join(size, " x "), static_cast<int>(use), room));
        const int64_t line = s.layout.shape()[1] * s.elem_bytes, piece = std::min<int64_t>(16, line);
        CHECK(s.pitch * s.elem_bytes % 16 == 0);
        CHECK(most_on_a_bank(s) == 1);
        CHECK((s.holds == 1 || s.bytes() <= room));
        std::set<int64_t> taken;
        for (int64_t j = 0; j < s.holds; j++) {
          CHECK(s.start(j) % piece == 0);
          for (int64_t row = 0; row < s.layout.shape()[0]; row++)
            for (int64_t at = 0; at < line; at++)
              CHECK(taken.insert(s.start(j) + row * s.pitch * s.elem_bytes + at).second);
        }
        CHECK(*taken.rbegin() < s.bytes());
      }
}

TEST_CASE(
    "every kernel we ship compiles opaque: valid, in the target's shared memory, no element of a fragment named") {
  spvtools::SpirvTools tools(SPV_ENV_VULKAN_1_2);
  std::string fault;
  tools.SetMessageConsumer([&](spv_message_level_t, const char*, const spv_position_t&, const char* m) { fault = m; });
  int kernels = 0;
  for (const char* name : kProfiles) {
    const auto t = test_target(std::string("opaque-") + name);
    REQUIRE_MESSAGE(t, t.error().text);
    for (const ShippedKernel& k : shipped_kernels(*t)) {
      CAPTURE(fmt::format("{}: {}", name, k.name));
      const auto c = compile(k.func, *t, k.options(kernels % 2 == 0));
      REQUIRE_MESSAGE(c, c.error().text);
      const Counts n = count(c->func);
      CHECK(n.by_element == 0);
      CHECK((n.mmas == 0 || (n.loads > 0 && n.stores > 0)));
      const auto words = emit_spirv(c->func, *t);
      REQUIRE_MESSAGE(words, words.error().text);
      CHECK_MESSAGE(tools.Validate(*words), fault);
      kernels++;
    }
  }
  CHECK(kernels > 150);
}

TEST_CASE("a probed map that proves wrong is reported once, and its kernel goes through shared memory") {
  int tried = 0;
  for (TestDevice& d : test_devices()) {
    Target t = d.target;
    bool changed = false;
    for (Atom& a : t.atoms)
      if (a.source == MapSource::probed && a.m == a.n) {  // lanes and slots of c change places
        a.layout_c = transpose(a.layout_c, {1, 0});
        changed = true;
      } else if (a.source == MapSource::probed && a.layout_c.S().size() == 2) {
        a.layout_c = *permute_slots(a.layout_c, {a.layout_c.S()[1], a.layout_c.S()[0]});
        changed = true;
      }
    if (!changed) continue;
    tried++;
    const kernels::WeightFormat format{.code = types::i4, .group = 32};
    auto matmul = Matmul::create(*d.device, t, format, types::f16, false);
    REQUIRE_MESSAGE(matmul, matmul.error().text);
    constexpr int64_t n = 16, k = 64, m = 3;
    std::vector<std::byte> codes(n * k);
    for (size_t i = 0; i < codes.size(); i++) codes[i] = static_cast<std::byte>(static_cast<int>(i * 7 % 15) - 7);
    const std::vector<uint16_t> scales(n * 2, 0x3c00);
    REQUIRE((*matmul)->store({n, k, 2, codes, scales, {}}));
    std::vector<uint16_t> x;
    for (int64_t i = 0; i < m * k; i++)
      x.push_back(static_cast<uint16_t>(encode(types::f16, static_cast<double>(i % 5) - 2)));
    auto dx = d.device->alloc(x.size() * 2), dy = d.device->alloc(m * n * 4);
    REQUIRE((dx && dy));
    REQUIRE(d.device->upload(**dx, 0, std::as_bytes(std::span(x))));
    const Schedule s = choose_schedule((*matmul)->schedules(), m, n, k);
    for (int again = 0; again < 2; again++) {
      const auto launch = (*matmul)->launch(s, m, (*dx)->address(), (*dy)->address());
      REQUIRE_MESSAGE(launch, launch.error().text);
      REQUIRE(d.device->run({&*launch, 1}));
    }
    std::vector<float> y(m * n);
    REQUIRE(d.device->download(**dy, 0, std::as_writable_bytes(std::span(y))));
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        double want = 0;
        for (int64_t e = 0; e < k; e++)
          want += decode(types::f16, x[static_cast<size_t>(i * k + e)]) *
                  static_cast<double>(static_cast<int8_t>(codes[static_cast<size_t>(j * k + e)]));
        CHECK(static_cast<double>(y[static_cast<size_t>(i * n + j)]) == want);
      }
    REQUIRE((*matmul)->distrusted().size() == 1);
    CHECK((*matmul)->distrusted()[0].find("wrong result on a known tile") != std::string::npos);
    CHECK((*matmul)->distrusted()[0].find("probed lane maps") != std::string::npos);
    const Kernel* kernel = (*matmul)->kernel_of(s, true);
    REQUIRE(kernel != nullptr);
    CHECK(kernel->source() == MapSource::opaque);
  }
  if (tried == 0) MESSAGE("SKIPPED: no device here has probed lane maps");
}

}  // namespace lathe
