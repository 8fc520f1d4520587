#include "backends/spirv/module.h"

namespace lathe::spirv {

void append(Words& to, spv::Op op, const Words& operands) {
  to.push_back(static_cast<uint32_t>(operands.size() + 1) << spv::WordCountShift | word(op));
  to.insert(to.end(), operands.begin(), operands.end());
}

Words literal(std::string_view text) {
  Words out(text.size() / 4 + 1, 0);
  for (size_t i = 0; i < text.size(); i++)
    out[i / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(text[i])) << i % 4 * 8;
  return out;
}

namespace {
Words joined(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
}  // namespace

Module::Module() : entry_(fresh()) {}

Id Module::glsl() {
  if (glsl_ == 0) glsl_ = fresh();
  return glsl_;
}

void Module::decorate(Id target, spv::Decoration d, const Words& operands) {
  append(decorations_, spv::Op::OpDecorate, joined({target, word(d)}, operands));
}

void Module::decorate_member(Id target, uint32_t member, spv::Decoration d, const Words& operands) {
  append(decorations_, spv::Op::OpMemberDecorate, joined({target, member, word(d)}, operands));
}

void Module::name(Id target, std::string_view text) {
  append(names_, spv::Op::OpName, joined({target}, literal(text)));
}

void Module::execution_mode(spv::ExecutionMode mode, const Words& operands) {
  append(modes_, spv::Op::OpExecutionMode, joined({entry_, word(mode)}, operands));
}

/// The id of the global with this opcode and key, written on first demand.
Id Module::global(spv::Op op, const Words& key, const Words& before, const Words& after) {
  const auto [at, fresh_one] = known_.try_emplace(joined({word(op)}, key), next_);
  if (fresh_one) append(globals_, op, joined(joined(before, {fresh()}), after));
  return at->second;
}

Id Module::void_type() { return type(spv::Op::OpTypeVoid, {}); }
Id Module::bool_type() { return type(spv::Op::OpTypeBool, {}); }

Id Module::int_type(int bits) {
  if (bits == 8) require(spv::Capability::Int8);
  if (bits == 16) require(spv::Capability::Int16);
  return type(spv::Op::OpTypeInt, {static_cast<uint32_t>(bits), 0});
}

Id Module::float_type(int bits) {
  if (bits == 16) require(spv::Capability::Float16);
  float_widths_.insert(bits);
  return type(spv::Op::OpTypeFloat, {static_cast<uint32_t>(bits)});
}

Id Module::vector_type(Id component, int lanes) {
  return lanes == 1 ? component : type(spv::Op::OpTypeVector, {component, static_cast<uint32_t>(lanes)});
}

Id Module::pointer_type(spv::StorageClass storage, Id pointee) {
  return type(spv::Op::OpTypePointer, {word(storage), pointee});
}

Id Module::matrix_type(Id component, int rows, int cols, spv::CooperativeMatrixUse use) {
  require(spv::Capability::CooperativeMatrixKHR);
  require_extension("SPV_KHR_cooperative_matrix");
  const Words operands{component, u32(word(spv::Scope::Subgroup)), u32(static_cast<uint32_t>(rows)),
                       u32(static_cast<uint32_t>(cols)), u32(word(use))};
  return type(spv::Op::OpTypeCooperativeMatrixKHR, operands);
}

Id Module::unique_type(spv::Op op, const Words& operands) {
  const Id id = fresh();
  append(globals_, op, joined({id}, operands));
  return id;
}

Id Module::constant(spv::Op op, Id type, const Words& operands) {
  return global(op, joined({type}, operands), {type}, operands);
}

Id Module::u32(uint32_t value) { return constant(spv::Op::OpConstant, int_type(32), {value}); }
Id Module::u64(uint64_t value) {
  return constant(spv::Op::OpConstant, int_type(64),
                  {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)});
}

Id Module::variable(spv::StorageClass storage, Id pointee) {
  const Id type = pointer_type(storage, pointee), id = fresh();
  append(globals_, spv::Op::OpVariable, {type, id, word(storage)});
  interface_.push_back(id);
  return id;
}

Words Module::finish(const Words& function) const {
  Words out{spv::MagicNumber, 0x00010500, 0, next_, 0};
  for (const spv::Capability c : capabilities_) append(out, spv::Op::OpCapability, {word(c)});
  for (const std::string& e : extensions_) append(out, spv::Op::OpExtension, literal(e));
  if (glsl_ != 0) append(out, spv::Op::OpExtInstImport, joined({glsl_}, literal("GLSL.std.450")));
  append(out, spv::Op::OpMemoryModel,
         {word(spv::AddressingModel::PhysicalStorageBuffer64), word(spv::MemoryModel::Vulkan)});
  append(out, spv::Op::OpEntryPoint,
         joined(joined({word(spv::ExecutionModel::GLCompute), entry_}, literal("main")), interface_));
  for (const Words* section : {&modes_, &names_, &decorations_, &globals_, &function})
    out.insert(out.end(), section->begin(), section->end());
  return out;
}

}  // namespace lathe::spirv
