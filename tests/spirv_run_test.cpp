// What emitted modules do on each Vulkan device here: every pure operation on every type against its host meaning,
// memory, control flow.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "backends/spirv/emit.h"
#include "runtime/device.h"
#include "tests/spirv_uses.h"

namespace lathe::thread {
namespace {

constexpr int kThreads = 512, kOperands = 3, kLanes = 2;

template <class T>
T must(tl::expected<T, runtime::Error> r) {
  REQUIRE_MESSAGE(r, r.error().text);
  return std::move(*r);
}

lathe::Type element_of(Scalar s) {
  return s == Scalar::f16 ? types::f16 : s == Scalar::bf16 ? types::bf16 : types::f32;
}

/// What a device promises, as a target.
Target target_of(const runtime::DeviceInfo& info) {
  const runtime::VulkanFacts& v = info.facts.vulkan;
  Target t{.name = info.name, .backend = Backend::spirv, .subgroup_size = static_cast<int>(info.facts.subgroup_size)};
  t.max_threads = static_cast<int>(info.facts.max_threads);
  t.f16_arithmetic = v.float16;
  t.f16_storage = v.storage16;
  t.byte_storage = v.storage8;
  t.rte_f16 = v.rte_f16;
  t.rte_f32 = v.rte_f32;
  t.preserve_f16_denorm = v.preserve_denorm_f16;
  t.preserve_f32_denorm = v.preserve_denorm_f32;
  return t;
}

/// A use that takes operands from the first buffer, a 64-bit word a lane, and leaves the result's bits in the second.
struct Experiment {
  std::vector<Type> operands;
  Type result;
  Func f;
};
ValueId word_address(Builder& b, int64_t slot, int words_a_thread) {
  const ValueId thread = b.emit(Op::add, {b.emit(Op::mul, {b.emit(Op::group_id, {}, {.type = kI32}), b.i32(64)}),
                                          b.emit(Op::thread_id, {}, {.type = kI32})});
  return b.emit(Op::add,
                {argument(b, slot), b.emit(Op::mul, {b.cvt(Op::zext, thread, kI64), b.i64(8 * words_a_thread)})});
}
ValueId from_bits(Builder& b, ValueId word, Scalar s) {
  if (s == Scalar::b1) return b.emit(Op::ne, {b.emit(Op::band, {word, b.i64(1)}), b.i64(0)});
  if (s == Scalar::i64) return word;
  return b.cvt(Op::bitcast, b.cvt(Op::trunc, word, bits(s) == 8 ? kI8 : bits(s) == 16 ? kI16 : kI32), {s});
}
ValueId to_bits(Builder& b, ValueId v) {
  const Scalar s = b.type(v).scalar;
  if (is_float(s)) v = b.cvt(Op::bitcast, v, bits(s) == 16 ? kI16 : kI32);
  return s == Scalar::i64 ? v : b.cvt(Op::zext, v, kI64);
}
Experiment experiment(Op op, Type lead, Type result, const Target& t) {
  Experiment e;
  const Source source = [&](Builder& b, Type type, size_t operand) {
    e.operands.push_back(type);
    const ValueId from = word_address(b, 0, kOperands * kLanes);
    std::vector<ValueId> lanes;
    for (int l = 0; l < type.lanes; l++) {
      const auto at = static_cast<int64_t>(8 * (operand * kLanes + static_cast<size_t>(l)));
      lanes.push_back(from_bits(b, b.emit(Op::load_global, {from}, {.type = kI64, .imm = at}), type.scalar));
    }
    return type.lanes == 1 ? lanes[0] : b.emit(Op::vec, lanes, {.type = type});
  };
  const Sink sink = [&](Builder& b, ValueId v) {
    e.result = b.type(v);
    for (int l = 0; l < e.result.lanes; l++) {
      const ValueId lane = e.result.lanes == 1 ? v : b.emit(Op::get, {v}, {.type = {e.result.scalar}, .imm = l});
      b.effect(Op::store_global, {word_address(b, 1, kLanes), to_bits(b, lane)}, {.imm = 8 * l});
    }
  };
  e.f = use_of(op, lead, result, source, sink);
  e.f.shared.clear();
  e.f.subgroup_size = t.subgroup_size;
  e.f.subgroups = 64 / t.subgroup_size;
  if (op == Op::vec) e.operands.assign(result.lanes, lead);
  return e;
}

/// Bits worth trying first: zeros, ends of ranges, halfway cases, infinities, NaN; then any.
uint64_t interesting(Scalar s, std::mt19937_64& random) {
  static constexpr double kNumbers[] = {
      0,       1,     -1,           0.5,           1.5,          -2.5,      3,       65504, 65520,
      1e-7,    1e-40, 2147483648.0, -2147483648.0, 2147483520.0, 9.3e18,    -9.3e18, 127.5, -128.5,
      32767.5, 1e30,  0x1.01p0,     0x1.018p0,     HUGE_VAL,     -HUGE_VAL, NAN};
  static constexpr int64_t kIntegers[] = {0,
                                          1,
                                          -1,
                                          2,
                                          127,
                                          -128,
                                          255,
                                          32767,
                                          -32768,
                                          65535,
                                          INT32_MAX,
                                          INT32_MIN,
                                          UINT32_MAX,
                                          INT64_MAX,
                                          INT64_MIN,
                                          16777217,
                                          (int64_t{1} << 53) + 1};
  const uint64_t any = random(), choice = random();
  if (choice % 2 == 0) return any;
  if (is_float(s))
    return choice % 4 == 1 ? encode(element_of(s), kNumbers[any % std::size(kNumbers)])
                           : encode(element_of(s), std::ldexp(static_cast<double>(static_cast<int32_t>(any)),
                                                              static_cast<int>(choice % 64) - 48));
  return static_cast<uint64_t>(kIntegers[any % std::size(kIntegers)]);
}

/// How far a result may be from the host's, relative; 0: exact.
double tolerance(Op op) {
  switch (op) {
    case Op::fdiv:
    case Op::sqrt:
    case Op::rsqrt:
      return 1e-6;
    case Op::log2:
      return 4e-6;
    case Op::exp2:
      return 6e-5;  // 3 + 2 |x| units of the last place
    default:
      return 0;
  }
}

bool subnormal(Scalar s, uint64_t raw) {
  const double v = is_float(s) ? std::fabs(decode(element_of(s), raw)) : 0;
  return v > 0 && v < (s == Scalar::f16 ? 0x1p-14 : 0x1p-126);
}

bool agrees(Op op, Scalar s, uint64_t got, uint64_t want) {
  if (!is_float(s) || got == want) return got == want;
  const double g = decode(element_of(s), got), w = decode(element_of(s), want);
  if (std::isnan(g) || std::isnan(w)) return std::isnan(g) && std::isnan(w);
  if (g == w) return (op == Op::fmin || op == Op::fmax) || tolerance(op) > 0;  // zeros of either sign
  const double allowed =
      tolerance(op) * (s == Scalar::f16 ? 1e3 : 1) * std::max(std::fabs(w), op == Op::log2 ? 1.0 : 0.0);
  return allowed > 0 && (std::fabs(g - w) <= allowed || (subnormal(s, want) && std::fabs(g) < 0x1p-125));
}

/// Vulkan lets a driver round the product of an fma too.
uint64_t rounded_twice(const Experiment& e, const std::vector<std::vector<uint64_t>>& args, size_t lane) {
  std::vector<uint64_t> product, sum;
  evaluate(Op::mul, {}, e.result, {e.result, e.result}, {args[0], args[1]}, product);
  evaluate(Op::add, {}, e.result, {e.result, e.result}, {product, args[2]}, sum);
  return sum[lane];
}

struct Device {
  runtime::Device& api;
  Target target;
  std::unique_ptr<runtime::Buffer> in, out;

