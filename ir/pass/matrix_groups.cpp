// Matrix instructions that run beside the thread: what starts together is one group; a group is waited for when the
// next one has started, or before anything reads a sum. Copies for later turns are started behind the first group, so
// that the matrix unit does not idle while their addresses are made.
#include <algorithm>
#include <set>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

class Groups {
 public:
  explicit Groups(Func& f) : f_(f) {}

  void block(BlockId b) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    std::vector<InstId> out, copies;
    auto left = std::count_if(insts.begin(), insts.end(), [&](InstId id) { return is_product(id); });
    bool open = false;
    const auto close = [&] {
      if (!open) return;
      out.push_back(made(Op::matrix_commit, 0));
      flush(copies, out);
      out.push_back(made(Op::matrix_wait, 1));
      open = false;
    };
    for (const InstId id : insts) {
      if (is_product(id)) {
        if (!open) out.push_back(made(Op::matrix_begin, 0));
        open = true;
        left--;
        under_way_.insert(f_.inst(id).results[0]);
      } else {
        close();
        if (is_copy(id) && left > 0) {
          copies.push_back(id);
          continue;
        }
        if (!moves_freely(id)) flush(copies, out);
        if (must_wait(id)) {
          out.push_back(made(Op::matrix_wait, 0));
          under_way_.clear();
        }
      }
      out.push_back(id);
      const auto nested = f_.inst(id).blocks;
      for (const BlockId n : nested) block(n);
    }
    f_.blocks[b].insts = std::move(out);
  }

 private:
  bool is_product(InstId id) const { return f_.inst(id).op == Op::mma_shared; }
  bool is_copy(InstId id) const { return f_.inst(id).op == Op::async_copy || f_.inst(id).op == Op::async_commit; }
  bool moves_freely(InstId id) const {
    const Effect effect = info(f_.inst(id).op).effect;
    return effect == Effect::pure || effect == Effect::reads;
  }
  /// After a barrier others may write what the instructions under way read; a sum is not there before its group is.
  bool must_wait(InstId id) const {
    if (under_way_.empty()) return false;
    const Func::Inst& i = f_.inst(id);
    if (!moves_freely(id) && info(i.op).effect != Effect::writes && !is_copy(id)) return true;
    return std::any_of(i.args.begin(), i.args.end(), [&](ValueId a) { return under_way_.contains(a); });
  }
  static void flush(std::vector<InstId>& from, std::vector<InstId>& to) {
    to.insert(to.end(), from.begin(), from.end());
    from.clear();
  }
  InstId made(Op op, int64_t groups) { return f_.add_inst(op, {.imm = groups}, {}, {}, {}, {}); }

  Func& f_;
  std::set<ValueId> under_way_;
};

}  // namespace

void group_matrices(Func& f) { Groups(f).block(f.body); }

}  // namespace lathe::thread
