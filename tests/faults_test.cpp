// Deliberate faults: each is made in what a stage of the compiler gave, and some check of the suite must object. The
// programs are the fuzzer's own (tests/fuzz_device_test.cpp runs the same seed without faults) and shipped matmuls.
#include <fmt/format.h>

#include <algorithm>

#include "fuzz/generate.h"
#include "tests/shipped_kernels.h"
#include "tests/staged_run.h"

namespace lathe::fuzz {
namespace {

constexpr uint64_t kSeed = 1, kPrograms = 200;
const int kNoCache = setenv("LATHE_CACHE_DIR", "off", 1);

// ---- edits of the target and of tile programs

bool wrong_lane(Target& t) {
  bool any = false;
  for (Atom& a : t.atoms)
    if (to_string(a.layout_c) == "16x8 T[8:m1 4:k2] S[2:m8 2:k1]") {
      a.layout_c = *parse_layout("16x8 T[4:k2 8:m1] S[2:m8 2:k1]");
      any = true;
    }
  return any;
}

ValueId insert_before(tile::Func& f, BlockId block, size_t& at, tile::Op op, std::vector<ValueId> args) {
  const InstId id = f.add_inst(op, {}, std::move(args), {tile::scalar_of(types::i64)});
  f.blocks[block].insts.insert(f.blocks[block].insts.begin() + static_cast<std::ptrdiff_t>(at++), id);
  return f.inst(id).results[0];
}

/// The last turn of a loop is left out where it is not a whole one.
bool drop_tail(tile::Func& f) {
  for (BlockId block = 0; block < f.blocks.size(); block++)
    for (size_t at = 0; at < f.blocks[block].insts.size(); at++) {
      const InstId id = f.blocks[block].insts[at];
      if (f.inst(id).op != tile::Op::loop) continue;
      const ValueId low = f.inst(id).args[0], high = f.inst(id).args[1], step = f.inst(id).args[2];
      const ValueId length = insert_before(f, block, at, tile::Op::sub, {high, low});
      const ValueId rest = insert_before(f, block, at, tile::Op::rem, {length, step});
      f.inst(id).args[1] = insert_before(f, block, at, tile::Op::sub, {high, rest});
      return true;
    }
  return false;
}

bool zero_point(tile::Func& f) {
  bool any = false;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op != tile::Op::cast_minus) return;
    f.inst(id).attr.imm++;
    any = true;
  });
  return any;
}

/// Scales are read where zero points are, and the other way round.
bool swap_scales(tile::Func& f) {
  ValueId scale = kNone, zero = kNone;
  for (const tile::Param& p : f.params) {
    if (f.values[p.value].name == "s") scale = p.value;
    if (f.values[p.value].name == "z") zero = p.value;
  }
  if (scale == kNone || zero == kNone) return false;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    for (ValueId& v : f.inst(id).args) v = v == scale ? zero : v == zero ? scale : v;
  });
  return true;
}

constexpr double kE3m2 = 0x1p124;  ///< 2^(127 - 3): from the exponent of f32 to that of e3m2

/// The bias of e3m2 is 4.
bool e3m2_bias(tile::Func& f) {
  bool any = false;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op != tile::Op::constant || f.inst(id).attr.num != kE3m2) return;
    f.inst(id).attr.num /= 2;
    any = true;
  });
  return any;
}

// ---- edits of thread programs

/// The first instruction of the operation is gone.
template <thread::Op kOp>
bool drop(thread::Func& f) {
  std::optional<std::pair<BlockId, size_t>> first;
  f.walk(f.body, [&](BlockId block, size_t at, InstId id) {
    if (!first && f.inst(id).op == kOp) first = {block, at};
  });
  if (!first) return false;
  auto& insts = f.blocks[first->first].insts;
  insts.erase(insts.begin() + static_cast<std::ptrdiff_t>(first->second));
  return true;
}

/// Every comparison that masks a global access lets one element more through.
bool mask_off_by_one(thread::Func& f) {
  std::vector<ValueId> masks;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const auto& i = f.inst(id);
    const size_t at = i.op == thread::Op::load_global ? 1 : 2;
    if ((i.op == thread::Op::load_global || i.op == thread::Op::store_global || i.op == thread::Op::async_copy) &&
        i.args.size() > at)
      masks.push_back(i.args[at]);
  });
  bool any = false;
  while (!masks.empty()) {
    const ValueId v = masks.back();
    masks.pop_back();
    const InstId id = f.values[v].def;
    if (id == kNone) continue;
    auto& i = f.inst(id);
    if (i.op == thread::Op::band) masks.insert(masks.end(), i.args.begin(), i.args.end());
    if (i.op != thread::Op::lt_s) continue;
    i.op = thread::Op::le_s;
    any = true;
  }
  return any;
}

