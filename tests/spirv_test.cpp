// The SPIR-V backend: its table against thread.def, and every module against SPIRV-Tools' validator.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <spirv-tools/libspirv.hpp>
#include <spirv/unified1/spirv.hpp11>
#include <sstream>

#include "backends/spirv/emit.h"
#include "backends/spirv/rows.h"
#include "tests/spirv_uses.h"

namespace lathe::thread {
namespace {

constexpr spv_target_env kEnvironment = SPV_ENV_VULKAN_1_2;

Target gpu() {
  Target t{.name = "test gpu", .backend = Backend::spirv};
  t.rte_f16 = t.rte_f32 = t.preserve_f16_denorm = t.preserve_f32_denorm = true;
  return t;
}

/// What the validator says of the words; "" when they are valid.
std::string faults(const std::vector<uint32_t>& words) {
  std::string said;
  spvtools::SpirvTools tools(kEnvironment);
  tools.SetMessageConsumer([&](spv_message_level_t, const char*, const spv_position_t&, const char* text) {
    said += fmt::format("{}\n", text);
  });
  return tools.Validate(words) ? "" : said + "(invalid)";
}

std::string disassembly(const std::vector<uint32_t>& words) {
  std::string text;
  spvtools::SpirvTools tools(kEnvironment);
  REQUIRE(tools.Disassemble(words, &text,
                            SPV_BINARY_TO_TEXT_OPTION_NO_HEADER | SPV_BINARY_TO_TEXT_OPTION_FRIENDLY_NAMES |
                                SPV_BINARY_TO_TEXT_OPTION_INDENT));
  return text;
}

/// Emits, validates, and gives the text.
std::string emitted(const Func& f, const Target& t = gpu()) {
  const auto verified = verify(f);
  REQUIRE_MESSAGE(verified, verified.error().text);
  const auto words = emit_spirv(f, t);
  REQUIRE_MESSAGE(words, words.error().text);
  const std::string text = disassembly(*words);
  CHECK_MESSAGE(faults(*words).empty(), faults(*words) << print(f) << text);
  return text;
}

int count(const std::string& text, std::string_view piece) {
  int n = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + piece.size())) n++;
  return n;
}
bool has(const std::string& text, std::string_view piece) { return count(text, piece) > 0; }

void check_golden(const std::string& name, const std::string& text) {
  const std::string path = fmt::format("{}/tests/golden/spirv/{}.spvasm", LATHE_SOURCE_DIR, name);
  if (std::getenv("BLESS") != nullptr) std::ofstream(path) << text;
  std::ostringstream golden;
  golden << std::ifstream(path).rdbuf();
  CHECK(text == golden.str());
}

}  // namespace

TEST_CASE("every operation on every type has exactly one row, or is refused, and its module is valid") {
  int uses = 0, valid = 0, refusals = 0;
  std::set<Op> seen;
  each_use([&](Op op, Type from, Type to, const Func& f) {
    const std::string what = fmt::format("{} {} -> {}", info(op).name, to_string(from), to_string(to));
    uses++;
    seen.insert(op);
    const bool sourced = *info(op).operands == 0 && result_by_attr(op);
    const Scalar key = sourced ? to.scalar : from.scalar;
    const auto words = emit_spirv(f, gpu());
    if (refused(op, from, to)) {
      refusals++;
      CHECK_MESSAGE((!words && words.error().code == Error::Code::unsupported), what);
      return;
    }
    CHECK_MESSAGE(spirv::matching_rows(op, key) == 1, what);
    REQUIRE_MESSAGE(words, what << ": " << words.error().text);
    const std::string fault = faults(*words);
    CHECK_MESSAGE(fault.empty(), what << ": " << fault << disassembly(*words));
    valid += fault.empty();
  });
  CHECK(valid + refusals == uses);
  CHECK(uses > 600);
  for (int o = 0; o < kOpCount; o++) {
    const auto op = static_cast<Op>(o);
    CHECK_MESSAGE(seen.contains(op) != (is_fragment_op(op) || is_control(op)), info(op).name);
    for (const Scalar s : kScalars) CHECK(spirv::matching_rows(op, s) <= 1);
  }
}

