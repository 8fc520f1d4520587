// Every published fragment map against its layout, and the packings of weights that the atoms allow.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <numeric>

#include "ir/layout.h"
#include "small_layouts.h"

using namespace lathe;

namespace {

/// A fragment map: lane l and element i to the coordinates, as the vendor publishes it.
struct Row {
  std::string name;
  Layout layout;
  std::function<Coord(int64_t l, int64_t i)> formula;
};

// A is m x k, B is k x n, C is m x n; g and q are the group and the place in it of PTX's tables.
int64_t g(int64_t l) { return l / 4; }
int64_t q(int64_t l) { return l % 4; }

void add_ptx(std::vector<Row>& rows) {
  rows.insert(rows.end(), {{"m16n8k8 A f16, m16n8 C, nvk A 16x8", local({2, 1}) * spatial({8, 4}) * local({1, 2}),
                            [](int64_t l, int64_t i) {
                              return Coord{g(l) + 8 * (i / 2), 2 * q(l) + i % 2};
                            }},
                           {"m16n8k8 B f16", column_spatial({4, 8}) * local({2, 1}),
                            [](int64_t l, int64_t i) {
                              return Coord{2 * q(l) + i, g(l)};
                            }},
                           {"m16n8k16 A f16 bf16", column_local({2, 2}) * spatial({8, 4}) * local({1, 2}),
                            [](int64_t l, int64_t i) {
                              const bool upper = i < 2 || (4 <= i && i < 6);
                              return Coord{g(l) + (upper ? 0 : 8), 2 * q(l) + i % 2 + (i >= 4 ? 8 : 0)};
                            }},
                           {"m16n8k16 B f16 bf16", local({2, 1}) * column_spatial({4, 8}) * local({2, 1}),
                            [](int64_t l, int64_t i) {
                              return Coord{2 * q(l) + i % 2 + (i >= 2 ? 8 : 0), g(l)};
                            }},
                           {"m16n8k16 A s8", local({2, 1}) * spatial({8, 4}) * local({1, 4}),
                            [](int64_t l, int64_t i) {
                              return Coord{g(l) + (i >= 4 ? 8 : 0), 4 * q(l) + i % 4};
                            }},
                           {"m16n8k16 B s8, m8n8k16 B s8", column_spatial({4, 8}) * local({4, 1}),
                            [](int64_t l, int64_t i) {
                              return Coord{4 * q(l) + i, g(l)};
                            }},
                           {"m8n8k16 A s8", spatial({8, 4}) * local({1, 4}),
                            [](int64_t l, int64_t i) {
                              return Coord{g(l), 4 * q(l) + i};
                            }},
                           {"m8n8 C", spatial({8, 4}) * local({1, 2}),
                            [](int64_t l, int64_t i) {
                              return Coord{g(l), 2 * q(l) + i};
                            }},
                           {"m16n8k32 A s8 e4m3", column_local({2, 2}) * spatial({8, 4}) * local({1, 4}),
                            [](int64_t l, int64_t i) {
                              const bool upper = i < 4 || (8 <= i && i < 12);
                              return Coord{g(l) + (upper ? 0 : 8), 4 * q(l) + i % 4 + (i >= 8 ? 16 : 0)};
                            }},
                           {"m16n8k32 B s8 e4m3", local({2, 1}) * column_spatial({4, 8}) * local({4, 1}),
                            [](int64_t l, int64_t i) {
                              return Coord{4 * q(l) + i % 4 + (i >= 4 ? 16 : 0), g(l)};
                            }},
                           {"m16n8k8 A tf32", column_local({2, 2}) * spatial({8, 4}),
                            [](int64_t l, int64_t i) {
                              return Coord{g(l) + 8 * (i % 2), q(l) + 4 * (i / 2)};
                            }},
                           {"m16n8k8 B tf32", local({2, 1}) * column_spatial({4, 8}), [](int64_t l, int64_t i) {
                              return Coord{q(l) + 4 * i, g(l)};
                            }}});
}

void add_wgmma(std::vector<Row>& rows) {
  const auto row = [](int64_t l, int64_t half) { return 16 * (l / 32) + l % 32 / 4 + 8 * half; };
  rows.push_back({"wgmma m64k16 A regs", spatial({4, 1}) * column_local({2, 2}) * spatial({8, 4}) * local({1, 2}),
                  [row](int64_t l, int64_t i) {
                    return Coord{row(l, i / 2 % 2), 2 * q(l) + i % 2 + 8 * (i / 4)};
                  }});
  rows.push_back({"wgmma m64k32 A regs 8-bit", spatial({4, 1}) * column_local({2, 2}) * spatial({8, 4}) * local({1, 4}),
                  [row](int64_t l, int64_t i) {
                    return Coord{row(l, i / 4 % 2), 4 * q(l) + i % 4 + 16 * (i / 8)};
                  }});
  for (const int64_t n : {8, 24, 64, 256}) {
    rows.push_back({fmt::format("wgmma m64n{} C", n),
                    spatial({4, 1}) * column_local({2, n / 8}) * spatial({8, 4}) * local({1, 2}),
                    [row](int64_t l, int64_t i) {
                      return Coord{row(l, i / 2 % 2), 8 * (i / 4) + 2 * q(l) + i % 2};
                    }});
  }
}

void add_copies(std::vector<Row>& rows) {
  rows.push_back({"movmatrix source, ldmatrix x1", spatial({8, 4}) * local({1, 2}), [](int64_t l, int64_t i) {
                    return Coord{l / 4, 2 * (l % 4) + i};
                  }});
  rows.push_back(
      {"movmatrix result, ldmatrix.trans x1", column_spatial({4, 8}) * local({2, 1}), [](int64_t l, int64_t i) {
         return Coord{2 * (l % 4) + i, l / 4};
       }});
  for (const int64_t x : {2, 4}) {
    rows.push_back({fmt::format("ldmatrix, stmatrix x{}", x), local({x, 1, 1}) * spatial({1, 8, 4}) * local({1, 1, 2}),
                    [](int64_t l, int64_t i) {
                      return Coord{i / 2, l / 4, 2 * (l % 4) + i % 2};
                    }});
    rows.push_back({fmt::format("ldmatrix.trans x{}", x),
                    local({x, 1, 1}) * column_spatial({1, 4, 8}) * local({1, 2, 1}), [](int64_t l, int64_t i) {
                      return Coord{i / 2, 2 * (l % 4) + i % 2, l / 4};
                    }});
  }
  for (const int64_t x : {1, 2, 4}) {
    rows.push_back(
        {fmt::format("ldmatrix addresses x{}", x), replicate(4 / x, 2) * spatial({x, 8}), [x](int64_t l, int64_t) {
           return Coord{l / 8 % x, l % 8};
         }});
  }
}

void add_nvidia_vulkan(std::vector<Row>& rows) {
  rows.insert(rows.end(),
              {{"580 A, C 16x16", local({2, 2}) * spatial({8, 4}) * local({1, 2}),
                [](int64_t l, int64_t i) {
                  return Coord{g(l) + 8 * (i / 4), 2 * q(l) + i % 2 + 8 * (i / 2 % 2)};
                }},
               {"580, nvk B 16x8 f16", local({2, 1}) * column_spatial({4, 8}) * local({2, 1}),
                [](int64_t l, int64_t i) {
                  return Coord{2 * q(l) + i % 2 + 8 * (i / 2), g(l)};
                }},
               {"580, nvk B 16x16 f16", column_local({2, 2}) * column_spatial({4, 8}) * local({2, 1}),
                [](int64_t l, int64_t i) {
                  return Coord{2 * q(l) + i % 2 + 8 * (i / 2 % 2), g(l) + 8 * (i / 4)};
                }},
               {"580 A 16x32 s8", local({2, 2}) * spatial({8, 4}) * local({1, 4}),
                [](int64_t l, int64_t i) {
                  return Coord{g(l) + 8 * (i / 8), 4 * q(l) + i % 4 + 16 * (i / 4 % 2)};
                }},
               {"580, nvk B 32x16 s8", column_local({2, 2}) * column_spatial({4, 8}) * local({4, 1}),
                [](int64_t l, int64_t i) {
                  return Coord{4 * q(l) + i % 4 + 16 * (i / 4 % 2), g(l) + 8 * (i / 8)};
                }},
               {"nvk A, C 16x16", column_local({2, 2}) * spatial({8, 4}) * local({1, 2}),
                [](int64_t l, int64_t i) {
                  return Coord{g(l) + 8 * (i / 2 % 2), 2 * q(l) + i % 2 + 8 * (i / 4)};
                }},
               {"nvk A 16x32 s8", column_local({2, 2}) * spatial({8, 4}) * local({1, 4}), [](int64_t l, int64_t i) {
                  return Coord{g(l) + 8 * (i / 4 % 2), 4 * q(l) + i % 4 + 16 * (i / 8)};
                }}});
}

void add_rdna(std::vector<Row>& rows) {
  for (const int64_t wave : {32, 64}) {
    rows.push_back({fmt::format("rdna3 A wave{}", wave), replicate(wave / 16, 2) * spatial({16, 1}) * local({1, 16}),
                    [](int64_t l, int64_t i) {
                      return Coord{l % 16, i};
                    }});
    rows.push_back({fmt::format("rdna3 B wave{}", wave), replicate(wave / 16, 2) * spatial({1, 16}) * local({16, 1}),
                    [](int64_t l, int64_t i) {
                      return Coord{i, l % 16};
                    }});
    rows.push_back({fmt::format("rdna3 C wave{}", wave), local({256 / wave, 1}) * spatial({wave / 16, 16}),
                    [wave](int64_t l, int64_t i) {
                      return Coord{wave / 16 * i + l / 16, l % 16};
                    }});
  }
  rows.push_back({"rdna4 A wave32", column_spatial({16, 2}) * local({1, 8}), [](int64_t l, int64_t i) {
                    return Coord{l % 16, 8 * (l / 16) + i};
                  }});
  rows.push_back({"rdna4 B, C wave32", spatial({2, 16}) * local({8, 1}), [](int64_t l, int64_t i) {
                    return Coord{8 * (l / 16) + i, l % 16};
                  }});
  rows.push_back({"rdna4 A wave64", *parse_layout("16x16 T[2:k4 2:k8 16:m1] S[4:k1]"), [](int64_t l, int64_t i) {
                    return Coord{l % 16, 8 * (l / 16 & 1) + 4 * (l / 32) + i};
                  }});
  rows.push_back({"rdna4 B, C wave64", *parse_layout("16x16 T[2:m4 2:m8 16:k1] S[4:m1]"), [](int64_t l, int64_t i) {
                    return Coord{8 * (l / 16 & 1) + 4 * (l / 32) + i, l % 16};
                  }});
}

/// Intel: a matrix of R x C elements of `bits`, packed into dwords that go round `lanes` lanes.
Row intel(const std::string& name, int64_t R, int64_t C, int64_t bits, int64_t lanes, bool is_b = false) {
  const int64_t pack = 32 / bits, dwords = R * C / pack / lanes;
  const Layout layout = is_b ? local({dwords, 1}) * spatial({lanes / C, C}) * local({pack, 1})
                             : local({dwords, 1}) * spatial({lanes * pack / C, C / pack}) * local({1, pack});
  return {fmt::format("anv {} {}x{} {}-bit, {} lanes", name, R, C, bits, lanes), layout, [=](int64_t l, int64_t i) {
            const int64_t dword = i / pack * lanes + l, part = i % pack;
            return is_b ? Coord{pack * (dword / C) + part, dword % C}
                        : Coord{dword / (C / pack), pack * (dword % (C / pack)) + part};
          }};
}

void add_intel(std::vector<Row>& rows) {
  for (const int64_t lanes : {8, 16, 32}) {
    for (const auto& [k, bits] : {std::pair{16, 16}, {32, 8}}) {
      rows.push_back(intel("dg2 A", 8, k, bits, lanes));
      rows.push_back(intel("dg2 B", k, 8, bits, lanes, true));
      if (lanes > 8) rows.push_back(intel("xe2 A", 8, k, bits, lanes));
      if (lanes > 8) rows.push_back(intel("xe2 B", k, 16, bits, lanes, true));
    }
    rows.push_back(intel("dg2 C", 8, 8, 32, lanes));
    for (const int64_t bits : {32, 16}) {
      if (lanes > 8) rows.push_back(intel("xe2 C", 8, 16, bits, lanes));
    }
  }
}

void add_lavapipe(std::vector<Row>& rows) {
  const std::pair<int64_t, int64_t> a_shapes[] = {{8, 8}, {16, 8}, {8, 16}, {16, 16}, {16, 32}, {24, 40}},
                                    b_shapes[] = {{8, 8}, {16, 8}, {16, 16}, {32, 16}, {24, 40}};
  for (const auto& [rows_of, cols] : a_shapes) {
    const int64_t across = cols / 8;
    rows.push_back({fmt::format("lavapipe A, C {}x{}", rows_of, cols),
                    local({rows_of / 8, across}) * local({8, 1}) * spatial({1, 8}), [across](int64_t l, int64_t i) {
                      return Coord{8 * (i / 8 / across) + i % 8, 8 * (i / 8 % across) + l};
                    }});
  }
  for (const auto& [rows_of, cols] : b_shapes) {
    const int64_t across = cols / 8;
    rows.push_back({fmt::format("lavapipe B {}x{}", rows_of, cols),
                    local({rows_of / 8, across}) * spatial({8, 1}) * local({1, 8}), [across](int64_t l, int64_t i) {
                      return Coord{8 * (i / 8 / across) + l, 8 * (i / 8 % across) + i % 8};
                    }});
  }
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  add_ptx(rows);
  add_wgmma(rows);
  add_copies(rows);
  add_nvidia_vulkan(rows);
  add_rdna(rows);
  add_intel(rows);
  add_lavapipe(rows);
  return rows;
}

/// 16 weight rows x 64 k, 16 bytes a lane; x_run: consecutive k of the other operand that a lane then reads.
struct Packing {
  const char *name, *text;
  int64_t x_run;
};
const Packing kPackings[] = {{"W", "16x64 T[8:m1 4:k2] S[4:k16 2:k8 2:m8 2:k1]", 2},
                             {"R", "16x64 T[8:m1 4:k16] S[4:k4 2:k2 2:m8 2:k1]", 16},
                             {"(c)", "16x64 T[8:m1 4:k8] S[2:k32 2:k4 2:m8 4:k1]", 8}};
const Layout kA = column_local({2, 2}) * spatial({8, 4}) * local({1, 2});  // m16n8k16 A
const Layout kB = local({2, 1}) * column_spatial({4, 8}) * local({2, 1});  // m16n8k16 B
const Layout kSteps = local({1, 4});                                       // four steps of 16 k

/// The planes of `width`-bit codes over (tile, slot) where the 8 slots of an operand take the 4-bit cells of one word:
/// k low 16, k high 8, row half 4. A plane of b < 4 bits lets 4 / b tiles share a word; the widest plane comes first.
WordLayout planes_of(int width) {
  const int64_t slots = 8, tiles = 128 / std::gcd(width * slots, int64_t{128});
  WordLayout w{width, {}};
  int low = 0;
  int64_t base = 0;
  for (const int b : {8, 4, 2, 1}) {
    if (!(width & b)) continue;
    const int64_t sharing = b < 4 ? 4 / b : 1, word = b == 8 ? 64 : 32;
    Plane p{low, b, base, {{tiles / sharing, word}, {sharing, b}}};
    for (const int64_t cell : {8, 4, 16}) {
      const int64_t byte_cell = cell == 8 ? 32 : cell == 4 ? 8 : 16;  // bytes: row half 8, k high another word
      p.digits.emplace_back(2, b == 8 ? byte_cell : cell);
    }
    w.planes.push_back(p);
    low += b;
    base += b * tiles * slots;
  }
  return w;
}

}  // namespace

