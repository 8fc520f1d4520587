// Memory layouts: addresses, span, and the widest access of a thread, by brute force.
#include <doctest/doctest.h>
#include <algorithm>
#include <bit>
#include <random>

#include "ir/layout.h"
#include "small_layouts.h"

using namespace lathe;

namespace {

struct Random {
  std::mt19937 engine{11};
  int64_t below(int64_t n) { return static_cast<int64_t>(engine() % static_cast<uint64_t>(n)); }
};

/// The address by the definition, without MemoryLayout::address.
int64_t address_by_definition(const MemoryLayout& m, const Coord& e) {
  int64_t a = m.base;
  for (const MemoryMode& x : m.modes) {
    int64_t digit = 0;  // the remainder of the coordinate by the weight above, counted in steps of w
    for (int64_t y = e[x.d] % (x.w * x.n); y >= x.w; y -= x.w) ++digit;
    a += digit * x.stride;
  }
  const int64_t source = (a / (int64_t{1} << m.swizzle.from)) % (int64_t{1} << m.swizzle.bits);
  return a ^ (source * (int64_t{1} << m.swizzle.to));
}

/// A memory layout of the shape: digits in any memory order, here and there padded, based and swizzled.
MemoryLayout any_memory(const Coord& shape, Random& random, bool prime_digits) {
  MemoryLayout m{shape, {}, 0, {}};
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    int64_t w = 1;
    for (int64_t rest = shape[d]; rest > 1;) {
      int64_t n = rest;
      if (prime_digits || random.below(2)) {
        n = rest % 2 && random.below(2) ? rest : 2;
        while (rest % n) ++n;
      }
      m.modes.push_back({n, d, w, 0});
      w *= n;
      rest /= n;
    }
  }
  if (random.below(3) == 0) std::shuffle(m.modes.begin(), m.modes.end(), random.engine);
  if (random.below(2)) std::reverse(m.modes.begin(), m.modes.end());
  int64_t stride = 1;
  for (MemoryMode& x : m.modes) {
    x.stride = stride;
    stride *= x.n;
    const int64_t padding[] = {0, 0, 0, 1, 2, 4, 8};
    stride += padding[random.below(7)];
  }
  const int64_t bases[] = {0, 0, 0, 1, 2, 4, 12, 16};
  m.base = bases[random.below(8)];
  if (random.below(2)) {
    m.swizzle.bits = 1 + static_cast<int>(random.below(2));
    m.swizzle.to = static_cast<int>(random.below(4));
    m.swizzle.from = m.swizzle.to + m.swizzle.bits + static_cast<int>(random.below(2));
  }
  return m;
}

/// Whether each `elems` consecutive slots of a thread are consecutive addresses from a multiple of elems on.
bool is_wide(const Layout& l, const MemoryLayout& m, int64_t elems) {
  for (int64_t t = 0; t < l.threads(); ++t) {
    for (int64_t s = 0; s < l.slots(); s += elems) {
      const int64_t first = address_by_definition(m, l.at(t, s));
      if (first % elems) return false;
      for (int64_t j = 1; j < elems; ++j) {
        if (address_by_definition(m, l.at(t, s + j)) != first + j) return false;
      }
    }
  }
  return true;
}

std::optional<Layout> with_run(const Layout& l, std::vector<Mode> rest, const std::vector<Mode>& run) {
  rest.insert(rest.end(), run.rbegin(), run.rend());
  return permute_slots(l, rest);
}

/// Whether some choice of binary slot digits makes accesses of `elems` elements. Slots of l: a power of two.
bool exists_wide(const Layout& l, const MemoryLayout& m, int64_t elems) {
  std::vector<Mode> bits;
  for (const Mode& s : l.S()) {
    for (int64_t x = s.n / 2; x >= 1; x /= 2) bits.push_back({2, s.d, s.w * x});
  }
  const auto before = [](const Mode& a, const Mode& b) { return std::pair(a.d, a.w) < std::pair(b.d, b.w); };
  std::sort(bits.begin(), bits.end(), before);
  do {
    if (is_wide(*permute_slots(l, bits), m, elems)) return true;
  } while (std::next_permutation(bits.begin(), bits.end(), before));
  return false;
}

