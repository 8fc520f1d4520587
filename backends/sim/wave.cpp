#include "backends/sim/wave.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace lathe::sim {
namespace {

using thread::Op;

/// The row of a source in one lane.
uint64_t source_bits(const Source& s, const Wave& w, int lane) {
  switch (s.op) {
    case Op::param: {
      const uint64_t raw = w.group.launch.params[static_cast<size_t>(s.imm)];
      return s.type == thread::kI64 ? raw : static_cast<uint32_t>(raw);
    }
    case Op::thread_id:
      return w.thread(lane);
    case Op::lane_id:
      return static_cast<uint64_t>(lane);
    case Op::subgroup_id:
      return w.subgroup;
    default: {
      const int unused = 64 - thread::bits(s.type.scalar);
      return static_cast<uint64_t>(s.imm) << unused >> unused;
    }
  }
}

/// Barriers of the workgroup: every subgroup must be at the same one.
bool meet(Workgroup& group, std::vector<Wave>& waves) {
  const auto at = [](const Wave& w) { return w.state == Wave::State::at_barrier; };
  const std::vector<Step>& steps = group.launch.code.steps;
  if (std::none_of(waves.begin(), waves.end(), at)) {
    for (Wave& w : waves)
      if (w.state == Wave::State::at_bulk) w.fail(steps[w.pc], -1, "waits for bytes that nobody copies");
    return false;
  }
  Wave& first = *std::find_if(waves.begin(), waves.end(), at);
  for (Wave& w : waves) {
    if (!at(w)) {
      const char* does = w.state == Wave::State::ended ? "has ended" : "for bytes that nobody copies";
      first.fail(steps[first.pc - 1], -1,
                 fmt::format("subgroup {} waits at a barrier, subgroup {} {}", first.subgroup, w.subgroup, does));
      return false;
    }
    if (w.pc != first.pc) {
      first.fail(steps[first.pc - 1], -1,
                 fmt::format("subgroup {} waits at another barrier than subgroup {}", first.subgroup, w.subgroup));
      return false;
    }
  }
  group.epoch++;
  group.global_epoch += steps[first.pc - 1].imm == 1;
  for (Wave& w : waves) {
    w.turn++;
    w.state = Wave::State::running;
  }
  return true;
}

/// Runs each subgroup until it waits for others, and again those whose bulk copies have come meanwhile.
void run_all(std::vector<Wave>& waves) {
  for (bool again = true; again;) {
    for (Wave& w : waves) w.run();
    again = false;
    for (Wave& w : waves)
      if (w.state == Wave::State::at_bulk && bulk_phase_ended(w, w.group.launch.code.steps[w.pc])) {
        w.state = Wave::State::running;
        again = true;
      }
  }
}

/// At the end of a workgroup.
void none_under_way(const Workgroup& group, Wave& w) {
  for (const BulkBarrier& b : group.bulk)
    if (b.expects || !b.under_way.empty())
      return w.fail(group.launch.code.steps.back(), -1, "the workgroup ends with a copy in bulk under way");
}

}  // namespace

Wave::Wave(Workgroup& group_, uint32_t subgroup_)
    : group(group_), subgroup(subgroup_), lanes_(group_.launch.code.func.subgroup_size) {
  const Code& p = group.launch.code;
  full_ = lanes_ == 64 ? ~uint64_t{0} : (uint64_t{1} << lanes_) - 1;
  rows_.resize(static_cast<size_t>(p.rows) * static_cast<size_t>(lanes_));
  brought_.resize(p.rows);
  for (const Source& s : p.sources)
    for (uint32_t c = 0; c < s.rows.count; c++)
      for (int l = 0; l < lanes_; l++) row(s.rows.first + c)[l] = source_bits(s, *this, l);
}

void Wave::restart() {
  pc = 0;
  state = State::running;
  mask = full_;
  frames.clear();
  copies.clear();
  committed.assign(static_cast<size_t>(lanes_), 0);
  issued_ = used_ = copies_in_flight_ = 0;
  most_ = {};
}