/// Sixteen bytes of every shared array lie where sixteen others do.
bool colliding_swizzle(thread::Func& f) {
  bool any = false;
  for (BlockId block = 0; block < f.blocks.size(); block++)
    for (size_t at = 0; at < f.blocks[block].insts.size(); at++) {
      const InstId id = f.blocks[block].insts[at];
      const thread::Op op = f.inst(id).op;
      if (op != thread::Op::load_shared && op != thread::Op::store_shared && op != thread::Op::async_copy) continue;
      const thread::Type type = f.type(f.inst(id).args[0]);
      const InstId bits = f.add_inst(thread::Op::constant, {.type = type, .imm = ~int64_t{16}}, {}, {type});
      const InstId place =
          f.add_inst(thread::Op::band, {}, {f.inst(id).args[0], f.inst(bits).results[0]}, {type}, {}, f.inst(id).loc);
      f.inst(id).args[0] = f.inst(place).results[0];
      auto& insts = f.blocks[block].insts;
      insts.insert(insts.begin() + static_cast<std::ptrdiff_t>(at), {bits, place});
      at += 2;
      any = true;
    }
  return any;
}

/// a * b + c is rounded once instead of twice.
bool contract(thread::Func& f) {
  bool any = false;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    auto& sum = f.inst(id);
    if (sum.op != thread::Op::add || !thread::is_float(f.type(sum.results[0]).scalar)) return;
    for (const size_t side : {0, 1}) {
      const auto* product = f.def(sum.args[side]);
      if (product == nullptr || product->op != thread::Op::mul) continue;
      sum.args = {product->args[0], product->args[1], sum.args[1 - side]};
      sum.op = thread::Op::fma;
      any = true;
      return;
    }
  });
  return any;
}

// ---- programs

std::vector<Judged> fuzzed(StagedRun& stages) {
  std::vector<Judged> out;
  for (uint64_t i = 0; i < kPrograms; i++) {
    const auto p = generate(kSeed, i, stages.target());
    REQUIRE_MESSAGE(p, p.error().text);
    auto j = judged(*p);
    if (j && !stages.refuses(*j)) out.push_back(std::move(*j));
  }
  return out;
}

/// Two turns, brought by asynchronous copies, of a shape that no tile divides.
std::vector<Judged> matmuls() {
  const Schedule s{.tile_n = 32, .tile_m = 8, .tile_k = 512, .split = {1, 1, 4}, .stages = 2};
  std::vector<Judged> out;
  for (const NamedFormat& f : {NamedFormat{"u4 zero 8", {.code = types::u4, .constant_zero = 8}},
                               NamedFormat{"u4 zeros", {.code = types::u4, .group = 32, .zeros = true}}}) {
    Program p{.func = shipped_matmul(f, s, false).func, .data_seed = 3};
    const int64_t m = 5, n = s.tile_n + 4, k = s.tile_k + 72, groups = (k + f.format.group - 1) / f.format.group;
    p.shapes = {
        {"x", {{m, k}, m * k}}, {"w", {{n, k}, n * k}}, {"s", {{n, groups}, n * groups}}, {"y", {{m, n}, m * n}}};
    if (f.format.zeros) p.shapes["z"] = p.shapes["s"];
    auto j = judged(p);
    REQUIRE(j.has_value());
    out.push_back(std::move(*j));
  }
  return out;
}

std::vector<Judged> written(const std::string& text) {
  const auto p = program_from_text(text, "written.tile");
  REQUIRE_MESSAGE(p, p.error().text);
  auto j = judged(*p);
  REQUIRE(j.has_value());
  return {std::move(*j)};
}

/// Two roundings an element.
std::vector<Judged> sums_of_products() {
  return written(R"(// launch data=real seed=1 factor=operand a=[300]@300 b=[300]@300 y=[300]@300
kernel sums(a: f32[N], b: f32[N], y: f32[N]) grid [ceildiv(N, 64)] subgroups 1 {
  n = group_id(0) * 64
  store(y[n], load(a[n], [64]) * load(b[n], [64]) + load(a[n], [64]))
}
)");
}

