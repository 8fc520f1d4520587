#include "ir/lower/live_range.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace lathe {
namespace {

using thread::Func;
using thread::Op;

bool in_bulk(Op op) { return op == Op::bulk_copy || op == Op::bulk_box; }

class Ranges {
 public:
  Ranges(const Func& f, std::span<const BlockId> homes)
      : f_(f),
        above_(f.blocks.size(), kNone),
        owner_(f.blocks.size(), kNone),
        in_(f.insts.size(), kNone),
        first_(f.insts.size()),
        last_(f.insts.size()) {
    visit(f.body);
    for (const BlockId home : homes) ranges_.push_back({.block = home});
    for (const InstId id : accesses_) {
      LiveRange& r = ranges_[f.inst(id).attr.index];
      while (!inside(in_[id], r.block)) r.block = above_[r.block];
      r.used_in_loop = r.used_in_loop || in_loop(in_[id]);
    }
    for (const InstId id : accesses_) widen(ranges_[f.inst(id).attr.index], id);
    for (const InstId id : accesses_) {
      LiveRange& r = ranges_[f.inst(id).attr.index];
      if (f.inst(id).op == Op::async_copy) widen_to_landing(r);
      if (in_bulk(f.inst(id).op) && !std::exchange(r.bulk, true)) widen_to_bulk_landing(r);
    }
    for (LiveRange& r : ranges_) r.in_loop = in_loop(r.block);
  }
  std::vector<LiveRange> take() { return std::move(ranges_); }

 private:
  void visit(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) {
      in_[id] = b;
      first_[id] = next_++;
      if (touches_shared(f_.inst(id).op)) accesses_.push_back(id);
      for (const BlockId n : f_.inst(id).blocks) {
        above_[n] = b;
        owner_[n] = id;
        visit(n);
      }
      last_[id] = next_ - 1;
    }
  }
  bool inside(BlockId b, BlockId outer) const {
    while (b != outer && b != kNone) b = above_[b];
    return b == outer;
  }
  bool in_loop(BlockId b) const {
    for (; owner_[b] != kNone; b = above_[b])
      if (f_.inst(owner_[b]).op != Op::cond) return true;
    return false;
  }
  void widen(LiveRange& r, InstId id) {
    while (in_[id] != r.block) id = owner_[in_[id]];
    if (first_[id] < r.first) r.before = id;
    r.first = std::min(r.first, first_[id]);
    r.last = std::max(r.last, last_[id]);
  }
  void widen_to_landing(LiveRange& r) {
    for (const InstId id : f_.blocks[r.block].insts) {
      if (last_[id] < r.last) continue;
      r.last = last_[id];
      if (f_.inst(id).op == Op::async_wait && f_.inst(id).attr.imm == 0) return;
    }
  }

  /// The barriers that are left are waited for one after another.
  void widen_to_bulk_landing(LiveRange& r) {
    for (const InstId id : f_.blocks[r.block].insts) {
      if (last_[id] <= r.last) continue;
      if (f_.inst(id).op == Op::bulk_wait) r.last = last_[id];
      if (touches_shared(f_.inst(id).op) || !f_.inst(id).blocks.empty()) return;
    }
  }

  const Func& f_;
  std::vector<BlockId> above_;  ///< by block: the one around it
  std::vector<InstId> owner_;   ///< by block: the instruction it is nested in
  std::vector<BlockId> in_;     ///< by instruction
  std::vector<size_t> first_, last_;
  size_t next_ = 0;
  std::vector<InstId> accesses_;
  std::vector<LiveRange> ranges_;
};

}  // namespace

bool touches_shared(Op op) { return std::string_view(thread::info(op).operands).starts_with('o'); }

std::vector<LiveRange> live_ranges(const Func& f, std::span<const BlockId> homes) { return Ranges(f, homes).take(); }

Separation::Separation(const Func& f) : f_(f), arrays_(f.shared.size()), meet_(arrays_ * arrays_) { block(f.body); }

void Separation::State::join(const State& o) {
  open.insert(o.open.begin(), o.open.end());
  flying.insert(o.flying.begin(), o.flying.end());
  bulk.insert(o.bulk.begin(), o.bulk.end());
}

void Separation::block(BlockId b) {
  for (const InstId id : f_.blocks[b].insts) {
    const Func::Inst& i = f_.inst(id);
    if (touches_shared(i.op)) {
      for (const uint32_t a : now_.open) meet_[a * arrays_ + i.attr.index] = true;
      now_.open.insert(i.attr.index);
      if (i.op == Op::async_copy) now_.flying.insert(i.attr.index);
      if (in_bulk(i.op)) now_.bulk.insert(i.attr.index);
    } else if (i.op == Op::barrier || (i.op == Op::barrier_subgroup && f_.subgroups == 1)) {
      now_.open.clear();
    } else if (i.op == Op::async_wait) {  // a thread's own copies are there, others' after a barrier
      now_.open.insert(now_.flying.begin(), now_.flying.end());
      if (i.attr.imm == 0) now_.flying.clear();
    } else if (i.op == Op::bulk_wait) {
      now_.open.insert(now_.bulk.begin(), now_.bulk.end());
    } else {
      nested(i);
    }
  }
}

void Separation::nested(const Func::Inst& i) {
  if (i.blocks.empty()) return;
  const State before = now_;
  if (i.op == Op::cond) {
    block(i.blocks[0]);
    const State then = std::exchange(now_, before);
    block(i.blocks[1]);
    now_.join(then);
    return;
  }
  State tested;                           // behind the condition of a while
  for (int turn = 0; turn < 2; turn++) {  // the second knows what the first leaves open
    block(i.blocks[0]);
    tested = now_;
    if (i.op == Op::while_loop) block(i.blocks[1]);
    now_.join(before);
  }
  if (i.op == Op::while_loop) now_ = tested;
}

}  // namespace lathe
