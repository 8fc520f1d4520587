// Operands of matrix instructions that a driver's compiler knows and gets wrong, made into values it does not know.
#include <algorithm>
#include <utility>

#include "ir/thread.h"

namespace lathe::thread {
namespace {

class HideConstants {
 public:
  HideConstants(Func& f, const std::set<std::string>& instructions) : f_(f) {
    f_.walk(f_.body, [&](BlockId, size_t, InstId id) {
      const Func::Inst& inst = f_.inst(id);
      if (inst.op != Op::mma || !instructions.contains(inst.attr.name)) return;
      for (size_t i = 0; i < 2; i++)
        if (const InstId made = f_.values[inst.args[i]].def; made != kNone && holds_constant(made))
          wanted_.insert(made);
    });
  }

  void run() {
    if (wanted_.empty()) return;
    const size_t blocks = f_.blocks.size();
    const BlockId start = f_.add_block();
    Builder b(f_, start);
    // Squares are 0 or 1 modulo 3: a zero that no compiler sees as one.
    const ValueId lane = b.emit(Op::lane_id, {}, {.type = kI32});
    const ValueId rest = b.emit(Op::rem_u, {b.emit(Op::mul, {lane, lane}), b.i32(3)});
    zero_ = b.emit(Op::shr_u, {rest, b.i32(1)});
    for (BlockId block = 0; block < blocks; block++) rewrite(block);
    auto& first = f_.blocks[f_.body].insts;
    const auto& made = f_.blocks[start].insts;
    first.insert(first.begin(), made.begin(), made.end());
    f_.blocks[start].insts.clear();
  }

 private:
  bool is_constant(ValueId v) const { return f_.def(v) != nullptr && f_.def(v)->op == Op::constant; }
  bool holds_constant(InstId id) const {
    const Func::Inst& i = f_.inst(id);
    return (i.op == Op::frag_fill || i.op == Op::frag_make) &&
           std::any_of(i.args.begin(), i.args.end(), [&](ValueId v) { return is_constant(v); });
  }

  void rewrite(BlockId block) {
    const std::vector<InstId> before = std::exchange(f_.blocks[block].insts, {});
    Builder b(f_, block);
    for (const InstId id : before) {
      if (wanted_.contains(id))
        for (size_t i = 0; i < f_.inst(id).args.size(); i++)
          if (const ValueId v = f_.inst(id).args[i]; is_constant(v)) {
            const ValueId unknown = hidden(b, v);
            f_.inst(id).args[i] = unknown;
          }
      f_.blocks[block].insts.push_back(id);
    }
  }

  ValueId hidden(Builder& b, ValueId v) const {
    const Type type = b.type(v);
    const Type word = total_bits(type) == 8    ? kI8
                      : total_bits(type) == 16 ? kI16
                      : total_bits(type) == 32 ? kI32
                                               : kI64;
    const ValueId zero = word == kI32   ? zero_
                         : word == kI64 ? b.cvt(Op::zext, zero_, word)
                                        : b.cvt(Op::trunc, zero_, word);
    const ValueId bits = type == word ? v : b.cvt(Op::bitcast, v, word);
    const ValueId out = b.emit(Op::bxor, {bits, zero});
    return type == word ? out : b.cvt(Op::bitcast, out, type);
  }

  Func& f_;
  std::set<InstId> wanted_;
  ValueId zero_ = kNone;
};

}  // namespace

void hide_constants(Func& f, const std::set<std::string>& instructions) { HideConstants(f, instructions).run(); }

}  // namespace lathe::thread
