// Matrix fragments: filled element by element through a variable, multiplied whole.
#include <fmt/format.h>
#include <bit>

#include "backends/spirv/body.h"

namespace lathe::spirv {

using thread::Use;

Id Body::local(Id type) {
  const Id pointer = m_.pointer_type(spv::StorageClass::Function, type), id = m_.fresh();
  append(locals_, spv::Op::OpVariable, {pointer, id, word(spv::StorageClass::Function)});
  return id;
}

/// One variable a type is enough: it is read right after it is filled.
Result<Unit> Body::frag_make(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  const thread::Type element{t.scalar};
  const Id matrix = type_id(t), scalar = type_id(element);
  const Id pointer = m_.pointer_type(spv::StorageClass::Function, scalar);
  Id& variable = fill_locals_[matrix];
  if (variable == 0) variable = local(matrix);
  uint32_t at = 0;
  for (const ValueId part : i.args)
    for (uint32_t lane = 0; lane < type(part).lanes; lane++, at++) {
      const Id value = type(part).lanes == 1 ? id(part) : emit(spv::Op::OpCompositeExtract, scalar, {id(part), lane});
      effect(spv::Op::OpStore, {emit(spv::Op::OpAccessChain, pointer, {variable, m_.u32(at)}), value});
    }
  define(i, emit(spv::Op::OpLoad, matrix, {variable}));
  return Unit{};
}

Result<Unit> Body::frag_get(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  const auto first = static_cast<uint32_t>(i.attr.imm);
  const Id scalar = type_id(t.with_lanes(1));
  Words lanes;
  for (uint32_t l = 0; l < t.lanes; l++)
    lanes.push_back(emit(spv::Op::OpCompositeExtract, scalar, {id(i.args[0]), first + l}));
  define(i, t.lanes == 1 ? lanes[0] : emit(spv::Op::OpCompositeConstruct, type_id(t), lanes));
  return Unit{};
}

Result<Unit> Body::frag_length(const Inst& i) {
  define(i, emit(spv::Op::OpCooperativeMatrixLengthKHR, type_id(thread::kI32), {type_id(type(i.args[0]))}));
  return Unit{};
}

Result<Unit> Body::mma(const Inst& i) {
  using Mask = spv::CooperativeMatrixOperandsMask;
  Mask mask = Mask::MaskNone;
  if ((i.attr.imm & 1) != 0) mask = mask | Mask::MatrixASignedComponentsKHR;
  if ((i.attr.imm & 2) != 0) mask = mask | Mask::MatrixBSignedComponentsKHR;
  if (mask != Mask::MaskNone) mask = mask | Mask::MatrixCSignedComponentsKHR | Mask::MatrixResultSignedComponentsKHR;
  Words operands{id(i.args[0]), id(i.args[1]), id(i.args[2])};
  if (mask != Mask::MaskNone) operands.push_back(word(mask));
  define(i, emit(spv::Op::OpCooperativeMatrixMulAddKHR, type_id(type(i.results[0])), operands));
  return Unit{};
}

// ---- whole fragments and memory

Id Body::matrix_layout(const Inst& i) {
  return m_.u32(
      word(i.attr.imm == 1 ? spv::CooperativeMatrixLayout::ColumnMajorKHR : spv::CooperativeMatrixLayout::RowMajorKHR));
}

/// Aligned as the API asks of the pointer: 16 bytes, or a whole row (column) where that is less.
Words Body::matrix_alignment(const thread::Type& frag, const Inst& i) const {
  const int run = (i.attr.imm == 1 ? frag.rows : frag.cols) * thread::bits(frag.scalar) / 8;
  return {word(spv::MemoryAccessMask::Aligned), std::min(16U, 1U << std::countr_zero(static_cast<uint32_t>(run)))};
}

Result<Unit> Body::frag_load(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  TRY(global_access(thread::Type{t.scalar}));
  Words operands{global_pointer(id(i.args[0]), 0, type_id(thread::Type{t.scalar})), matrix_layout(i), id(i.args[1])};
  const Words access = matrix_alignment(t, i);
  operands.insert(operands.end(), access.begin(), access.end());
  define(i, emit(spv::Op::OpCooperativeMatrixLoadKHR, type_id(t), operands));
  return Unit{};
}

Result<Unit> Body::frag_store(const Inst& i) {
  const thread::Type& t = type(i.args[1]);
  TRY(global_access(thread::Type{t.scalar}));
  const Id pointer = global_pointer(id(i.args[0]), 0, type_id(thread::Type{t.scalar}));
  Words operands{pointer, id(i.args[1]), matrix_layout(i), id(i.args[2])};
  const Words access = matrix_alignment(t, i);
  operands.insert(operands.end(), access.begin(), access.end());
  effect(spv::Op::OpCooperativeMatrixStoreKHR, operands);
  return Unit{};
}

/// Where a fragment of `scalar` starts in a shared array, and its stride: the array's elements may be wider or
/// narrower.
Body::SharedMatrix Body::shared_matrix(const Inst& i, thread::Scalar scalar, ValueId stride) {
  const Element e = element(i.attr.index);
  const auto part = static_cast<uint32_t>(thread::bits(scalar) / 8), whole = static_cast<uint32_t>(e.bytes);
  SharedMatrix at{element_pointer(e, element_index(e, i.args[0], 0), 0), id(stride)};
  if (part != whole) {
    const auto shift = static_cast<uint64_t>(std::abs(std::countr_zero(part) - std::countr_zero(whole)));
    at.stride = emit(part < whole ? spv::Op::OpShiftRightLogical : spv::Op::OpShiftLeftLogical, type_id(type(stride)),
                     {at.stride, splat(type(stride), shift)});
  }
  return at;
}

Result<Unit> Body::frag_load_shared(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  const SharedMatrix at = shared_matrix(i, t.scalar, i.args[1]);
  const auto access = spv::MemoryAccessMask::NonPrivatePointer | spv::MemoryAccessMask::MakePointerVisible;
  define(i, emit(spv::Op::OpCooperativeMatrixLoadKHR, type_id(t),
                 {at.pointer, matrix_layout(i), at.stride, word(access), m_.u32(word(spv::Scope::Workgroup))}));
  return Unit{};
}

Result<Unit> Body::frag_store_shared(const Inst& i) {
  const SharedMatrix at = shared_matrix(i, type(i.args[1]).scalar, i.args[2]);
  const auto access = spv::MemoryAccessMask::NonPrivatePointer | spv::MemoryAccessMask::MakePointerAvailable;
  effect(spv::Op::OpCooperativeMatrixStoreKHR,
         {at.pointer, id(i.args[1]), matrix_layout(i), at.stride, word(access), m_.u32(word(spv::Scope::Workgroup))});
  return Unit{};
}

}  // namespace lathe::spirv
