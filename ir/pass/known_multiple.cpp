// What is known of an i64 scalar's divisors.
#include <numeric>

#include "ir/pass/passes.h"

namespace lathe::tile {

int64_t known_multiple(const Func& f, ValueId v) {
  int64_t promised = 1;  // outside branches and loops
  for (InstId id : f.blocks[f.body].insts)
    if (f.inst(id).op == Op::assume_multiple && f.inst(id).args[0] == v)
      promised = std::lcm(promised, f.inst(id).attr.imm);
  if (promised > 1) return promised;
  const Func::Inst* d = f.def(v);
  if (!d) {
    for (InstId l = 0; l < f.insts.size(); l++)  // the index of a loop
      if (f.insts[l].op == Op::loop && f.blocks[f.insts[l].blocks[0]].params[0] == v)
        return std::gcd(known_multiple(f, f.insts[l].args[0]), known_multiple(f, f.insts[l].args[2]));
    return 1;
  }
  switch (d->op) {
    case Op::constant:
      return std::abs(d->attr.imm);
    case Op::mul: {
      constexpr int64_t kMost = int64_t{1} << 30;
      const int64_t a = known_multiple(f, d->args[0]), b = known_multiple(f, d->args[1]);
      if (a == 0 || b == 0) return 0;
      return a <= kMost / b ? a * b : std::gcd(a, kMost);
    }
    case Op::add:
    case Op::sub:
      return std::gcd(known_multiple(f, d->args[0]), known_multiple(f, d->args[1]));
    case Op::div: {
      const Func::Inst* by = f.def(d->args[1]);
      const int64_t a = known_multiple(f, d->args[0]);
      return by && by->op == Op::constant && by->attr.imm > 0 && a % by->attr.imm == 0 ? a / by->attr.imm : 1;
    }
    default:
      return 1;
  }
}

}  // namespace lathe::tile