TEST_CASE("every atom: the layout is its published formula, and is recovered from the formula's table") {
  const std::vector<Row> rows = all_rows();
  CHECK(rows.size() == 82);
  for (const Row& row : rows) {
    INFO(row.name << ": " << to_string(row.layout));
    std::vector<std::vector<Coord>> table(row.layout.threads());
    for (int64_t l = 0; l < row.layout.threads(); ++l) {
      for (int64_t i = 0; i < row.layout.slots(); ++i) table[l].push_back(row.formula(l, i));
    }
    CHECK(table_of(row.layout) == table);
    CHECK(recover(table) == row.layout);
    CHECK(*parse_layout(to_string(row.layout)) == row.layout);
  }
}

TEST_CASE("packings fit m16n8k16 with K free; x follows by the inverse renumbering, and each step contracts alike") {
  for (const Packing& packing : kPackings) {
    INFO(packing.name);
    const Layout u = *parse_layout(packing.text);
    const std::optional<Fit> f = fit(u, kA, {1});
    REQUIRE(f);
    CHECK(divide(f->layout, kA) == kSteps);
    CHECK(divide(u, kA).has_value() == (packing.name == std::string("W")));
    CHECK(f->renumbering[0].empty());

    const std::vector<Renumber> back = inverse(f->renumbering[1]);
    const std::optional<Layout> x = permute_dim(local({4, 1}) * kB, 0, back), w = permute_dim(f->layout, 1, back);
    REQUIRE(x);
    REQUIRE(w);
    for (const Mode& m : x->S()) {
      if (m.w == 1) CHECK(m.n == packing.x_run);
    }
    // w is u under other slot names: every lane holds the weights it was packed with.
    for (int64_t t = 0; t < 32; ++t) {
      std::set<Coord> packed, used;
      for (int64_t s = 0; s < u.slots(); ++s) {
        packed.insert(u.at(t, s));
        used.insert(w->at(t, s));
      }
      CHECK(packed == used);
    }
    // Position k of the atom's A and of its B is the same k of the tile, in every step.
    int wrong = 0;
    for (int64_t step = 0; step < 4; ++step) {
      for (int64_t k = 0; k < 16; ++k) {
        std::set<int64_t> tile_k;
        for (int64_t row = 0; row < 16; ++row) {
          const auto [t, s] = inverse(kA, {row, k}).front();
          tile_k.insert(w->at(t, kA.slots() * step + s)[1]);
        }
        for (int64_t column = 0; column < 8; ++column) {
          const auto [t, s] = inverse(kB, {k, column}).front();
          tile_k.insert(x->at(t, kB.slots() * step + s)[0]);
        }
        wrong += tile_k.size() != 1;
      }
    }
    CHECK(wrong == 0);
    // The scales: one for each row, a copy for each lane that shares it.
    CHECK(to_string(reduce(u, 1, Mode::kReplicate)) == "16x1 T[8:m1 4:R] S[2:m8]");
  }
}

TEST_CASE("packing W serves wgmma: its 64 x 64 block is four warps of W") {
  const Layout w = *parse_layout(kPackings[0].text);
  const Layout wgmma = spatial({4, 1}) * column_local({2, 2}) * spatial({8, 4}) * local({1, 2});
  CHECK(w == kSteps * kA);
  CHECK(kSteps * wgmma == spatial({4, 1}) * w);
}

TEST_CASE("codes of 1 to 8 bits fill whole 16-byte loads of a lane") {
  for (int width = 1; width <= 8; ++width) {
    const WordLayout w = planes_of(width);
    INFO(to_string(w));
    CHECK(w.dense());
    CHECK(width * w.slots() % 128 == 0);
  }
  CHECK(planes_of(3).slots() == 16 * 8);
  CHECK(planes_of(3).planes[1].base == 256);
  CHECK(planes_of(7).planes[2].base == 768);
}