  /// The first two launch arguments are the buffers.
  std::vector<uint64_t> run(const Func& f, const std::vector<uint64_t>& input, std::vector<uint64_t> more = {}) {
    REQUIRE(verify(f));
    const auto words = emit_spirv(f, target);
    REQUIRE_MESSAGE(words, words.error().text);
    const runtime::ProgramInfo info{.threads = 64,
                                    .param_slots = static_cast<uint32_t>(f.param_slots),
                                    .params_in_push_constants = params_in_push_constants(f)};
    more.insert(more.begin(), {in->address(), out->address()});
    const auto program = must(api.load(std::as_bytes(std::span(*words)), info));
    must(api.upload(*in, 0, std::as_bytes(std::span(input))));
    const runtime::LaunchRecord launch{program.get(), {kThreads / 64, 1, 1}, more};
    must(api.run({&launch, 1}));
    std::vector<uint64_t> result(kThreads * kLanes);
    must(api.download(*out, 0, std::as_writable_bytes(std::span(result))));
    return result;
  }
};

/// Runs one use on many operands; the number of results that differ from the host's, and how many were compared.
std::pair<int, int> compare(Device& device, Op op, const Experiment& e, std::string& first) {
  std::mt19937_64 random(static_cast<uint64_t>(op));
  std::vector<uint64_t> input(kThreads * kOperands * kLanes);
  const bool shift = op == Op::shl || op == Op::shr_u || op == Op::shr_s;
  for (size_t w = 0; w < input.size(); w++) {
    const size_t operand = w / kLanes % kOperands;
    if (operand >= e.operands.size()) continue;
    const Scalar s = e.operands[operand].scalar;
    input[w] =
        shift && operand == 1 ? random() % static_cast<uint64_t>(bits(e.operands[0].scalar)) : interesting(s, random);
    if (bits(s) < 64) input[w] &= (uint64_t{1} << bits(s)) - 1;
    if (op >= Op::div_s && op <= Op::rem_u && operand == 1) input[w] |= 1;  // x / 0 is undefined
  }
  const std::vector<uint64_t> got = device.run(e.f, input);
  int wrong = 0, compared = 0;
  for (size_t thread = 0; thread < kThreads; thread++) {
    std::vector<std::vector<uint64_t>> args;
    std::vector<uint64_t> want;
    bool flushed = false;
    auto may_flush = [&](Scalar s, uint64_t raw) {
      const bool kept = s == Scalar::f16 ? device.target.preserve_f16_denorm : device.target.preserve_f32_denorm;
      flushed = flushed || (!kept && subnormal(s, raw));
    };
    for (size_t operand = 0; operand < e.operands.size(); operand++) {
      const size_t source = op == Op::vec ? 0 : operand;
      const uint64_t* at = &input[(thread * kOperands + source) * kLanes];
      args.emplace_back(at, at + e.operands[operand].lanes);
      for (const uint64_t raw : args.back()) may_flush(e.operands[operand].scalar, raw);
    }
    if (!evaluate(op, {.type = e.result}, e.result, e.operands, args, want)) continue;
    for (const uint64_t raw : want) may_flush(e.result.scalar, raw);
    if (flushed) continue;
    for (size_t l = 0; l < want.size(); l++) {
      const int width = bits(e.result.scalar);
      const uint64_t result = got[thread * kLanes + l], mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
      compared++;
      if (agrees(op, e.result.scalar, result & mask, want[l] & mask)) continue;
      if (op == Op::fma && agrees(op, e.result.scalar, result & mask, rounded_twice(e, args, l))) continue;
      if (wrong++ == 0)
        first = fmt::format("of {:#x} {:#x}: {:#x}, expected {:#x}", args[0][std::min(l, args[0].size() - 1)],
                            args.back().back(), result, want[l] & mask);
    }
  }
  return {wrong, compared};
}

void on_each_device(const std::function<void(Device&)>& test) {
  int devices = 0;
  for (const runtime::DeviceInfo& found : runtime::list_devices()) {
    if (found.api != "vulkan") continue;
    devices++;
    CAPTURE(found.name);
    const auto api = must(runtime::open_device(found.id, {.cache = nullptr}));
    Device device{*api, target_of(found), must(api->alloc(8 * kThreads * kOperands * kLanes)),
                  must(api->alloc(8 * kThreads * kLanes))};
    test(device);
  }
  if (devices == 0) MESSAGE("SKIP: no Vulkan device on this machine");
  if (std::getenv("LATHE_REQUIRE_DEVICES") != nullptr) REQUIRE(devices > 0);
}

/// A workgroup of 64 threads, whatever the subgroup.
Func sized(Func f, const Device& device) {
  f.subgroup_size = device.target.subgroup_size;
  f.subgroups = 64 / f.subgroup_size;
  return f;
}

}  // namespace

TEST_CASE("every pure operation gives what the host gives") {
  on_each_device([](Device& device) {
    int uses = 0;
    each_use([&](Op op, Type from, Type to, const Func&) {
      if (info(op).effect != Effect::pure || *info(op).operands == 0) return;
      if (from.lanes > kLanes || to.lanes > kLanes || refused(op, from, to)) return;
      const Experiment e = experiment(op, from, to, device.target);
      std::string first;
      const auto found = compare(device, op, e, first);
      const auto wrong = found.first, compared = found.second;
      const std::string what = fmt::format("{} {} -> {}", info(op).name, to_string(from), to_string(e.result));
      uses++;
      CHECK_MESSAGE(wrong == 0, fmt::format("{}: {} of {} wrong, {}", what, wrong, compared, first));
      CHECK_MESSAGE(compared > 0, what);
    });
    CHECK(uses > 300);
  });
}

TEST_CASE("what a thread leaves in shared memory, its neighbour finds, by every access width") {
  std::vector<uint64_t> input(kThreads * kLanes);
  std::mt19937_64 random(1);
  for (uint64_t& word : input) word = random();
  on_each_device([&](Device& device) {
    for (const int width : {1, 2, 4, 8, 16})
      for (const Type t : {kI8, kI16, kI32, kI64, kI32x2, kI32x4}) {
        const int bytes = total_bits(t) / 8;
        if (bytes % width != 0) continue;
        CAPTURE(width);
        CAPTURE(bytes);
        const auto build = [&](Builder& b) {
          const ValueId thread = b.emit(Op::thread_id, {}, {.type = kI32});
          const ValueId neighbour = b.emit(Op::bxor, {thread, b.i32(63)});
          // Before the array's start, so that only the sum with the immediate is an offset.
          const auto at = [&](ValueId v) {
            return b.emit(Op::sub, {b.emit(Op::mul, {v, b.i32(bytes)}), b.i32(bytes)});
          };
          const ValueId v = b.emit(Op::load_global, {word_address(b, 0, kLanes)}, {.type = t});
          b.effect(Op::store_shared, {at(thread), v}, {.imm = bytes});
          b.effect(Op::barrier, {});
          const ValueId yes = b.emit(Op::ne, {thread, b.i32(5)});
          const ValueId found = b.emit(Op::load_shared, {at(neighbour), yes}, {.type = t, .imm = bytes});
          b.effect(Op::store_global, {word_address(b, 1, kLanes), found, b.emit(Op::ne, {thread, b.i32(6)})});
        };
        must(device.api.fill(*device.out, 0, device.out->bytes(), std::byte{0xee}));
        const auto got = device.run(sized(kernel(build, {{"tile", 1024, width}}), device), input);
        int wrong = 0;
        for (size_t thread = 0; thread < kThreads; thread++) {
          uint8_t want[16], found[16];
          std::memcpy(want, &input[(thread ^ 63) * kLanes], 16);
          std::memcpy(found, &got[thread * kLanes], 16);
          if (thread % 64 == 5) std::fill_n(want, bytes, uint8_t{0});
          if (thread % 64 == 6) std::fill_n(want, bytes, uint8_t{0xee});
          std::fill(want + bytes, want + 16, uint8_t{0xee});
          wrong += std::memcmp(want, found, 16) != 0;
        }
        CHECK(wrong == 0);
      }
  });
}

TEST_CASE("loops, conditionals and launch arguments beyond the push constants") {
  const auto build = [](Builder& b) {
    const BlockId body = b.block;
    const ValueId thread = b.emit(Op::thread_id, {}, {.type = kI32});
    const auto loop = b.begin_loop(b.i32(0), thread, b.i32(2), {argument(b, 16, kI32), b.i32(1), b.i32(0)});
    const auto branch = b.begin_cond(b.emit(Op::eq, {b.emit(Op::band, {loop.index, b.i32(4)}), b.i32(0)}));
    b.yield({b.emit(Op::add, {loop.carried[2], loop.index})});
    b.block = branch.else_block;
    b.yield({b.emit(Op::mul, {loop.carried[2], b.i32(3)})});
    const ValueId sum = b.end_cond(branch, loop.body)[0];
    const auto out = b.end_loop(loop, {loop.carried[1], loop.carried[0], sum}, body);
    const ValueId single = b.cvt(Op::f2s, argument(b, 15, kF32), kI32);
    b.effect(Op::store_global,
             {word_address(b, 1, kLanes), b.emit(Op::vec, {out[0], out[1], out[2], single}, {.type = kI32x4})});
  };
  on_each_device([&](Device& device) {
    std::vector<uint64_t> more(15, ~uint64_t{0});
    more[13] = 0xffffffff42280000;  // slot 15: 42 as f32
    more[14] = 0xffffffff00000007;
    const auto got = device.run(sized(kernel(build, {}, 17), device), {0}, more);
    int wrong = 0;
    for (int thread = 0; thread < kThreads; thread++) {
      int32_t a = 7, other = 1, sum = 0, found[4];
      for (int i = 0; i < thread % 64; i += 2) {
        std::swap(a, other);
        sum = (i & 4) == 0 ? sum + i : static_cast<int32_t>(static_cast<uint32_t>(sum) * 3);
      }
      std::memcpy(found, &got[static_cast<size_t>(thread * kLanes)], 16);
      wrong += found[0] != a || found[1] != other || found[2] != sum || found[3] != 42;
    }
    CHECK(wrong == 0);
  });
}

}  // namespace lathe::thread
