// Loads and stores of global and shared memory: the checks, the bytes, and what they cost.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backends/sim/actions_memory.h"

namespace lathe::sim {

// ---- cost

void count_sectors(StepCount& count, std::vector<Span>& spans) {
  if (spans.empty()) return;
  if (!std::is_sorted(spans.begin(), spans.end())) std::sort(spans.begin(), spans.end());
  uint64_t distinct = 0, covered = 0, next_sector = 0;
  for (const Span& s : spans) {
    const uint64_t end = s.first + s.bytes;
    if (end > covered) distinct += end - std::max(covered, s.first);
    covered = std::max(covered, end);
    const uint64_t from = std::max(next_sector, s.first / kSectorBytes), to = (end - 1) / kSectorBytes + 1;
    if (to > from) count.sectors += to - from;
    next_sector = std::max(next_sector, to);
  }
  count.least_sectors += (distinct + kSectorBytes - 1) / kSectorBytes;
}

void count_wavefronts(StepCount& count, std::span<const Span> phase) {
  if (phase.empty()) return;
  // Words that were seen in each bank; few, so that a list is enough.
  std::vector<uint64_t> words;
  for (const Span& s : phase)
    for (uint64_t word = s.first / kBankBytes; word <= (s.first + s.bytes - 1) / kBankBytes; word++)
      words.push_back(word);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  uint32_t in_bank[kBanks] = {}, most = 0;
  for (const uint64_t word : words) most = std::max(most, ++in_bank[word % kBanks]);
  count.wavefronts += most;
  count.least_wavefronts += (words.size() + kBanks - 1) / kBanks;
}

// ---- one lane

bool load_bytes(Wave& w, const Step& s, int lane, uint64_t address, std::span<std::byte> to) {
  const Block* b = w.group.launch.memory.find(address, to.size());
  const auto what = [&] { return fmt::format("reads {} bytes at address {:#x}", to.size(), address); };
  if (b == nullptr) {
    w.fail(s, lane, what() + ", which is in no buffer", Fault::Cause::arguments);
    return false;
  }
  if (address % to.size() != 0) {
    w.fail(s, lane, what() + ", which is not aligned to them");
    return false;
  }
  const uint64_t at = address - b->address;
  for (size_t i = 0; i < to.size(); i++)
    if (b->written[at + i] == 0) {
      w.fail(s, lane, fmt::format("{}: byte {} of a buffer of {} was never written", what(), at + i, b->bytes),
             Fault::Cause::arguments);
      return false;
    }
  std::memcpy(to.data(), b->data.get() + at, to.size());
  return true;
}

bool store_bytes(Wave& w, const Step& s, int lane, uint64_t address, std::span<const std::byte> from) {
  Launch& launch = w.group.launch;
  Block* b = launch.memory.find(address, from.size());
  const auto what = [&] { return fmt::format("writes {} bytes at address {:#x}", from.size(), address); };
  if (b == nullptr) {
    w.fail(s, lane, what() + ", which is in no buffer", Fault::Cause::arguments);
    return false;
  }
  if (address % from.size() != 0) {
    w.fail(s, lane, what() + ", which is not aligned to them");
    return false;
  }
  const uint64_t threads = static_cast<uint64_t>(launch.code.func.subgroups) * static_cast<uint64_t>(w.lanes());
  const auto group = static_cast<uint32_t>(launch.first_thread + w.group.number * threads);
  const auto clash = launch.memory.store(*b, address, from, {group + w.thread(lane), group, w.group.global_epoch});
  if (!clash) return true;
  const uint64_t other = clash->thread - launch.first_thread;
  const std::string writer = clash->thread < launch.first_thread
                                 ? "a launch that may overlap"
                                 : fmt::format("thread {} of workgroup number {}", other % threads, other / threads);
  w.fail(s, lane,
         fmt::format("{}: byte {} was written otherwise by {} in no order with this", what(),
                     clash->address - b->address, writer));
  return false;
}

// ---- all lanes

Shape shape_of(Wave& w, const Step& s, size_t predicate) {
  const auto part = static_cast<size_t>(thread::bits(s.type.scalar) / 8);
  uint64_t lanes = w.mask;
  if (s.args_count > predicate) {
    const uint64_t* ok = w.arg(s, predicate);
    for (int l = 0; l < w.lanes(); l++) lanes &= ~(uint64_t{(ok[l] & 1) == 0} << l);
  }
  return {part * s.type.lanes, part, lanes};
}

int64_t shared_at(Wave& w, const Step& s, int lane) { return static_cast<int32_t>(w.arg(s, 0)[lane]) + s.imm; }

void count_shared(Wave& w, const Step& s, const Shape& shape) {
  const int phase = static_cast<int>(std::min<size_t>(kBanks, kBanks * kBankBytes / shape.bytes));
  std::vector<Span> spans;
  for (int first = 0; first < w.lanes(); first += phase) {
    spans.clear();
    for (int l = first; l < std::min(first + phase, w.lanes()); l++)
      if (shape.lanes >> l & 1) spans.push_back({static_cast<uint64_t>(shared_at(w, s, l)), shape.bytes});
    count_wavefronts(w.count(s), spans);
  }
}

bool uniform(Wave& w, const Step& s, size_t operand) {
  const uint64_t* x = w.arg(s, operand);
  for (int l = 1; l < w.lanes(); l++)
    if (x[l] != x[0]) {
      w.fail(s, l, fmt::format("has another operand {} than lane 0", operand));
      return false;
    }
  return true;
}

namespace actions {
namespace {

uint64_t global_at(Wave& w, const Step& s, int lane) { return w.arg(s, 0)[lane] + static_cast<uint64_t>(s.imm); }

void spread(Wave& w, const Step& s, const Shape& shape, int lane, const std::byte* from) {
  for (uint32_t c = 0; c < s.result.count; c++) {
    uint64_t raw = 0;
    std::memcpy(&raw, from + c * shape.part, shape.part);
    w.result(s, c)[lane] = raw;
  }
}
void collect(Wave& w, const Step& s, const Shape& shape, int lane, std::byte* to) {
  for (uint32_t c = 0; c < s.args[1].count; c++) std::memcpy(to + c * shape.part, &w.arg(s, 1, c)[lane], shape.part);
}
void clear(Wave& w, const Step& s) {
  for (uint32_t c = 0; c < s.result.count; c++) std::fill_n(w.result(s, c), w.lanes(), 0);
}

}  // namespace

void load_global(Wave& w, const Step& s) {
  const Shape shape = shape_of(w, s, 1);
  std::vector<Span> spans;
  std::byte bytes[16];
  clear(w, s);
  for (int l = 0; l < w.lanes(); l++) {
    if (!(shape.lanes >> l & 1)) continue;
    const uint64_t at = global_at(w, s, l);
    if (!load_bytes(w, s, l, at, {bytes, shape.bytes})) return;
    spread(w, s, shape, l, bytes);
    spans.push_back({at, shape.bytes});
  }
  w.note_load(s.result, spans.size() * shape.bytes);
  count_sectors(w.count(s), spans);
}

void store_global(Wave& w, const Step& s) {
  const Shape shape = shape_of(w, s, 2);
  std::vector<Span> spans;
  std::byte bytes[16];
  for (int l = 0; l < w.lanes(); l++) {
    if (!(shape.lanes >> l & 1)) continue;
    const uint64_t at = global_at(w, s, l);
    collect(w, s, shape, l, bytes);
    if (!store_bytes(w, s, l, at, {bytes, shape.bytes})) return;
    spans.push_back({at, shape.bytes});
  }
  count_sectors(w.count(s), spans);
}

namespace {

/// Lane after lane. A word may reach past the end of its buffer; the bytes there are nobody's. Atomics are in order
/// with each other, so they count as nobody's writes.
template <class F>
void atomic(Wave& w, const Step& s, F f) {
  const Shape shape = shape_of(w, s, 2);
  std::vector<Span> spans;
  clear(w, s);
  for (int l = 0; l < w.lanes(); l++) {
    if (!(shape.lanes >> l & 1)) continue;
    const uint64_t at = global_at(w, s, l);
    Block* b = w.group.launch.memory.find(at, 1);
    if (b == nullptr || at % 4 != 0) return w.fail(s, l, fmt::format("changes the word at address {:#x}", at));
    const uint64_t first = at - b->address, room = std::min<uint64_t>(4, b->bytes - first);
    uint32_t word = 0;
    std::memcpy(&word, b->data.get() + first, room);
    w.result(s)[l] = word;
    word = f(word, static_cast<uint32_t>(w.arg(s, 1)[l]));
    std::memcpy(b->data.get() + first, &word, room);
    std::memset(b->written.get() + first, 0xff, room);
    spans.push_back({at, 4});
  }
  count_sectors(w.count(s), spans);
}

}  // namespace

void atomic_add(Wave& w, const Step& s) {
  atomic(w, s, [](uint32_t a, uint32_t b) { return a + b; });
}
void atomic_and(Wave& w, const Step& s) {
  atomic(w, s, [](uint32_t a, uint32_t b) { return a & b; });
}
void atomic_or(Wave& w, const Step& s) {
  atomic(w, s, [](uint32_t a, uint32_t b) { return a | b; });
}
void fence(Wave&, const Step&) {}  // workgroups run one after another

void load_shared(Wave& w, const Step& s) {
  const Shape shape = shape_of(w, s, 1);
  std::byte bytes[16];
  clear(w, s);
  for (int l = 0; l < w.lanes(); l++) {
    if (!(shape.lanes >> l & 1)) continue;
    const std::string why = w.group.shared.load(s.index, shared_at(w, s, l), {bytes, shape.bytes}, w.access(l));
    if (!why.empty()) return w.fail(s, l, why);
    spread(w, s, shape, l, bytes);
  }
  count_shared(w, s, shape);
}

void load_matrix(Wave& w, const Step& s) {
  clear(w, s);
  if (!w.together(s)) return;
  const auto rows = 8 * static_cast<int>(s.result.count);
  for (int row = 0; row < rows; row++) {
    std::byte bytes[16];
    const std::string why = w.group.shared.load(s.index, shared_at(w, s, row), bytes, w.access_together());
    if (!why.empty()) return w.fail(s, row, why);
    for (int word = 0; word < 4; word++) {
      uint32_t raw = 0;
      std::memcpy(&raw, bytes + 4 * word, 4);
      w.result(s, static_cast<uint32_t>(row / 8))[row % 8 * 4 + word] = raw;
    }
  }
  count_shared(w, s, {16, 4, (uint64_t{1} << rows) - 1});
}

void store_shared(Wave& w, const Step& s) {
  const Shape shape = shape_of(w, s, 2);
  std::byte bytes[16];
  for (int l = 0; l < w.lanes(); l++) {
    if (!(shape.lanes >> l & 1)) continue;
    collect(w, s, shape, l, bytes);
    const std::string why = w.group.shared.store(s.index, shared_at(w, s, l), {bytes, shape.bytes}, w.access(l));
    if (!why.empty()) return w.fail(s, l, why);
  }
  count_shared(w, s, shape);
}

}  // namespace actions
}  // namespace lathe::sim
