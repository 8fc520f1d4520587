#pragma once
// The instructions of one kernel as PTX text. A value of the Thread IR is a list of registers; operations that only
// rename registers print nothing.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/ptx/features.h"
#include "backends/ptx/registers.h"
#include "backends/ptx/rows.h"
#include "ir/result.h"
#include "ir/target.h"
#include "ir/thread.h"

namespace lathe::ptx {

class Body {
 public:
  using Inst = thread::Func::Inst;
  /// shared_symbol: the name of the module's block of shared memory.
  Body(const thread::Func& f, const Target& target, Features features, std::string shared_symbol);
  /// Prints the whole body; call once.
  Result<Unit> print();
  const std::string& text() const { return text_; }
  std::string declarations() const { return file_.declarations(); }
  int isa() const { return isa_; }  ///< the .version (times ten) its instructions need

  // The functions that PTX_CODE rows name: each prints one operation.
  Result<Unit> constant(const Inst& inst);
  Result<Unit> bitcast(const Inst& inst);
  Result<Unit> vec(const Inst& inst);
  Result<Unit> get(const Inst& inst);
  Result<Unit> frag_fill(const Inst& inst);
  Result<Unit> frag_make(const Inst& inst);
  Result<Unit> frag_get(const Inst& inst);
  Result<Unit> frag_length(const Inst& inst);
  Result<Unit> no_frag_memory(const Inst& inst);
  Result<Unit> async(const Inst& inst);
  Result<Unit> bulk(const Inst& inst);
  Result<Unit> load_matrix(const Inst& inst);
  Result<Unit> mma_shared(const Inst& inst);
  Result<Unit> matrix_group(const Inst& inst);
  Result<Unit> launch_wait(const Inst& inst);
  Result<Unit> loop(const Inst& inst);
  Result<Unit> cond(const Inst& inst);
  Result<Unit> while_loop(const Inst& inst);
  Result<Unit> yield(const Inst& inst);

 private:
  /// Replaces each $c of `form` by variable(c).
  using Variables = std::function<std::string(char)>;
  void line(std::string_view form, const Variables& variable);
  void line(const std::string& instruction) { text_ += '\t' + instruction + '\n'; }
  void move(Reg to, Reg from);
  /// All moves at once: a register may be both a destination and a source.
  void parallel_move(std::vector<std::pair<Reg, Reg>> to_from);

  Result<Unit> block(BlockId id);
  Result<Unit> instruction(const Inst& inst);
  Result<Unit> row(const Inst& inst);
  void row_groups(const Inst& inst, const Row& row, Part from, Part to, const thread::Type& lead);
  Result<Unit> whole(const Inst& inst, const char* form);
  Result<Unit> require_atom(const std::string& name);
  Result<Unit> require(Features feature, const Inst& inst) const;
  void async_copy(const Inst& inst);
  void make_bulk_barriers();
  std::string bulk_barrier(ValueId number);
  void bulk_copy(const Inst& inst, const std::string& to, const std::string& counted, Reg here);
  Regs sums_of(ValueId v);
  std::string address(const Inst& inst);
  std::string variable_of_whole(const Inst& inst, const std::string& address, char c) const;

  /// The registers of a value as one lane each, or packed as `part` says.
  Regs lanes_of(ValueId v);
  Regs unpacked(const Regs& regs, const thread::Type& type);
  Regs packed(const Regs& lanes, const thread::Type& type);
  Regs as_part(ValueId v, Part part);
  /// The bits of a value of 16 or more bits as 32-bit words, the last one zero-extended; and back.
  Regs words_of(const Regs& regs, const thread::Type& type);
  Regs from_words(const Regs& words, const thread::Type& type);
  Regs regs_of(const std::vector<ValueId>& values) const;
  /// Fresh registers for values that a block writes more than once.
  Regs declare(const std::vector<ValueId>& values);

  const thread::Type& type(ValueId v) const { return f_.values[v].type; }

  const thread::Func& f_;
  const Target& target_;
  const Features features_;
  const std::string shared_symbol_;
  RegisterFile file_;
  std::vector<Regs> regs_;            ///< by value
  std::vector<int> uses_;             ///< by value
  std::vector<int64_t> shared_base_;  ///< byte offset of each shared array
  Reg shared_reg_;                    ///< address of the block of shared memory
  bool groups_matrices_ = false;      ///< some matrix instructions run beside the threads
  Reg elected_;                       ///< predicate: the lane that begins the copies of its subgroup
  std::vector<Regs> yield_to_;        ///< where the yields of the open blocks go
  std::string text_;
  int labels_ = 0, isa_ = 0;
};

/// Byte offset of each shared array, 16-byte aligned, then of the bulk barriers, and the total as the last entry.
std::vector<int64_t> shared_offsets(const thread::Func& f);
inline constexpr int64_t kBulkBarrierBytes = 8;
/// Zeros in global memory that a kernel with bulk copies reads beyond edges: its name, and how many it may need.
std::string zeros_symbol(const thread::Func& f);
int64_t zeros_bytes(const thread::Func& f);
/// The parameter that describes a box.
std::string box_parameter(int64_t box);

}  // namespace lathe::ptx
