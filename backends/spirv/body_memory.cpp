// Launch arguments, global memory by 64-bit address, shared arrays.
#include <fmt/format.h>
#include <bit>

#include "backends/spirv/body.h"
#include "backends/spirv/emit.h"

namespace lathe::spirv {

using thread::Scalar;

namespace {
int bytes_of(const thread::Type& t) { return thread::total_bits(t) / 8; }
bool is_memory_value(const thread::Type& t) {
  return !t.is_frag() && t.scalar != Scalar::b1 && !thread::is_float(t.scalar);
}
uint32_t aligned() { return word(spv::MemoryAccessMask::Aligned); }
uint32_t shared_access() { return word(spv::MemoryAccessMask::NonPrivatePointer); }
}  // namespace

// ---- launch arguments

/// A pointer to the 8 bytes of a slot is made of the push-constant block; see emit.h.
Result<Unit> Body::param(const Inst& i) {
  const bool pushed = params_in_push_constants(f_);
  const Id u64 = m_.int_type(64);
  if (params_ == 0) {
    const Id length = m_.u32(pushed ? static_cast<uint32_t>(f_.param_slots) : 1);
    const Id array = m_.unique_type(spv::Op::OpTypeArray, {u64, length});
    const Id block = m_.unique_type(spv::Op::OpTypeStruct, {array});
    m_.decorate(array, spv::Decoration::ArrayStride, {8});
    m_.decorate(block, spv::Decoration::Block);
    m_.decorate_member(block, 0, spv::Decoration::Offset, {0});
    params_ = m_.variable(spv::StorageClass::PushConstant, block);
  }
  const Id pointer_type = m_.pointer_type(spv::StorageClass::PushConstant, u64);
  const auto slot = static_cast<uint32_t>(i.attr.imm);
  const Id pointer = emit(spv::Op::OpAccessChain, pointer_type, {params_, m_.u32(0), m_.u32(pushed ? slot : 0)});
  Id value = emit(spv::Op::OpLoad, u64, {pointer});
  if (!pushed) value = emit(spv::Op::OpLoad, u64, {global_pointer(value, slot * 8, u64), aligned(), 8});
  const thread::Type& t = type(i.results[0]);
  if (t.scalar != Scalar::i64) value = emit(spv::Op::OpUConvert, m_.int_type(32), {value});
  define(i, t.scalar == Scalar::f32 ? cast(value, thread::kI32, t) : value);
  return Unit{};
}

// ---- global memory

Id Body::global_pointer(Id address, int64_t imm, Id pointee) {
  const Id u64 = m_.int_type(64);
  if (imm != 0) address = emit(spv::Op::OpIAdd, u64, {address, m_.u64(static_cast<uint64_t>(imm))});
  return emit(spv::Op::OpConvertUToPtr, m_.pointer_type(spv::StorageClass::PhysicalStorageBuffer, pointee), {address});
}

Words Body::global_operands(const thread::Type& t) const {
  return {aligned() | (shares_global_ ? shared_access() : 0), static_cast<uint32_t>(bytes_of(t))};
}

Result<Unit> Body::global_access(const thread::Type& t) {
  const int width = thread::bits(t.scalar);
  if ((width == 16 && !target_.f16_storage) || (width == 8 && !target_.byte_storage))
    return unsupported(fmt::format("{}: {} has no {}-bit loads and stores", f_.name, target_.name, width));
  if (width == 16) m_.require(spv::Capability::StorageBuffer16BitAccess);
  if (width == 8) m_.require(spv::Capability::StorageBuffer8BitAccess);
  return Unit{};
}

Result<Unit> Body::load_global(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  if (!is_memory_value(t)) return internal_error("load_global of " + thread::to_string(t));
  TRY(global_access(t));
  auto load = [&] {
    const Id pointer = global_pointer(id(i.args[0]), i.attr.imm, type_id(t));
    const Words how = global_operands(t);
    return emit(spv::Op::OpLoad, type_id(t), {pointer, how[0], how[1]});
  };
  define(i, i.args.size() == 2 ? guarded(i.args[1], type_id(t), load) : load());
  return Unit{};
}

Result<Unit> Body::store_global(const Inst& i) {
  const thread::Type& t = type(i.args[1]);
  if (!is_memory_value(t)) return internal_error("store_global of " + thread::to_string(t));
  TRY(global_access(t));
  auto store = [&] {
    const Id pointer = global_pointer(id(i.args[0]), i.attr.imm, type_id(t));
    const Words how = global_operands(t);
    effect(spv::Op::OpStore, {pointer, id(i.args[1]), how[0], how[1]});
  };
  if (i.args.size() == 3)
    guarded(i.args[2], store);
  else
    store();
  return Unit{};
}

// ---- shared arrays

/// An array of whole accesses; wider accesses take neighbours.
Body::Element Body::element(uint32_t array) {
  const auto at = elements_.find(array);
  if (at != elements_.end()) return at->second;
  const thread::SharedArray& s = f_.shared[array];
  const thread::Type t = s.access_bytes == 1   ? thread::kI8
                         : s.access_bytes == 2 ? thread::kI16
                                               : thread::kI32.with_lanes(s.access_bytes / 4);
  const Id length = m_.u32(static_cast<uint32_t>(s.bytes / s.access_bytes));
  const Id variable =
      m_.variable(spv::StorageClass::Workgroup, m_.unique_type(spv::Op::OpTypeArray, {type_id(t), length}));
  m_.name(variable, s.name);
  return elements_[array] = {t, variable, s.access_bytes};
}

/// The index of the first element. An immediate of whole elements is added after the division, which is then shared;
/// the offset without it may be negative.
Id Body::element_index(const Element& e, ValueId offset, int64_t imm) {
  const Id u32 = m_.int_type(32);
  auto plus = [&](Id value, int64_t n) {
    return n == 0 ? value : emit(spv::Op::OpIAdd, u32, {value, m_.u32(static_cast<uint32_t>(n))});
  };
  auto divided = [&](Id value) {
    const auto shift = static_cast<uint32_t>(std::countr_zero(static_cast<uint32_t>(e.bytes)));
    return shift == 0 ? value : emit(spv::Op::OpShiftRightArithmetic, u32, {value, m_.u32(shift)});
  };
  return imm % e.bytes == 0 ? plus(divided(id(offset)), imm / e.bytes) : divided(plus(id(offset), imm));
}

Id Body::element_pointer(const Element& e, Id index, int64_t piece) {
  const Id u32 = m_.int_type(32);
  if (piece != 0) index = emit(spv::Op::OpIAdd, u32, {index, m_.u32(static_cast<uint32_t>(piece))});
  return emit(spv::Op::OpAccessChain, m_.pointer_type(spv::StorageClass::Workgroup, type_id(e.type)), {e.array, index});
}

/// One value from equal pieces of memory, the first lowest: pieces under 32 bits become words, words a vector.
Id Body::join(std::vector<Id> pieces, thread::Type piece, const thread::Type& to) {
  while (pieces.size() > 1) {
    const bool small = bytes_of(piece) < 4;
    const size_t per = small ? std::min(pieces.size(), static_cast<size_t>(4 / bytes_of(piece))) : pieces.size();
    const int lanes = static_cast<int>(per) * piece.lanes;
    thread::Type whole = piece.with_lanes(lanes);
    std::vector<Id> joined;
    for (size_t p = 0; p < pieces.size(); p += per)
      joined.push_back(emit(spv::Op::OpCompositeConstruct, type_id(whole), Words(&pieces[p], &pieces[p] + per)));
    if (small && bytes_of(whole) == 4) {
      for (Id& word : joined) word = cast(word, whole, thread::kI32);
      whole = thread::kI32;
    }
    pieces = joined;
    piece = whole;
  }
  return cast(pieces[0], piece, to);
}

/// The inverse of join.
std::vector<Id> Body::split(Id value, const thread::Type& from, const thread::Type& piece) {
  const int total = bytes_of(from), width = bytes_of(piece);
  if (total == width) return {cast(value, from, piece)};
  std::vector<Id> out;
  if (width >= 4) {  // words, or pairs of words
    const thread::Type words = thread::kI32.with_lanes(total / 4);
    const Id all = cast(value, from, words);
    for (uint32_t w = 0; w < words.lanes; w += piece.lanes)
      out.push_back(piece.lanes == 1 ? emit(spv::Op::OpCompositeExtract, type_id(piece), {all, w})
                                     : emit(spv::Op::OpVectorShuffle, type_id(piece), {all, all, w, w + 1}));
    return out;
  }
  std::vector<Id> words{value};
  const thread::Type unit = total > 4 ? thread::kI32 : from;
  if (total > 4) words = split(value, from, thread::kI32);
  const thread::Type small = piece.with_lanes(std::min(total, 4) / width);
  for (const Id w : words) {
    const Id parts = cast(w, unit, small);
    for (uint32_t p = 0; p < small.lanes; p++)
      out.push_back(emit(spv::Op::OpCompositeExtract, type_id(piece), {parts, p}));
  }
  return out;
}

Result<Unit> Body::load_shared(const Inst& i) {
  const thread::Type& t = type(i.results[0]);
  const Element e = element(i.attr.index);
  if (!is_memory_value(t) || bytes_of(t) % e.bytes != 0)
    return internal_error(fmt::format("load_shared of {} from elements of {} bytes", thread::to_string(t), e.bytes));
  auto load = [&] {
    const Id index = element_index(e, i.args[0], i.attr.imm);
    std::vector<Id> pieces;
    for (int64_t p = 0; p < bytes_of(t) / e.bytes; p++)
      pieces.push_back(emit(spv::Op::OpLoad, type_id(e.type), {element_pointer(e, index, p), shared_access()}));
    return join(std::move(pieces), e.type, t);
  };
  define(i, i.args.size() == 2 ? guarded(i.args[1], type_id(t), load) : load());
  return Unit{};
}

Result<Unit> Body::store_shared(const Inst& i) {
  const thread::Type& t = type(i.args[1]);
  const Element e = element(i.attr.index);
  if (!is_memory_value(t) || bytes_of(t) % e.bytes != 0)
    return internal_error(fmt::format("store_shared of {} to elements of {} bytes", thread::to_string(t), e.bytes));
  auto store = [&] {
    const Id index = element_index(e, i.args[0], i.attr.imm);
    const std::vector<Id> pieces = split(id(i.args[1]), t, e.type);
    for (size_t p = 0; p < pieces.size(); p++)
      effect(spv::Op::OpStore, {element_pointer(e, index, static_cast<int64_t>(p)), pieces[p], shared_access()});
  };
  if (i.args.size() == 3)
    guarded(i.args[2], store);
  else
    store();
  return Unit{};
}

}  // namespace lathe::spirv