TEST_CASE("a target without f16 arithmetic moves and converts halves as 16-bit integers") {
  Target t = gpu();
  t.f16_arithmetic = false;
  const std::string text = emitted(
      kernel([](Builder& b) {
        const ValueId pair = b.cvt(Op::bitcast, b.emit(Op::load_global, {argument(b, 0)}, {.type = kI32}), kF16x2);
        const ValueId wide = b.cvt(Op::fcvt, pair, kF32.with_lanes(2));
        const ValueId back = b.cvt(Op::fcvt, b.emit(Op::add, {wide, wide}), kF16x2);
        const ValueId count = b.cvt(Op::s2f, b.i32(3), kF16);
        b.effect(Op::store_global, {argument(b, 1), b.cvt(Op::bitcast, back, kI32)});
        b.effect(Op::store_global, {argument(b, 1), b.cvt(Op::bitcast, count, kI16)}, {.imm = 4});
      }),
      t);
  CHECK_FALSE(has(text, "Float16"));
  CHECK(count(text, " UnpackHalf2x16") == 2);
  CHECK(count(text, " PackHalf2x16") == 3);
  const Func f = kernel([](Builder& b) { b.emit(Op::add, {unknown(b, kF16), unknown(b, kF16)}); });
  REQUIRE_FALSE(emit_spirv(f, t));
  CHECK(emit_spirv(f, t).error().text == "kernel: test gpu has no add of f16");
}

TEST_CASE("only sums and products are marked against contraction, and float controls follow the widths") {
  const Func f = kernel([](Builder& b) {
    const ValueId x = unknown(b, kF32);
    b.emit(Op::fma, {b.emit(Op::add, {x, x}), b.emit(Op::sub, {x, x}), b.emit(Op::fdiv, {b.emit(Op::mul, {x, x}), x})});
  });
  const std::string text = emitted(f);
  CHECK(count(text, "NoContraction") == 3);
  CHECK(has(text, "RoundingModeRTE 32"));
  CHECK(has(text, "DenormPreserve 32"));
  CHECK_FALSE(has(text, "RTE 16"));
  Target plain = gpu();
  plain.rte_f32 = plain.preserve_f32_denorm = false;
  CHECK_FALSE(has(emitted(f, plain), "RTE"));
  CHECK_FALSE(has(emitted(f, plain), "Denorm"));
}

// ---- threads and launch arguments

TEST_CASE("threads are numbered by subgroup where its size is fixed") {
  const Func f = kernel([](Builder& b) {
    ValueId sum = b.emit(Op::thread_id, {}, {.type = kI32});
    for (const Op op : {Op::lane_id, Op::subgroup_id}) sum = b.emit(Op::add, {sum, b.emit(op, {}, {.type = kI32})});
    b.effect(Op::store_global, {argument(b, 0), sum});
  });
  const std::string fixed = emitted(f);
  CHECK(has(fixed, "OpExecutionMode %kernel LocalSize 64 1 1"));
  CHECK(count(fixed, "BuiltIn SubgroupId") == 1);
  CHECK(count(fixed, "BuiltIn SubgroupLocalInvocationId") == 1);
  CHECK_FALSE(has(fixed, "LocalInvocationIndex"));
  Target t = gpu();
  t.fixed_subgroup_size = false;
  const std::string loose = emitted(f, t);
  CHECK(has(loose, "BuiltIn LocalInvocationIndex"));
  CHECK_FALSE(has(loose, "GroupNonUniform"));
  const auto shuffle = emit_spirv(use_of(Op::shuffle_xor, kI32, kI32), t);
  REQUIRE_FALSE(shuffle);
  CHECK(shuffle.error().text == "kernel: shuffle_xor of test gpu needs a fixed subgroup size");
}

