// Random functions give the same memory, bit for bit, before and after each pass.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <random>

#include "tests/thread_run.h"

namespace lathe::thread {
namespace {

constexpr int64_t kInputBytes = 4096, kOutputBytes = 4096, kSharedBytes = 2048;

/// Makes a function of nested loops and branches over integers and floats. Index arithmetic stays small, as in real
/// kernels (passes may take it not to overflow); data takes any value.
class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed), b_(f_, kNone) {}

  Func make(int length) {
    f_.name = "random";
    f_.subgroups = 4;
    f_.subgroup_size = 16;
    f_.param_slots = 4;
    f_.shared = {{"tile", kSharedBytes, 4}};
    f_.body = b_.block = f_.add_block();
    in_ = b_.emit(Op::param, {}, {.type = kI64, .imm = 0});
    out_ = b_.emit(Op::param, {}, {.type = kI64, .imm = 1});
    add(index_, b_.emit(Op::thread_id, {}, {.type = kI32}));
    add(index_, b_.emit(Op::lane_id, {}, {.type = kI32}));
    add(index_, b_.emit(Op::subgroup_id, {}, {.type = kI32}));
    add(index_, b_.emit(Op::group_id, {}, {.type = kI32}));
    add(index_, b_.i32(3));
    add(i32_, b_.emit(Op::param, {}, {.type = kI32, .imm = 2}));
    add(f32_, b_.emit(Op::param, {}, {.type = kF32, .imm = 3}));
    add(i64_, b_.cvt(Op::sext, i32_[0], kI64));
    add(bool_, b_.emit(Op::lt_s, {i32_[0], b_.i32(7)}));
    statements(length, 0);
    for (const auto* pool : {&i32_, &index_, &i64_, &f32_, &f16x2_, &bool_})
      for (const ValueId v : *pool)
        if (chance(2)) output(v);
    return std::move(f_);
  }

 private:
  using Pool = std::vector<ValueId>;
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  bool chance(int one_in) { return below(one_in) == 0; }
  ValueId pick(const Pool& pool) { return pool[static_cast<size_t>(below(static_cast<int>(pool.size())))]; }
  template <size_t N>
  Op pick(const Op (&ops)[N]) {
    return ops[below(N)];
  }
  static void add(Pool& pool, ValueId v) { pool.push_back(v); }
  ValueId small(int n) { return b_.i32(below(n)); }

  /// Constants that identities look for, among others.
  int64_t number() {
    constexpr int64_t kEdges[] = {0, 1, 2, 4, 8, 64, -1, -8, 3, 5, 12, 255, 65535, 0x7fffffff, -0x80000000LL};
    return chance(3) ? static_cast<int32_t>(random_()) : kEdges[below(15)];
  }
  ValueId data() { return chance(3) ? b_.i32(number()) : chance(6) ? pick(index_) : pick(i32_); }
  ValueId wide() { return chance(3) ? b_.i64(number()) : pick(i64_); }
  ValueId real() {
    constexpr float kEdges[] = {0.0F, -0.0F, 1.0F, -1.0F, 0.5F, 3.25F};
    return chance(4) ? b_.f32(kEdges[below(6)]) : pick(f32_);
  }

  void statements(int count, int depth) {
    for (int i = 0; i < count; i++) {
      if (depth < 3 && chance(12))
        chance(2) ? loop(depth) : branch(depth);
      else
        simple();
    }
  }

