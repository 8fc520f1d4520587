// Matrix fragments: every lane's elements by the device's own lane map.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backends/sim/actions_memory.h"

namespace lathe::sim::actions {
namespace {

using thread::Scalar;

const LaneMap* map_of(Wave& w, const Step& s, const thread::Type& fragment) {
  const LaneMap* map = w.group.launch.matrices.find(fragment);
  if (map == nullptr) w.fail(s, -1, fmt::format("the device has no matrix {}", to_string(fragment)));
  return map;
}

/// Where the element lies in memory, in elements from the matrix's start.
int64_t offset_of(Wave& w, const Step& s, const LaneMap& map, uint32_t element, size_t stride_operand) {
  const auto stride = static_cast<int32_t>(w.arg(s, stride_operand)[0]);
  const int64_t row = element / static_cast<uint32_t>(map.cols), column = element % static_cast<uint32_t>(map.cols);
  return s.imm == 1 ? column * stride + row : row * stride + column;
}

/// Calls visit(lane, slot, offset in elements) for every element of every lane.
template <class Visit>
void each_place(Wave& w, const Step& s, const LaneMap& map, uint32_t slots, size_t stride_operand, const Visit& visit) {
  for (uint32_t slot = 0; slot < std::min(slots, static_cast<uint32_t>(map.slots)); slot++)
    for (int lane = 0; lane < w.lanes(); lane++) {
      const uint32_t element = map.element[slot * static_cast<uint32_t>(w.lanes()) + static_cast<uint32_t>(lane)];
      if (!visit(lane, slot, offset_of(w, s, map, element, stride_operand))) return;
    }
}

/// What the elements of an operand are taken for.
struct Reading {
  Scalar scalar;
  bool is_signed, keeps_subnormals;
};

void decode(const Reading& as, const uint64_t* raw, double* out, int n) {
  if (as.scalar == Scalar::i8)
    for (int l = 0; l < n; l++) out[l] = as.is_signed ? static_cast<int8_t>(raw[l]) : static_cast<uint8_t>(raw[l]);
  else if (as.scalar == Scalar::i32)
    for (int l = 0; l < n; l++) out[l] = static_cast<int32_t>(raw[l]);
  else
    thread::decode_row(as.scalar, raw, out, n);
  if (as.scalar == Scalar::f16 && !as.keeps_subnormals)
    for (int l = 0; l < n; l++)
      if ((raw[l] & 0x7c00) == 0) out[l] = 0;
}

void encode(Scalar t, const double* values, uint64_t* out, int n) {
  if (t != Scalar::i32) return thread::encode_row(t, values, out, n);
  for (int l = 0; l < n; l++)
    out[l] = static_cast<uint32_t>(static_cast<int64_t>(values[l]));  // sums are whole: they wrap
}

/// Whether all copies of every element are equal.
bool copies_agree(Wave& w, const Step& s, size_t operand, const LaneMap& map) {
  const auto lanes = static_cast<uint32_t>(w.lanes());
  for (uint32_t slot = 0; map.copied && slot < static_cast<uint32_t>(map.slots); slot++)
    for (uint32_t lane = 0; lane < lanes; lane++) {
      const uint32_t home = map.home[map.element[slot * lanes + lane]];
      if (w.arg(s, operand, slot)[lane] == w.arg(s, operand, home / lanes)[home % lanes]) continue;
      w.fail(s, static_cast<int>(lane),
             fmt::format("holds another copy of an element of operand {} than lane {}", operand, home % lanes));
      return false;
    }
  return true;
}

/// An operand's values as a row-major matrix; false after a fault.
bool gather(Wave& w, const Step& s, size_t operand, const LaneMap& map, const Reading& as, std::vector<double>& out) {
  thread_local std::vector<double> values;
  const auto lanes = static_cast<size_t>(w.lanes());
  values.resize(static_cast<size_t>(map.slots) * lanes);
  for (size_t slot = 0; slot < static_cast<size_t>(map.slots); slot++)
    decode(as, w.arg(s, operand, static_cast<uint32_t>(slot)), values.data() + slot * lanes, w.lanes());
  out.resize(map.home.size());
  for (size_t e = 0; e < out.size(); e++) out[e] = values[map.home[e]];
  return copies_agree(w, s, operand, map);
}

}  // namespace

void frag_fill(Wave& w, const Step& s) {
  if (!w.together(s)) return;
  for (uint32_t c = 0; c < s.result.count; c++) std::copy_n(w.arg(s, 0), w.lanes(), w.result(s, c));
}

void frag_length(Wave& w, const Step& s) {
  if (const LaneMap* map = map_of(w, s, s.from)) std::fill_n(w.result(s), w.lanes(), static_cast<uint64_t>(map->slots));
}

namespace {

/// sum += x * y, and the sum's elements to the result's lanes.
void multiply(Wave& w, const Step& s, const LaneMap& map_c, size_t k, std::vector<double>& x,
              const std::vector<double>& y, std::vector<double>& sum) {
  const thread::Type& c = s.type;
  const size_t m = c.rows, n = c.cols;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < k; j++)
      for (size_t l = 0; l < n; l++) sum[i * n + l] += x[i * k + j] * y[j * n + l];
  const auto lanes = static_cast<size_t>(w.lanes());
  x.resize(lanes);
  for (uint32_t slot = 0; slot < s.result.count; slot++) {
    for (size_t lane = 0; lane < lanes; lane++) x[lane] = sum[map_c.element[slot * lanes + lane]];
    encode(c.scalar, x.data(), w.result(s, slot), w.lanes());
  }
}

/// Operand b in shared memory: column j at row j of 128 bytes, its 16-byte pieces swizzled by the row's address.
bool read_b(Wave& w, const Step& s, const thread::Type& a, size_t columns, std::vector<double>& y) {
  constexpr size_t kRow = 128, kPiece = 16, kElements = kPiece / 2;
  y.resize(a.cols * columns);
  const int64_t start = static_cast<int32_t>(w.arg(s, 0)[0]) + s.imm;
  for (size_t j = 0; j < columns; j++)
    for (size_t piece = 0; piece < a.cols / kElements; piece++) {
      const int64_t at = start + static_cast<int64_t>(j * kRow + piece * kPiece);
      uint16_t halves[kElements];
      const std::string why =
          w.group.shared.load(s.index, at ^ (at / static_cast<int64_t>(kRow) % 8 * static_cast<int64_t>(kPiece)),
                              std::as_writable_bytes(std::span(halves)), w.access_together());
      if (!why.empty()) return w.fail(s, 0, why), false;
      uint64_t raw[kElements];
      double values[kElements];
      std::copy(std::begin(halves), std::end(halves), raw);
      decode({a.scalar, false, true}, raw, values, kElements);
      for (size_t e = 0; e < kElements; e++) y[(piece * kElements + e) * columns + j] = values[e];
    }
  return true;
}

}  // namespace

