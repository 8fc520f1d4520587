#pragma once
// The state of one run of fold, shared by its files: a single walk in order of dominance that rewrites every operand to
// its folded value and builds what replaces an instruction through the same rules.
#include <optional>
#include <unordered_map>
#include <vector>

#include "ir/thread.h"
#include "ir/thread_facts.h"

namespace lathe::thread {

class Folder {
 public:
  explicit Folder(Func& f) : f_(f), facts_(f) {}
  /// True when another run may find more.
  bool run();

 private:
  using Inst = Func::Inst;
  using Args = std::vector<ValueId>;
  using Folded = std::optional<ValueId>;  ///< the value that an operation equals; none: it stays
  struct Offset {
    ValueId base;
    int64_t by;
  };

  // ---- fold.cpp: the walk, control flow, memory
  std::vector<InstId> block(BlockId b);
  void insts(const std::vector<InstId>& list);
  void inst(InstId id);
  void keep(InstId id);
  void become(ValueId v, ValueId now);
  ValueId at(ValueId v) const { return v < now_.size() && now_[v] != kNone ? now_[v] : v; }
  void constant_inst(InstId id);
  bool memory(InstId id);
  bool allowed(InstId id);
  void loop(InstId id);
  void drop_unchanged(InstId id);
  bool run_once(InstId id);
  void cond(InstId id);
  /// The instructions of `b` in this place; the values it yields.
  Args splice(BlockId b);

  // ---- building
  /// The folded value of an operation; a new instruction when nothing simpler does.
  ValueId make(Op op, Type result, Args args, int64_t imm = 0);
  ValueId constant(Type t, int64_t raw);
  ValueId add_constant(ValueId x, int64_t c);
  std::optional<int64_t> number(ValueId v) const { return integer_constant(f_, v); }
  std::optional<uint64_t> float_bits(ValueId v) const;
  /// x and c when v is op(x, c) with an integer constant c.
  std::optional<Offset> with_constant(ValueId v, Op op) const;
  /// Operand 0 of v when v is an `op`.
  Folded operand_of(ValueId v, Op op) const;
  const Type& type(ValueId v) const { return f_.type(v); }

  /// May swap `args` so that a constant stands last.
  Folded simplify(Op op, const Attr& attr, Args& args, const Type& result);
  Folded evaluated(Op op, const Attr& attr, const Args& args, const Type& result);

  // ---- fold_integers.cpp
  Folded integer(Op op, Args& args);
  Folded add(ValueId x, ValueId y);
  Folded sub(ValueId x, ValueId y);
  Folded mul(ValueId x, ValueId y);
  Folded shl(ValueId x, int64_t k);
  Folded shr_u(ValueId x, int64_t k);
  Folded divide(Op op, ValueId x, ValueId y);
  Folded signed_shift(ValueId x, int64_t by);
  Folded remainder(Op op, ValueId x, ValueId y);
  Folded extreme(Op op, ValueId x, ValueId y);
  Folded bitwise(Op op, ValueId x, ValueId y);
  Folded masked(ValueId x, int64_t mask);
  bool did_not_wrap(ValueId v, ValueId operand) const;

  // ---- fold_conditions.cpp
  Folded compare(Op op, Args& args);
  Folded equality(Op op, ValueId x, ValueId y);
  std::optional<bool> decided(Op op, ValueId x, ValueId y) const;
  Folded bnot(ValueId x);
  Folded select(ValueId c, ValueId x, ValueId y);

  // ---- fold_values.cpp
  Folded floating(Op op, Args& args);
  Folded convert(Op op, ValueId x, const Type& to);
  Folded extend(Op op, ValueId x, const Type& to);
  Folded truncate(ValueId x, const Type& to);
  Folded regroup(Op op, const Attr& attr, const Args& args, const Type& result);
  Folded fragment_element(const Attr& attr, ValueId fragment);

  struct ConstantKey {
    Scalar scalar;
    uint8_t lanes;
    int64_t imm;
    bool operator==(const ConstantKey&) const = default;
  };
  struct ConstantHash {
    size_t operator()(const ConstantKey& k) const {
      return (static_cast<uint64_t>(k.imm) * 8 + static_cast<uint64_t>(k.scalar)) * 0x9e3779b97f4a7c15 + k.lanes;
    }
  };

  Func& f_;
  Facts facts_;
  std::vector<ValueId> now_;       ///< by value: what stands for it; kNone: itself
  std::vector<InstId> out_;        ///< the block under construction
  std::vector<InstId> constants_;  ///< they all stand at the start of the body
  std::unordered_map<ConstantKey, ValueId, ConstantHash> pool_;
  Loc loc_;
  bool again_ = false;
};

}  // namespace lathe::thread
