#include "backends/sim/shared.h"

#include <fmt/format.h>

#include <cstring>

namespace lathe::sim {

Shared::Shared(const std::vector<Array>& arrays) {
  for (const Array& a : arrays) {
    const auto bytes = static_cast<size_t>(a.bytes);
    arrays_.push_back({a, std::vector<std::byte>(bytes), std::vector<Cell>(bytes / static_cast<size_t>(a.cell))});
  }
}

void Shared::reset() {
  generation_++;
  for (State& s : arrays_) {
    std::memset(s.bytes.data(), 0xa5, s.bytes.size());
    if (copies_)
      for (Cell& c : s.cells) c.copier = kNobody;
  }
  copies_ = false;
}

std::string Shared::name_of(uint16_t thread) {
  if (thread == kBulk) return "the unit for them";
  if (thread & Access::kTogether) return fmt::format("subgroup {}", thread & ~Access::kTogether);
  return fmt::format("thread {}", thread);
}

std::string Shared::place(const State& s, int64_t at, size_t bytes) const {
  return fmt::format("bytes {} to {} of shared array '{}'", at, at + static_cast<int64_t>(bytes) - 1, s.array.name);
}

std::string Shared::misplaced(const State& s, int64_t at, size_t bytes) const {
  if (at < 0 || at + static_cast<int64_t>(bytes) > s.array.bytes)
    return fmt::format("{}, which has {}", place(s, at, bytes), s.array.bytes);
  if (at % static_cast<int64_t>(bytes) != 0) return place(s, at, bytes) + ": the address is not aligned to the access";
  return {};
}

/// Two readers are kept, of two subgroups where there are such: any later writer that is in no order with some reader
/// of the epoch is in none with one of these.
void Shared::note_reader(Cell& c, const Access& who) {
  Touch& r0 = c.readers[0];
  Touch& r1 = c.readers[1];
  const Touch now{who.epoch, who.turn, who.thread, who.subgroup};
  if (r0.thread == who.thread || r0.before(who)) {
    r0 = now;
  } else if (r1.thread == who.thread || r1.before(who) || r1.subgroup == who.subgroup) {
    r1 = now;
  } else {
    r0 = now;
  }
}

std::string Shared::load(uint32_t array, int64_t at, std::span<std::byte> to, const Access& who) {
  State& s = arrays_[array];
  if (std::string why = misplaced(s, at, to.size()); !why.empty()) return "reads " + why;
  const int64_t cell = s.array.cell;
  for (int64_t b = at; b < at + static_cast<int64_t>(to.size()); b += cell) {
    Cell& c = s.cells[static_cast<size_t>(b / cell)];
    if (c.under_way(who))
      return fmt::format("reads {}, where an asynchronous copy of {} has not been waited for", place(s, at, to.size()),
                         name_of(c.copier));
    if (c.defined != generation_) return fmt::format("reads {}, which nobody wrote", place(s, at, to.size()));
    if (c.copier != kBulk && !c.writer.before(who))
      return fmt::format("reads {}, which {} wrote with no barrier between", place(s, at, to.size()),
                         name_of(c.writer.thread));
    note_reader(c, who);
  }
  std::memcpy(to.data(), s.bytes.data() + at, to.size());
  return {};
}

std::string Shared::store(uint32_t array, int64_t at, std::span<const std::byte> from, const Access& who) {
  State& s = arrays_[array];
  if (std::string why = misplaced(s, at, from.size()); !why.empty()) return "writes " + why;
  const int64_t cell = s.array.cell;
  for (int64_t b = at; b < at + static_cast<int64_t>(from.size()); b += cell) {
    Cell& c = s.cells[static_cast<size_t>(b / cell)];
    if (c.under_way(who))
      return fmt::format("writes {}, where an asynchronous copy of {} has not been waited for",
                         place(s, at, from.size()), name_of(c.copier));
    // Equal bytes are no conflict: copies of a tile may be stored by all who hold them.
    if (!c.writer.before(who) &&
        std::memcmp(s.bytes.data() + b, from.data() + (b - at), static_cast<size_t>(cell)) != 0)
      return fmt::format("writes {}, which {} wrote otherwise with no barrier between", place(s, at, from.size()),
                         name_of(c.writer.thread));
    for (const Touch& r : c.readers)
      if (!r.before(who))
        return fmt::format("writes {}, which {} read with no barrier between", place(s, at, from.size()),
                           name_of(r.thread));
    c.copier = kNobody;
    c.writer = {who.epoch, who.turn, who.thread, who.subgroup};
    c.defined = generation_;
  }
  std::memcpy(s.bytes.data() + at, from.data(), from.size());
  return {};
}

std::string Shared::may_copy(const State& s, int64_t at, int64_t bytes, const Access& who) const {
  const auto size = static_cast<size_t>(bytes);
  for (int64_t b = at; b < at + bytes; b += s.array.cell) {
    const Cell& c = s.cells[static_cast<size_t>(b / s.array.cell)];
    if (c.under_way(who))
      return fmt::format("copies to {}, where an asynchronous copy of {} has not been waited for", place(s, at, size),
                         name_of(c.copier));
    const Touch* others[] = {&c.writer, &c.readers[0], &c.readers[1]};
    for (const Touch* t : others)
      if (!t->before(who))
        return fmt::format("copies to {}, which {} {} with no barrier between", place(s, at, size), name_of(t->thread),
                           t == &c.writer ? "wrote" : "read");
  }
  return {};
}

std::string Shared::begin_copy(uint32_t array, int64_t at, int64_t bytes, const Access& who) {
  State& s = arrays_[array];
  if (std::string why = misplaced(s, at, static_cast<size_t>(bytes)); !why.empty()) return "copies to " + why;
  if (std::string why = may_copy(s, at, bytes, who); !why.empty()) return why;
  for (int64_t b = at; b < at + bytes; b += s.array.cell)
    s.cells[static_cast<size_t>(b / s.array.cell)].copier = who.thread;
  copies_ = true;
  return {};
}

std::string Shared::begin_bulk(uint32_t array, int64_t at, int64_t bytes, const Access& who) {
  State& s = arrays_[array];
  if (at < 0 || at + bytes > s.array.bytes || at % 16 != 0)
    return fmt::format("copies to {}: outside or not at a multiple of 16", place(s, at, static_cast<size_t>(bytes)));
  if (std::string why = may_copy(s, at, bytes, who); !why.empty()) return why;
  for (int64_t b = at; b < at + bytes; b += s.array.cell) {
    Cell& c = s.cells[static_cast<size_t>(b / s.array.cell)];
    c = {};
    c.copier = kBulk;
  }
  copies_ = true;
  return {};
}

void Shared::land_bulk(uint32_t array, int64_t at, std::span<const std::byte> from) {
  State& s = arrays_[array];
  for (int64_t b = at; b < at + static_cast<int64_t>(from.size()); b += s.array.cell)
    s.cells[static_cast<size_t>(b / s.array.cell)].defined = generation_;
  std::memcpy(s.bytes.data() + at, from.data(), from.size());
}

void Shared::see_bulk(uint32_t array, int64_t at, int64_t bytes, const Access& who) {
  State& s = arrays_[array];
  for (int64_t b = at; b < at + bytes; b += s.array.cell) {
    Cell& c = s.cells[static_cast<size_t>(b / s.array.cell)];
    if (c.seen == 0) c.seen_in = who.epoch;
    c.seen |= 1U << who.subgroup;
  }
}

void Shared::land_copy(uint32_t array, int64_t at, std::span<const std::byte> from, const Access& who) {
  State& s = arrays_[array];
  const int64_t cell = s.array.cell;
  for (int64_t b = at; b < at + static_cast<int64_t>(from.size()); b += cell) {
    Cell& c = s.cells[static_cast<size_t>(b / cell)];
    c.copier = kNobody;
    c.writer = {who.epoch, who.turn, who.thread, who.subgroup};
    c.defined = generation_;
  }
  std::memcpy(s.bytes.data() + at, from.data(), from.size());
}

}  // namespace lathe::sim
