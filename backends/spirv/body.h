#pragma once
// The function of a kernel: thread IR instructions to SPIR-V instructions, one block after another.
#include <functional>
#include <map>
#include <span>

#include "backends/spirv/module.h"
#include "backends/spirv/rows.h"
#include "ir/target.h"
#include "ir/thread.h"

namespace lathe::spirv {

class Body {
 public:
  using Inst = thread::Func::Inst;
  Body(const thread::Func& f, const Target& target, Module& module);
  /// The whole function, OpFunction to OpFunctionEnd.
  Result<Words> write();

  // What rows.def names, one or a few operations each.
  Result<Unit> constant(const Inst& i);
  Result<Unit> param(const Inst& i);
  Result<Unit> index(const Inst& i);
  Result<Unit> bool_to_int(const Inst& i);
  Result<Unit> float_to_float(const Inst& i);
  Result<Unit> int_to_float(const Inst& i);
  Result<Unit> float_to_int(const Inst& i);
  Result<Unit> bitcast(const Inst& i);
  Result<Unit> get(const Inst& i);
  Result<Unit> load_global(const Inst& i);
  Result<Unit> store_global(const Inst& i);
  Result<Unit> load_shared(const Inst& i);
  Result<Unit> store_shared(const Inst& i);
  Result<Unit> barrier(const Inst& i);
  Result<Unit> shuffle(const Inst& i);
  Result<Unit> frag_make(const Inst& i);
  Result<Unit> frag_get(const Inst& i);
  Result<Unit> frag_length(const Inst& i);
  Result<Unit> rem_s(const Inst& i);
  Result<Unit> and_xor(const Inst& i);
  Result<Unit> mma(const Inst& i);
  Result<Unit> frag_load(const Inst& i);
  Result<Unit> frag_load_shared(const Inst& i);
  Result<Unit> frag_store(const Inst& i);
  Result<Unit> frag_store_shared(const Inst& i);
  Result<Unit> only_ptx(const Inst& i);
  Result<Unit> loop(const Inst& i);
  Result<Unit> cond(const Inst& i);
  Result<Unit> while_loop(const Inst& i);
  Result<Unit> exit_if(const Inst& i);
  Result<Unit> atomic(const Inst& i);
  Result<Unit> fence(const Inst& i);
  Result<Unit> yield(const Inst& i);

 private:
  // Dispatch.
  Result<Unit> block(thread::Func::Block const& b);
  Result<Unit> inst(const Inst& i);
  Result<Unit> from_row(const Row& row, const Inst& i);
  thread::Scalar leading_scalar(const Inst& i) const;

  // Writing.
  Id emit(spv::Op op, Id type, const Words& operands);
  Id glsl(uint32_t number, Id type, const Words& operands);
  void effect(spv::Op op, const Words& operands) { append(code_, op, operands); }
  void begin(Id label);  ///< a new basic block
  void jump(Id label) { effect(spv::Op::OpBranch, {label}); }
  Id id(ValueId v) const { return ids_[v]; }
  void define(const Inst& i, Id id) { ids_[i.results[0]] = id; }
  const thread::Type& type(ValueId v) const { return f_.values[v].type; }
  /// The value of `then_value`, written under the condition; else zero of that type.
  Id guarded(ValueId condition, Id type, const std::function<Id()>& then_value);
  void guarded(ValueId condition, const std::function<void()>& then);

  // Types and constants.
  thread::Scalar held(thread::Scalar s) const;  ///< as what a scalar is kept: 16-bit floats without arithmetic as i16
  Id type_id(const thread::Type& t);
  Id splat(const thread::Type& t, uint64_t raw);

  // Values.
  Id builtin(spv::BuiltIn b, int lanes);
  Id before_body(spv::Op op, Id type, const Words& operands);  ///< emit, at the function's start
  Id cast(Id value, const thread::Type& from, const thread::Type& to);
  Id each_lane(Id value, const thread::Type& from, const thread::Type& to, const std::function<Id(Id)>& convert);
  Id widen(Id value, const thread::Type& from);  ///< any float to f32
  Id narrow(Id value, const thread::Type& to);   ///< f32 to any float
  Id is_nan(Id single, int lanes);

  // Memory.
  struct Element {  ///< of a shared array: what one access moves
    thread::Type type;
    Id array;
    int bytes;
  };
  /// Operands of a global access: aligned, and seen by other threads where the kernel orders such accesses.
  Words global_operands(const thread::Type& t) const;
  Id global_pointer(Id address, int64_t imm, Id pointee);
  Result<Unit> global_access(const thread::Type& t);  ///< asks for what loads and stores of it need
  Element element(uint32_t array);
  Id element_index(const Element& e, ValueId offset, int64_t imm);
  Id element_pointer(const Element& e, Id index, int64_t piece);
  Id join(std::vector<Id> pieces, thread::Type piece, const thread::Type& to);
  std::vector<Id> split(Id value, const thread::Type& from, const thread::Type& piece);
  struct SharedMatrix {
    Id pointer, stride;
  };
  SharedMatrix shared_matrix(const Inst& i, thread::Scalar scalar, ValueId stride);
  Id matrix_layout(const Inst& i);
  Words matrix_alignment(const thread::Type& frag, const Inst& i) const;

  // Fragments: matrix values pass through memory of the invocation where they are filled, or carried by control flow.
  Id local(Id type);

  // Carried values.
  struct Carried {
    Id type;
    Id local = 0;  ///< fragments
  };
  std::vector<Carried> carried(std::span<const ValueId> values);
  void store_fragments(const std::vector<Carried>& carried, const std::vector<Id>& values);
  std::vector<Id> yielded(const thread::Func::Block& b) const;

  const thread::Func& f_;
  const Target& target_;
  Module& m_;
  bool shares_global_ = false;  ///< threads read what others wrote to global memory: it has fences or atomics
  std::vector<Id> ids_;
  Words locals_, start_, code_;  ///< the function's variables, what follows them, the rest
  Id label_ = 0;                 ///< of the basic block being written
  Id params_ = 0;
  std::map<spv::BuiltIn, Id> builtins_;
  std::map<Id, Id> fill_locals_;
  std::map<uint32_t, Element> elements_;
};

}  // namespace lathe::spirv
