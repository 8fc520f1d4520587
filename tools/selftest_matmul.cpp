// The matmul's cases: weight formats x shapes x numbers of tokens; stored order, compilations, matrix hardware.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "model/half.h"
#include "tools/low_bit.h"
#include "tools/selftest.h"

namespace lathe::tools {
namespace {

struct Format {
  const char* name;
  kernels::WeightFormat weights;
  bool biased = false;
};
const Format kFormats[] = {
    {"f16", {.code = types::f16, .group = 0}},
    {"i4-none", {.code = types::i4, .group = 0}},
    {"i4-g32", {.code = types::i4, .group = 32}},
    {"i4-g128", {.code = types::i4, .group = 128}},
    {"u4z-none", {.code = types::u4, .group = 0, .zeros = true}},
    {"u4z-g32", {.code = types::u4, .group = 32, .zeros = true}},
    {"u4z-g128", {.code = types::u4, .group = 128, .zeros = true}},
    {"u4z-g128-bias", {.code = types::u4, .group = 128, .zeros = true}, true},
};

/// Weights n x k: one, primes, rows that do not begin on 16 bytes, k that is no multiple of a group or a tile.
struct Shape {
  int64_t n, k;
};
constexpr Shape kShapes[] = {{64, 256}, {37, 129}, {40, 72}, {1, 300}, {96, 1}, {131, 96}};
constexpr int64_t kTokens[] = {1, 2, 7, 8, 9, 16, 17, 33, 64, 100, 300};
constexpr int64_t kMostTokens = 300;
constexpr int64_t kFewTokens = 64, kSmallWeights = 4096;  ///< software runs more tokens only with so few weights

using Random = std::mt19937;

int between(Random& random, int low, int high) {
  return low + static_cast<int>(random() % static_cast<uint32_t>(high - low + 1));
}
double unit(Random& random) { return random() * 0x1p-32; }

/// Exact: |x| <= 2, scales powers of two, whole numbers elsewhere; every sum is under 2^24 units. Otherwise: anything.
LowBit make_problem(const Format& f, Shape s, int64_t m, bool exact) {
  Random random(static_cast<uint32_t>(s.n * 1000 + s.k + exact));
  const auto half = [](double v) { return static_cast<uint16_t>(encode(types::f16, v)); };
  const auto count = static_cast<size_t>(s.n * s.k);
  std::vector<std::byte> codes(f.weights.scaled() ? count : 2 * count);
  for (size_t i = 0; i < count; i++) {
    if (f.weights.scaled()) {
      codes[i] = static_cast<std::byte>(f.weights.code == types::i4 ? between(random, -8, 7) : between(random, 0, 15));
    } else {
      const uint16_t bits = half(exact ? between(random, -8, 8) : unit(random) - 0.5);
      std::memcpy(&codes[2 * i], &bits, 2);
    }
  }
  const int64_t group = f.weights.group ? f.weights.group : s.k;
  const auto groups = static_cast<size_t>(f.weights.scaled() ? s.n * ((s.k + group - 1) / group) : 0);
  std::vector<uint16_t> scales(groups), zeros(f.weights.zeros ? groups : 0);
  for (uint16_t& v : scales) v = half(exact ? std::exp2(between(random, -1, 1)) : 0.01 + 0.1 * unit(random));
  for (uint16_t& v : zeros) v = half(between(random, 0, 15));
  LowBit p{weights_of(f.weights, s.n, s.k, std::move(codes), std::move(scales), std::move(zeros)), m, {}, {}};
  p.x.resize(static_cast<size_t>(m * s.k));
  for (uint16_t& v : p.x) v = half(exact ? between(random, -2, 2) : 2 * unit(random) - 1);
  for (int64_t i = 0; f.biased && i < s.n; i++)
    p.bias.push_back(exact ? static_cast<float>(between(random, -9, 9)) : static_cast<float>(unit(random)));
  return p;
}

/// The first m rows.
LowBit first_rows(const LowBit& p, int64_t m) {
  LowBit part{p.weights, m, {}, p.bias};
  part.x.assign(p.x.begin(), p.x.begin() + static_cast<std::ptrdiff_t>(m * p.weights.k));
  return part;
}

std::string data_name(const Format& f, Shape s, bool exact) {
  return fmt::format("matmul/{}/n{} k{} {}", f.name, s.n, s.k, exact ? "exact" : "any");
}

Result<std::string> within_bound(const LowBit& p, std::span<const float> y, bool exact) {
  const Deviation d = deviation(p, y);
  if (exact && d.max_abs_err != 0) return bad_input("not equal: " + d.worst);
  if (!d.holds()) return bad_input("beyond the bound: " + d.worst);
  return std::string();
}

/// The oracle itself, against f64; its results on exact data are kept.
Result<std::string> test_oracle(const LowBit& p, bool exact, std::vector<float>& kept) {
  TRY_ASSIGN(const auto y, interpret(p, Schedule{}));
  if (exact) kept = y;
  return within_bound(p, y, exact);
}

Result<std::string> equal_bits(std::span<const float> y, std::span<const float> oracle) {
  for (size_t i = 0; i < y.size(); i++)
    if (std::bit_cast<uint32_t>(y[i]) != std::bit_cast<uint32_t>(oracle[i]) && (y[i] != 0 || oracle[i] != 0))
      return bad_input(fmt::format("element {} is {}, the oracle says {}", i, y[i], oracle[i]));
  return std::string();
}

/// One weight format on one device: the kernels of its schedules are built once for all shapes.
class FormatTest {
 public:
  FormatTest(const Place& place, const Format& format, Report& report, Oracle& oracle)
      : place_(place), format_(format), report_(report), oracle_(oracle) {}

