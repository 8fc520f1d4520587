#include "backends/spirv/body.h"

#include <fmt/format.h>

namespace lathe::spirv {

using thread::Op;
using thread::Scalar;

Body::Body(const thread::Func& f, const Target& target, Module& module)
    : f_(f), target_(target), m_(module), ids_(f.values.size(), 0) {
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const Op op = f.inst(id).op;
    shares_global_ |= (op == Op::barrier && f.inst(id).attr.imm == 1) || op == Op::fence || op == Op::atomic_add ||
                      op == Op::atomic_and || op == Op::atomic_or;
  });
}

Result<Words> Body::write() {
  const Id nothing = m_.void_type(), function_type = m_.unique_type(spv::Op::OpTypeFunction, {nothing});
  const Id entry = m_.fresh();
  label_ = entry;
  TRY(block(f_.blocks[f_.body]));
  effect(spv::Op::OpReturn, {});
  effect(spv::Op::OpFunctionEnd, {});
  Words out;
  append(out, spv::Op::OpFunction, {nothing, m_.entry(), word(spv::FunctionControlMask::MaskNone), function_type});
  append(out, spv::Op::OpLabel, {entry});
  for (const Words* part : {&locals_, &start_, &code_}) out.insert(out.end(), part->begin(), part->end());
  return out;
}

// ---- dispatch

Result<Unit> Body::block(const thread::Func::Block& b) {
  for (const InstId i : b.insts) TRY(inst(f_.inst(i)));
  return Unit{};
}

Scalar Body::leading_scalar(const Inst& i) const {
  if (i.op == Op::select) return type(i.args[1]).scalar;
  if (!i.args.empty()) return type(i.args[0]).scalar;
  return i.results.empty() ? Scalar::i32 : type(i.results[0]).scalar;
}

Result<Unit> Body::inst(const Inst& i) {
  const Scalar scalar = leading_scalar(i);
  const bool without_arithmetic = scalar == Scalar::f16 && !target_.f16_arithmetic;
  const Row* row = find_row(i.op, without_arithmetic ? Scalar::bf16 : scalar);
  if (row == nullptr)
    return unsupported(fmt::format("{}: {} has no {} of {}", f_.name, target_.name, thread::info(i.op).name,
                                   thread::to_string(thread::Type{scalar})));
  return row->form == Row::Form::code ? (this->*row->code)(i) : from_row(*row, i);
}

Result<Unit> Body::from_row(const Row& row, const Inst& i) {
  Words operands;
  for (const ValueId a : i.args) {
    const thread::Type& t = type(a);
    const int lanes = type(i.args[0]).lanes;  // more than t's where a scalar counts the shifts of a vector
    operands.push_back(t.lanes < lanes ? emit(spv::Op::OpCompositeConstruct, type_id(t.with_lanes(lanes)),
                                              Words(static_cast<size_t>(lanes), id(a)))
                                       : id(a));
  }
  const Id result_type = type_id(type(i.results[0]));
  if (row.form == Row::Form::glsl) {
    define(i, glsl(row.opcode, result_type, operands));
    return Unit{};
  }
  define(i, emit(static_cast<spv::Op>(row.opcode), result_type, operands));
  if (row.form == Row::Form::exact) m_.decorate(id(i.results[0]), spv::Decoration::NoContraction);
  return Unit{};
}

// ---- writing

Id Body::emit(spv::Op op, Id type, const Words& operands) {
  const Id result = m_.fresh();
  Words all{type, result};
  all.insert(all.end(), operands.begin(), operands.end());
  append(code_, op, all);
  return result;
}

Id Body::glsl(uint32_t number, Id type, const Words& operands) {
  Words all{m_.glsl(), number};
  all.insert(all.end(), operands.begin(), operands.end());
  return emit(spv::Op::OpExtInst, type, all);
}

Id Body::before_body(spv::Op op, Id type, const Words& operands) {
  const Id result = m_.fresh();
  Words all{type, result};
  all.insert(all.end(), operands.begin(), operands.end());
  append(start_, op, all);
  return result;
}

void Body::begin(Id label) {
  effect(spv::Op::OpLabel, {label});
  label_ = label;
}