TEST_CASE("sixteen launch arguments are push constants, more are read from a buffer") {
  const auto build = [](Builder& b) {
    const ValueId small = b.emit(Op::add, {argument(b, 0, kI32), b.cvt(Op::bitcast, argument(b, 15, kF32), kI32)});
    b.effect(Op::store_global, {argument(b, 7), small});
  };
  const Func pushed = kernel(build, {}, 16), buffered = kernel(build, {}, 17);
  CHECK(params_in_push_constants(pushed));
  CHECK_FALSE(params_in_push_constants(buffered));
  const std::string near = emitted(pushed), far = emitted(buffered);
  CHECK(has(near, "OpTypeArray %ulong %uint_16"));
  CHECK(count(near, "OpConvertUToPtr") == 1);
  CHECK(has(far, "OpTypeArray %ulong %uint_1\n"));
  CHECK(count(far, "OpConvertUToPtr") == 4);
  CHECK(count(far, "Aligned 8") == 3);
  CHECK_FALSE(has(emitted(kernel([](Builder&) {}, {}, 0)), "PushConstant"));
}

TEST_CASE("workgroups and shared memory beyond the target's are refused") {
  Func f = kernel([](Builder&) {}, {{"s", 49152 + 16, 4}});
  CHECK(emit_spirv(f, gpu()).error().text == "kernel: 49168 bytes of shared memory; test gpu has 49152");
  f.shared.clear();
  f.subgroups = 33;
  CHECK(emit_spirv(f, gpu()).error().code == Error::Code::unsupported);
  f.subgroups = 1;
  f.subgroup_size = 16;
  CHECK(emit_spirv(f, gpu()).error().text == "kernel: test gpu has no workgroups of 1 subgroups of 16 threads");
}

// ---- memory

namespace {
constexpr auto kBarrierSemantics =
    static_cast<uint32_t>(spv::MemorySemanticsMask::AcquireRelease | spv::MemorySemanticsMask::WorkgroupMemory |
                          spv::MemorySemanticsMask::MakeAvailable | spv::MemorySemanticsMask::MakeVisible);
}

TEST_CASE("global memory: every width, aligned to its size, guarded by a branch") {
  for (const Type t : {kI8, kI16, kI32, kI32x2, kI32x4, kI64}) {
    const int bytes = total_bits(t) / 8;
    const std::string text = emitted(kernel([&](Builder& b) {
      const ValueId yes = unknown(b, kBool);
      const ValueId v = b.emit(Op::load_global, {argument(b, 0), yes}, {.type = t, .imm = 64});
      b.effect(Op::store_global, {argument(b, 1), v, yes}, {.imm = -16});
      b.effect(Op::store_global, {argument(b, 1), v});
    }));
    CHECK(count(text, fmt::format("Aligned {}\n", bytes)) == 3 + (bytes == 4));  // and the load of the condition
    CHECK(count(text, "OpPhi") == 1);
    CHECK(count(text, "OpSelectionMerge") == 2);
    CHECK(has(text, "%ulong_18446744073709551600"));
    CHECK(has(text, "StorageBuffer8BitAccess") == (bytes == 1));
    CHECK(has(text, "StorageBuffer16BitAccess") == (bytes == 2));
  }
  Target t = gpu();
  t.byte_storage = t.f16_storage = false;
  CHECK(emit_spirv(use_of(Op::load_global, kI64, kI8), t).error().text ==
        "kernel: test gpu has no 8-bit loads and stores");
  CHECK(emit_spirv(use_of(Op::load_global, kI64, kI16), t).error().text ==
        "kernel: test gpu has no 16-bit loads and stores");
}

