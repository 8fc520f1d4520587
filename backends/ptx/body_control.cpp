// Structured control flow as labels and branches. A carried value is a register written before the loop and at its end.
#include <fmt/format.h>

#include <algorithm>

#include "backends/ptx/body.h"

namespace lathe::ptx {
namespace {

std::string label(const char* what, int number) { return fmt::format("{}_{}", what, number); }

}  // namespace

Regs Body::regs_of(const std::vector<ValueId>& values) const {
  Regs regs;
  for (const ValueId v : values) regs.insert(regs.end(), regs_[v].begin(), regs_[v].end());
  return regs;
}

Regs Body::declare(const std::vector<ValueId>& values) {
  for (const ValueId v : values) regs_[v] = file_.fresh(type(v));
  return regs_of(values);
}

void Body::move(Reg to, Reg from) {
  line(fmt::format("mov{} {}, {};", type_name(to.cls), to_string(to), to_string(from)));
}

void Body::parallel_move(std::vector<std::pair<Reg, Reg>> to_from) {
  std::erase_if(to_from, [](const auto& m) { return m.first == m.second; });
  while (!to_from.empty()) {
    const auto is_read = [&](Reg reg) {
      return std::any_of(to_from.begin(), to_from.end(), [&](const auto& m) { return m.second == reg; });
    };
    const auto free = std::find_if(to_from.begin(), to_from.end(), [&](const auto& m) { return !is_read(m.first); });
    if (free != to_from.end()) {
      move(free->first, free->second);
      to_from.erase(free);
      continue;
    }
    // Only cycles are left: one register's old value steps aside.
    const Reg old = to_from.front().first, aside = file_.fresh(old.cls);
    move(aside, old);
    for (auto& m : to_from)
      if (m.second == old) m.second = aside;
  }
}

Result<Unit> Body::yield(const Inst& inst) {
  if (inst.args.empty()) return Unit{};
  const Regs from = regs_of(inst.args);
  std::vector<std::pair<Reg, Reg>> moves;
  for (size_t i = 0; i < from.size(); i++) moves.emplace_back(yield_to_.back()[i], from[i]);
  parallel_move(std::move(moves));
  return Unit{};
}

Result<Unit> Body::loop(const Inst& inst) {
  const int number = ++labels_;
  const std::vector<ValueId>& params = f_.blocks[inst.blocks[0]].params;
  const std::vector<ValueId> carried(params.begin() + 1, params.end());
  const Regs init = regs_of({inst.args.begin() + 3, inst.args.end()});
  const Regs index = declare({params[0]}), carry = declare(carried);
  move(index[0], regs_[inst.args[0]][0]);
  for (size_t i = 0; i < init.size(); i++) move(carry[i], init[i]);

  const std::string i = to_string(index[0]), end = to_string(regs_[inst.args[1]][0]);
  const std::string step = to_string(regs_[inst.args[2]][0]), go = to_string(file_.fresh(Class::pred));
  line(fmt::format("setp.ge.s32 {}, {}, {};", go, i, end));
  line(fmt::format("@{} bra {};", go, label("$end", number)));
  text_ += label("$loop", number) + ":\n";
  yield_to_.push_back(carry);
  TRY(block(inst.blocks[0]));
  yield_to_.pop_back();
  line(fmt::format("add.s32 {}, {}, {};", i, i, step));
  line(fmt::format("setp.lt.s32 {}, {}, {};", go, i, end));
  line(fmt::format("@{} bra {};", go, label("$loop", number)));
  text_ += label("$end", number) + ":\n";
  for (size_t r = 0; r < carried.size(); r++) regs_[inst.results[r]] = regs_[carried[r]];
  return Unit{};
}

/// The condition stands at the head of every turn; both blocks see the carried values in the same registers.
Result<Unit> Body::while_loop(const Inst& inst) {
  const int number = ++labels_;
  const auto &seen = f_.blocks[inst.blocks[0]].params, &carried = f_.blocks[inst.blocks[1]].params;
  const Regs init = regs_of(inst.args), carry = declare(seen);
  for (size_t i = 0; i < init.size(); i++) move(carry[i], init[i]);
  for (size_t i = 0; i < seen.size(); i++) regs_[carried[i]] = regs_[inst.results[i]] = regs_[seen[i]];
  text_ += label("$loop", number) + ":\n";
  const Reg go = file_.fresh(Class::pred);
  yield_to_.push_back({go});
  TRY(block(inst.blocks[0]));
  yield_to_.back() = carry;
  line(fmt::format("@!{} bra {};", to_string(go), label("$end", number)));
  TRY(block(inst.blocks[1]));
  yield_to_.pop_back();
  line(fmt::format("bra {};", label("$loop", number)));
  text_ += label("$end", number) + ":\n";
  return Unit{};
}

Result<Unit> Body::cond(const Inst& inst) {
  const int number = ++labels_;
  yield_to_.push_back(declare(inst.results));
  line(fmt::format("@!{} bra {};", to_string(regs_[inst.args[0]][0]), label("$else", number)));
  TRY(block(inst.blocks[0]));
  line(fmt::format("bra {};", label("$end", number)));
  text_ += label("$else", number) + ":\n";
  TRY(block(inst.blocks[1]));
  text_ += label("$end", number) + ":\n";
  yield_to_.pop_back();
  return Unit{};
}

}  // namespace lathe::ptx
