// The PTX backend: its tables against thread.def and the PTX manual, and its text against ptxas where that is on PATH.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "backends/ptx/body.h"
#include "backends/ptx/emit.h"
#include "backends/ptx/rows.h"
#include "backends/ptx/target.h"

namespace lathe::thread {
namespace {

constexpr Scalar kScalars[] = {Scalar::b1,  Scalar::i8,  Scalar::i16,  Scalar::i32,
                               Scalar::i64, Scalar::f16, Scalar::bf16, Scalar::f32};

Func kernel(const std::string& name, const std::function<void(Builder&)>& build, std::vector<SharedArray> shared = {}) {
  Func f;
  f.name = name;
  f.param_slots = 2;
  f.shared = std::move(shared);
  f.body = f.add_block();
  Builder b(f, f.body);
  build(b);
  return f;
}

ValueId input_address(Builder& b) { return b.emit(Op::param, {}, {.type = kI64, .imm = 0}); }
ValueId output_address(Builder& b) { return b.emit(Op::param, {}, {.type = kI64, .imm = 1}); }

/// A scalar that the compiler cannot know, from byte `at` of the input.
ValueId unknown_scalar(Builder& b, Scalar s, int64_t at) {
  const auto load = [&](Type t) { return b.emit(Op::load_global, {input_address(b)}, {.type = t, .imm = at}); };
  switch (s) {
    case Scalar::b1:
      return b.emit(Op::ne, {load(kI32), b.i32(0)});
    case Scalar::f16:
    case Scalar::bf16:
      return b.cvt(Op::bitcast, load(kI16), {s});
    case Scalar::f32:
      return b.cvt(Op::bitcast, load(kI32), kF32);
    default:
      return load({s});
  }
}

ValueId unknown(Builder& b, Type t, int64_t at) {
  if (t.lanes == 1) return unknown_scalar(b, t.scalar, at);
  std::vector<ValueId> lanes;
  for (int i = 0; i < t.lanes; i++) lanes.push_back(unknown_scalar(b, t.scalar, at + 8 * i));
  return b.emit(t.is_frag() ? Op::frag_make : Op::vec, lanes, {.type = t});
}

void keep_scalar(Builder& b, ValueId v, int64_t at) {
  const Scalar s = b.type(v).scalar;
  if (s == Scalar::b1) v = b.cvt(Op::zext, v, kI32);
  if (is_float(s)) v = b.cvt(Op::bitcast, v, s == Scalar::f32 ? kI32 : kI16);
  b.effect(Op::store_global, {output_address(b), v}, {.imm = at});
}

/// Stores every lane, so that nothing is dead.
void keep(Builder& b, ValueId v, int64_t at = 0) {
  const Type t = b.type(v);
  for (int i = 0; i < t.lanes; i++) {
    const ValueId lane =
        t.lanes == 1 ? v : b.emit(t.is_frag() ? Op::frag_get : Op::get, {v}, {.type = {t.scalar}, .imm = i});
    keep_scalar(b, lane, at + 8 * i);
  }
}

bool is_conversion(Op op) {
  return std::set{Op::zext, Op::sext, Op::trunc, Op::fcvt, Op::s2f, Op::u2f, Op::f2s, Op::bitcast}.contains(op);
}

/// One use of an operation: its leading type, and the result's where the row does not say.
struct Usage {
  Op op;
  Type lead, result;
  std::string name() const {
    std::string text = fmt::format("{}_{}_{}", info(op).name, to_string(lead), to_string(result));
    for (char& c : text)
      if (!isalnum(static_cast<unsigned char>(c))) c = '_';
    return text;
  }
};

Func build_use(const Usage& use) {
  const bool bulk = std::string_view(info(use.op).name).starts_with("bulk");
  const auto build = [&](Builder& b) {
    const OpInfo& row = info(use.op);
    std::vector<ValueId> args;
    const bool count_is_i32 = use.op == Op::shl || use.op == Op::shr_u || use.op == Op::shr_s;
    for (const char* c = row.operands; *c != 0 && *c != '*' && c[1] != '?'; c++) {
      const bool plain_i32 = *c == 'o' || (c != row.operands && (count_is_i32 || use.op == Op::shuffle_index));
      const Type t = *c == 'a' ? kI64 : *c == 'b' ? kBool : plain_i32 ? kI32 : use.lead;
      args.push_back(*c == 'a' ? input_address(b) : unknown(b, t, 64 * static_cast<int64_t>(args.size())));
    }
    if (use.op == Op::vec)
      for (int i = 1; i < use.result.lanes; i++) args.push_back(args[0]);
    const Attr attr{.type = use.result, .imm = bulk && use.op != Op::bulk_box ? 16 : 0};
    if (*row.results == 0)
      b.effect(use.op, args, attr);
    else
      keep(b, b.emit(use.op, args, attr));
  };
  Func f = kernel(use.name(), build, {{"s", 256, 16}});
  if (bulk) f.bulk_barriers = 1, f.boxes = {{.box_rows = 8}};
  return f;
}

/// Every (operation, types) outside control flow and fragments that the verifier lets through.
const std::vector<Usage>& admitted_uses() {
  static const std::vector<Usage> all = [] {
    std::vector<Usage> uses;
    const auto consider = [&](Op op, Type lead, Type result) {
      const Usage use{op, lead, result};
      if (verify(build_use(use))) uses.push_back(use);
    };
    for (int i = 0; i < kOpCount; i++) {
      const Op op = static_cast<Op>(i);
      const OpInfo& row = info(op);
      if (row.effect == Effect::control || std::string_view(row.name).starts_with("frag") || op == Op::mma ||
          op == Op::mma_shared || op == Op::load_matrix)
        continue;
      for (const Scalar s : kScalars)
        for (const int lanes : {1, 2, 4}) {
          const Type lead = Type{s}.with_lanes(lanes);
          if (op == Op::barrier || op == Op::barrier_subgroup) continue;
          if (op == Op::vec && lanes == 1)
            for (const int n : {2, 4}) consider(op, lead, lead.with_lanes(n));
          else if (op == Op::get)
            consider(op, lead, {s});
          else if (is_conversion(op))
            for (const Scalar to : kScalars)
              for (const int n : {1, 2, 4}) consider(op, lead, Type{to}.with_lanes(n));
          else
            consider(op, lead, lead);
        }
    }
    return uses;
  }();
  return all;
}

std::vector<Target> all_targets() {
  std::vector<Target> targets;
  for (const std::string_view name : ptx_target_names()) targets.push_back(ptx_target(name).value());
  return targets;
}

bool has_bf16(const Target& t) { return (ptx::find_target(t.name)->features & ptx::kBf16) != 0; }

std::string emit_or_fail(const Func& f, const Target& target) {
  if (const auto ok = verify(f); !ok) FAIL(ok.error().text, "\n", print(f));
  const auto text = emit_ptx(f, target);
  if (!text) FAIL(text.error().text);
  return *text;
}

/// Joins modules of one target under the highest of their versions and runs ptxas over them.
void assemble(const Target& target, const std::vector<std::string>& modules) {
  static const bool present = std::system("ptxas --version >/dev/null 2>&1") == 0;
  if (!present) {
    MESSAGE("SKIPPED: ptxas is not on PATH, ", modules.size(), " kernels for ", target.name, " not assembled");
    return;
  }
  std::string version, kernels;
  for (const std::string& module : modules) {
    version = std::max(version, module.substr(0, module.find('\n')));
    kernels += module.substr(module.find("\n\n") + 1);
  }
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("lathe_ptx_test_{}_{}", target.name, std::rand());
  const std::string base = path.string();
  std::ofstream(base + ".ptx") << version << "\n.target " << target.name << "\n.address_size 64\n" << kernels;
  const int rc =
      std::system(fmt::format("ptxas -arch={} {}.ptx -o {}.cubin >{}.log 2>&1", target.name, base, base, base).c_str());
  std::ifstream log_file(base + ".log");
  const std::string log(std::istreambuf_iterator<char>(log_file), {});
  CHECK_MESSAGE(rc == 0, "ptxas for ", target.name, ":\n", log);
  for (const char* end : {".ptx", ".cubin", ".log"}) std::filesystem::remove(base + end);
}

void assemble_everywhere(const std::vector<Func>& kernels) {
  for (const Target& target : all_targets()) {
    std::vector<std::string> modules;
    for (const Func& f : kernels) modules.push_back(emit_or_fail(f, target));
    assemble(target, modules);
  }
}

}  // namespace

TEST_CASE("every operation is printed in one way: by rows, as a whole, or by a function") {
  std::map<Op, std::set<std::string>> ways;
#define PTX_ROW(op, part, when, text) ways[Op::op].insert("row");
#define PTX_CVT(op, from, to, when, text) ways[Op::op].insert("row");
#define PTX_ALL(op, text) CHECK(ways[Op::op].insert("whole").second);
#define PTX_CODE(op, function) CHECK(ways[Op::op].insert("function").second);
#include "backends/ptx/rows.def"
  for (int i = 0; i < kOpCount; i++)
    CHECK_MESSAGE(ways[static_cast<Op>(i)].size() == 1, std::string(info(static_cast<Op>(i)).name));
}

TEST_CASE("every (op, type) the verifier admits has exactly one PTX row") {
  std::set<Op> by_rows;
#define PTX_ROW(op, part, when, text) by_rows.insert(Op::op);
#define PTX_CVT(op, from, to, when, text) by_rows.insert(Op::op);
#include "backends/ptx/rows.def"
  REQUIRE(admitted_uses().size() > 200);
  for (const Target& target : all_targets())
    for (const Usage& use : admitted_uses()) {
      if (!by_rows.contains(use.op)) continue;
      const auto count = [&](ptx::Part from, ptx::Part to) {
        return ptx::matching_rows({use.op, from, to}, ptx::find_target(target.name)->features);
      };
      // The result's type is what the row of thread.def says.
      const bool compares = std::string_view(info(use.op).results) == "b0";
      const Type result = compares ? use.lead.with(Scalar::b1) : use.result;
      const int rows = count(ptx::scalar_part(use.lead.scalar), ptx::scalar_part(result.scalar));
      const bool bf16 = use.lead.scalar == Scalar::bf16 || use.result.scalar == Scalar::bf16;
      if (rows == 0 && bf16 && !has_bf16(target)) {
        const auto text = emit_ptx(build_use(use), target);
        REQUIRE_FALSE(text);
        CHECK(text.error().code == Error::Code::unsupported);
      } else {
        CHECK_MESSAGE(rows == 1, target.name, ": ", use.name());
      }
      CHECK_MESSAGE(count(ptx::part_of(use.lead), ptx::part_of(result)) <= 1, target.name, ": ", use.name());
    }
}

TEST_CASE("ptxas takes every (op, type) for every target") {
  for (const Target& target : all_targets()) {
    std::vector<std::string> modules;
    for (const Usage& use : admitted_uses()) {
      const auto text = emit_ptx(build_use(use), target);
      const bool bf16 = use.lead.scalar == Scalar::bf16 || use.result.scalar == Scalar::bf16;
      const std::string_view name = info(use.op).name;
      const bool async = name.starts_with("async"),
                 groups = name.starts_with("matrix") || name.starts_with("launch") || name.starts_with("bulk");
      CHECK(target.async_copy == (target.name != "sm_75"));
      CHECK(target.overlapped_launch == (target.name == "sm_90a"));
      const bool lacks =
          (bf16 && !has_bf16(target)) || (async && !target.async_copy) || (groups && !target.overlapped_launch);
      if (!text) CHECK_MESSAGE(lacks, text.error().text);
      if (text) modules.push_back(*text);
    }
    assemble(target, modules);
  }
}

TEST_CASE("ptxas takes every matrix load, and no other is printed") {
  const auto loads = [](const std::string& name, int words) {
    return kernel(fmt::format("loads_{}", words),
                  [&](Builder& b) {
                    const Type t = kI32.with_lanes(words);
                    keep(b, b.emit(Op::load_matrix, {unknown(b, kI32, 0)}, {.type = t, .imm = 32, .name = name}));
                  },
                  {{"rows", 1024, 16}});
  };
  for (const Target& target : all_targets()) {
    std::vector<std::string> modules;
    for (const MatrixLoad& m : target.matrix_loads)
      modules.push_back(emit_or_fail(loads(m.name, static_cast<int>(m.registers.slots() / 2)), target));
    CHECK(modules.size() == 2);
    assemble(target, modules);
    CHECK(emit_ptx(loads("ldmatrix", 4), target).error().code == Error::Code::unsupported);
  }
}

TEST_CASE("loops, conditionals, guarded and wide accesses, shared memory") {
  std::vector<Func> kernels;
  kernels.push_back(kernel("swapped", [](Builder& b) {
    const std::vector<ValueId> init{unknown(b, kI32, 0), unknown(b, kI32, 4), unknown(b, kF16x2, 8),
                                    unknown(b, kBool, 32)};
    const auto loop = b.begin_loop(b.i32(0), unknown(b, kI32, 40), b.i32(1), init);
    const ValueId rotated = b.emit(Op::add, {loop.carried[0], loop.index});
    const ValueId flipped = b.emit(Op::bnot, {loop.carried[3]});
    for (const ValueId v : b.end_loop(loop, {loop.carried[1], rotated, loop.carried[2], flipped}, b.f.body)) keep(b, v);
  }));
  kernels.push_back(kernel("branches", [](Builder& b) {
    const ValueId x = unknown(b, kF32, 0);
    const auto cond = b.begin_cond(unknown(b, kBool, 8));
    b.yield({b.emit(Op::mul, {x, x}), b.i64(3)});
    b.block = cond.else_block;
    b.yield({x, unknown(b, kI64, 16)});
    for (const ValueId v : b.end_cond(cond, b.f.body)) keep(b, v, 8);
  }));
  kernels.push_back(kernel("guarded", [](Builder& b) {
    const ValueId address = input_address(b), p = unknown(b, kBool, 0);
    for (const Type t : {kI8, kI16, kI32, kI64, kI32x2, kI32x4}) {
      const ValueId v = b.emit(Op::load_global, {address, p}, {.type = t, .imm = 32});
      b.effect(Op::store_global, {output_address(b), v, p}, {.imm = -64});
    }
  }));
  const auto exchange = [](Builder& b) {
    const ValueId at = b.emit(Op::shl, {b.emit(Op::thread_id, {}, {.type = kI32}), b.i32(4)});
    const ValueId p = unknown(b, kBool, 0);
    for (const Type t : {kI8, kI16, kI32, kI64, kI32x2, kI32x4})
      b.effect(Op::store_shared, {at, unknown(b, t, 16)}, {.index = 0});
    b.effect(Op::barrier, {});
    b.effect(Op::barrier_subgroup, {});
    for (const Type t : {kI8, kI16, kI32, kI64, kI32x2, kI32x4})
      keep(b, b.emit(Op::load_shared, {at, p}, {.type = t, .imm = 16, .index = 1}));
  };
  kernels.push_back(kernel("shared_static", exchange, {{"a", 1040, 1}, {"b", 1040, 1}}));
  kernels.push_back(kernel("shared_dynamic", exchange, {{"a", 40000, 1}, {"b", 20000, 1}}));
  CHECK(shared_bytes(kernels.back()) == 60000);
  CHECK(emit_or_fail(kernels.back(), ptx_target("sm_80").value()).find(".extern .shared") != std::string::npos);
  assemble_everywhere(kernels);
}

TEST_CASE("a swap of carried values keeps both") {
  const Func f = kernel("swap", [](Builder& b) {
    const ValueId x = unknown(b, kI32, 0), y = unknown(b, kI32, 4), turns = unknown(b, kI32, 8);
    const ValueId zero = b.i32(0), one = b.i32(1);
    const auto loop = b.begin_loop(zero, turns, one, {x, y});
    for (const ValueId v : b.end_loop(loop, {loop.carried[1], loop.carried[0]}, b.f.body)) keep(b, v);
  });
  const std::string text = emit_or_fail(f, ptx_target("sm_80").value());
  const size_t begin = text.find("$loop_1:"), end = text.find("$end_1:");
  REQUIRE(end != std::string::npos);
  // %r7 and %r8 are carried; the old value of one steps aside before it is overwritten.
  CHECK(text.substr(begin, end - begin) ==
        "$loop_1:\n\tmov.b32 %r9, %r7;\n\tmov.b32 %r7, %r8;\n\tmov.b32 %r8, %r9;\n\tadd.s32 %r6, %r6, %r5;\n"
        "\tsetp.lt.s32 %p1, %r6, %r3;\n\t@%p1 bra $loop_1;\n");
}

namespace {

Scalar scalar_of(lathe::Type t) {
  return t == types::f16 ? Scalar::f16 : t == types::bf16 ? Scalar::bf16 : Scalar::f32;
}
Type fragment(Use use, const Layout& layout, lathe::Type elem) {
  return {scalar_of(elem), static_cast<uint8_t>(layout.slots()), use, static_cast<uint16_t>(layout.shape()[0]),
          static_cast<uint16_t>(layout.shape()[1])};
}

Func mma_kernel(const Atom& atom, int number) {
  return kernel(fmt::format("mma_{}", number), [&](Builder& b) {
    const Type a = fragment(Use::a, atom.layout_a, atom.a), c = fragment(Use::c, atom.layout_c, atom.c);
    const Type bt = fragment(Use::b, atom.layout_b, atom.b);
    // Elements as pairs, as scalars and as copies of one value.
    std::vector<ValueId> pairs;
    for (int i = 0; i < a.lanes; i += 2) pairs.push_back(unknown(b, Type{a.scalar}.with_lanes(2), 16 * i));
    const ValueId fa = b.emit(Op::frag_make, pairs, {.type = a});
    const ValueId fb = unknown(b, bt, 256);
    const ValueId fc = b.emit(Op::frag_fill, {unknown_scalar(b, c.scalar, 512)}, {.type = c});
    const ValueId d = b.emit(Op::mma, {fa, fb, fc}, {.name = atom.name});
    keep(b, d);
    keep(b, b.emit(Op::frag_get, {d}, {.type = Type{c.scalar}.with_lanes(2), .imm = 2}), 128);
    keep(b, b.emit(Op::frag_get, {fa}, {.type = Type{a.scalar}.with_lanes(2), .imm = 1}), 160);
  });
}

/// Two products of one group, the second on the sum of the first.
Func shared_kernel(const Atom& atom, int number) {
  Func f = kernel(fmt::format("mma_{}", number),
                  [&](Builder& b) {
                    const Type a = fragment(Use::a, atom.layout_a, atom.a), c = fragment(Use::c, atom.layout_c, atom.c);
                    std::vector<ValueId> pairs;
                    for (int i = 0; i < a.lanes; i += 2)
                      pairs.push_back(unknown(b, Type{a.scalar}.with_lanes(2), 16 * i));
                    const ValueId fa = b.emit(Op::frag_make, pairs, {.type = a});
                    ValueId d = b.emit(Op::frag_fill, {unknown_scalar(b, c.scalar, 512)}, {.type = c});
                    b.effect(Op::matrix_publish, {});
                    b.effect(Op::barrier, {});
                    b.effect(Op::matrix_begin, {});
                    for (int step = 0; step < 2; step++)
                      d = b.emit(Op::mma_shared, {b.i32(0), fa, d}, {.imm = 32 * step, .name = atom.name});
                    b.effect(Op::matrix_commit, {});
                    b.effect(Op::matrix_wait, {});
                    keep(b, b.emit(Op::frag_get, {d}, {.type = Type{c.scalar}.with_lanes(2), .imm = 2}), 128);
                  },
                  {{"b", 32768, 4, 1024}});
  f.subgroups = atom.subgroups;
  return f;
}

}  // namespace

TEST_CASE("ptxas takes every matrix instruction, and other targets refuse it") {
  for (const Target& target : all_targets()) {
    std::vector<std::string> modules;
    for (const Atom& atom : target.atoms)
      if (atom.b_in_shared)
        modules.push_back(emit_or_fail(shared_kernel(atom, static_cast<int>(modules.size())), target));
      else if (atom.source == MapSource::published)
        modules.push_back(emit_or_fail(mma_kernel(atom, static_cast<int>(modules.size())), target));
    REQUIRE_FALSE(modules.empty());
    assemble(target, modules);
  }
  const Target turing = ptx_target("sm_75").value(), ampere = ptx_target("sm_80").value();
  const auto refused = emit_ptx(mma_kernel(ampere.atoms[0], 0), turing);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Error::Code::unsupported);
  CHECK(refused.error().text ==
        "mma_0: sm_75 has no matrix instruction 'mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32'");
}

