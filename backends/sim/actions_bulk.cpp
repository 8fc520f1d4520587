// Copies in bulk: they land when their phase has all its bytes, and a subgroup may touch what landed once it has
// waited.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backends/sim/actions_memory.h"

namespace lathe::sim {
namespace {

bool operands_agree(Wave& w, const Step& s) {
  if (!w.together(s)) return false;
  for (size_t a = 0; a < s.args_count; a++)
    if (!uniform(w, s, a)) return false;
  return true;
}

int32_t number(Wave& w, const Step& s, size_t operand) { return static_cast<int32_t>(w.arg(s, operand)[0]); }

/// The barrier of this number, or a fault.
BulkBarrier* barrier_of(Wave& w, const Step& s, size_t operand) {
  const auto at = static_cast<size_t>(number(w, s, operand));
  if (at < w.group.bulk.size()) return &w.group.bulk[at];
  w.fail(s, -1, fmt::format("bulk barrier {} of {}", number(w, s, operand), w.group.bulk.size()));
  return nullptr;
}

void end_phase(Workgroup& group, BulkBarrier& b) {
  if (!b.expects || b.left != 0) return;
  for (const BulkBarrier::Copy& c : b.under_way) group.shared.land_bulk(c.array, c.at, c.bytes);
  b.landed = std::move(b.under_way);
  b.under_way.clear();
  b.expects = false;
  b.phases++;
}

void begin(Wave& w, const Step& s, BulkBarrier& b, BulkBarrier::Copy copy) {
  const auto bytes = static_cast<int64_t>(copy.bytes.size());
  const std::string why = w.group.shared.begin_bulk(copy.array, copy.at, bytes, w.access_together());
  if (!why.empty()) return w.fail(s, -1, why);
  if (b.expects && b.left < bytes) return w.fail(s, -1, fmt::format("{} bytes where {} are expected", bytes, b.left));
  StepCount& count = w.count(s);
  count.wavefronts += static_cast<uint64_t>(bytes) / (kBanks * kBankBytes);
  count.least_wavefronts += static_cast<uint64_t>(bytes) / (kBanks * kBankBytes);
  w.note_copies(bytes);
  b.under_way.push_back(std::move(copy));
  b.left -= bytes;
  end_phase(w.group, b);
}

/// `bytes` from a 16-byte aligned address, in the accesses that memory is checked by.
bool read(Wave& w, const Step& s, uint64_t from, std::span<std::byte> to, size_t step) {
  for (size_t at = 0; at < to.size(); at += step)
    if (!load_bytes(w, s, 0, from + at, to.subspan(at, step))) return false;
  return true;
}

int64_t value_of(const Wave& w, const thread::Box::Number& n) {
  return n.slot < 0 ? n.value : static_cast<int64_t>(w.group.launch.params[static_cast<size_t>(n.slot)]);
}

}  // namespace

bool bulk_phase_ended(Wave& w, const Step& s) {
  const BulkBarrier* b = barrier_of(w, s, 0);
  return b != nullptr && (b->phases & 1) != (static_cast<uint32_t>(number(w, s, 1)) & 1);
}

namespace actions {

void bulk_expect(Wave& w, const Step& s) {
  BulkBarrier* b = operands_agree(w, s) ? barrier_of(w, s, 0) : nullptr;
  if (b == nullptr || (w.arg(s, 1)[0] & 1) == 0) return;
  if (b->expects) return w.fail(s, -1, "bytes are expected twice in one phase");
  b->expects = true;
  b->left += s.imm;
  if (b->left < 0) return w.fail(s, -1, fmt::format("{} bytes more are under way than expected", -b->left));
  end_phase(w.group, *b);
}

void bulk_copy(Wave& w, const Step& s) {
  BulkBarrier* b = operands_agree(w, s) ? barrier_of(w, s, 1) : nullptr;
  if (b == nullptr || (w.arg(s, 4)[0] & 1) == 0) return;
  const int64_t inside = number(w, s, 3);
  if (inside < 0 || inside > s.imm || inside % 16 != 0)
    return w.fail(s, -1, fmt::format("{} bytes of {} from memory", inside, s.imm));
  BulkBarrier::Copy copy{w.subgroup, s.index, number(w, s, 0), std::vector<std::byte>(static_cast<size_t>(s.imm))};
  const uint64_t from = w.arg(s, 2)[0];
  if (!read(w, s, from, std::span(copy.bytes).first(static_cast<size_t>(inside)), 16)) return;
  std::vector<Span> spans;
  if (inside > 0) spans.push_back({from, static_cast<uint64_t>(inside)});
  count_sectors(w.count(s), spans);
  begin(w, s, *b, std::move(copy));
}

void bulk_box(Wave& w, const Step& s) {
  BulkBarrier* b = operands_agree(w, s) ? barrier_of(w, s, 1) : nullptr;
  if (b == nullptr || (w.arg(s, 4)[0] & 1) == 0) return;
  constexpr int64_t kRow = thread::kBoxColumns * thread::kBoxElementBytes, kRowsRound = 8;
  const thread::Box& box = w.group.launch.code.func.boxes[static_cast<size_t>(s.imm)];
  const uint64_t address = w.group.launch.params[static_cast<size_t>(box.address)];
  const int64_t pitch = value_of(w, box.pitch), column = number(w, s, 2), first = number(w, s, 3), at = number(w, s, 0);
  if (at % (kRow * kRowsRound) != 0) return w.fail(s, -1, fmt::format("a box at byte {}", at));
  if (address % 16 != 0 || pitch % 8 != 0) return w.fail(s, -1, "rows of a box that are not 16-byte aligned");
  BulkBarrier::Copy copy{w.subgroup, s.index, at, std::vector<std::byte>(static_cast<size_t>(kRow * box.box_rows))};
  std::vector<Span> spans;
  for (int64_t r = 0; r < box.box_rows; r++) {
    const int64_t row = first + r;
    if (row < 0 || row >= value_of(w, box.rows)) continue;
    std::array<std::byte, static_cast<size_t>(kRow)> line{};
    const int64_t from = std::clamp<int64_t>(-column, 0, thread::kBoxColumns),
                  to = std::clamp<int64_t>(value_of(w, box.columns) - column, from, thread::kBoxColumns);
    const bool pieces = from % 8 == 0 && to % 8 == 0;
    const uint64_t start = address + static_cast<uint64_t>((row * pitch + column + from) * thread::kBoxElementBytes);
    const auto inside = std::span(line).subspan(static_cast<size_t>(2 * from), static_cast<size_t>(2 * (to - from)));
    if (!read(w, s, start, inside, pieces ? 16 : 2)) return;
    if (to > from) spans.push_back({start, inside.size()});
    for (int64_t p = 0; p < kRow / 16; p++)
      std::memcpy(copy.bytes.data() + r * kRow + ((p ^ (r % kRowsRound)) * 16), line.data() + p * 16, 16);
  }
  count_sectors(w.count(s), spans);
  begin(w, s, *b, std::move(copy));
}

/// The step runs again until its phase has ended.
void bulk_wait(Wave& w, const Step& s) {
  if (!operands_agree(w, s)) return;
  if (!bulk_phase_ended(w, s)) {
    if (w.group.launch.fault) return;
    w.state = Wave::State::at_bulk;
    w.count(s).issued--;
    w.pc--;
    return;
  }
  int64_t own = 0;
  for (const BulkBarrier::Copy& c : barrier_of(w, s, 0)->landed) {
    w.group.shared.see_bulk(c.array, c.at, static_cast<int64_t>(c.bytes.size()), w.access_together());
    if (c.subgroup == w.subgroup) own += static_cast<int64_t>(c.bytes.size());
  }
  w.note_copies(-own);
}

}  // namespace actions
}  // namespace lathe::sim
