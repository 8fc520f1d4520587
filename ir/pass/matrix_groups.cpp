// Matrix instructions that run beside the thread: what starts together is one group; a group is waited for when the
// next one has started, or before anything reads a sum.
#include <set>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

class Groups {
 public:
  explicit Groups(Func& f) : f_(f) {}

  void block(BlockId b) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    std::vector<InstId> out;
    bool open = false;
    for (const InstId id : insts) {
      const Op op = f_.inst(id).op;
      if (op == Op::mma_shared) {
        if (!open) out.push_back(made(Op::matrix_begin, 0));
        open = true;
        out.push_back(id);
        under_way_.insert(f_.inst(id).results[0]);
        continue;
      }
      if (open) {
        out.push_back(made(Op::matrix_commit, 0));
        out.push_back(made(Op::matrix_wait, 1));
        open = false;
      }
      if (must_wait(id)) {
        out.push_back(made(Op::matrix_wait, 0));
        under_way_.clear();
      }
      out.push_back(id);
      const auto nested = f_.inst(id).blocks;
      for (const BlockId n : nested) block(n);
    }
    f_.blocks[b].insts = std::move(out);
  }

 private:
  /// Shared memory that an instruction reads may not change, and its sum is not there yet.
  bool must_wait(InstId id) const {
    if (under_way_.empty()) return false;
    const Func::Inst& i = f_.inst(id);
    const Effect effect = info(i.op).effect;
    if (effect != Effect::pure && effect != Effect::reads) return true;
    for (const ValueId a : i.args)
      if (under_way_.contains(a)) return true;
    return false;
  }
  InstId made(Op op, int64_t groups) { return f_.add_inst(op, {.imm = groups}, {}, {}, {}, {}); }

  Func& f_;
  std::set<ValueId> under_way_;
};

}  // namespace

void group_matrices(Func& f) { Groups(f).block(f.body); }

}  // namespace lathe::thread
