// Loops with a small constant trip count become their turns, one after another.
#include "ir/thread_facts.h"

namespace lathe::thread {
namespace {

class Unroll {
 public:
  Unroll(Func& f, int max_trips) : f_(f), max_trips_(max_trips) {}

  void block(BlockId b) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    std::vector<InstId> out;
    for (const InstId id : insts) {
      for (ValueId& a : f_.inst(id).args) a = at(a);
      const std::vector<BlockId> nested = f_.inst(id).blocks;
      for (const BlockId n : nested) block(n);
      const auto trips = f_.inst(id).op == Op::loop ? trip_count(f_, f_.inst(id)) : std::nullopt;
      if (trips && *trips <= max_trips_)
        turns(id, *trips, out);
      else
        out.push_back(id);
    }
    f_.blocks[b].insts = std::move(out);
  }

 private:
  ValueId at(ValueId v) const { return v < now_.size() && now_[v] != kNone ? now_[v] : v; }
  void become(ValueId v, ValueId now) {
    if (now_.size() <= v) now_.resize(f_.values.size(), kNone);
    now_[v] = now;
  }

  void turns(InstId id, int64_t trips, std::vector<InstId>& out) {
    const Func::Inst loop = f_.inst(id);
    const std::vector<ValueId> params = f_.blocks[loop.blocks[0]].params;
    const std::vector<InstId> body = f_.blocks[loop.blocks[0]].insts;
    const int64_t lo = *integer_constant(f_, loop.args[0]), step = *integer_constant(f_, loop.args[2]);
    std::vector<ValueId> carried(loop.args.begin() + 3, loop.args.end());
    for (int64_t turn = 0; turn < trips; turn++) {
      const InstId index = f_.add_inst(Op::constant, {.type = kI32, .imm = lo + turn * step}, {}, {kI32}, {}, loop.loc);
      out.push_back(index);
      become(params[0], f_.inst(index).results[0]);
      for (size_t c = 0; c < carried.size(); c++) become(params[c + 1], carried[c]);
      for (size_t i = 0; i + 1 < body.size(); i++) out.push_back(copy(body[i]));
      carried = f_.inst(body.back()).args;
      for (ValueId& v : carried) v = at(v);
    }
    for (size_t c = 0; c < carried.size(); c++) become(loop.results[c], carried[c]);
  }

  /// A copy with fresh results, which stand for the old ones from here on.
  InstId copy(InstId id) {
    const Func::Inst from = f_.inst(id);
    std::vector<ValueId> args = from.args;
    for (ValueId& a : args) a = at(a);
    std::vector<Type> types;
    for (const ValueId r : from.results) types.push_back(f_.type(r));
    std::vector<BlockId> blocks;
    for (const BlockId b : from.blocks) blocks.push_back(copy_block(b));
    const InstId to = f_.add_inst(from.op, from.attr, std::move(args), types, std::move(blocks), from.loc);
    for (size_t r = 0; r < from.results.size(); r++) become(from.results[r], f_.inst(to).results[r]);
    return to;
  }

  BlockId copy_block(BlockId from) {
    const BlockId to = f_.add_block();
    const std::vector<ValueId> params = f_.blocks[from].params;
    for (const ValueId p : params) become(p, f_.add_param(to, Type(f_.type(p))));
    const std::vector<InstId> body = f_.blocks[from].insts;
    for (const InstId id : body) {
      const InstId made = copy(id);
      f_.blocks[to].insts.push_back(made);
    }
    return to;
  }

  Func& f_;
  int64_t max_trips_;
  std::vector<ValueId> now_;  ///< by value: what stands for it; kNone: itself
};

}  // namespace

void unroll(Func& f, int max_trips) { Unroll(f, max_trips).block(f.body); }

}  // namespace lathe::thread