TEST_CASE("shared arrays of every access width take every value that is a multiple of it") {
  for (const int width : {1, 2, 4, 8, 16})
    for (const Type t : {kI8, kI16, kI32, kI64, kI32x2, kI32x4}) {
      const int bytes = total_bits(t) / 8;
      if (bytes % width != 0) continue;
      const auto build = [&](Builder& b) {
        const ValueId at = b.emit(Op::mul, {b.emit(Op::lane_id, {}, {.type = kI32}), b.i32(16)});
        b.effect(Op::store_shared, {at, unknown(b, t)}, {.imm = 16, .index = 1});
        b.effect(Op::barrier, {});
        const ValueId v = b.emit(Op::load_shared, {at, unknown(b, kBool)}, {.type = t, .imm = bytes, .index = 1});
        b.effect(Op::store_shared, {at, v, unknown(b, kBool)}, {.index = 1});
        b.emit(Op::load_shared, {at}, {.type = kI8, .imm = 3, .index = 0});
      };
      const std::string text = emitted(kernel(build, {{"other", 32, 1}, {"tile", 1024, width}}));
      CHECK_MESSAGE(count(text, " NonPrivatePointer\n") == 3 * bytes / width + 1, text);
      CHECK(has(text, fmt::format("%uint_{}\n", 1024 / width)));
      CHECK(has(text, fmt::format("OpControlBarrier %uint_2 %uint_2 %uint_{}\n", kBarrierSemantics)));
    }
}

// ---- control flow

TEST_CASE("a loop whose carried values change places reads the old ones") {
  const std::string text = emitted(kernel([](Builder& b) {
    const BlockId outer = b.block;
    const auto loop = b.begin_loop(b.i32(0), argument(b, 0, kI32), b.i32(1), {b.i32(7), b.f32(1), b.i32(8)});
    const auto out = b.end_loop(
        loop, {loop.carried[2], b.emit(Op::mul, {loop.carried[1], loop.carried[1]}), loop.carried[0]}, outer);
    b.effect(Op::store_global, {argument(b, 1), b.emit(Op::sub, {out[0], out[2]})});
    b.effect(Op::store_global, {argument(b, 1), b.cvt(Op::bitcast, out[1], kI32)}, {.imm = 4});
  }));
  CHECK(count(text, "OpPhi") == 4);
  CHECK(count(text, "OpLoopMerge") == 1);
  CHECK_FALSE(has(text, "OpVariable %_ptr_Function"));
}

TEST_CASE("nested loops and conditionals yield from their innermost block") {
  const std::string text = emitted(kernel([](Builder& b) {
    const BlockId body = b.block;
    const ValueId n = argument(b, 0, kI32);
    const auto outer = b.begin_loop(b.i32(0), n, b.i32(1), {b.i32(0)});
    const auto inner = b.begin_loop(b.i32(0), outer.index, b.i32(2), {outer.carried[0]});
    const auto first = b.begin_cond(b.emit(Op::lt_s, {inner.index, b.i32(3)}));
    const auto second = b.begin_cond(b.emit(Op::eq, {inner.carried[0], b.i32(5)}));
    b.yield({b.i32(1), unknown(b, kF16x2)});
    b.block = second.else_block;
    b.yield({b.emit(Op::load_global, {argument(b, 1), unknown(b, kBool)}, {.type = kI32}), unknown(b, kF16x2)});
    const auto seconds = b.end_cond(second, first.then_block);
    b.yield({b.emit(Op::add, {seconds[0], b.cvt(Op::bitcast, seconds[1], kI32)})});
    b.block = first.else_block;
    b.yield({inner.carried[0]});
    const auto firsts = b.end_cond(first, inner.body);
    const auto inners = b.end_loop(inner, {firsts[0]}, outer.body);
    const auto outers = b.end_loop(outer, {inners[0]}, body);
    const auto last = b.begin_cond(b.emit(Op::eq, {outers[0], b.i32(0)}));
    b.effect(Op::store_global, {argument(b, 1), outers[0]});
    b.yield({});
    b.block = last.else_block;
    b.yield({});
    b.end_cond(last, body);
  }));
  CHECK(count(text, "OpLoopMerge") == 2);
  CHECK(count(text, "OpSelectionMerge") == 4);
}

// ---- fragments