void Body::guarded(ValueId condition, const std::function<void()>& then) {
  const Id inside = m_.fresh(), merge = m_.fresh();
  effect(spv::Op::OpSelectionMerge, {merge, word(spv::SelectionControlMask::MaskNone)});
  effect(spv::Op::OpBranchConditional, {id(condition), inside, merge});
  begin(inside);
  then();
  jump(merge);
  begin(merge);
}

Id Body::guarded(ValueId condition, Id type, const std::function<Id()>& then_value) {
  const Id outside = label_;
  Id value = 0, inside = 0;
  guarded(condition, [&] {
    value = then_value();
    inside = label_;
  });
  return emit(spv::Op::OpPhi, type, {value, inside, m_.constant(spv::Op::OpConstantNull, type, {}), outside});
}

// ---- types and constants

Scalar Body::held(Scalar s) const {
  return s == Scalar::bf16 || (s == Scalar::f16 && !target_.f16_arithmetic) ? Scalar::i16 : s;
}

Id Body::type_id(const thread::Type& t) {
  const Scalar s = held(t.scalar);
  const Id scalar = s == Scalar::b1       ? m_.bool_type()
                    : thread::is_float(s) ? m_.float_type(thread::bits(s))
                                          : m_.int_type(thread::bits(s));
  if (!t.is_frag()) return m_.vector_type(scalar, t.lanes);
  constexpr spv::CooperativeMatrixUse kUses[] = {spv::CooperativeMatrixUse::MatrixAKHR,
                                                 spv::CooperativeMatrixUse::MatrixBKHR,
                                                 spv::CooperativeMatrixUse::MatrixAccumulatorKHR};
  return m_.matrix_type(scalar, t.rows, t.cols, kUses[static_cast<int>(t.use) - static_cast<int>(thread::Use::a)]);
}

Id Body::splat(const thread::Type& t, uint64_t raw) {
  const Id scalar_type = type_id(t.with_lanes(1));
  const int bits = thread::bits(t.scalar);
  Id one = 0;
  if (t.scalar == Scalar::b1) {
    one = m_.constant((raw & 1) != 0 ? spv::Op::OpConstantTrue : spv::Op::OpConstantFalse, scalar_type, {});
  } else {
    Words literal{static_cast<uint32_t>(bits < 32 ? raw & ((uint64_t{1} << bits) - 1) : raw)};
    if (bits == 64) literal.push_back(static_cast<uint32_t>(raw >> 32));
    one = m_.constant(spv::Op::OpConstant, scalar_type, literal);
  }
  return t.lanes == 1 ? one : m_.constant(spv::Op::OpConstantComposite, type_id(t), Words(t.lanes, one));
}

// ---- sources

Result<Unit> Body::constant(const Inst& i) {
  define(i, splat(type(i.results[0]), static_cast<uint64_t>(i.attr.imm)));
  return Unit{};
}

Id Body::builtin(spv::BuiltIn b, int lanes) {
  Id& value = builtins_[b];
  if (value == 0) {
    if (b == spv::BuiltIn::SubgroupId || b == spv::BuiltIn::SubgroupLocalInvocationId)
      m_.require(spv::Capability::GroupNonUniform);
    const Id type = m_.vector_type(m_.int_type(32), lanes);
    const Id variable = m_.variable(spv::StorageClass::Input, type);
    m_.decorate(variable, spv::Decoration::BuiltIn, {word(b)});
    value = before_body(spv::Op::OpLoad, type, {variable});
  }
  return value;
}

