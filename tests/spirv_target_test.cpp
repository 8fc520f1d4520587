// Targets as JSON: every field survives the way there and back, and nothing wrong is believed.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <random>

#include "backends/fma_atom.h"
#include "backends/ptx/target.h"
#include "backends/spirv/target.h"
#include "engine/target_entry.h"

using namespace lathe;
using Json = nlohmann::json;

namespace {

Target gpu() {
  Target t{.name = "Test GPU (\"quoted\", \xc3\xa9)", .backend = Backend::spirv, .subgroup_size = 32};
  t.fixed_subgroup_size = false;
  t.max_threads = 512;
  t.shared_bytes = 32768;
  t.max_registers = 128;
  t.f16_arithmetic = false;
  t.bf16_arithmetic = true;
  t.mma_f16_subnormals = t.rte_f16 = t.preserve_f32_denorm = true;
  Atom atom{.name = "coopmat 16x8x16 f16 f16 f32 f32",
            .m = 16,
            .n = 8,
            .k = 16,
            .a = types::f16,
            .b = types::f16,
            .c = types::f32};
  atom.layout_a = *parse_layout("16x16 T[8:m1 4:k2] S[2:m8 2:k8 2:k1]");
  atom.layout_b = *parse_layout("16x8 T[8:k1 4:m2] S[2:m8 2:m1]");
  atom.layout_c = *parse_layout("16x8 T[8:m1 4:k2] S[2:m8 2:k1]");
  atom.source = MapSource::probed;
  atom.constant_operands = false;
  t.atoms = {atom, fma_atom(8, 4, types::f32)};
  return t;
}

bool same(const Atom& x, const Atom& y) {
  return x.name == y.name && x.m == y.m && x.n == y.n && x.k == y.k && x.a == y.a && x.b == y.b && x.c == y.c &&
         x.layout_a == y.layout_a && x.layout_b == y.layout_b && x.layout_c == y.layout_c && x.source == y.source &&
         x.constant_operands == y.constant_operands;
}

void check_round_trip(const Target& t) {
  const std::string text = to_json(t);
  const auto back = spirv_target_from_json(text);
  REQUIRE_MESSAGE(back, back.error().text);
  CHECK(to_json(*back) == text);
  CHECK(back->name == t.name);
  CHECK(back->backend == t.backend);
  CHECK(back->subgroup_size == t.subgroup_size);
  CHECK(back->fixed_subgroup_size == t.fixed_subgroup_size);
  CHECK(back->max_threads == t.max_threads);
  CHECK(back->shared_bytes == t.shared_bytes);
  CHECK(back->max_registers == t.max_registers);
  CHECK(back->f16_arithmetic == t.f16_arithmetic);
  CHECK(back->bf16_arithmetic == t.bf16_arithmetic);
  CHECK(back->f16_storage == t.f16_storage);
  CHECK(back->byte_storage == t.byte_storage);
  CHECK(back->mma_f16_subnormals == t.mma_f16_subnormals);
  CHECK(back->rte_f16 == t.rte_f16);
  CHECK(back->rte_f32 == t.rte_f32);
  CHECK(back->preserve_f16_denorm == t.preserve_f16_denorm);
  CHECK(back->preserve_f32_denorm == t.preserve_f32_denorm);
  CHECK(back->ptx_isa == t.ptx_isa);
  CHECK(back->speed.device == t.speed.device);
  CHECK(back->speed.memory_gb_s == t.speed.memory_gb_s);
  CHECK(back->speed.flight_bytes == t.speed.flight_bytes);
  REQUIRE(back->atoms.size() == t.atoms.size());
  for (size_t a = 0; a < t.atoms.size(); a++) CHECK(same(back->atoms[a], t.atoms[a]));
}

/// What is said of the profile after one change.
std::string fault_after(const std::function<void(Json&)>& change) {
  Json j = Json::parse(to_json(gpu()));
  change(j);
  const auto t = spirv_target_from_json(j.dump());
  if (t) return "accepted";
  CHECK(t.error().code == Error::Code::bad_input);
  return t.error().text;
}

}  // namespace

TEST_CASE("targets of both backends survive as JSON") {
  check_round_trip(gpu());
  for (const std::string_view name : ptx_target_names()) check_round_trip(*ptx_target(name));
}

