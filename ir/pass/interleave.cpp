// The inner pipeline of matrix operands: what feeds the matrix instructions of a step stands before those of the step
// before it, so that reading and converting run beside them and few operands are alive at once. Instructions that run
// beside the thread by themselves start as soon as they are fed, in steps long enough to cover the feeding of the next.
#include <algorithm>
#include <functional>
#include <vector>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

/// A run of instructions that only depend on each other by their values.
using Run = std::vector<InstId>;

bool is_product(Op op) { return op == Op::mma || op == Op::mma_shared; }

class Interleave {
 public:
  explicit Interleave(Func& f) : f_(f), at_(f.insts.size(), kOutside), placed_(f.insts.size()) {}

  void block(BlockId b) {
    const Run insts = f_.blocks[b].insts;
    Run out, run;
    for (const InstId id : insts) {
      const Effect effect = info(f_.inst(id).op).effect;
      if (effect == Effect::pure || effect == Effect::reads) {
        run.push_back(id);
        continue;
      }
      arrange(run, out);
      run.clear();
      out.push_back(id);
      const auto nested = f_.inst(id).blocks;
      for (const BlockId n : nested) block(n);
    }
    arrange(run, out);
    f_.blocks[b].insts = std::move(out);
  }

 private:
  static constexpr int kOutside = -1;  ///< not of this run
  static constexpr int kEarly = -2;    ///< of this run, feeds nothing late

  bool in_run(InstId id) const { return id != kNone && at_[id] != kOutside; }
  void each_source(InstId id, const std::function<void(InstId)>& visit) const {
    for (const ValueId a : f_.inst(id).args)
      if (in_run(f_.values[a].def)) visit(f_.values[a].def);
  }

  void arrange(const Run& run, Run& out) {
    for (const InstId id : run) at_[id] = kEarly, placed_[id] = false;
    std::vector<Run> steps = steps_of(run);
    if (steps.size() > 1) {
      // What waits for no matrix instruction and is no operand of one, and every load from far away, goes first.
      for (const InstId id : run)
        if (f_.inst(id).op == Op::load_global) place(id, out);
      std::vector<bool> feeds(f_.insts.size()), after(f_.insts.size());
      for (const Run& step : steps)
        for (const InstId id : step) mark_sources(id, feeds);
      for (const InstId id : run) {
        each_source(id, [&](InstId s) { after[id] = after[id] || after[s]; });
        after[id] = after[id] || is_product(f_.inst(id).op);
        if (!feeds[id] && !after[id]) place(id, out);
      }
      const size_t ahead = is_beside(steps[0][0]) ? 0 : 1;
      for (size_t s = 0; s < ahead; s++) feed(steps[s], after, out);
      for (size_t s = 0; s < steps.size(); s++) {
        if (s + ahead < steps.size()) feed(steps[s + ahead], after, out);
        for (const InstId id : steps[s]) place(id, out);
      }
    }
    for (const InstId id : run) place(id, out);
    for (const InstId id : run) at_[id] = kOutside;
  }

  bool is_beside(InstId product) const { return f_.inst(product).op == Op::mma_shared; }

  /// A step ends where an instruction adds to a sum of the same step, unless it is too short yet.
  std::vector<Run> steps_of(const Run& run) {
    constexpr int kLeastColumns = 256;  // of products: 128 cycles and more
    std::vector<Run> steps;
    int columns = 0;
    for (const InstId id : run) {
      if (!is_product(f_.inst(id).op)) continue;
      const InstId sum = f_.values[f_.inst(id).args[2]].def;
      const bool chained = in_run(sum) && at_[sum] == static_cast<int>(steps.size());
      if (steps.empty() || (chained && (!is_beside(id) || columns >= kLeastColumns))) {
        steps.emplace_back();
        columns = 0;
      }
      columns += f_.type(f_.inst(id).results[0]).cols;
      steps.back().push_back(id);
      at_[id] = static_cast<int>(steps.size());
    }
    return steps;
  }

  void mark_sources(InstId id, std::vector<bool>& feeds) {
    each_source(id, [&](InstId s) {
      if (feeds[s]) return;
      feeds[s] = true;
      mark_sources(s, feeds);
    });
  }

  /// Everything the step needs that waits for no matrix instruction.
  void feed(const Run& step, const std::vector<bool>& after, Run& out) {
    for (const InstId id : step)
      each_source(id, [&](InstId s) {
        if (!after[s]) place(s, out);
      });
  }

  void place(InstId id, Run& out) {
    if (placed_[id]) return;
    placed_[id] = true;
    each_source(id, [&](InstId s) { place(s, out); });
    out.push_back(id);
  }

  Func& f_;
  std::vector<int> at_;
  std::vector<bool> placed_;
};

}  // namespace

void interleave(Func& f) { Interleave(f).block(f.body); }

}  // namespace lathe::thread
