#include "ir/pass/pack_program.h"

#include <fmt/format.h>
#include <algorithm>
#include <numeric>

namespace lathe {
namespace {

/// A digit of the unit's storage order: n values of dimension d with weight w.
struct Digit {
  int64_t n;
  int d;
  int64_t w;
};

void append_primes(const Mode& m, std::vector<Digit>& out) {
  std::vector<Digit> digits;
  int64_t n = m.n, w = m.w;
  for (int64_t p = 2; n > 1; p++)
    for (; n % p == 0; n /= p, w *= p) digits.insert(digits.begin(), {p, m.d, w});
  out.insert(out.end(), digits.begin(), digits.end());
}

/// Moves the minor digits worth `count` off the end of `from`.
std::vector<Digit> split_minor(std::vector<Digit>& from, int64_t count) {
  size_t at = from.size();
  while (count > 1 && at > 0) count /= from[--at].n;
  std::vector<Digit> minor(from.begin() + static_cast<std::ptrdiff_t>(at), from.end());
  from.resize(at);
  return minor;
}

/// Piece, lane, then within the piece word, half, field: the order of PackedLayout, most significant first.
std::vector<Digit> storage_order(const PackedLayout& p) {
  std::vector<Digit> slots, order;
  for (const Mode& m : p.unit.S()) append_primes(m, slots);
  std::vector<Digit> fields, halves, words;
  int64_t in_piece = p.piece_bytes() * 8 / p.elem.bits;
  if (p.elem.bits < 16) {
    halves = split_minor(slots, 2);
    fields = split_minor(slots, 16 / p.elem.bits);
    in_piece /= 32 / p.elem.bits;
  }
  words = split_minor(slots, in_piece);
  order = slots;
  for (const Mode& m : p.unit.T())
    if (m.d != Mode::kReplicate) append_primes(m, order);
  for (const auto* part : {&words, &halves, &fields}) order.insert(order.end(), part->begin(), part->end());
  std::vector<Digit> merged;  // neighbours that continue each other are one digit
  for (const Digit& digit : order)
    if (!merged.empty() && merged.back().d == digit.d && merged.back().w == digit.w * digit.n)
      merged.back() = {merged.back().n * digit.n, digit.d, digit.w};
    else
      merged.push_back(digit);
  return merged;
}

/// The unit's own order: dimension 0 then 1, most significant digit first; and where each digit stands in storage.
struct Orders {
  Coord plain_shape, storage_shape, to_storage, to_plain;
};
Orders make_orders(const PackedLayout& p) {
  const std::vector<Digit> storage = storage_order(p);
  std::vector<size_t> plain(storage.size());
  std::iota(plain.begin(), plain.end(), size_t{0});
  std::sort(plain.begin(), plain.end(), [&](size_t a, size_t b) {
    return storage[a].d != storage[b].d ? storage[a].d < storage[b].d : storage[a].w > storage[b].w;
  });
  Orders o;
  o.to_storage.resize(storage.size());
  for (size_t i = 0; i < plain.size(); i++) {
    o.plain_shape.push_back(storage[plain[i]].n);
    o.storage_shape.push_back(storage[i].n);
    o.to_plain.push_back(static_cast<int64_t>(plain[i]));
    o.to_storage[plain[i]] = static_cast<int64_t>(i);
  }
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
  const tile::V stored = b.transpose(b.reshape(codes, o.plain_shape), o.to_storage);
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
  const tile::V stored = b.reshape(b.view_as(words, p.elem), o.storage_shape);
  const tile::V codes = b.reshape(b.transpose(stored, o.to_plain), {p.unit_n(), p.unit_k()});
  b.store(f.plain, {f.n0, f.k0}, cast_if(b, codes, plain));
  return b.finish();
}

}  // namespace lathe
