// Equal pure values become one. The table of values seen is a stack: what a block adds is taken off at its end, so
// every entry dominates the place that looks.
#include <algorithm>
#include <bit>

#include "ir/thread_facts.h"

namespace lathe::thread {
namespace {

class Cse {
 public:
  explicit Cse(Func& f)
      : f_(f), heads_(std::bit_ceil(f.insts.size() + 1), kNone), next_(f.insts.size(), kNone), now_(f.values.size()) {
    for (ValueId v = 0; v < now_.size(); v++) now_[v] = v;
  }

  void block(BlockId b) {
    const size_t mark = seen_.size();
    auto& insts = f_.blocks[b].insts;
    size_t kept = 0;
    for (const InstId id : insts) {
      Func::Inst& i = f_.inst(id);
      for (ValueId& a : i.args) a = now_[a];
      for (const BlockId nested : i.blocks) block(nested);
      if (info(i.op).effect == Effect::pure) {
        const ValueId same = find_or_add(id);
        if (same != i.results[0]) {
          now_[i.results[0]] = same;
          continue;
        }
      }
      insts[kept++] = id;
    }
    insts.resize(kept);
    for (; seen_.size() > mark; seen_.pop_back()) heads_[seen_.back().bucket] = next_[seen_.back().inst];
  }

 private:
  size_t bucket_of(const Func::Inst& i) const {
    uint64_t hash = static_cast<uint64_t>(i.op);
    const auto mix = [&](uint64_t v) { hash = std::rotl((hash ^ v) * 0x9e3779b97f4a7c15, 29); };
    mix(static_cast<uint64_t>(i.attr.imm));
    if (commutes(i.op)) {
      mix(std::min(i.args[0], i.args[1]));
      mix(std::max(i.args[0], i.args[1]));
    } else {
      for (const ValueId a : i.args) mix(a);
    }
    mix(static_cast<uint64_t>(f_.type(i.results[0]).scalar));
    return (hash >> 32) & (heads_.size() - 1);
  }

  bool equal(const Func::Inst& a, const Func::Inst& b) const {
    if (a.op != b.op || a.attr.imm != b.attr.imm || a.attr.index != b.attr.index || a.attr.name != b.attr.name)
      return false;
    if (f_.type(a.results[0]) != f_.type(b.results[0])) return false;
    return a.args == b.args || (commutes(a.op) && a.args[0] == b.args[1] && a.args[1] == b.args[0]);
  }

  ValueId find_or_add(InstId id) {
    const Func::Inst& i = f_.inst(id);
    const size_t bucket = bucket_of(i);
    for (InstId known = heads_[bucket]; known != kNone; known = next_[known])
      if (equal(f_.inst(known), i)) return f_.inst(known).results[0];
    next_[id] = heads_[bucket];
    heads_[bucket] = id;
    seen_.push_back({bucket, id});
    return i.results[0];
  }

  struct Entry {
    size_t bucket;
    InstId inst;
  };
  Func& f_;
  std::vector<InstId> heads_, next_;  ///< hash chains, newest first
  std::vector<Entry> seen_;
  std::vector<ValueId> now_;  ///< by value: what stands for it
};

}  // namespace

void cse(Func& f) { Cse(f).block(f.body); }

}  // namespace lathe::thread