  void simple() {
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        return grow_index();
      case 3:
      case 4:
        return integer();
      case 5:
        return wide_integer();
      case 6:
        return floating();
      case 7:
        return condition();
      case 8:
        return conversion();
      case 9:
      case 10:
        return load();
      case 11:
        return neighbours();
      case 12:
        return halves();
      default:
        return chance(2) ? output(pick(i32_)) : exchange();
    }
  }

  /// Values 0 .. 2^12 after each step, so that sums and products stay far from overflow.
  void grow_index() {
    const ValueId x = pick(index_), y = pick(index_);
    ValueId v = kNone;
    switch (below(9)) {
      case 0:
        v = b_.emit(Op::add, {x, y});
        break;
      case 1:
        v = b_.emit(Op::add, {x, small(100)});
        break;
      case 2:
        v = b_.emit(Op::mul, {x, small(17)});
        break;
      case 3:
        v = b_.emit(Op::shl, {x, small(5)});
        break;
      case 4:
        v = b_.emit(chance(2) ? Op::div_u : Op::div_s, {x, b_.i32(1 << below(5))});
        break;
      case 5:
        v = b_.emit(chance(2) ? Op::rem_u : Op::rem_s, {x, b_.i32(1 + below(40))});
        break;
      case 6:
        v = b_.emit(chance(2) ? Op::min_s : Op::max_s, {x, y});
        break;
      case 7:
        v = b_.emit(Op::select, {pick(bool_), x, y});
        break;
      default:
        v = b_.cvt(Op::trunc, b_.emit(Op::mul, {b_.cvt(chance(2) ? Op::zext : Op::sext, x, kI64), b_.i64(below(9))}),
                   kI32);
    }
    add(i32_, v);
    add(index_, b_.emit(Op::band, {v, b_.i32(chance(2) ? 255 : 4095)}));
  }

  void integer() {
    constexpr Op kOps[] = {Op::add,  Op::sub,   Op::mul,   Op::band,  Op::bor,
                           Op::bxor, Op::min_s, Op::max_s, Op::min_u, Op::max_u};
    constexpr Op kShifts[] = {Op::shl, Op::shr_u, Op::shr_s};
    constexpr Op kDivisions[] = {Op::div_s, Op::div_u, Op::rem_s, Op::rem_u};
    const int kind = below(8);
    if (kind == 0) return add(i32_, b_.emit(pick(kDivisions), {data(), b_.emit(Op::bor, {data(), b_.i32(1)})}));
    if (kind == 1) return add(i32_, b_.emit(pick(kDivisions), {data(), b_.i32(1 << below(31))}));
    if (kind == 2) return add(i32_, b_.emit(chance(2) ? Op::neg : chance(2) ? Op::abs : Op::bnot, {data()}));
    if (kind == 3) return add(i32_, b_.emit(pick(kShifts), {data(), small(32)}));
    if (kind == 4) return add(i32_, b_.emit(Op::select, {pick(bool_), data(), data()}));
    if (chance(8)) return add(i32_, b_.emit(Op::and_xor, {data(), data(), data()}));
    add(i32_, b_.emit(pick(kOps), {data(), data()}));
  }

  void wide_integer() {
    constexpr Op kOps[] = {Op::add, Op::sub, Op::mul, Op::band, Op::bor, Op::bxor};
    constexpr Op kShifts[] = {Op::shl, Op::shr_u, Op::shr_s};
    add(i64_, chance(3) ? b_.emit(pick(kShifts), {wide(), small(64)}) : b_.emit(pick(kOps), {wide(), wide()}));
  }

  void floating() {
    constexpr Op kOps[] = {Op::add, Op::sub, Op::mul, Op::fmin, Op::fmax, Op::fdiv};
    if (chance(4)) return add(f32_, b_.emit(Op::fma, {real(), real(), real()}));
    if (chance(5)) return add(f32_, b_.emit(chance(2) ? Op::neg : Op::abs, {real()}));
    add(f32_, b_.emit(pick(kOps), {real(), real()}));
  }

  void condition() {
    constexpr Op kOps[] = {Op::eq, Op::ne, Op::lt_s, Op::le_s, Op::lt_u, Op::le_u};
    constexpr Op kFloat[] = {Op::eq, Op::ne, Op::flt, Op::fle};
    constexpr Op kBits[] = {Op::band, Op::bor, Op::bxor, Op::eq, Op::ne};
    switch (below(5)) {
      case 0:
        return add(bool_, b_.emit(pick(kFloat), {real(), real()}));
      case 1:
        return add(bool_, b_.emit(pick(kBits), {pick(bool_), chance(2) ? b_.constant(kBool, below(2)) : pick(bool_)}));
      case 2:
        return add(bool_, b_.emit(Op::bnot, {pick(bool_)}));
      case 3:
        return add(bool_, b_.emit(pick(kOps), {pick(index_), chance(2) ? b_.i32(number()) : pick(index_)}));
      default:
        return add(bool_, b_.emit(pick(kOps), {data(), data()}));
    }
  }

  void conversion() {
    constexpr Type kNarrow[] = {kI8, kI16};
    const Type narrow = kNarrow[below(2)];
    switch (below(9)) {
      case 0:
        return add(i32_, b_.cvt(chance(2) ? Op::zext : Op::sext, b_.cvt(Op::trunc, data(), narrow), kI32));
      case 1:
        return add(i64_, b_.cvt(chance(2) ? Op::zext : Op::sext, data(), kI64));
      case 2:
        return add(i32_, b_.cvt(Op::trunc, wide(), kI32));
      case 3:
        return add(f32_, b_.cvt(chance(2) ? Op::s2f : Op::u2f, data(), kF32));
      case 4:
        return add(i32_, b_.cvt(Op::f2s, real(), kI32));
      case 5:
        return add(f32_, b_.cvt(Op::fcvt, b_.cvt(Op::fcvt, real(), chance(2) ? kF16 : kBF16), kF32));
      case 6:
        return add(i32_, b_.cvt(Op::bitcast, real(), kI32));
      case 7:
        return add(i32_, b_.cvt(chance(2) ? Op::zext : Op::sext, pick(bool_), kI32));
      default:
        return add(i64_, b_.cvt(Op::zext, b_.emit(Op::add, {pick(index_), small(64)}), kI64));
    }
  }

  void halves() {
    constexpr Op kOps[] = {Op::add, Op::sub, Op::mul};
    const auto half = [&] { return b_.cvt(Op::fcvt, real(), kF16); };
    const auto pair = [&] {
      return f16x2_.empty() || chance(3) ? b_.emit(Op::vec, {half(), half()}, {.type = kF16x2}) : pick(f16x2_);
    };
    const ValueId p = pair();
    switch (below(4)) {
      case 0:
        return add(f16x2_, b_.emit(pick(kOps), {p, pair()}));
      case 1:
        return add(f16x2_, b_.emit(Op::vec,
                                   {b_.emit(Op::get, {p}, {.type = kF16, .imm = 0}),
                                    b_.emit(Op::get, {p}, {.type = kF16, .imm = below(2)})},
                                   {.type = kF16x2}));
      case 2:
        return add(i32_, b_.cvt(Op::bitcast, p, kI32));
      default:
        return add(f32_, b_.cvt(Op::fcvt, b_.emit(Op::get, {p}, {.type = kF16, .imm = below(2)}), kF32));
    }
  }

  /// base + an index below 256, times `bytes`, plus a constant.
  ValueId address(ValueId base, int bytes) {
    const ValueId element = b_.emit(Op::add, {b_.emit(Op::band, {pick(index_), b_.i32(127)}), small(8)});
    const ValueId at = b_.cvt(chance(2) ? Op::zext : Op::sext, b_.emit(Op::mul, {element, b_.i32(bytes)}), kI64);
    return b_.emit(Op::add, {chance(2) ? base : b_.emit(Op::add, {base, b_.i64(16 * below(4))}), at});
  }

  void load() {
    const int kind = below(5);
    Attr attr{.type = kI32, .imm = 16 * below(8)};
    if (kind == 0) attr.type = kI8;
    if (kind == 1) attr.type = kI16;
    if (kind == 2) attr.type = kI64;
    std::vector<ValueId> args{address(chance(4) ? out_ : in_, 8)};
    if (chance(3)) args.push_back(chance(4) ? b_.constant(kBool, below(2)) : pick(bool_));
    const ValueId v = b_.emit(Op::load_global, args, attr);
    if (kind < 2) return add(i32_, b_.cvt(chance(2) ? Op::zext : Op::sext, v, kI32));
    add(kind == 2 ? i64_ : i32_, v);
  }

  /// Accesses side by side, now and then with something between them.
  void neighbours() {
    const ValueId at = address(chance(3) ? out_ : in_, chance(3) ? 4 : 16);
    const int first = below(4), count = 2 + below(5);
    for (int i = 0; i < count; i++) {
      add(i32_, b_.emit(Op::load_global, {at}, {.type = kI32, .imm = 4 * (first + i)}));
      if (chance(12)) output(pick(i32_));
    }
    const ValueId to = address(out_, chance(3) ? 4 : 16);
    for (int i = 0; i < count; i++) {
      b_.effect(Op::store_global, {to, pick(i32_)}, {.imm = 4 * (first + (chance(12) ? below(4) : i))});
      if (chance(12)) add(i32_, b_.emit(Op::load_global, {to}, {.type = kI32, .imm = 4 * first}));
    }
  }

  void exchange() {
    const ValueId at =
        b_.emit(Op::add, {b_.emit(Op::shl, {b_.emit(Op::band, {pick(index_), b_.i32(63)}), b_.i32(4)}), small(4)});
    const ValueId aligned = b_.emit(Op::band, {at, b_.i32(-4)});
    const ValueId from = chance(4) ? b_.i32(16 * below(8)) : aligned;
    for (int i = 0; i < 4; i++) b_.effect(Op::store_shared, {from, pick(i32_)}, {.imm = 4 * i, .index = 0});
    if (chance(2)) b_.effect(Op::barrier, {});
    for (int i = 0; i < 4; i++) add(i32_, b_.emit(Op::load_shared, {from}, {.type = kI32, .imm = 4 * i, .index = 0}));
  }

  void output(ValueId v) {
    const Type t = b_.type(v);
    if (t == kBool) v = b_.cvt(Op::zext, v, kI32);
    if (t == kF32 || t == kF16x2) v = b_.cvt(Op::bitcast, v, kI32);
    b_.effect(Op::store_global, {address(out_, 8), v}, {.imm = 8 * below(16)});
  }

  void loop(int depth) {
    const BlockId outer = b_.block;
    const Pools saved = pools();
    const ValueId lo = small(3), hi = chance(3) ? b_.emit(Op::band, {pick(index_), b_.i32(3)}) : small(6),
                  step = b_.i32(1 + below(2));
    const Builder::Loop l = b_.begin_loop(lo, hi, step, {pick(i32_), pick(f32_), pick(i32_), pick(i64_)});
    add(index_, l.index);
    add(i32_, l.carried[0]);
    add(f32_, l.carried[1]);
    add(i32_, l.carried[2]);
    add(i64_, l.carried[3]);
    statements(3 + below(8), depth + 1);
    const std::vector<ValueId> next{pick(i32_), pick(f32_), chance(2) ? l.carried[2] : pick(i32_), pick(i64_)};
    const auto results = b_.end_loop(l, next, outer);
    restore(saved);
    add(i32_, results[0]);
    add(f32_, results[1]);
    add(i32_, results[2]);
    add(i64_, results[3]);
  }

  void branch(int depth) {
    const BlockId outer = b_.block;
    const Pools saved = pools();
    const Builder::Cond c = b_.begin_cond(chance(5) ? b_.constant(kBool, below(2)) : pick(bool_));
    for (const BlockId side : {c.then_block, c.else_block}) {
      b_.block = side;
      statements(1 + below(5), depth + 1);
      b_.yield({pick(i32_), pick(f32_), pick(bool_)});
      restore(saved);
    }
    const auto results = b_.end_cond(c, outer);
    add(i32_, results[0]);
    add(f32_, results[1]);
    add(bool_, results[2]);
  }

  using Pools = std::vector<Pool>;
  Pools pools() const { return {index_, i32_, i64_, f32_, f16x2_, bool_}; }
  void restore(const Pools& p) { index_ = p[0], i32_ = p[1], i64_ = p[2], f32_ = p[3], f16x2_ = p[4], bool_ = p[5]; }

  std::mt19937 random_;
  Func f_;
  Builder b_;
  ValueId in_ = kNone, out_ = kNone;
  Pool index_, i32_, i64_, f32_, f16x2_, bool_;
};