/// Whether the lowest bit that the swizzle reads is ever set: if not, more bits stay in place than its fields say.
bool is_live(const MemoryLayout& m) {
  bool live = false;
  MemoryLayout plain = m;
  plain.swizzle = {};
  for_each_element(m.shape, [&](const Coord& e) { live |= (address_by_definition(plain, e) >> m.swizzle.from) & 1; });
  return live;
}

}  // namespace

TEST_CASE("row_major: pitch, and the span of rows") {
  const MemoryLayout m = row_major({3, 4, 10}, 16);
  CHECK(m.address({0, 0, 9}) == 9);
  CHECK(m.address({0, 3, 2}) == 50);
  CHECK(m.address({2, 1, 5}) == 2 * 64 + 16 + 5);
  CHECK(m.span() == 2 * 64 + 3 * 16 + 10);
  CHECK(row_major({7}, 7).span() == 7);
}

TEST_CASE("address and span agree with their definitions") {
  Random random;
  int wrong = 0;
  for (int i = 0; i < 20000; ++i) {
    const Coord shape = {1 + random.below(12), 1 + random.below(12)};
    const MemoryLayout m = any_memory(shape, random, i % 2);
    int64_t last = 0;
    for_each_element(shape, [&](const Coord& e) {
      wrong += m.address(e) != address_by_definition(m, e);
      last = std::max(last, address_by_definition(m, e));
    });
    wrong += m.span() != last + 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("a swizzle moves no two elements to one address") {
  MemoryLayout m = row_major({64, 64}, 64);
  m.swizzle = {3, 3, 6};
  std::set<int64_t> addresses;
  for_each_element(m.shape, [&](const Coord& e) { addresses.insert(m.address(e)); });
  CHECK(addresses.size() == 64 * 64);
  CHECK(m.span() == 64 * 64);
  CHECK(m.address({5, 24}) == 5 * 64 + ((24 / 8) ^ 5) * 8);
}

TEST_CASE("wide_access: every access is contiguous and aligned, and no wider one exists") {
  Random random;
  const std::vector<Layout> of_rank[] = {all_layouts(1, 24), all_layouts(2, 24), all_layouts(2, 32, false)};
  int wrong = 0, not_widest = 0, widths[6] = {};
  for (int i = 0; i < 24000; ++i) {
    const auto& from = of_rank[i % 3];
    const Layout& l = from[random.below(static_cast<int64_t>(from.size()))];
    const MemoryLayout m = any_memory(l.shape(), random, i % 2);
    const int64_t max_elems = 1 + random.below(16);
    const WideAccess w = wide_access(l, m, max_elems);
    int64_t in_run = 1;
    for (const Mode& x : w.run) in_run *= x.n;
    const std::optional<Layout> ordered = with_run(l, w.rest, w.run);
    wrong += in_run != w.elems || w.elems > max_elems || !std::has_single_bit(static_cast<uint64_t>(w.elems));
    wrong += !ordered || !is_wide(*ordered, m, w.elems);
    ++widths[std::min(std::countr_zero(static_cast<uint64_t>(w.elems)), 5)];
    // With digits of 3 beside those of 2 the digits of layout and memory may share no border: then only safe.
    const bool binary = std::has_single_bit(static_cast<uint64_t>(l.elements()));
    if (!binary || w.elems * 2 > max_elems || w.elems * 2 > l.slots() || (m.swizzle.bits && !is_live(m))) continue;
    not_widest += exists_wide(l, m, w.elems * 2);
  }
  CHECK(wrong == 0);
  CHECK(not_widest == 0);
  for (int e = 0; e < 4; ++e) CHECK(widths[e] > 50);
}

TEST_CASE("wide_access: the cases that kernels meet") {
  const auto elems = [](std::string_view text, const MemoryLayout& m) {
    return wide_access(*parse_layout(text), m, 8).elems;
  };
  const std::string_view w = "64x8 T[8:k1 4:m2] S[8:m8 2:m1]", r = "64x8 T[8:k1 4:m16] S[16:m1]",
                         c = "64x8 T[8:k1 4:m8] S[2:m32 8:m1]";
  MemoryLayout x{{64, 8}, {{64, 0, 1, 1}, {8, 1, 1, 64}}, 0, {}};  // 8 tokens of 64 k, k contiguous
  CHECK(elems(w, x) == 2);
  CHECK(elems(r, x) == 8);
  CHECK(elems(c, x) == 8);
  x.swizzle = {3, 3, 6};  // 128-byte swizzle of 16-byte pieces
  CHECK(elems(r, x) == 8);
  x.swizzle = {2, 2, 6};
  CHECK(elems(r, x) == 4);
  x.swizzle = {3, 1, 9};  // reads bits that no address has
  CHECK(elems(r, x) == 8);
  x.swizzle = {};
  x.modes[1].stride = 72;  // padded by 16 bytes
  CHECK(elems(r, x) == 8);
  x.modes[1].stride = 66;
  CHECK(elems(r, x) == 2);
  x.modes[1].stride = 64;
  x.base = 4;
  CHECK(elems(r, x) == 4);
  x.modes[1].stride = 0;  // the same row for every token
  x.base = 0;
  CHECK(elems(r, x) == 8);

  // The order of slots is a name: the run is found wherever its digits stand, here in two dimensions.
  const Layout l = *parse_layout("4x4 T[2:m2] S[2:k1 2:m1 2:k2]");
  const WideAccess wide = wide_access(l, {{4, 4}, {{4, 1, 1, 1}, {4, 0, 1, 4}}, 0, {}}, 16);
  CHECK(wide.elems == 8);
  CHECK(wide.run == std::vector<Mode>{{2, 1, 1}, {2, 1, 2}, {2, 0, 1}});
  CHECK(wide.rest.empty());
  CHECK(wide_access(l, {{4, 4}, {{4, 1, 1, 1}, {4, 0, 1, 4}}, 0, {}}, 7).elems == 4);
  CHECK(wide_access(spatial({4, 4}), row_major({4, 4}, 4), 4).elems == 1);

  const WideAccess odd = wide_access(local({2, 12}), row_major({2, 12}, 12), 16);
  CHECK(odd.elems == 4);
  CHECK(odd.run == std::vector<Mode>{{4, 1, 1}});
  CHECK(odd.rest == std::vector<Mode>{{2, 0, 1}, {3, 1, 4}});
  const WideAccess cut = wide_access(local({16}), {{16}, {{4, 0, 1, 1}, {4, 0, 4, 32}}, 0, {}}, 2);
  CHECK(cut.run == std::vector<Mode>{{2, 0, 1}});
  CHECK(cut.rest == std::vector<Mode>{{4, 0, 4}, {2, 0, 2}});
}

TEST_CASE("word layouts") {
  WordLayout w{3, {{0, 2, 0, {{4, 2}}}, {2, 1, 8, {{4, 1}}}}};
  CHECK(w.slots() == 4);
  CHECK(w.at(3, 1) == 7);
  CHECK(w.at(3, 2) == 11);
  CHECK(w.dense());
  CHECK(to_string(w) == "3-bit codes: bits 0..1 at 0 [4:2], bits 2..2 at 8 [4:1]");
  WordLayout overlapping = w, missing = w, unequal = w, outside = w;
  overlapping.planes[1].base = 7;
  missing.planes.pop_back();
  unequal.planes[1].digits = {{8, 1}};
  outside.planes[1].base = 9;
  for (const WordLayout& bad : {overlapping, missing, unequal, outside, WordLayout{}}) CHECK(!bad.dense());
}
