// Asynchronous copies: their bytes arrive as late as they may, when the thread that began them waits.
#include <algorithm>
#include <cstring>

#include "backends/sim/actions_memory.h"

namespace lathe::sim::actions {

void async_copy(Wave& w, const Step& s) {
  const Shape all{static_cast<size_t>(thread::total_bits(s.type) / 8), 4, w.mask};
  const Shape travels = shape_of(w, s, 2);
  std::vector<Span> spans;
  for (int l = 0; l < w.lanes(); l++) {
    if (!w.active(l)) continue;
    Wave::Copy copy{
        l, w.committed[static_cast<size_t>(l)], s.index, shared_at(w, s, l), static_cast<uint8_t>(all.bytes), 0, {}};
    const std::string why = w.group.shared.begin_copy(s.index, copy.at, copy.size, w.access(l));
    if (!why.empty()) return w.fail(s, l, why);
    if (travels.lanes >> l & 1) {
      const uint64_t from = w.arg(s, 1)[l];
      if (!load_bytes(w, s, l, from, {copy.bytes.data(), all.bytes})) return;
      copy.travels = copy.size;
      spans.push_back({from, all.bytes});
    }
    w.copies.push_back(copy);
  }
  w.note_copies(static_cast<int64_t>(spans.size() * all.bytes));
  count_sectors(w.count(s), spans);
  count_shared(w, s, all);
}

// A simulated matrix instruction has ended before the next step.
void matrix_publish(Wave&, const Step&) {}
void matrix_begin(Wave&, const Step&) {}
void matrix_commit(Wave&, const Step&) {}
void matrix_wait(Wave&, const Step&) {}

/// A simulated launch has ended before the next one starts.
void launch_wait(Wave&, const Step&) {}

void async_commit(Wave& w, const Step&) {
  for (int l = 0; l < w.lanes(); l++) w.committed[static_cast<size_t>(l)] += w.active(l);
}

void async_wait(Wave& w, const Step& s) {
  int64_t landed = 0;
  const auto lands = [&](const Wave::Copy& c) {
    if (!w.active(c.lane) || c.group + s.imm >= int64_t{w.committed[static_cast<size_t>(c.lane)]}) return false;
    w.group.shared.land_copy(c.array, c.at, {c.bytes.data(), c.size}, w.access(c.lane));
    landed += c.travels;
    return true;
  };
  std::erase_if(w.copies, lands);
  w.note_copies(-landed);
}

}  // namespace lathe::sim::actions