namespace {

constexpr Type fragment(Scalar s, Use use, int rows, int cols, int lanes) {
  return {s, static_cast<uint8_t>(lanes), use, static_cast<uint16_t>(rows), static_cast<uint16_t>(cols)};
}
constexpr Type kA = fragment(Scalar::f16, Use::a, 16, 16, 8), kB = fragment(Scalar::f16, Use::b, 16, 8, 4),
               kC = fragment(Scalar::f32, Use::c, 16, 8, 4);

ValueId made(Builder& b, Type t) {
  return b.emit(Op::frag_make, std::vector<ValueId>(t.lanes / 2, unknown(b, Type{t.scalar}.with_lanes(2))),
                {.type = t});
}

}  // namespace

TEST_CASE("fragments are filled by element, multiplied, carried by loops and conditionals in variables, and read") {
  const std::string text = emitted(kernel([](Builder& b) {
    const BlockId body = b.block;
    const ValueId zero = b.emit(Op::frag_fill, {b.f32(0)}, {.type = kC});
    const auto loop = b.begin_loop(b.i32(0), argument(b, 1, kI32), b.i32(1), {zero, zero, b.i32(0)});
    const ValueId product = b.emit(Op::mma, {made(b, kA), made(b, kB), loop.carried[0]}, {.name = "coopmat"});
    const auto out = b.end_loop(loop, {loop.carried[1], product, loop.index}, body);
    const auto c = b.begin_cond(unknown(b, kBool));
    b.yield({out[0], out[2]});
    b.block = c.else_block;
    b.yield({out[1], b.i32(1)});
    const ValueId last = b.end_cond(c, body)[0];
    const ValueId pair = b.emit(Op::frag_get, {last}, {.type = kF32.with_lanes(2), .imm = 2});
    const ValueId one = b.emit(Op::frag_get, {last}, {.type = kF32, .imm = 3});
    b.effect(
        Op::store_global,
        {argument(b, 0), b.cvt(Op::bitcast, b.emit(Op::add, {one, b.emit(Op::get, {pair}, {.type = kF32})}), kI32)});
  }));
  CHECK(count(text, "OpTypeCooperativeMatrixKHR") == 3);
  CHECK(count(text, "OpVariable %_ptr_Function") == 5);  // a, b; two carried by the loop, one by the conditional
  CHECK(count(text, "OpCooperativeMatrixMulAddKHR") == 1);
  CHECK(count(text, "OpPhi") == 3);  // the index, the carried scalar, the conditional's scalar
  CHECK(has(text, "OpExtension \"SPV_KHR_cooperative_matrix\""));
  check_golden("fragments", text);
}

TEST_CASE("integer fragments name their signed operands") {
  const Type a = fragment(Scalar::i8, Use::a, 16, 32, 16), bt = fragment(Scalar::i8, Use::b, 32, 8, 8),
             c = fragment(Scalar::i32, Use::c, 16, 8, 4);
  for (const int signs : {0, 1, 2, 3}) {
    const std::string text = emitted(kernel([&](Builder& b) {
      const ValueId acc = b.emit(Op::frag_fill, {b.i32(0)}, {.type = c});
      b.emit(Op::mma, {made(b, a), made(b, bt), acc}, {.imm = signs, .name = "coopmat"});
    }));
    CHECK(has(text, "MatrixASignedComponentsKHR") == ((signs & 1) != 0));
    CHECK(has(text, "MatrixBSignedComponentsKHR") == ((signs & 2) != 0));
    CHECK(has(text, "MatrixCSignedComponentsKHR|MatrixResultSignedComponentsKHR") == (signs != 0));
  }
}