TEST_CASE("every field is needed, none is unknown, and the message names it") {
  const Json good = Json::parse(to_json(gpu()));
  CHECK(good.size() == 23);
  CHECK(good["atoms"][0].size() == 14);
  for (const auto& field : good.items()) {
    const std::string& key = field.key();
    CHECK(fault_after([&](Json& j) { j.erase(key); }) == fmt::format("target file: {}: missing", key));
    CHECK_MESSAGE(fault_after([&](Json& j) { j[key] = nullptr; }).starts_with(fmt::format("target file: {}: ", key)),
                  key);
    CHECK_MESSAGE(fault_after([&](Json& j) { j[key] = Json::object(); }).starts_with("target file: "), key);
  }
  for (const auto& field : good["speed"].items()) {
    const std::string& key = field.key();
    CHECK(fault_after([&](Json& j) { j["speed"].erase(key); }) == fmt::format("target file: speed: {}: missing", key));
    CHECK_MESSAGE(fault_after([&](Json& j) { j["speed"][key] = -1; }) != "accepted", key);
  }
  for (const auto& field : good["atoms"][0].items()) {
    const std::string& key = field.key();
    CHECK(fault_after([&](Json& j) { j["atoms"][1].erase(key); }) ==
          fmt::format("target file: atoms: 1: {}: missing", key));
    CHECK_MESSAGE(fault_after([&](Json& j) { j["atoms"][1][key] = 1.5; }) != "accepted", key);
  }
  CHECK(fault_after([](Json& j) { j["colour"] = 1; }) == "target file: a field that nobody knows");
}

TEST_CASE("numbers out of range, foreign layouts and broken text are refused") {
  const std::pair<const char*, Json> bad[] = {{"subgroup_size", 0},
                                              {"subgroup_size", 256},
                                              {"subgroup_size", -32},
                                              {"subgroup_size", "32"},
                                              {"max_threads", 1 << 30},
                                              {"shared_bytes", -1},
                                              {"shared_bytes", 1e9},
                                              {"max_registers", uint64_t{1} << 63},
                                              {"ptx_isa", INT64_MIN},
                                              {"f16_storage", 1},
                                              {"name", ""},
                                              {"name", "two\nlines"},
                                              {"backend", "metal"},
                                              {"name", std::string(257, 'x')},
                                              {"atoms", Json::object()},
                                              {"atoms", Json(std::vector<int>(257, 0))}};
  for (const auto& wrong : bad)
    CHECK_MESSAGE(fault_after([&](Json& j) { j[wrong.first] = wrong.second; }).find(wrong.first) != std::string::npos,
                  wrong.first << " " << wrong.second.dump());
  CHECK(fault_after([](Json& j) { j["subgroup_size"] = 24; }) ==
        "target file: subgroup_size: a power of two is needed");
  CHECK(fault_after([](Json& j) { j["subgroup_size"] = 16; }).find("layout_a: 16 x 16 over 16 lanes") !=
        std::string::npos);
  const auto layout = [](const char* text) { return fault_after([&](Json& j) { j["atoms"][0]["layout_c"] = text; }); };
  CHECK(layout("16x8 T[8:m1 4:k2] S[2:m8 2:k1]") == "accepted");
  for (const char* text :
       {"", "16x8", "16x8 T[8:m1 4:k2] S[2:m8]", "8x16 T[8:m1 4:k4] S[4:k1]", "16x8 T[8:m1 8:k1] S[2:m8]",
        "16x8 T[2:P 8:m1 2:k4] S[2:m8 4:k1]", "16x8 T[9999999999999:m1] S[]"})
    CHECK_MESSAGE(layout(text) != "accepted", text);
  CHECK(fault_after([](Json& j) { j["atoms"][0]["a"] = "f17"; }).ends_with("an element type is needed"));
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("nul"),
                                  std::string("\xff{}"), std::string(2 << 20, ' '), std::string(100000, '[')})
    CHECK_FALSE(spirv_target_from_json(text));
}

TEST_CASE("a damaged file is refused or gives a valid target, never anything else") {
  const std::string good = to_json(gpu());
  std::mt19937 random(1);
  int accepted = 0, refused = 0;
  for (int turn = 0; turn < 3000; turn++) {
    std::string text = good;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; edits--) {
      const size_t at = random() % text.size();
      if (random() % 2 == 0)
        text[at] = static_cast<char>(random() % 256);
      else
        text.erase(at, 1 + random() % 8);
    }
    const auto t = spirv_target_from_json(text);
    (t ? accepted : refused)++;
    if (t) CHECK(spirv_target_from_json(to_json(*t)));
  }
  CHECK(accepted > 30);
  CHECK(refused > 1000);
}

TEST_CASE("the cache's entry of a target: there and back, and nothing wrong is believed") {
  const TargetEntry entry{gpu(), {"coopmat 16x8x16: a line", "another"}};
  const auto back = target_entry(to_text(entry));
  REQUIRE(back);
  CHECK(to_json(back->target) == to_json(entry.target));
  CHECK(back->maps == entry.maps);
  for (const Json& maps : {Json(), Json(1), Json("text"), Json::array({1}), Json::object()}) {
    Json j = Json::parse(to_text(entry));
    j["maps"] = maps;
    CHECK_FALSE(target_entry(j.dump()));
  }
  CHECK_FALSE(target_entry(R"({"maps":[],"target":)" + std::string(100000, '[')));
}