/// Threads are numbered by subgroup and lane, so that lane maps hold. Where the subgroup size cannot be required,
/// nothing depends on which lanes share a subgroup (emit.cpp sees to it), and the invocation index is as good.
Result<Unit> Body::index(const Inst& i) {
  const Id u32 = m_.int_type(32), size = m_.u32(static_cast<uint32_t>(f_.subgroup_size));
  if (i.op == Op::group_id) {
    const Id groups = builtin(spv::BuiltIn::WorkgroupId, 3);
    define(i, emit(spv::Op::OpCompositeExtract, u32, {groups, static_cast<uint32_t>(i.attr.imm)}));
  } else if (!target_.fixed_subgroup_size) {
    const Id thread = builtin(spv::BuiltIn::LocalInvocationIndex, 1);
    define(i, i.op == Op::thread_id
                  ? thread
                  : emit(i.op == Op::lane_id ? spv::Op::OpUMod : spv::Op::OpUDiv, u32, {thread, size}));
  } else if (i.op == Op::lane_id) {
    define(i, builtin(spv::BuiltIn::SubgroupLocalInvocationId, 1));
  } else if (i.op == Op::subgroup_id) {
    define(i, builtin(spv::BuiltIn::SubgroupId, 1));
  } else {
    const Id subgroup = builtin(spv::BuiltIn::SubgroupId, 1),
             lane = builtin(spv::BuiltIn::SubgroupLocalInvocationId, 1);
    define(i, emit(spv::Op::OpIAdd, u32, {emit(spv::Op::OpIMul, u32, {subgroup, size}), lane}));
  }
  return Unit{};
}

// ---- vectors, subgroup

Result<Unit> Body::get(const Inst& i) {
  define(i, emit(spv::Op::OpCompositeExtract, type_id(type(i.results[0])),
                 {id(i.args[0]), static_cast<uint32_t>(i.attr.imm)}));
  return Unit{};
}

Result<Unit> Body::shuffle(const Inst& i) {
  m_.require(spv::Capability::GroupNonUniform);
  m_.require(spv::Capability::GroupNonUniformShuffle);
  const bool by_xor = i.op == Op::shuffle_xor;
  const Id which = by_xor ? m_.u32(static_cast<uint32_t>(i.attr.imm)) : id(i.args[1]);
  define(i, emit(by_xor ? spv::Op::OpGroupNonUniformShuffleXor : spv::Op::OpGroupNonUniformShuffle,
                 type_id(type(i.results[0])), {m_.u32(word(spv::Scope::Subgroup)), id(i.args[0]), which}));
  return Unit{};
}

namespace {
/// What makes writes to `memory` seen on both sides.
uint32_t ordering(spv::MemorySemanticsMask memory) {
  return word(spv::MemorySemanticsMask::AcquireRelease | memory | spv::MemorySemanticsMask::MakeAvailable |
              spv::MemorySemanticsMask::MakeVisible);
}
}  // namespace

Result<Unit> Body::barrier(const Inst& i) {
  const Id scope = m_.u32(word(i.op == Op::barrier ? spv::Scope::Workgroup : spv::Scope::Subgroup));
  auto memory = spv::MemorySemanticsMask::WorkgroupMemory;
  if (shares_global_) memory = memory | spv::MemorySemanticsMask::UniformMemory;
  effect(spv::Op::OpControlBarrier, {scope, scope, m_.u32(ordering(memory))});
  return Unit{};
}

/// The scope is that of the queue's family: all workgroups of a dispatch, without a feature of its own.
Result<Unit> Body::fence(const Inst&) {
  effect(spv::Op::OpMemoryBarrier,
         {m_.u32(word(spv::Scope::QueueFamily)), m_.u32(ordering(spv::MemorySemanticsMask::UniformMemory))});
  return Unit{};
}

Result<Unit> Body::atomic(const Inst& i) {
  const spv::Op op = i.op == Op::atomic_add   ? spv::Op::OpAtomicIAdd
                     : i.op == Op::atomic_and ? spv::Op::OpAtomicAnd
                                              : spv::Op::OpAtomicOr;
  const Id u32 = m_.int_type(32);
  const auto run = [&] {
    return emit(op, u32,
                {global_pointer(id(i.args[0]), i.attr.imm, u32), m_.u32(word(spv::Scope::QueueFamily)), m_.u32(0),
                 id(i.args[1])});
  };
  define(i, i.args.size() == 3 ? guarded(i.args[2], u32, run) : run());
  return Unit{};
}

Result<Unit> Body::only_ptx(const Inst& i) {
  return unsupported(fmt::format("{}: SPIR-V has no {}", f_.name, thread::info(i.op).name));
}

}  // namespace lathe::spirv