TEST_CASE("whole fragments come from global and shared memory, in either order, whatever the array's elements") {
  for (const int order : {0, 1})
    for (const int width : {1, 2, 8, 16}) {
      const std::string text = emitted(kernel(
          [&](Builder& b) {
            const ValueId stride = argument(b, 1, kI32), at = b.i32(256);
            const ValueId a = b.emit(Op::frag_load, {argument(b, 0), stride}, {.type = kA, .imm = order});
            const ValueId second = b.emit(Op::frag_load_shared, {at, stride}, {.type = kB, .imm = order});
            const ValueId c = b.emit(Op::frag_fill, {b.f32(0)}, {.type = kC});
            const ValueId sum = b.emit(Op::mma, {a, second, c}, {.name = "coopmat"});
            b.effect(Op::frag_store, {argument(b, 0), sum, stride}, {.imm = order});
            b.effect(Op::barrier_subgroup, {});
            b.effect(Op::frag_store_shared, {at, sum, stride}, {.imm = order});
          },
          {{"tile", 1024, width}}));
      CHECK(count(text, "OpCooperativeMatrixLoadKHR") == 2);
      CHECK(count(text, "MakePointerVisible|NonPrivatePointer") == 1);
      CHECK(count(text, "OpCooperativeMatrixStoreKHR") == 2);
      CHECK(count(text, "MakePointerAvailable|NonPrivatePointer") == 1);
      CHECK(has(text, fmt::format("OpControlBarrier %uint_3 %uint_3 %uint_{}\n", kBarrierSemantics)));
      CHECK(count(text, "Aligned 16") == 2);
      CHECK(has(text, "OpShiftLeftLogical") == (width <= 2));     // of f32 in narrower elements too
      CHECK(has(text, "OpShiftRightLogical") == (width > 2));     // the stride
      CHECK(has(text, "OpShiftRightArithmetic") == (width > 1));  // the offset
    }
}

TEST_CASE("fragments that the target has no type for are refused") {
  const Func bf16 = kernel([](Builder& b) {
    b.emit(Op::frag_fill, {b.constant(kBF16, 0)}, {.type = fragment(Scalar::bf16, Use::a, 16, 16, 8)});
  });
  CHECK(emit_spirv(bf16, gpu()).error().text == "kernel: test gpu has no fragments bf16[a 16x16 x8]");
  Target loose = gpu();
  loose.fixed_subgroup_size = false;
  const Func f = kernel([](Builder& b) { b.emit(Op::frag_fill, {b.f32(0)}, {.type = kC}); });
  CHECK(emit_spirv(f, loose).error().code == Error::Code::unsupported);
}

// ---- the whole text of one kernel

TEST_CASE("the text of a small kernel") {
  const std::string text = emitted(kernel(
      [](Builder& b) {
        const BlockId body = b.block;
        const ValueId thread = b.emit(Op::thread_id, {}, {.type = kI32});
        const ValueId offset = b.emit(Op::mul, {b.cvt(Op::zext, thread, kI64), b.i64(4)});
        const ValueId from = b.emit(Op::add, {argument(b, 0), offset}), n = argument(b, 2, kI32);
        const auto loop = b.begin_loop(b.i32(0), n, b.i32(1), {b.f32(0)});
        const ValueId inside = b.emit(Op::lt_s, {loop.index, thread});
        const ValueId x = b.cvt(Op::bitcast, b.emit(Op::load_global, {from, inside}, {.type = kI32, .imm = 128}), kF32);
        const auto sum = b.end_loop(loop, {b.emit(Op::add, {loop.carried[0], b.emit(Op::mul, {x, x})})}, body);
        const ValueId shared_at = b.emit(Op::mul, {thread, b.i32(4)});
        b.effect(Op::store_shared, {shared_at, b.cvt(Op::bitcast, sum[0], kI32)}, {.imm = 16});
        b.effect(Op::barrier, {});
        const ValueId other = b.emit(Op::load_shared, {b.i32(16)}, {.type = kI32});
        b.effect(Op::store_global,
                 {b.emit(Op::add, {argument(b, 1), offset}), b.emit(Op::shuffle_xor, {other}, {.imm = 1})});
      },
      {{"sums", 272, 4}}, 3));
  check_golden("small", text);
}

}  // namespace lathe::thread