/// Every code of e3m2 to f32: its exponent and mantissa moved into place, its exponent put right by a multiplication.
std::vector<Judged> e3m2() {
  std::vector<Judged> one = written(fmt::format(R"(// launch data=real seed=1 factor=operand q=[300]@300 y=[300]@300
kernel e3m2(q: u8[N], y: f32[N]) grid [ceildiv(N, 64)] subgroups 1 {{
  c = cast(load(q[group_id(0) * 64], [64]), u32)
  moved = (c & 31) << 21 | (c & 32) << 26
  store(y[group_id(0) * 64], view(moved, f32) * {})
}}
)",
                                                kE3m2));
  const tile::HostTensor &q = one[0].start.at("q"), &y = one[0].want.at("y");
  for (size_t i = 0; i < q.raw.size(); i++) {  // its definition: bias 3, subnormals, nothing infinite
    const auto code = static_cast<int>(q.raw[i]);
    const int exponent = code >> 2 & 7, mantissa = code & 3;
    const double size = std::ldexp(exponent ? 4 + mantissa : mantissa, std::max(exponent, 1) - 3 - 2);
    REQUIRE(y.at(static_cast<int64_t>(i)) == (code & 32 ? -size : size));
  }
  return one;
}

enum class Programs : uint8_t { fuzzed, matmul, sums_of_products, e3m2 };

struct Fault {
  const char* name;
  Edit edit;
  Programs programs;
  Check by;
  const char* says;  ///< a part of what the check says
};
const Fault kFaults[] = {
    {"a wrong lane in an atom", wrong_lane, Programs::fuzzed, Check::interpreter, "expected"},
    {"a dropped barrier", drop<thread::Op::barrier>, Programs::fuzzed, Check::simulator, "no barrier between"},
    {"a missing async wait", drop<thread::Op::async_wait>, Programs::matmul, Check::simulator,
     "has not been waited for"},
    {"a mask off by one", mask_off_by_one, Programs::fuzzed, Check::interpreter, "expected"},
    {"a swizzle that collides", colliding_swizzle, Programs::fuzzed, Check::simulator, "shared array"},
    {"a fold that rounds wrongly", contract, Programs::sums_of_products, Check::interpreter, "expected"},
    {"a K tail dropped", drop_tail, Programs::matmul, Check::interpreter, "expected"},
    {"a wrong bias of e3m2", e3m2_bias, Programs::e3m2, Check::interpreter, "expected"},
    {"a zero point off by one", zero_point, Programs::matmul, Check::interpreter, "expected"},
    {"a scale swapped with a zero point", swap_scales, Programs::matmul, Check::interpreter, "expected"},
};

/// How often a fault was made and found, and the first finding of the check that has to.
struct Row {
  int made = 0, found = 0;
  Finding first;
};

Row run_fault(StagedRun& stages, const Fault& fault, const std::vector<Judged>& programs) {
  Row row;
  for (const Judged& j : programs) {
    const auto finding = stages.run(j, &fault.edit);
    if (!finding) continue;
    row.made++;
    row.found += finding->by != Check::none;
    const bool expected = finding->by == fault.by && finding->text.find(fault.says) != std::string::npos;
    if (expected && row.first.by == Check::none) row.first = *finding;
  }
  return row;
}

}  // namespace

TEST_CASE("each deliberate fault is found, and nothing is without it") {
  REQUIRE(kNoCache == 0);
  StagedRun stages("sm_80");
  const std::vector<Judged> programs[] = {fuzzed(stages), matmuls(), sums_of_products(), e3m2()};
  int clean = 0;
  for (const auto& list : programs)
    for (const Judged& j : list)
      if (const auto finding = stages.run(j, nullptr)) {
        CHECK_MESSAGE(finding->by == Check::none, fmt::format("{}: {}", to_string(finding->by), finding->text));
        clean++;
      }
  std::string table = fmt::format("{} programs without a fault: nothing found\n", clean);
  for (const Fault& fault : kFaults) {
    const Row row = run_fault(stages, fault, programs[static_cast<size_t>(fault.programs)]);
    CHECK_MESSAGE(row.first.by == fault.by, std::string(fault.name));
    table += fmt::format("{:<34} {:>3} of {:>3} programs  {:<11} {}\n", fault.name, row.found, row.made,
                         to_string(row.first.by), row.first.text);
  }
  MESSAGE(table);
}

}  // namespace lathe::fuzz
