#include "ir/pass/packed.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace lathe {
namespace {

/// The minor digits of `modes` worth `count`, cutting the last one where needed; none if it does not divide.
std::optional<std::vector<Mode>> minor_digits(const std::vector<Mode>& modes, int64_t count) {
  std::vector<Mode> out;
  for (size_t i = modes.size(); i-- > 0 && count > 1;) {
    Mode m = modes[i];
    const int64_t n = std::gcd(m.n, count);
    if (n != m.n && n != count) return std::nullopt;
    m.n = n;
    out.insert(out.begin(), m);
    count /= n;
  }
  return count == 1 ? std::optional(out) : std::nullopt;
}

/// The extents of the box that the digits fill, or none if they leave holes.
std::optional<Coord> box(const std::vector<Mode>& T, const std::vector<Mode>& S, int rank) {
  Coord shape(static_cast<size_t>(rank), 1);
  std::vector<Mode> all = T;
  all.insert(all.end(), S.begin(), S.end());
  std::sort(all.begin(), all.end(), [](const Mode& a, const Mode& b) { return a.w < b.w; });
  for (const Mode& m : all) {
    if (m.w == 0) continue;
    if (m.w != shape[static_cast<size_t>(m.d)]) return std::nullopt;
    shape[static_cast<size_t>(m.d)] *= m.n;
  }
  return shape;
}

/// Splits every slot mode into prime digits, so that a unit can end anywhere.
std::vector<Mode> prime_digits(const std::vector<Mode>& modes) {
  std::vector<Mode> out;
  for (const Mode& m : modes) {
    std::vector<Mode> digits;
    int64_t n = m.n, w = m.w;
    for (int64_t p = 2; n > 1; p++)
      while (n % p == 0) {
        digits.insert(digits.begin(), {p, m.d, w});
        w *= p;
        n /= p;
      }
    out.insert(out.end(), digits.begin(), digits.end());
  }
  return out;
}

}  // namespace

int64_t PackedLayout::lanes() const { return unit.threads() / unit.replicas(); }
int64_t PackedLayout::lane_bits() const { return (unit.slots() * elem.bits + 7) / 8 * 8; }
int64_t PackedLayout::piece_bytes() const {
  int64_t bytes = 16;
  while (lane_bits() / 8 % bytes) bytes /= 2;
  return bytes;
}
int64_t PackedLayout::bytes(int64_t n, int64_t k) const {
  return (n + unit_n() - 1) / unit_n() * ((k + unit_k() - 1) / unit_k()) * unit_bytes();
}
int64_t PackedLayout::paired_bit(int elem_bits, int64_t slot) {
  if (elem_bits >= 16) return slot * elem_bits;
  const int64_t per = 32 / elem_bits, i = slot % per;
  return slot / per * 32 + i / 2 * elem_bits + i % 2 * 16;
}

Result<PackedLayout> derive_packed(const Layout& l, Type elem, int64_t subgroup_size) {
  const auto lanes = minor_digits(l.T(), subgroup_size);
  const int rank = l.rank();
  if (rank != 2 || !lanes) return unsupported(fmt::format("packed parameter: no unit in layout {}", to_string(l)));
  if (elem.bits < 16 && 32 % elem.bits != 0)
    return unsupported(fmt::format("packed parameter: {} has no word layout", to_string(elem)));
  // Parameters of a row, of which lanes hold copies, are few: tiles of any size share them.
  const bool copies = std::any_of(lanes->begin(), lanes->end(), [](const Mode& m) { return m.d == Mode::kReplicate; });
  const bool small_pieces = elem.bits >= 16 && (copies || l.slots() * elem.bits % 128 != 0);
  std::vector<Mode> digits = prime_digits(l.S()), S;
  auto take = [&] {  // one more slot digit, minor first
    S.insert(S.begin(), digits.back());
    digits.pop_back();
  };
  const auto whole = [&]() -> std::optional<Coord> {
    const int64_t slots =
        std::accumulate(S.begin(), S.end(), int64_t{1}, [](int64_t n, const Mode& m) { return n * m.n; });
    return small_pieces || slots * elem.bits % 128 == 0 ? box(*lanes, S, rank) : std::nullopt;
  };
  while (!whole() && !digits.empty()) take();
  const auto shape = whole();
  if (!shape)
    return unsupported(
        fmt::format("packed {}: a tile of layout {} is too small for a whole unit", to_string(elem), to_string(l)));
  return PackedLayout{elem, Layout(*shape, *lanes, S)};
}

std::string pack_id(const PackedLayout& p) {
  uint64_t h = 0xcbf29ce484222325;  // FNV-1a over the printed form
  for (char c : to_string(p.elem) + " " + to_string(p.unit)) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{}-{}x{}-{:08x}", to_string(p.elem), p.unit_n(), p.unit_k(),
                     static_cast<uint32_t>(h ^ (h >> 32)));
}

}  // namespace lathe
