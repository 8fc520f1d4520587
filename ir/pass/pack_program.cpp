#include "ir/pass/pack_program.h"

#include <fmt/format.h>
#include <algorithm>
#include <numeric>

namespace lathe {
namespace {

/// n values of dimension d with weight w.
struct Digit {
  int64_t n;
  int d;
  int64_t w;
};

/// How a unit goes from its own order (dimension 0 then 1) to storage: its digits to [lane, slot], the slots cut into
/// piece, word, field and half, and these put in the order of PackedLayout: piece, lane, word, half, field.
struct Orders {
  Coord plain, lane_slot_digits, to_lane_slot, to_plain;
  Coord cut, storage;
};
const Coord kCutToStorage{1, 0, 2, 4, 3}, kStorageToCut{1, 0, 2, 4, 3};

Orders make_orders(const PackedLayout& p) {
  std::vector<Digit> digits;
  for (const Mode& m : p.unit.T())
    if (m.d != Mode::kReplicate) digits.push_back({m.n, m.d, m.w});
  for (const Mode& m : p.unit.S()) digits.push_back({m.n, m.d, m.w});
  std::vector<size_t> plain(digits.size());
  std::iota(plain.begin(), plain.end(), size_t{0});
  std::sort(plain.begin(), plain.end(), [&](size_t a, size_t b) {
    return digits[a].d != digits[b].d ? digits[a].d < digits[b].d : digits[a].w > digits[b].w;
  });
  Orders o;
  o.to_lane_slot.resize(digits.size());
  for (size_t i = 0; i < plain.size(); i++) {
    o.plain.push_back(digits[plain[i]].n);
    o.lane_slot_digits.push_back(digits[i].n);
    o.to_plain.push_back(static_cast<int64_t>(plain[i]));
    o.to_lane_slot[plain[i]] = static_cast<int64_t>(i);
  }
  const int64_t halves = p.elem.bits < 16 ? 2 : 1, fields = p.elem.bits < 16 ? 16 / p.elem.bits : 1;
  const int64_t words = p.piece_bytes() * 8 / p.elem.bits / fields / halves;
  o.cut = {p.lanes(), p.pieces(), words, fields, halves};
  for (const int64_t d : kCutToStorage) o.storage.push_back(o.cut[static_cast<size_t>(d)]);
  return o;
}

tile::V cast_if(tile::Builder& b, tile::V v, Type to) { return b.type(v).elem == to ? v : b.cast(v, to); }

struct Frame {
  tile::V plain, words, n0, k0, nu, ku;
};
/// Parameters, grid and indices that both programs share.
Frame frame(tile::Builder& b, const PackedLayout& p, Type plain, bool plain_first) {
  const auto plain_view = [&] { return b.view("plain", plain, {"N", "K"}); };
  const auto words_view = [&] { return b.view("stored", types::u32, {"NU", "KU", std::to_string(unit_words(p))}); };
  Frame f;
  if (plain_first) {
    f.plain = plain_view();
    f.words = words_view();
  } else {
    f.words = words_view();
    f.plain = plain_view();
  }
  b.begin_grid();
  b.grid({b.symbol("KU"), b.symbol("NU")});
  f.ku = b.group_id(0);
  f.nu = b.group_id(1);
  f.n0 = b.named(f.nu * static_cast<double>(p.unit_n()), "n0");
  f.k0 = b.named(f.ku * static_cast<double>(p.unit_k()), "k0");
  return f;
}

}  // namespace

int64_t unit_words(const PackedLayout& p) { return p.unit_bytes() / 4; }

Result<tile::Func> pack_program(const PackedLayout& p, Type plain) {
  if (p.unit_bytes() % 4) return unsupported(fmt::format("a unit of {} bytes", p.unit_bytes()));
  const Orders o = make_orders(p);
  tile::Builder b("pack", {1, 1, 1});
  const Frame f = frame(b, p, plain, true);
  const tile::V codes = cast_if(b, b.load(f.plain, {f.n0, f.k0}, {p.unit_n(), p.unit_k()}), p.elem);
  const tile::V by_lane = b.transpose(b.reshape(codes, o.plain), o.to_lane_slot);
  const tile::V stored = b.transpose(b.reshape(by_lane, o.cut), kCutToStorage);
  const tile::V row = b.reshape(stored, {1, 1, p.unit_n() * p.unit_k()});
  b.store(f.words, {f.nu, f.ku, b.lit(0)}, b.view_as(row, types::u32));
  return b.finish();
}

Result<tile::Func> unpack_program(const PackedLayout& p, Type plain) {
  if (p.unit_bytes() % 4) return unsupported(fmt::format("a unit of {} bytes", p.unit_bytes()));
  const Orders o = make_orders(p);
  tile::Builder b("unpack", {1, 1, 1});
  const Frame f = frame(b, p, plain, false);
  const tile::V words = b.load(f.words, {f.nu, f.ku, b.lit(0)}, {1, 1, unit_words(p)});
  const tile::V stored = b.reshape(b.view_as(words, p.elem), o.storage);
  const tile::V by_lane = b.reshape(b.transpose(stored, kStorageToCut), o.lane_slot_digits);
  const tile::V codes = b.reshape(b.transpose(by_lane, o.to_plain), {p.unit_n(), p.unit_k()});
  b.store(f.plain, {f.n0, f.k0}, cast_if(b, codes, plain));
  return b.finish();
}

}  // namespace lathe