TEST_CASE("a lane holds as many elements as the fragment's type says") {
  const Func f = kernel("length", [](Builder& b) {
    const ValueId c = b.emit(Op::frag_fill, {b.f32(0)}, {.type = {Scalar::f32, 4, Use::c, 16, 8}});
    keep(b, b.emit(Op::frag_length, {c}, {.type = kI32}));
  });
  CHECK(emit_ptx(f, ptx_target("sm_80").value()).value().find("\tmov.b32 %r2, 4;\n") != std::string::npos);
}

TEST_CASE("the atoms are those of the PTX manual") {
  // The manual's fragment formulas: row and column of element i of a lane.
  struct Formula {
    int k;
    std::function<Coord(int64_t group, int64_t in_group, int64_t i)> a, b;
  };
  const Formula k16{16,
                    [](int64_t group, int64_t in_group, int64_t i) -> Coord {
                      const int64_t row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
                      return {row, i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8};
                    },
                    [](int64_t group, int64_t in_group, int64_t i) -> Coord {
                      return {in_group * 2 + (i & 1) + (i % 4 < 2 ? 0 : 8), group + i / 4 * 8};
                    }};
  const Formula k8{8,
                   [](int64_t group, int64_t in_group, int64_t i) -> Coord {
                     return {i < 2 ? group : group + 8, in_group * 2 + (i & 1)};
                   },
                   [](int64_t group, int64_t in_group, int64_t i) -> Coord {
                     return {in_group * 2 + i, group};
                   }};
  const auto c = [](int64_t group, int64_t in_group, int64_t i) -> Coord {
    return {i % 4 < 2 ? group : group + 8, in_group * 2 + (i & 1) + i / 4 * 8};
  };
  const auto check = [](const Layout& layout, const Coord& shape, const auto& formula) {
    CHECK(layout.shape() == shape);
    REQUIRE(layout.threads() == 32);
    REQUIRE(layout.threads() * layout.slots() == shape[0] * shape[1]);
    std::set<Coord> seen;
    for (int64_t t = 0; t < 32; t++)
      for (int64_t s = 0; s < layout.slots(); s++) {
        CHECK(layout.at(t, s) == formula(t / 4, t % 4, s));
        seen.insert(layout.at(t, s));
      }
    CHECK(static_cast<int64_t>(seen.size()) == layout.elements());
  };
  for (const Target& target : all_targets())
    for (const Atom& atom : target.atoms) {
      if (atom.source != MapSource::published) continue;
      INFO(target.name, " ", atom.name);
      REQUIRE((atom.k == 8 || atom.k == 16));
      const Formula& f = atom.k == 16 ? k16 : k8;
      if (atom.b_in_shared)
        CHECK(atom.name == fmt::format("wgmma.mma_async.sync.aligned.m64n{}k16.f32.{}.{}", atom.n, to_string(atom.a),
                                       to_string(atom.b)));
      else
        CHECK(atom.name.find(fmt::format("m{}n{}k{}.row.col.{}.{}.{}.{}", atom.m, atom.n, atom.k, to_string(atom.c),
                                         to_string(atom.a), to_string(atom.b), to_string(atom.c))) !=
              std::string::npos);
      check(atom.layout_a, {atom.m, atom.k}, f.a);
      check(atom.layout_b, {atom.k, atom.n}, f.b);
      check(atom.layout_c, {atom.m, atom.n}, c);
    }
}

