// Random machines: their maps are what they claim, the probe finds those the algebra expresses and refuses the others.
// Reports of programs compiled from text name its lines.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "backends/sim/device.h"
#include "backends/sim/random_model.h"
#include "engine/open.h"
#include "engine/probe.h"
#include "tests/device_kernel.h"

using namespace lathe;

namespace {

std::vector<std::vector<Coord>> coordinates(const std::vector<std::vector<uint32_t>>& table, int cols) {
  std::vector<std::vector<Coord>> out(table.size());
  for (size_t t = 0; t < table.size(); t++)
    for (const uint32_t e : table[t])
      out[t].push_back({e / static_cast<uint32_t>(cols), e % static_cast<uint32_t>(cols)});
  return out;
}

std::unique_ptr<runtime::Device> must_open(const std::string& id) {
  auto device = open_device(id);
  REQUIRE_MESSAGE(device.has_value(), (device ? "" : device.error().text));
  return std::move(*device);
}

}  // namespace

TEST_CASE("a random lane map holds every element equally often, and is a layout unless it is scrambled") {
  struct Shape {
    int lanes, rows, cols, copies;
  };
  for (const Shape& s :
       {Shape{32, 16, 16, 1}, {32, 16, 16, 2}, {8, 8, 8, 1}, {64, 12, 8, 2}, {16, 8, 24, 1}, {64, 8, 8, 4}})
    for (uint64_t seed = 0; seed < 20; seed++)
      for (const bool scrambled : {false, true}) {
        const auto table = sim::random_lane_map(seed, s.lanes, s.rows, s.cols, s.copies, scrambled);
        std::vector<int> held(static_cast<size_t>(s.rows * s.cols));
        for (const auto& lane : table)
          for (const uint32_t e : lane) held.at(e)++;
        CHECK(held == std::vector<int>(held.size(), s.copies));
        CHECK(recover(coordinates(table, s.cols)).has_value() == !scrambled);
      }
}

TEST_CASE("the probe finds a random machine's map, and refuses one outside the algebra") {
  std::set<uint32_t> sizes;
  for (uint64_t seed = 0; seed < 20; seed++) {
    const std::string name = fmt::format("probe?seed={}", seed);
    CAPTURE(name);
    const auto device = must_open("sim:" + name);
    sizes.insert(device->info().facts.subgroup_size);
    ProbeReport found;
    auto target = target_of(*device, {}, &found);
    REQUIRE_MESSAGE(target.has_value(), (target ? "" : target.error().text));
    const sim::Model model = sim::random_model(name, seed);
    size_t probed = 0, expected = 0;
    for (const auto& m : model.info.facts.vulkan.matrices) {
      const thread::Type a{thread::Scalar::f16, 1, thread::Use::a, static_cast<uint16_t>(m.m),
                           static_cast<uint16_t>(m.k)};
      const bool narrow = model.matrices.find(a)->slots <= 64;  // the probe asks for no more
      expected += seed % 4 != 3 && narrow;
    }
    for (const Atom& a : target->atoms) {
      if (a.source != MapSource::probed) continue;
      probed++;
      const struct {
        thread::Type type;
        const Layout& layout;
      } parts[] = {{{thread::Scalar::f16, 1, thread::Use::a, static_cast<uint16_t>(a.m), static_cast<uint16_t>(a.k)},
                    a.layout_a},
                   {{thread::Scalar::f16, 1, thread::Use::b, static_cast<uint16_t>(a.k), static_cast<uint16_t>(a.n)},
                    a.layout_b},
                   {{thread::Scalar::f32, 1, thread::Use::c, static_cast<uint16_t>(a.m), static_cast<uint16_t>(a.n)},
                    a.layout_c}};
      for (const auto& p : parts) {
        const sim::LaneMap& map = *model.matrices.find(p.type);
        REQUIRE(p.layout.slots() == map.slots);
        for (int64_t t = 0; t < p.layout.threads(); t++)
          for (int64_t s = 0; s < p.layout.slots(); s++) {
            const Coord at = p.layout.at(t, s);
            CHECK(at[0] * map.cols + at[1] == map.element[static_cast<size_t>(s * p.layout.threads() + t)]);
          }
      }
    }
    const std::string maps = fmt::format("{}", fmt::join(found.maps, "\n"));
    CHECK_MESSAGE(probed == expected, maps);
    CHECK(target->mma_f16_subnormals == model.matrices.keeps_f16_subnormals);
    for (const Atom& a : target->atoms)
      CHECK(a.constant_operands == (a.source == MapSource::fma || !model.matrices.loses_constant_signs));
  }
  CHECK(sizes == std::set<uint32_t>{8, 16, 32, 64});
}