void mma_shared(Wave& w, const Step& s) {
  const thread::Type &a = s.from, &c = s.type;
  if (!w.together(s) || !uniform(w, s, 0)) return;
  const LaneMap *map_a = map_of(w, s, a), *map_c = map_of(w, s, c);
  thread_local std::vector<double> x, y, sum;
  if (map_a == nullptr || map_c == nullptr || !gather(w, s, 1, *map_a, {a.scalar, false, true}, x) ||
      !gather(w, s, 2, *map_c, {c.scalar, true, true}, sum) || !read_b(w, s, a, c.cols, y))
    return;
  multiply(w, s, *map_c, a.cols, x, y, sum);
}

void mma(Wave& w, const Step& s) {
  if (!w.together(s)) return;
  const thread::Type& c = s.type;
  thread::Type a = s.from, b = c;
  b.use = thread::Use::b, b.rows = a.cols, b.scalar = a.scalar;
  const LaneMap *map_a = map_of(w, s, a), *map_b = map_of(w, s, b), *map_c = map_of(w, s, c);
  if (map_a == nullptr || map_b == nullptr || map_c == nullptr) return;
  thread_local std::vector<double> x, y, sum;
  const bool keeps = w.group.launch.matrices.keeps_f16_subnormals;
  if (!gather(w, s, 0, *map_a, {a.scalar, (s.imm & 1) != 0, keeps}, x) ||
      !gather(w, s, 1, *map_b, {a.scalar, (s.imm & 2) != 0, keeps}, y) ||
      !gather(w, s, 2, *map_c, {c.scalar, true, true}, sum))
    return;
  multiply(w, s, *map_c, a.cols, x, y, sum);
}