TEST_CASE("targets end with the multiply-add atoms; names are listed") {
  for (const Target& target : all_targets()) {
    REQUIRE(target.atoms.size() >= 4);
    const Atom& last = target.atoms.back();
    CHECK(last.name == "fma 8x4");
    CHECK(last.source == MapSource::fma);
    CHECK(last.a == types::f32);
    CHECK(to_string(last.layout_a) == "8x1 T[8:m1 4:R] S[]");
    CHECK(to_string(last.layout_b) == "1x4 T[8:R 4:k1] S[]");
    CHECK(to_string(last.layout_c) == "8x4 T[8:m1 4:k1] S[]");
  }
  CHECK(ptx_target("sm_75").value().atoms.size() == 10);
  CHECK(ptx_target("sm_90a").value().atoms.size() == 26);
  const auto unknown_target = ptx_target("sm_12");
  REQUIRE_FALSE(unknown_target);
  CHECK(unknown_target.error().code == Error::Code::bad_input);
  CHECK(unknown_target.error().text == "no PTX target 'sm_12'; there are sm_75, sm_80, sm_86, sm_89, sm_90a");
}

TEST_CASE("what a target lacks is refused") {
  const auto code = [](const Func& f, const char* target) {
    const auto text = emit_ptx(f, ptx_target(target).value());
    REQUIRE_FALSE(text);
    return text.error().code;
  };
  const auto nothing = [](Builder&) {};
  const Func large = kernel("large", nothing, {{"s", 65552, 16}});
  CHECK(code(large, "sm_75") == Error::Code::unsupported);
  CHECK(emit_ptx(large, ptx_target("sm_80").value()));
  Func wide = kernel("wide", nothing);
  wide.subgroup_size = 64;
  CHECK(code(wide, "sm_80") == Error::Code::unsupported);
  const Func load = kernel("opaque", [](Builder& b) {
    b.emit(Op::frag_load, {input_address(b), b.i32(16)}, {.type = {Scalar::f16, 8, Use::a, 16, 16}});
  });
  CHECK(code(load, "sm_90a") == Error::Code::unsupported);
}

