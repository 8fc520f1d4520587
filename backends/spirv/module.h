#pragma once
// A SPIR-V module while it is written: sections kept apart, equal types and constants written once.
#include <cstdint>
#include <map>
#include <set>
#include <spirv/unified1/spirv.hpp11>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::spirv {

using Id = uint32_t;
using Words = std::vector<uint32_t>;

/// One instruction: its word count and opcode, then its operands.
void append(Words& to, spv::Op op, const Words& operands);
/// A literal string as words, zero-terminated and padded.
Words literal(std::string_view text);
/// An enumerant as an operand.
template <class E>
constexpr uint32_t word(E e) {
  return static_cast<uint32_t>(e);
}

class Module {
 public:
  Module();
  Id fresh() { return next_++; }
  Id entry() const { return entry_; }

  void require(spv::Capability c) { capabilities_.insert(c); }
  void require_extension(std::string_view name) { extensions_.insert(std::string(name)); }
  /// The extended instruction set GLSL.std.450.
  Id glsl();
  void decorate(Id target, spv::Decoration d, const Words& operands = {});
  void decorate_member(Id target, uint32_t member, spv::Decoration d, const Words& operands = {});
  void name(Id target, std::string_view text);
  void execution_mode(spv::ExecutionMode mode, const Words& operands);

  // Types and constants; equal ones have one id. 8- and 16-bit types bring their capability.
  Id void_type();
  Id bool_type();
  Id int_type(int bits);  ///< signless use: every integer type is unsigned
  Id float_type(int bits);
  Id vector_type(Id component, int lanes);
  Id pointer_type(spv::StorageClass storage, Id pointee);
  Id matrix_type(Id component, int rows, int cols, spv::CooperativeMatrixUse use);
  bool has_float(int bits) const { return float_widths_.contains(bits); }
  /// A type that stays its own, because decorations follow.
  Id unique_type(spv::Op op, const Words& operands);
  Id constant(spv::Op op, Id type, const Words& operands);
  Id u32(uint32_t value);
  Id u64(uint64_t value);

  /// A module-scope variable, named in the entry point's interface.
  Id variable(spv::StorageClass storage, Id pointee);

  /// The module whose entry point "main" has these instructions (OpFunction to OpFunctionEnd).
  Words finish(const Words& function) const;

 private:
  Id global(spv::Op op, const Words& key, const Words& before, const Words& after);
  Id type(spv::Op op, const Words& operands) { return global(op, operands, {}, operands); }

  Id next_ = 1;
  Id entry_, glsl_ = 0;
  std::set<spv::Capability> capabilities_;
  std::set<std::string> extensions_;
  std::set<int> float_widths_;
  std::map<Words, Id> known_;
  Words interface_, modes_, names_, decorations_, globals_;
};

}  // namespace lathe::spirv