World world(uint32_t seed, int64_t thread) {
  std::mt19937 random(seed);
  World w;
  for (int64_t i = 0; i < kInputBytes + kOutputBytes; i++)
    w.global.push_back(static_cast<uint8_t>(random() % 3 ? random() : 0));
  w.params = {World::kBase, World::kBase + kInputBytes, random(), 0x40490fdb};
  w.thread = thread;
  w.group = static_cast<int64_t>(random() % 100);
  return w;
}

struct Pass {
  const char* name;
  void (*run)(Func&);
};
constexpr Pass kPasses[] = {
    {"fold", fold},
    {"cse", cse},
    {"hoist", hoist},
    {"dce", dce},
    {"vectorise", vectorise},
    {"optimise", optimise},
    {"unroll", [](Func& f) { unroll(f, 4); }},
    {"unroll and optimise",
     [](Func& f) {
       unroll(f, 8);
       optimise(f);
     }},
    {"optimise twice",
     [](Func& f) {
       optimise(f);
       optimise(f);
     }},
};

void check_valid(const Func& f, const char* when) {
  const auto ok = verify(f);
  REQUIRE_MESSAGE(ok, fmt::format("{}: {}\n{}", when, ok ? "" : ok.error().text, print(f)));
}

TEST_CASE("no pass changes what a function does") {
  int loads_merged = 0;
  for (uint32_t seed = 1; seed <= 400; seed++) {
    const Func before = Maker(seed).make(30);
    check_valid(before, "before");
    for (const Pass& pass : kPasses) {
      Func after = before;
      pass.run(after);
      check_valid(after, pass.name);
      for (const int64_t thread : {0, 37, 63}) {
        World expected = world(seed, thread), got = expected;
        Run(before, expected);
        Run(after, got);
        if (expected.global != got.global || expected.shared != got.shared)
          FAIL(fmt::format("{} changes seed {}, thread {}\n{}\n{}", pass.name, seed, thread, print(before),
                           print(after)));
      }
      loads_merged += print(after).find("i32x4 = load") != std::string::npos;
    }
  }
  CHECK(loads_merged > 100);
}

TEST_CASE("fold has nothing left to do after itself") {
  for (uint32_t seed = 1; seed <= 100; seed++) {
    Func f = Maker(seed).make(30);
    fold(f);
    dce(f);
    const std::string once = print(f);
    fold(f);
    dce(f);
    CHECK(print(f) == once);
  }
}

TEST_CASE("time of the whole pipeline") {
  Func f = Maker(7).make(1000);
  int count = 0;
  f.walk(f.body, [&](BlockId, size_t, InstId) { count++; });
  const auto start = std::chrono::steady_clock::now();
  optimise(f);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  MESSAGE(fmt::format("optimise: {} instructions in {:.1f} ms", count, took.count()));
  check_valid(f, "optimise");
}

}  // namespace
}  // namespace lathe::thread
