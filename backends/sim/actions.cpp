// Steps that compute, move and steer; memory and fragments have their own files.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/sim/wave.h"

namespace lathe::sim::actions {
namespace {

/// Rows under the mask: what the other lanes hold stays.
void copy_row(const Wave& w, const uint64_t* from, uint64_t* to) {
  if (w.mask == w.full()) {
    std::memmove(to, from, static_cast<size_t>(w.lanes()) * sizeof(uint64_t));
    return;
  }
  for (int l = 0; l < w.lanes(); l++)
    if (w.active(l)) to[l] = from[l];
}

/// The component that a scalar operand has for all of a vector's.
const uint64_t* broadcast(Wave& w, const Step& s, size_t i, uint32_t component) {
  return w.arg(s, i, s.args[i].count == 1 ? 0 : component);
}

constexpr uint32_t kTurnsBetweenLooks = 4096;  ///< at the clock

}  // namespace

void lanewise(Wave& w, const Step& s) {
  uint64_t undefined = 0;
  for (uint32_t c = 0; c < s.result.count; c++) {
    const uint64_t* x[3] = {};
    for (size_t i = 0; i < s.args_count; i++) x[i] = broadcast(w, s, i, c);
    undefined |= s.lanes(x, w.result(s, c), w.lanes());
  }
  if ((undefined & w.mask) == 0) return;
  const bool shift = s.op == thread::Op::shl || s.op == thread::Op::shr_u || s.op == thread::Op::shr_s;
  w.fail(s, std::countr_zero(undefined & w.mask), shift ? "shifts by the width or more" : "divides by zero",
         shift ? Fault::Cause::program : Fault::Cause::arguments);
}

void group_id(Wave& w, const Step& s) { std::fill_n(w.result(s), w.lanes(), w.group.id[static_cast<size_t>(s.imm)]); }

void bitcast(Wave& w, const Step& s) {
  const uint64_t* x[4] = {};
  uint64_t* out[4] = {};
  for (uint32_t c = 0; c < s.args[0].count; c++) x[c] = w.arg(s, 0, c);
  for (uint32_t c = 0; c < s.result.count; c++) out[c] = w.result(s, c);
  thread::regroup_rows(x, thread::bits(s.from.scalar), out, s.result.count, thread::bits(s.type.scalar), w.lanes());
}

void concatenate(Wave& w, const Step& s) {
  uint32_t at = 0;
  for (size_t i = 0; i < s.args_count; i++)
    for (uint32_t c = 0; c < s.args[i].count; c++, at++) std::copy_n(w.arg(s, i, c), w.lanes(), w.result(s, at));
}

void component(Wave& w, const Step& s) {
  for (uint32_t c = 0; c < s.result.count; c++)
    std::copy_n(w.arg(s, 0, static_cast<uint32_t>(s.imm) + c), w.lanes(), w.result(s, c));
}

void move(Wave& w, const Step& s) {
  const size_t half = s.args_count / 2;
  const auto lanes = static_cast<size_t>(w.lanes());
  std::vector<uint64_t> taken;
  if (!s.apart)
    for (size_t i = 0; i < half; i++)
      for (uint32_t c = 0; c < s.args[i].count; c++) taken.insert(taken.end(), w.arg(s, i, c), w.arg(s, i, c) + lanes);
  size_t at = 0;
  for (size_t i = 0; i < half; i++)
    for (uint32_t c = 0; c < s.args[i].count; c++, at += lanes)
      copy_row(w, s.apart ? w.arg(s, i, c) : taken.data() + at, w.row(s.args[half + i].first + c));
}

// ---- control

void enter_loop(Wave& w, const Step&) { w.frames.push_back({w.mask, 0}); }

void test_loop(Wave& w, const Step& s) {
  const uint64_t *index = w.arg(s, 0), *bound = w.arg(s, 1);
  uint64_t more = 0;
  for (int l = 0; l < w.lanes(); l++)
    more |= uint64_t{static_cast<int32_t>(index[l]) < static_cast<int32_t>(bound[l])} << l;
  w.mask &= more;
  if (w.mask != 0) return;
  w.mask = w.frames.back().before;
  w.frames.pop_back();
  w.pc = s.target;
}

void next_turn(Wave& w, const Step& s) {
  uint64_t* index = w.row(s.args[0].first);
  const uint64_t* step = w.arg(s, 1);
  for (int l = 0; l < w.lanes(); l++)
    if (w.active(l)) index[l] = static_cast<uint32_t>(index[l] + step[l]);
  w.pc = s.target;
  if (w.count(s).issued % kTurnsBetweenLooks == 0 && std::chrono::steady_clock::now() > w.group.launch.deadline)
    w.fail(s, -1, "the loop does not end in time", Fault::Cause::time);
}

void enter_branch(Wave& w, const Step& s) {
  const uint64_t* condition = w.arg(s, 0);
  uint64_t taken = 0;
  for (int l = 0; l < w.lanes(); l++) taken |= (condition[l] & 1) << l;
  w.frames.push_back({w.mask, w.mask & ~taken});
  w.mask &= taken;
  if (w.mask == 0) w.pc = s.target;
}

void other_branch(Wave& w, const Step& s) {
  w.mask = w.frames.back().other;
  if (w.mask == 0) w.pc = s.target;
}

void leave_branch(Wave& w, const Step&) {
  w.mask = w.frames.back().before;
  w.frames.pop_back();
}

void test_while(Wave& w, const Step& s) {
  const uint64_t* condition = w.arg(s, 0);
  for (int l = 0; l < w.lanes(); l++)
    if ((condition[l] & 1) == 0) w.mask &= ~(uint64_t{1} << l);
  if (w.mask != 0) return;
  w.mask = w.frames.back().before;
  w.frames.pop_back();
  w.pc = s.target;
}

void exit_if(Wave& w, const Step& s) {
  if (!w.together(s)) return;
  uint64_t taken = 0;
  for (int l = 0; l < w.lanes(); l++) taken |= (w.arg(s, 0)[l] & 1) << l;
  if (taken != 0 && taken != w.full()) return w.fail(s, -1, "some lanes end the workgroup, others do not");
  if (taken != 0) w.state = Wave::State::ended;
}

void again(Wave& w, const Step& s) {
  w.pc = s.target;
  if (w.count(s).issued % kTurnsBetweenLooks == 0 && std::chrono::steady_clock::now() > w.group.launch.deadline)
    w.fail(s, -1, "the loop does not end in time", Fault::Cause::time);
}

void barrier(Wave& w, const Step& s) {
  if (w.together(s)) w.state = Wave::State::at_barrier;
}

void barrier_subgroup(Wave& w, const Step& s) {
  if (w.together(s)) w.turn++;
}

// ---- between lanes

void shuffle_xor(Wave& w, const Step& s) {
  if (!w.together(s)) return;
  const uint64_t* x = w.arg(s, 0);
  for (int l = 0; l < w.lanes(); l++) {
    const int64_t from = l ^ s.imm;
    if (from < 0 || from >= w.lanes()) return w.fail(s, l, fmt::format("takes the value of lane {}", from));
    w.result(s)[l] = x[from];
  }
}

void shuffle_index(Wave& w, const Step& s) {
  if (!w.together(s)) return;
  const uint64_t *x = w.arg(s, 0), *from = w.arg(s, 1);
  for (int l = 0; l < w.lanes(); l++) {
    if (from[l] >= static_cast<uint64_t>(w.lanes()))
      return w.fail(s, l, fmt::format("takes the value of lane {}", static_cast<int32_t>(from[l])));
    w.result(s)[l] = x[from[l]];
  }
}

}  // namespace lathe::sim::actions