  void run() {
    if (!wanted()) return;
    if (place_.device) {
      auto matmul = Matmul::create(*place_.device, place_.target, format_.weights, types::f16, format_.biased);
      if (!matmul) return report_.add(place_.id, name("create"), tl::unexpected(matmul.error()));
      matmul_ = std::move(*matmul);
    }
    for (const Shape s : kShapes)
      for (const bool exact : {true, false}) test_shape(s, exact);
    if (matmul_) {
      add(name("every schedule"), [&] { return every_schedule(); });
      add(name("one stored order"), [&] { return one_stored_order(); });
      add(name("compilations"), [&] { return compilations(); });
      if (lists_matrices()) add(name("matrix hardware"), [&] { return matrix_hardware(); });
    }
  }

 private:
  std::string name(const std::string& what) const { return fmt::format("matmul/{}/{}", format_.name, what); }
  std::string row_name(Shape s, bool exact, int64_t m) const {
    return fmt::format("{}/m{}", data_name(format_, s, exact), m);
  }

  bool wanted() const {
    std::vector<std::string> names{name("every schedule"), name("one stored order"), name("compilations"),
                                   name("matrix hardware")};
    for (const Shape s : kShapes)
      for (const bool exact : {true, false}) {
        names.push_back(data_name(format_, s, exact) + "/unpack");
        for (const int64_t m : kTokens) names.push_back(row_name(s, exact, m));
      }
    return report_.wants_any(names);
  }

  template <class Test>
  void add(const std::string& case_name, const Test& test) {
    if (report_.wants(case_name)) report_.add(place_.id, case_name, test());
  }

  bool runs(Shape s, int64_t m) const {
    return place_.device ? !place_.software() || m <= kFewTokens || s.n * s.k <= kSmallWeights : m == kMostTokens;
  }

  void test_shape(Shape s, bool exact) {
    std::vector<int64_t> tokens;
    for (const int64_t m : kTokens)
      if (runs(s, m) && report_.wants(row_name(s, exact, m))) tokens.push_back(m);
    const std::string unpack = data_name(format_, s, exact) + "/unpack";
    const bool unpacks = matmul_ && exact && report_.wants(unpack);
    if (tokens.empty() && !unpacks) return;
    const LowBit p = make_problem(format_, s, kMostTokens, exact);
    if (!matmul_) {
      add(row_name(s, exact, kMostTokens),
          [&] { return test_oracle(p, exact, oracle_[data_name(format_, s, exact)]); });
      return;
    }
    const auto ready = prepare(p);
    if (!ready) return report_.add(place_.id, data_name(format_, s, exact) + "/store", tl::unexpected(ready.error()));
    if (unpacks) report_.add(place_.id, unpack, unpack_gives_back(p.weights));
    for (const int64_t m : tokens) report_.add(place_.id, row_name(s, exact, m), test_tokens(p, m, exact));
  }

  /// Weights, x and bias on the device, and room for y with a row to spare.
  Result<Unit> prepare(const LowBit& p) {
    runtime::Device& device = *place_.device;
    TRY(matmul_->store(p.weights.plain()));
    const auto x = std::as_bytes(std::span(p.x)), bias = std::as_bytes(std::span(p.bias));
    TRY_ASSIGN(x_, lift(device.alloc(x.size())));
    TRY_ASSIGN(bias_, lift(device.alloc(bias.size())));
    TRY_ASSIGN(y_, lift(device.alloc(static_cast<uint64_t>((p.m + 1) * p.weights.n) * sizeof(float))));
    TRY(lift(device.upload(*x_, 0, x)));
    return lift(device.upload(*bias_, 0, bias));
  }

