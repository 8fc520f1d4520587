#pragma once
// When the shared arrays of a thread program are in use, and which of them barriers separate.
#include <set>
#include <span>
#include <vector>

#include "ir/thread.h"

namespace lathe {

/// Whether operand 0 and attr.index name a place in a shared array.
bool touches_shared(thread::Op op);

/// From the first access of an array to the last, widened to whole instructions of one block. Instructions are numbered
/// in order, outer before inner.
struct LiveRange {
  size_t first = SIZE_MAX, last = 0;
  BlockId block = kNone;
  InstId before = kNone;  ///< the instruction of `block` that `first` is; kNone: there is no access
  bool in_loop = false;   ///< `block` is
  bool used_in_loop = false;
  bool bulk = false;  ///< written by bulk copies
  bool meets(const LiveRange& o) const { return first <= o.last && o.first <= last; }
};

/// By array. homes: the block at whose start what an array holds is undefined. A range includes the wait that lands the
/// copies to its array.
std::vector<LiveRange> live_ranges(const thread::Func& f, std::span<const BlockId> homes);

/// Which accesses a barrier of the workgroup separates, loop-carried ones included.
class Separation {
 public:
  explicit Separation(const thread::Func& f);
  /// On every way from an access of `a` to one of `b`.
  bool holds(uint32_t a, uint32_t b) const { return !meet_[a * arrays_ + b]; }

 private:
  struct State {
    std::set<uint32_t> open;    ///< accessed since the last barrier
    std::set<uint32_t> flying;  ///< asynchronous copies to them are under way
    std::set<uint32_t> bulk;    ///< bulk copies to them have been begun
    void join(const State& o);
  };
  void block(BlockId b);
  void nested(const thread::Func::Inst& i);  ///< its blocks

  const thread::Func& f_;
  size_t arrays_;
  std::vector<bool> meet_;
  State now_;
};

}  // namespace lathe
