// Matrix instructions that run beside the thread: what starts together is one group; a group is waited for when the
// next one has started, or before anything reads a sum. Copies for later turns are started behind the first group, so
// that the matrix unit does not idle while their addresses are made. Where a loop only rotates such rooms, the last
// group of a turn stays under way while the next turn's operands are made.
#include <algorithm>
#include <set>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

class Groups {
 public:
  explicit Groups(Func& f) : f_(f) {}

  /// `rotates`: the body of a loop that may end a turn with a group under way.
  void block(BlockId b, bool rotates = false) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    std::vector<InstId> out, copies;
    auto left = std::count_if(insts.begin(), insts.end(), [&](InstId id) { return is_product(id); });
    bool open = false, others_read = rotates;  // the rooms that the copies go to
    bool publishes = false;
    const auto close = [&] {
      if (!open) return;
      out.push_back(made(Op::matrix_commit, 0));
      if (!others_read) flush(copies, out);
      out.push_back(made(Op::matrix_wait, 1));
      if (others_read && !copies.empty()) out.push_back(made(Op::barrier, 0));
      flush(copies, out);
      open = others_read = false;
    };
    for (const InstId id : insts) {
      publishes = publishes || f_.inst(id).op == Op::matrix_publish;
      // That others have read what the copies go to is awaited right before these.
      if (rotates && others_read && !publishes && f_.inst(id).op == Op::barrier) continue;
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
        if (!rotates && must_wait(id)) await_all(out);
      }
      out.push_back(id);
      const auto nested = f_.inst(id).blocks;
      const bool keeps = only_rotates(id);
      for (const BlockId n : nested) block(n, keeps);
      if (keeps) await_all(out);
    }
    f_.blocks[b].insts = std::move(out);
  }

 private:
  bool is_product(InstId id) const { return f_.inst(id).op == Op::mma_shared; }
  bool is_copy(InstId id) const {
    const Op op = f_.inst(id).op;
    return op == Op::async_copy || op == Op::async_commit || op == Op::bulk_copy || op == Op::bulk_box ||
           op == Op::bulk_expect;
  }
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
  /// Whether a loop's body is waits for copies, then products and what feeds them, with sums that are carried and
  /// nothing else: no thread but through its copies touches what the products under way read.
  bool only_rotates(InstId id) const {
    if (f_.inst(id).op != Op::loop) return false;
    const auto& body = f_.blocks[f_.inst(id).blocks[0]];
    std::vector<ValueId> sums;  // as they stand now, by the order they are carried in
    for (const ValueId v : body.params) sums.push_back(f_.type(v).is_frag() ? v : kNone);
    bool begun = false;
    for (const InstId i : body.insts) {
      const Func::Inst& inst = f_.inst(i);
      const bool product = is_product(i), waits = is_wait(inst.op) && !begun;
      if (inst.op == Op::yield) break;
      if (!inst.blocks.empty() || !(moves_freely(i) || is_copy(i) || waits)) return false;
      begun = begun || product;
      for (const ValueId a : inst.args) {
        const auto sum = a == kNone ? sums.end() : std::find(sums.begin(), sums.end(), a);
        if ((sum != sums.end()) != (product && a == inst.args[2])) return false;
        if (sum != sums.end()) *sum = inst.results[0];
      }
    }
    const auto& yields = f_.inst(body.insts.back()).args;
    for (size_t c = 0; c < yields.size(); c++)
      if (sums[c + 1] != kNone && sums[c + 1] != yields[c]) return false;
    return begun;
  }
  static bool is_wait(Op op) {
    return op == Op::async_wait || op == Op::bulk_wait || op == Op::matrix_publish || op == Op::barrier;
  }
  void await_all(std::vector<InstId>& out) {
    out.push_back(made(Op::matrix_wait, 0));
    under_way_.clear();
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