  Result<std::vector<float>> product(const Schedule& s, int64_t m, int64_t n) {
    runtime::Device& device = *place_.device;
    std::vector<float> y(static_cast<size_t>((m + 1) * n));
    const auto bytes = std::as_writable_bytes(std::span(y));
    TRY(lift(device.fill(*y_, 0, bytes.size(), std::byte{0xff})));
    TRY_ASSIGN(const auto launch, matmul_->launch(s, m, x_->address(), y_->address(), bias_->address()));
    TRY(lift(device.run({&launch, 1})));
    TRY(lift(device.download(*y_, 0, bytes)));
    for (size_t i = static_cast<size_t>(m * n); i < y.size(); i++)
      if (std::bit_cast<uint32_t>(y[i]) != 0xffffffffu) return bad_input("the row past the last was written");
    y.resize(static_cast<size_t>(m * n));
    return y;
  }

  Result<std::string> test_tokens(const LowBit& p, int64_t m, bool exact) {
    const HostWeights& w = p.weights;
    TRY_ASSIGN(const auto y, product(choose_schedule(matmul_->schedules(), m, w.n, w.k), m, w.n));
    if (!exact) return within_bound(first_rows(p, m), y, false);
    auto& oracle = oracle_[data_name(format_, {w.n, w.k}, true)];
    if (oracle.empty()) {
      TRY_ASSIGN(oracle, interpret(p, Schedule{}));
    }
    return equal_bits(y, oracle);
  }

  Result<std::string> unpack_gives_back(const HostWeights& w) {
    Packer packer(*place_.device, place_.target);
    const auto same = [&](const char* parameter, int64_t columns, std::span<const std::byte> plain) -> Result<Unit> {
      TRY_ASSIGN(const auto back,
                 packer.unpack(*matmul_->packed(parameter), w.n, columns, *matmul_->buffer(parameter)));
      if (!std::equal(back.begin(), back.end(), plain.begin(), plain.end()))
        return bad_input(fmt::format("'{}' is not what was packed", parameter));
      return Unit{};
    };
    TRY(same("w", w.k, w.codes));
    if (w.format.scaled()) TRY(same("s", w.groups, std::as_bytes(std::span(w.scales))));
    if (w.format.zeros) TRY(same("z", w.groups, std::as_bytes(std::span(w.zeros))));
    return std::string();
  }

  /// Each schedule of the table, over more than one of its tiles along every dimension.
  Result<std::string> every_schedule() {
    for (const ScheduleRow& row : matmul_->schedules().rows) {
      const Schedule& s = row.schedule;
      const Shape shape{s.tile_n + 5, 2 * s.tile_k + 8};
      for (const bool exact : {true, false}) {
        const LowBit p = make_problem(format_, shape, s.tile_m + 1, exact);
        TRY(prepare(p));
        TRY_ASSIGN(const auto y, product(s, p.m, shape.n));
        const auto verdict = within_bound(p, y, exact);
        if (!verdict) return bad_input(fmt::format("{}: {}", to_string(s), verdict.error().text));
      }
    }
    return std::string();
  }

  /// The kernel for m tokens, built if need be; the addresses are those of aligned rows.
  Result<const Kernel*> kernel_for(int64_t m) {
    const Schedule s = choose_schedule(matmul_->schedules(), m, matmul_->n(), matmul_->k());
    TRY_ASSIGN(const auto launch, matmul_->launch(s, m, x_->address(), y_->address(), bias_->address()));
    for (const bool aligned : {false, true}) {
      const Kernel* k = matmul_->kernel_of(s, aligned);
      if (k != nullptr && &k->program() == launch.program) return k;
    }
    return internal_error("a launch of a kernel that the matmul does not hold");
  }

  Result<std::string> one_stored_order() {
    TRY(prepare(make_problem(format_, {64, 256}, 1, true)));
    for (const int64_t m : {1, 16, 256, 4096}) {
      TRY_ASSIGN(const Kernel* kernel, kernel_for(m));
      for (const auto& [parameter, p] : kernel->packed())
        if (p != *matmul_->packed(parameter))
          return bad_input(fmt::format("at m = {} '{}' is {}, not {}", m, parameter, pack_id(p),
                                       pack_id(*matmul_->packed(parameter))));
    }
    return fmt::format("{} for m = 1, 16, 256, 4096; {} bytes", matmul_->pack_id(), matmul_->weight_bytes());
  }

  /// At most two kernels a schedule, whatever the number of tokens: rows aligned to 16 bytes, or any.
  Result<std::string> compilations() {
    std::set<std::string> schedules;
    for (const ScheduleRow& row : matmul_->schedules().rows) schedules.insert(to_string(row.schedule));
    int values = 0;
    for (const Shape s : {Shape{64, 256}, Shape{37, 129}}) {
      TRY(prepare(make_problem(format_, s, 1, true)));
      for (int64_t m = 1; m <= kMostTokens; m += 3, values++) {
        TRY(kernel_for(m));
        schedules.insert(to_string(choose_schedule(matmul_->schedules(), m, s.n, s.k)));
      }
    }
    const int count = matmul_->compilations(), most = 2 * static_cast<int>(schedules.size());
    if (count > most) return bad_input(fmt::format("{} kernels for {} schedules", count, schedules.size()));
    return fmt::format("{} kernels for {} schedules, {} values of M and two shapes", count, schedules.size(),
                       values / 2);
  }

