#include "backends/sim/lead.h"

#include <algorithm>

namespace lathe::sim {

std::optional<int> operand_lead(const Code& code, uint32_t loop) {
  constexpr int kLongAgo = -1'000'000;  // made before the loop
  std::vector<int> made(code.rows, kLongAgo);
  int multiplies = 0, ended = 0;
  std::vector<int> groups;  // multiplies up to the end of each
  std::optional<int> least;
  const auto latest = [&](const Step& s) {
    int last = kLongAgo;
    for (uint32_t a = 0; a < s.args_count; a++) last = std::max(last, made[s.args[a].first]);
    return last;
  };
  for (int turn = 0; turn < 2; turn++) {
    const int before = multiplies;
    for (uint32_t at = code.loops[loop].first; at < code.loops[loop].end; at++) {
      const Step& s = code.steps[at];
      if (s.op == thread::Op::mma || s.op == thread::Op::mma_shared) {  // operands 0 and 1, or a place and operand 1
        const int lead = multiplies - std::max(made[s.args[0].first], made[s.args[1].first]);
        if (turn > 0 && multiplies > before && s.loop == loop) least = std::min(least.value_or(lead), lead);
        multiplies++;
        if (s.op == thread::Op::mma) ended = multiplies;
      }
      const auto later = static_cast<size_t>(s.imm);
      if (s.op == thread::Op::matrix_commit) groups.push_back(multiplies);
      if (s.op == thread::Op::matrix_wait && groups.size() > later) ended = groups[groups.size() - 1 - later];
      if (s.kind != Class::move) {
        if (s.result.count != 0) made[s.result.first] = ended;
      } else if (s.result.count != 0) {
        made[s.result.first] = latest(s);
      } else {
        std::vector<int> taken;
        const uint32_t half = s.args_count / 2;
        for (uint32_t a = 0; a < half; a++) taken.push_back(made[s.args[a].first]);
        for (uint32_t a = 0; a < half; a++) made[s.args[half + a].first] = taken[a];
      }
    }
  }
  return least;
}

}  // namespace lathe::sim
