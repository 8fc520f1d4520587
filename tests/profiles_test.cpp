// The profiles' lane maps against the maps seen in the drivers, written as formulas of lane and element.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <set>

#include "backends/fma_atom.h"
#include "backends/spirv/profiles.h"
#include "backends/spirv/target.h"

namespace lathe {
namespace {

/// Lane l and element i to (row, column).
using Formula = Coord (*)(int64_t l, int64_t i);

/// One operand of one matrix, and how many lanes hold each element.
struct Map {
  const char* profile;
  const char* operand;  ///< "a 16x16"
  int64_t copies;
  Formula at;
};

const Map kMaps[] = {
    {"lavapipe", "a 8x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{i, l};
     }},
    {"lavapipe", "b 8x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{l, i};
     }},
    {"lavapipe", "c 8x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{i, l};
     }},

    {"nvidia", "a 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * (i / 4), 2 * (l % 4) + (i & 1) + 8 * ((i / 2) & 1)};
     }},
    {"nvidia", "b 16x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * (l % 4) + (i & 1) + 8 * (i / 2), l / 4};
     }},
    {"nvidia", "c 16x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * (i / 2), 2 * (l % 4) + (i & 1)};
     }},

    {"nvk", "a 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * ((i / 2) & 1), 2 * (l % 4) + (i & 1) + 8 * (i / 4)};
     }},
    {"nvk", "a 16x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * (i / 2), 2 * (l % 4) + (i & 1)};
     }},
    {"nvk", "b 16x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * (l % 4) + (i & 1) + 8 * (i / 2), l / 4};
     }},
    {"nvk", "b 8x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * (l % 4) + (i & 1) + 8 * (i / 2), l / 4};
     }},
    {"nvk", "b 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * (l % 4) + (i & 1) + 8 * ((i / 2) & 1), l / 4 + 8 * (i / 4)};
     }},
    {"nvk", "c 16x8", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * (i / 2), 2 * (l % 4) + (i & 1)};
     }},
    {"nvk", "c 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{l / 4 + 8 * ((i / 2) & 1), 2 * (l % 4) + (i & 1) + 8 * (i / 4)};
     }},

    {"rdna3", "a 16x16", 2,
     [](int64_t l, int64_t i) {
       return Coord{l % 16, i};
     }},
    {"rdna3", "b 16x16", 2,
     [](int64_t l, int64_t i) {
       return Coord{i, l % 16};
     }},
    {"rdna3", "c 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * i + l / 16, l % 16};
     }},
    {"rdna3-wave64", "a 16x16", 4,
     [](int64_t l, int64_t i) {
       return Coord{l % 16, i};
     }},
    {"rdna3-wave64", "b 16x16", 4,
     [](int64_t l, int64_t i) {
       return Coord{i, l % 16};
     }},
    {"rdna3-wave64", "c 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{4 * i + l / 16, l % 16};
     }},

    {"rdna4", "a 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{l % 16, 8 * (l / 16) + i};
     }},
    {"rdna4", "b 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{8 * (l / 16) + i, l % 16};
     }},
    {"rdna4", "c 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{8 * (l / 16) + i, l % 16};
     }},
    {"rdna4-wave64", "a 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{l % 16, 8 * ((l / 16) & 1) + 4 * (l / 32) + i};
     }},
    {"rdna4-wave64", "b 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{8 * ((l / 16) & 1) + 4 * (l / 32) + i, l % 16};
     }},
    {"rdna4-wave64", "c 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{8 * ((l / 16) & 1) + 4 * (l / 32) + i, l % 16};
     }},

    {"xe2", "a 8x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{2 * (i / 2) + l / 8, 2 * (l % 8) + (i & 1)};
     }},
    {"xe2", "b 16x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{i, l};
     }},
    {"xe2", "c 8x16", 1,
     [](int64_t l, int64_t i) {
       return Coord{i, l};
     }},
};

Target profile(std::string_view name) {
  auto t = spirv_profile(name);
  REQUIRE_MESSAGE(t, t.error().text);
  return *t;
}

void check_map(const Layout& layout, const Map& map) {
  std::set<Coord> elements;
  for (int64_t l = 0; l < layout.threads(); l++)
    for (int64_t i = 0; i < layout.slots(); i++) {
      const Coord at = layout.at(l, i);
      REQUIRE_MESSAGE(at == map.at(l, i), fmt::format("lane {} element {} of {}", l, i, to_string(layout)));
      elements.insert(at);
    }
  CHECK(static_cast<int64_t>(elements.size()) == layout.elements());
  CHECK(layout.replicas() == map.copies);
  CHECK(layout.threads() * layout.slots() == map.copies * layout.elements());
}

}  // namespace

TEST_CASE("every lane map of a profile is the one seen in its driver: complete, with its number of copies") {
  std::set<const Map*> used;
  for (const std::string_view name : spirv_profile_names()) {
    for (const Atom& atom : profile(name).atoms) {
      if (atom.source == MapSource::fma) continue;
      CHECK(atom.source == MapSource::assumed);
      const std::pair<std::string, const Layout*> operands[] = {
          {fmt::format("a {}x{}", atom.m, atom.k), &atom.layout_a},
          {fmt::format("b {}x{}", atom.k, atom.n), &atom.layout_b},
          {fmt::format("c {}x{}", atom.m, atom.n), &atom.layout_c}};
      for (const auto& entry : operands) {
        const std::string& operand = entry.first;
        CAPTURE(fmt::format("{} {}", name, operand));
        const auto* map = std::find_if(std::begin(kMaps), std::end(kMaps),
                                       [&](const Map& m) { return m.profile == name && m.operand == operand; });
        REQUIRE(map != std::end(kMaps));
        check_map(*entry.second, *map);
        used.insert(map);
      }
    }
  }
  CHECK(used.size() == std::size(kMaps));
}

TEST_CASE("a profile is a target: it survives its text form, and has the multiply-adds every target has") {
  for (const std::string_view name : spirv_profile_names()) {
    CAPTURE(name);
    const Target t = profile(name);
    CHECK(t.name == name);
    const auto again = spirv_target_from_json(to_json(t));
    REQUIRE_MESSAGE(again, again.error().text);
    CHECK(to_json(*again) == to_json(t));
    Target bare = t;
    std::erase_if(bare.atoms, [](const Atom& a) { return a.source == MapSource::fma; });
    append_fma_atoms(bare);
    CHECK(to_json(bare) == to_json(t));
  }
  CHECK(spirv_profile_names().size() == 12);
}

TEST_CASE("an unknown profile is refused in a line that lists those there are") {
  const auto t = spirv_profile("rdna9");
  REQUIRE_FALSE(t);
  CHECK(t.error().code == Error::Code::bad_input);
  CHECK(t.error().text.find("rdna4-wave64") != std::string::npos);
}

}  // namespace lathe