void frag_load(Wave& w, const Step& s) {
  const LaneMap* map = w.together(s) && uniform(w, s, 0) && uniform(w, s, 1) ? map_of(w, s, s.type) : nullptr;
  if (map == nullptr) return;
  const auto bytes = static_cast<uint64_t>(thread::bits(s.type.scalar) / 8);
  std::vector<Span> spans;
  each_place(w, s, *map, s.result.count, 1, [&](int lane, uint32_t slot, int64_t offset) {
    const uint64_t at = w.arg(s, 0)[0] + static_cast<uint64_t>(offset) * bytes;
    uint64_t raw = 0;
    if (!load_bytes(w, s, lane, at, {reinterpret_cast<std::byte*>(&raw), bytes})) return false;
    w.result(s, slot)[lane] = raw;
    spans.push_back({at, bytes});
    return true;
  });
  count_sectors(w.count(s), spans);
}

void frag_store(Wave& w, const Step& s) {
  const LaneMap* map = w.together(s) && uniform(w, s, 0) && uniform(w, s, 2) ? map_of(w, s, s.type) : nullptr;
  if (map == nullptr) return;
  const auto bytes = static_cast<uint64_t>(thread::bits(s.type.scalar) / 8);
  std::vector<Span> spans;
  each_place(w, s, *map, s.args[1].count, 2, [&](int lane, uint32_t slot, int64_t offset) {
    const uint64_t at = w.arg(s, 0)[0] + static_cast<uint64_t>(offset) * bytes;
    spans.push_back({at, bytes});
    return store_bytes(w, s, lane, at, {reinterpret_cast<const std::byte*>(&w.arg(s, 1, slot)[lane]), bytes});
  });
  count_sectors(w.count(s), spans);
}

namespace {

/// Shared memory moves eight pieces of 16 bytes at a time, one of each line of the matrix.
void count_shared_fragment(Wave& w, const Step& s, const LaneMap& map, size_t stride_operand) {
  const auto part = static_cast<uint64_t>(thread::bits(s.type.scalar) / 8);
  const bool columns = s.imm == 1;
  const auto lines = static_cast<uint64_t>(columns ? map.cols : map.rows),
             run = part * static_cast<uint64_t>(columns ? map.rows : map.cols);
  const uint64_t start = static_cast<uint32_t>(w.arg(s, 0)[0]), pitch = w.arg(s, stride_operand)[0] * part;
  const uint64_t piece = std::min<uint64_t>(16, run), together = kBanks * kBankBytes / piece;
  for (uint64_t at = 0; at < run; at += piece)
    for (uint64_t first = 0; first < lines; first += together) {
      std::vector<Span> spans;
      for (uint64_t line = first; line < std::min(lines, first + together); line++)
        spans.push_back({start + line * pitch + at, piece});
      count_wavefronts(w.count(s), spans);
    }
}

/// visit(element's byte in the array, raw bits of it) for a fragment in shared memory.
template <class Visit>
void each_shared(Wave& w, const Step& s, const Rows& rows, size_t stride_operand, const Visit& visit) {
  const LaneMap* map =
      w.together(s) && uniform(w, s, 0) && uniform(w, s, stride_operand) ? map_of(w, s, s.type) : nullptr;
  if (map == nullptr) return;
  const int64_t bytes = thread::bits(s.type.scalar) / 8;
  each_place(w, s, *map, rows.count, stride_operand, [&](int lane, uint32_t slot, int64_t offset) {
    auto* raw = reinterpret_cast<std::byte*>(&w.row(rows.first + slot)[lane]);
    const std::string why =
        visit(static_cast<int32_t>(w.arg(s, 0)[0]) + offset * bytes, std::span(raw, static_cast<size_t>(bytes)));
    if (!why.empty()) w.fail(s, lane, why);
    return why.empty();
  });
  if (!w.group.launch.fault) count_shared_fragment(w, s, *map, stride_operand);
}

}  // namespace

void frag_load_shared(Wave& w, const Step& s) {
  for (uint32_t c = 0; c < s.result.count; c++) std::fill_n(w.result(s, c), w.lanes(), 0);
  each_shared(w, s, s.result, 1, [&](int64_t at, std::span<std::byte> raw) {
    return w.group.shared.load(s.index, at, raw, w.access_together());
  });
}

void frag_store_shared(Wave& w, const Step& s) {
  each_shared(w, s, s.args[1], 2, [&](int64_t at, std::span<const std::byte> raw) {
    return w.group.shared.store(s.index, at, raw, w.access_together());
  });
}

}  // namespace lathe::sim::actions