void Wave::note_load(const Rows& result, uint64_t bytes) {
  issued_ += bytes;
  brought_[result.first] = issued_;
  most_.loads = std::max(most_.loads, issued_ - used_);
}

void Wave::note_copies(int64_t bytes) {
  copies_in_flight_ += static_cast<uint64_t>(bytes);
  most_.copies = std::max(most_.copies, copies_in_flight_);
}

void Wave::watch(const Step& s) {
  const auto bring = [&](const Rows& r) { return r.loaded ? brought_[r.first] : 0; };
  if (s.watch == Watch::uses) {
    for (uint32_t i = 0; i < s.args_count; i++) used_ = std::max(used_, bring(s.args[i]));
  } else if (s.result.count != 0) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < s.args_count; i++) last = std::max(last, bring(s.args[i]));
    brought_[s.result.first] = last;
  } else {  // a move
    const uint32_t half = s.args_count / 2;
    std::vector<uint64_t> taken;
    for (uint32_t i = 0; i < half; i++) taken.push_back(bring(s.args[i]));
    for (uint32_t i = 0; i < half; i++) brought_[s.args[half + i].first] = taken[i];
  }
}

void Wave::run() {
  const std::vector<Step>& steps = group.launch.code.steps;
  StepCount* const counts = group.launch.counts.data();
  const auto end = static_cast<uint32_t>(steps.size());
  while (state == State::running && !group.launch.fault) {
    if (pc == end) {
      state = State::ended;
      return;
    }
    const Step& s = steps[pc];
    counts[pc].issued++;
    pc++;
    if (s.watch != Watch::none) watch(s);
    s.run(*this, s);
  }
}

void Wave::fail(const Step& s, int lane, const std::string& what, Fault::Cause cause) {
  if (group.launch.fault) return;
  const std::string line = s.loc.line ? fmt::format(" line {}", s.loc.line) : "";
  const std::string who = lane < 0 ? "" : fmt::format("thread {} ", thread(lane));
  group.launch.fault =
      Fault{cause, fmt::format("{}{}: {}: workgroup ({}, {}, {}): {}{}", group.launch.code.func.name, line,
                               thread::info(s.op).name, group.id[0], group.id[1], group.id[2], who, what)};
}

bool Wave::together(const Step& s) {
  if (mask == full_) return true;
  fail(s, -1, fmt::format("only {} of the {} lanes of subgroup {} are there", std::popcount(mask), lanes_, subgroup));
  return false;
}

void run(Launch& launch) {
  const Code& p = launch.code;
  launch.counts.assign(p.steps.size(), {});
  std::vector<Shared::Array> arrays;
  for (size_t a = 0; a < p.func.shared.size(); a++)
    arrays.push_back({p.func.shared[a].name, p.func.shared[a].bytes, p.cell_bytes[a]});
  Workgroup group(launch, arrays);
  std::vector<Wave> waves;
  waves.reserve(static_cast<size_t>(p.func.subgroups));
  for (uint32_t s = 0; s < static_cast<uint32_t>(p.func.subgroups); s++) waves.emplace_back(group, s);
  for (group.id[2] = 0; group.id[2] < launch.grid[2]; group.id[2]++)
    for (group.id[1] = 0; group.id[1] < launch.grid[1]; group.id[1]++)
      for (group.id[0] = 0; group.id[0] < launch.grid[0]; group.id[0]++) {
        group.shared.reset();
        group.epoch++;
        group.bulk.assign(static_cast<size_t>(p.func.bulk_barriers), {});
        for (Wave& w : waves) w.restart();
        do {
          run_all(waves);
          if (launch.fault) return;
        } while (meet(group, waves));
        none_under_way(group, waves[0]);
        if (launch.fault) return;
        FlightCount sum;
        for (const Wave& w : waves) sum = {sum.copies + w.most().copies, sum.loads + w.most().loads};
        launch.flight = {std::max(launch.flight.copies, sum.copies), std::max(launch.flight.loads, sum.loads)};
        group.number++;
      }
}

}  // namespace lathe::sim