  bool lists_matrices() const {
    const runtime::DeviceInfo& info = place_.device->info();
    return info.api == "cuda" ||
           std::any_of(info.facts.vulkan.matrices.begin(), info.facts.vulkan.matrices.end(), [](const auto& m) {
             return m.a == "f16" && m.b == "f16" && m.c == "f32" && m.result == "f32" && m.scope == "subgroup";
           });
  }

  Result<std::string> matrix_hardware() {
    TRY(prepare(make_problem(format_, {64, 256}, 1, true)));
    std::string atoms;
    for (const int64_t m : {1, 16, 64}) {
      TRY_ASSIGN(const Kernel* kernel, kernel_for(m));
      if (kernel->source() == MapSource::fma)
        return bad_input(fmt::format("the device lists f16 matrices, but m = {} does without", m));
      atoms = fmt::format("{}, {}", to_string(kernel->source()), kernel->atoms());
    }
    for (const std::string& line : matmul_->distrusted()) atoms += "; " + line;
    return atoms;
  }

  const Place& place_;
  const Format& format_;
  Report& report_;
  Oracle& oracle_;
  std::unique_ptr<Matmul> matmul_;
  std::unique_ptr<runtime::Buffer> x_, y_, bias_;
};

/// Weights over 4 GiB whose codes are 1 up to some row and 2 from there on: y tells which bytes were read.
Result<std::string> beyond_4_gib(const Place& place) {
  constexpr int64_t k = 8192, n = (int64_t{9} << 30) / k;  // 4.5 GiB of 4-bit codes
  const kernels::WeightFormat format{.code = types::u4, .group = 128};
  runtime::Device& device = *place.device;
  TRY_ASSIGN(const auto matmul, Matmul::create(device, place.target, format, types::f16, false));
  TRY(matmul->reserve(n, k, k / 128));
  const PackedLayout& packed = *matmul->packed("w");
  const int64_t row_bytes = packed.bytes(packed.unit_n(), k), cut = (int64_t{4} << 30) / row_bytes * packed.unit_n();
  const auto low = static_cast<uint64_t>(packed.bytes(cut, k));
  runtime::Buffer& w = *matmul->buffer("w");
  runtime::Buffer& s = *matmul->buffer("s");
  TRY(lift(device.fill(w, 0, low, std::byte{0x11})));
  TRY(lift(device.fill(w, low, w.bytes() - low, std::byte{0x22})));
  TRY(lift(device.fill(s, 0, s.bytes(), std::byte{0x3c})));
  std::vector<uint16_t> x(static_cast<size_t>(k));
  for (const size_t i : {size_t{0}, static_cast<size_t>(k) / 2, static_cast<size_t>(k) - 1}) x[i] = 0x3c00;
  TRY_ASSIGN(const auto dx, lift(device.alloc(x.size() * 2)));
  TRY_ASSIGN(const auto dy, lift(device.alloc(static_cast<uint64_t>(n) * sizeof(float))));
  TRY(lift(device.upload(*dx, 0, std::as_bytes(std::span(x)))));
  TRY_ASSIGN(const auto launch, matmul->launch(1, dx->address(), dy->address()));
  TRY(lift(device.run({&launch, 1})));
  std::vector<float> y(static_cast<size_t>(n));
  TRY(lift(device.download(*dy, 0, std::as_writable_bytes(std::span(y)))));
  for (int64_t i = 0; i < n; i++) {
    const float want = (i < cut ? 3.0f : 6.0f) * model::f32_from_f16(0x3c3c);
    if (y[static_cast<size_t>(i)] != want)
      return bad_input(fmt::format("y[{}] is {}, not {}", i, y[static_cast<size_t>(i)], want));
  }
  return fmt::format("{} bytes of weights", w.bytes());
}

}  // namespace

void test_matmul(const Place& place, Report& report, Oracle& oracle) {
  for (const Format& format : kFormats) {
    FormatTest(place, format, report, oracle).run();
    report.end_group(place.id, fmt::format("matmul/{}", format.name));
  }
  constexpr uint64_t kRoom = uint64_t{16} << 30;
  const std::string large = "matmul/beyond 4 GiB";
  if (!place.software() && place.device->info().memory_bytes >= kRoom && report.wants(large))
    report.add(place.id, large, beyond_4_gib(place));
}

}  // namespace lathe::tools