TEST_CASE("a whole module") {
  const Func f = kernel("halve", [](Builder& b) {
    const ValueId group = b.emit(Op::group_id, {}, {.type = kI32, .imm = 0});
    const ValueId thread = b.emit(Op::thread_id, {}, {.type = kI32});
    const ValueId first = b.emit(Op::mul, {group, b.i32(32)});
    const ValueId index = b.emit(Op::add, {first, thread});
    const ValueId wide = b.cvt(Op::sext, index, kI64);
    const ValueId offset = b.emit(Op::shl, {wide, b.i32(2)});
    const ValueId inside = b.emit(Op::lt_s, {index, b.i32(100)});
    const ValueId from = b.emit(Op::add, {input_address(b), offset});
    const ValueId words = b.emit(Op::load_global, {from, inside}, {.type = kI32});
    const ValueId pair = b.cvt(Op::bitcast, words, kF16x2);
    const ValueId half = b.emit(Op::mul, {pair, b.constant(kF16x2, 0x3800)});
    const ValueId to = b.emit(Op::add, {output_address(b), offset});
    b.effect(Op::store_global, {to, b.cvt(Op::bitcast, half, kI32), inside});
  });
  CHECK(emit_or_fail(f, ptx_target("sm_75").value()) == R"(.version 6.3
.target sm_75
.address_size 64

.visible .entry halve(
	.param .b64 p0,
	.param .b64 p1
)
.reqntid 32, 1, 1
{
	.reg .pred %p<2>;
	.reg .b32 %r<11>;
	.reg .b64 %rd<7>;
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %tid.x;
	mov.b32 %r3, 0x20;
	mul.lo.s32 %r4, %r1, %r3;
	add.s32 %r5, %r4, %r2;
	cvt.s64.s32 %rd1, %r5;
	mov.b32 %r6, 0x2;
	shl.b64 %rd2, %rd1, %r6;
	mov.b32 %r7, 0x64;
	setp.lt.s32 %p1, %r5, %r7;
	ld.param.b64 %rd3, [p0];
	add.s64 %rd4, %rd3, %rd2;
	mov.b32 %r8, 0;
	@%p1 ld.global.b32 %r8, [%rd4+0];
	mov.b32 %r9, 0x38003800;
	mul.rn.f16x2 %r10, %r8, %r9;
	ld.param.b64 %rd5, [p1];
	add.s64 %rd6, %rd5, %rd2;
	@%p1 st.global.b32 [%rd6+0], %r10;
	ret;
}
)");
}

}  // namespace lathe::thread