TEST_CASE("products with constants are right where the machine's compiler loses their signs") {
  const auto device = must_open("sim:probe?seed=1");
  const auto target = target_of(*device);
  REQUIRE(target.has_value());
  TestDevice d{must_open("sim:probe?seed=1"), *target, "sim:probe?seed=1"};
  REQUIRE(!d.target.atoms.front().constant_operands);
  const Atom& atom = d.target.atoms.front();
  auto f = tile::parse(fmt::format("kernel t(x: f16[{0}, {2}], y: f32[{0}, {1}]) grid [1] subgroups 1 {{\n"
                                   "  store(y[0, 0], mma(load(x[0, 0], [{0}, {2}]), fill(f16[{2}, {1}], -2), "
                                   "fill(f32[{0}, {1}], 0)))\n}}\n",
                                   atom.m, atom.n, atom.k),
                       "test.tile");
  REQUIRE_MESSAGE(f.has_value(), (f ? "" : f.error().text));
  const auto elements = [](Type t, int rows, int columns, double value) {
    return tile::HostTensor{
        t, {rows, columns}, std::vector<uint64_t>(static_cast<size_t>(rows * columns), encode(t, value))};
  };
  Tensors t{{"x", elements(types::f16, atom.m, atom.k, 1)}, {"y", elements(types::f32, atom.m, atom.n, 0)}};
  const auto done = run_on(d, *f, t);
  REQUIRE_MESSAGE(done.has_value(), (done ? "" : done.error().text));
  CHECK(t.at("y").raw == elements(types::f32, atom.m, atom.n, -2 * atom.k).raw);
}

TEST_CASE("a report names the line of the tile program, that of its printed form where it was built") {
  const auto device = must_open("sim:sm_80");
  const auto target = target_of(*device);
  REQUIRE(target.has_value());
  TestDevice d{must_open("sim:sm_80"), *target, "sim:sm_80"};
  const std::string text =
      "kernel clash(y: i64[R, C]) grid [2] subgroups 1 {\n"
      "  a = fill(i64[4, 32], VALUE)\n\n"
      "  // the line\n"
      "  store(y[0, 0], a)\n}\n";
  const auto program = [&](const char* value) {
    std::string with = text;
    with.replace(with.find("VALUE"), 5, value);
    auto f = tile::parse(with, "test.tile");
    REQUIRE_MESSAGE(f.has_value(), (f ? "" : f.error().text));
    return std::move(*f);
  };
  const auto report_on = [&](const tile::Func& f) {
    Tensors t{{"y", {types::i64, {4, 32}, std::vector<uint64_t>(128)}}};
    const auto status = run_on(d, f, t);
    return status ? "" : status.error().text;
  };
  CHECK(report_on(program("7")) == "");
  tile::Func clash = program("group_id(0)");
  const std::string parsed = report_on(clash);
  const std::string rest = "store_global: workgroup (1, 0, 0): thread 0 writes";
  CHECK_MESSAGE(parsed.find("sim:sm_80: clash line 5: " + rest) != parsed.npos, parsed);
  for (auto& inst : clash.insts) inst.loc = {};
  const std::string built = report_on(clash);
  CHECK_MESSAGE(built.find("sim:sm_80: clash line ") != built.npos, built);
  CHECK_MESSAGE(built.find(rest) != built.npos, built);
}

TEST_CASE("ids of simulated devices that are none") {
  for (const char* id :
       {"sim:", "sim:sm_10", "sim:probe?seed=", "sim:probe?seed=1x", "sim:nowhere.json", "sim:probe"}) {
    const auto device = open_device(id);
    REQUIRE_FALSE(device.has_value());
    CHECK_MESSAGE(device.error().text.find("no simulated device") == 0, device.error().text);
  }
}
