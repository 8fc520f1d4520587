// Layout conversion between the lanes of a subgroup by shuffles.
#include "ir/lower/lowering.h"

namespace lathe {
namespace {

/// The same for 32-bit registers, each of `per` neighbours of a lane; none where a register's elements part.
std::optional<SubgroupExchange> of_registers(const SubgroupExchange& e, int64_t per) {
  if (per == 1) return e;
  if (e.from.S().empty()) return std::nullopt;
  Coord pair(e.from.shape().size(), 1);
  pair[static_cast<size_t>(e.from.S().back().d)] = per;
  const auto from = divide(e.from, local(pair)), to = divide(e.to, local(pair));
  if (!from || !to) return std::nullopt;
  return SubgroupExchange{*from, *to};
}

}  // namespace

/// i32: the part of the source lane's number that the own lane's bits give; bits that go as far as each other go
/// together.
ValueId Lowering::source_lane(const ShufflePlan& plan, ValueId lane) {
  std::map<int, int64_t> moves;  // how far -> which bits
  for (size_t b = 0; b < plan.of_lane_bit.size(); b++)
    for (int to = 0; plan.of_lane_bit[b].lane >> to; to++)
      if (plan.of_lane_bit[b].lane >> to & 1) moves[to - static_cast<int>(b)] |= int64_t{1} << b;
  ValueId sum = b_.i32(0);
  for (const auto& [far, mask] : moves) {
    ValueId part = emit(Op::band, {lane, b_.i32(mask)});
    if (far != 0) part = emit(far > 0 ? Op::shl : Op::shr_u, {part, b_.i32(std::abs(far))});
    sum = emit(Op::bxor, {sum, part});
  }
  return sum;
}

std::optional<TileRegs> Lowering::through_shuffles(const TileRegs& from, const SubgroupExchange& e, const Layout& to,
                                                   int64_t most) {
  const bool words = from.elem.bits == 32, halves = from.elem.is_float() && from.elem.bits == 16;
  if ((!words && !halves) || !t_.fixed_subgroup_size) return std::nullopt;
  const auto registers = of_registers(e, halves ? 2 : 1);
  const auto plan = registers ? plan_shuffles(*registers) : std::nullopt;
  if (!plan || plan->cost() > most) return std::nullopt;

  const ValueId lane = emit(Op::lane_id, {}, {.type = thread::kI32}), turned = source_lane(*plan, lane);
  const auto bits = plan->choosing();
  TileRegs out{from.elem, to, {}, false, {}, kNone};
  const TT reg = b_.type(from.regs[0]);
  for (size_t s = 0; s < plan->of_slot.size(); s++) {
    const ShufflePlan::Place& place = plan->of_slot[s];
    const ValueId source = emit(Op::bxor, {turned, b_.i32(place.lane)});
    std::vector<ValueId> candidates;
    for (size_t c = 0; c < size_t{1} << bits.size(); c++) {
      int64_t slot = place.slot;
      for (size_t b = 0; b < bits.size(); b++)
        if (c >> b & 1) slot ^= plan->of_lane_bit[static_cast<size_t>(bits[b])].slot;
      ValueId v = from.regs[static_cast<size_t>(slot)];
      if (halves) v = cvt(Op::bitcast, v, thread::kI32);
      candidates.push_back(plan->stays(static_cast<int64_t>(s)) ? v : emit(Op::shuffle_index, {v, source}));
    }
    for (const int bit : bits) {
      const ValueId set = emit(Op::ne, {emit(Op::band, {lane, b_.i32(int64_t{1} << bit)}), b_.i32(0)});
      for (size_t c = 0; c < candidates.size(); c += 2)
        candidates[c / 2] = emit(Op::select, {set, candidates[c + 1], candidates[c]});
      candidates.resize(candidates.size() / 2);
    }
    out.regs.push_back(halves ? cvt(Op::bitcast, candidates[0], reg) : candidates[0]);
  }
  return out;
}

}  // namespace lathe
