// The stored order: what pack() writes stands where PackedLayout says, and unpack() gives every code back, for the
// orders of all kernels we ship.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>

#include "ir/tile_interp.h"
#include "tests/interp_tensors.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

/// Tiles whose rows are no power of two: a lane's slots do not split into halves and fields digit by digit.
std::vector<PackedLayout> orders_of_awkward_tiles() {
  struct Tile {
    Type elem;
    const char* layout;
  };
  std::vector<PackedLayout> out;
  for (const Tile& tile : {Tile{types::i4, "16x6 T[32:R] S[16:m1 6:k1]"}, Tile{types::i8, "16x3 T[32:R] S[16:m1 3:k1]"},
                           Tile{types::u8, "64x24 T[32:m1] S[2:m32 24:k1]"},
                           Tile{Type{Kind::uint, 2}, "8x768 T[4:k192 8:m1] S[192:k1]"}}) {
    const auto l = parse_layout(tile.layout);
    REQUIRE_MESSAGE(l, l.error().text);
    const auto p = derive_packed(*l, tile.elem, 32);
    REQUIRE_MESSAGE(p, p.error().text);
    out.push_back(*p);
  }
  return out;
}

/// By id, so that an order that targets share is tested once.
std::map<std::string, PackedLayout> all_stored_orders() {
  std::map<std::string, PackedLayout> out;
  for (const char* name : kTestTargets) {
    const auto t = test_target(name);
    REQUIRE_MESSAGE(t, t.error().text);
    for (const PackedLayout& p : stored_orders(*t)) {
      const auto [known, fresh] = out.emplace(pack_id(p), p);
      CHECK(known->second == p);
    }
  }
  for (const PackedLayout& p : orders_of_awkward_tiles()) out.emplace(pack_id(p), p);
  return out;
}

struct Size {
  int64_t n, k;
};
/// Less than a unit, a whole one, and some units with a rest that is odd.
std::vector<Size> awkward_sizes(const PackedLayout& p) {
  return {{1, 1}, {p.unit_n(), p.unit_k()}, {p.unit_n() + 1, 2 * p.unit_k() + 3}, {3 * p.unit_n() - 1, p.unit_k() + 1}};
}

int64_t units(int64_t size, int64_t unit) { return (size + unit - 1) / unit; }

tile::HostTensor random_codes(const PackedLayout& p, Size size, std::mt19937& rng) {
  const Type plain = plain_type(p.elem);
  tile::HostTensor t = tile::tensor(plain, {size.n, size.k});
  for (uint64_t& raw : t.raw) {
    const uint64_t bits = rng() & ((uint64_t{1} << p.elem.bits) - 1);
    raw = p.elem.is_int() ? encode_int(plain, decode_int(p.elem, bits)) : bits & 0x3fff;  // no NaN
  }
  return t;
}

/// Distinct lanes in order: thread digits without those of copies.
std::optional<int64_t> stored_lane(const Layout& unit, int64_t thread) {
  int64_t below = unit.threads(), lane = 0;
  for (const Mode& m : unit.T()) {
    below /= m.n;
    const int64_t digit = thread / below % m.n;
    if (m.d != Mode::kReplicate)
      lane = lane * m.n + digit;
    else if (digit != 0)
      return std::nullopt;
  }
  return lane;
}

/// The stored words, made bit by bit from the description in ir/pass/packed.h.
std::vector<uint64_t> expected_words(const PackedLayout& p, Size size, const tile::HostTensor& plain) {
  const int64_t ku = units(size.k, p.unit_k());
  std::vector<uint64_t> words(static_cast<size_t>(p.bytes(size.n, size.k) / 4));
  const auto put = [&](int64_t at, uint64_t bit) { words.at(static_cast<size_t>(at / 32)) |= bit << (at % 32); };
  const int64_t piece_bits = p.piece_bytes() * 8;
  for (int64_t n0 = 0; n0 < size.n; n0 += p.unit_n())
    for (int64_t k0 = 0; k0 < size.k; k0 += p.unit_k())
      for (int64_t t = 0; t < p.unit.threads(); t++)
        for (int64_t s = 0; s < p.unit.slots(); s++) {
          const auto lane = stored_lane(p.unit, t);
          const int64_t n = n0 + p.unit.at(t, s)[0], k = k0 + p.unit.at(t, s)[1];
          if (!lane || n >= size.n || k >= size.k) continue;
          const int64_t unit = n0 / p.unit_n() * ku + k0 / p.unit_k();
          for (int b = 0; b < p.elem.bits; b++) {
            const int64_t in_lane = p.bit(s) + b, piece = in_lane / piece_bits;
            const int64_t at = (piece * p.lanes() + *lane) * piece_bits + in_lane % piece_bits;
            put(unit * p.unit_bytes() * 8 + at, plain.raw[static_cast<size_t>(n * size.k + k)] >> b & 1);
          }
        }
  return words;
}

}  // namespace

TEST_CASE("unpack(pack(w)) == w, and every bit stands where the order says") {
  std::mt19937 rng(1);
  int orders = 0;
  for (const auto& order : all_stored_orders()) {
    const PackedLayout& p = order.second;
    const tile::Func pack = built(pack_program(p, plain_type(p.elem)));
    const tile::Func unpack = built(unpack_program(p, plain_type(p.elem)));
    for (const Size size : awkward_sizes(p)) {
      CAPTURE(fmt::format("{} {}: {} x {}", order.first, to_string(p.unit), size.n, size.k));
      tile::Tensors t;
      t["plain"] = random_codes(p, size, rng);
      const auto codes = t["plain"].raw;
      t["stored"] = tile::tensor(types::u32, {units(size.n, p.unit_n()), units(size.k, p.unit_k()), unit_words(p)});
      CHECK(static_cast<int64_t>(t["stored"].raw.size()) * 4 == p.bytes(size.n, size.k));
      tile::must_run(pack, t);
      CHECK(t["stored"].raw == expected_words(p, size, t["plain"]));
      std::fill(t["plain"].raw.begin(), t["plain"].raw.end(), 1);
      tile::must_run(unpack, t);
      CHECK(t["plain"].raw == codes);
    }
    orders++;
  }
  MESSAGE(orders, " stored orders");
  CHECK(orders >= 12);
}

}  // namespace lathe
