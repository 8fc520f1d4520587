// The measuring itself: statistics, what is asked for, checks before speed, reports and their page.
#include "bench/cliffs.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "bench/html.h"
#include "bench/plot.h"
#include "bench/session.h"
#include "bench/table.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "tests/scratch_files.h"

namespace lathe::bench {
namespace {

/// Every tag that is opened is closed, in order, and no text holds a bare mark.
std::string unclosed(const std::string& page) {
  std::vector<std::string> open;
  for (size_t at = 0; (at = page.find('<', at)) != page.npos;) {
    const size_t end = page.find('>', at);
    if (end == page.npos) return "a tag without an end";
    const std::string tag = page.substr(at + 1, end - at - 1);
    at = end;
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    const std::string name = tag.substr(tag[0] == '/', tag.find(' ') - (tag[0] == '/'));
    if (tag[0] != '/')
      open.push_back(name);
    else if (open.empty() || open.back() != name)
      return "/" + name + " after " + (open.empty() ? "nothing" : open.back());
    else
      open.pop_back();
  }
  return open.empty() ? "" : open.back();
}

Row row(const std::string& by, int64_t m, double us) {
  Row r{.by = by, .device = "cuda:0", .type = by == kOurs ? "u4b8 g128" : "f16", .shape = {4096, 28672}};
  r.m = m, r.us = {us * 0.9, us * 0.95, us, us * 1.05, us * 1.2};
  r.launches = 24, r.replays = 25, r.copies = 5, r.of_bound = 0.25, r.weight_bytes = 60'555'264, r.peak_bytes = 1 << 30;
  if (by == kOurs) r.schedule = "n32 m8", r.path = "published", r.atoms = "mma x8", r.registers = 96, r.spills = 0;
  return r;
}

Report report() {
  Report r;
  r.command = "lathe bench matmul --m \"1..2\" <all>";
  r.add(DeviceRow{"cuda:0", "NVIDIA H200", "a driver", 4400});
  r.notes.push_back("cuda:0: peer & version");
  r.rows = {row("cuBLAS f16", 1, 56), row("lathe", 1, 20), row("lathe", 2, 50)};
  Row wrong = row("lathe", 4, 1);
  wrong.error = "wrong: <off>", wrong.wrong = true, wrong.us = {};
  r.rows.push_back(wrong);
  return r;
}

std::string lines_of(const Report& r) {
  std::string text = command_json(r.command) + "\n";
  for (const DeviceRow& d : r.devices) text += to_json(d) + "\n";
  for (const std::string& n : r.notes) text += note_json(n) + "\n";
  for (const Row& one : r.rows) text += to_json(one, r) + "\n";
  return text;
}

std::vector<int64_t> tokens(const std::string& text) {
  const auto t = read_tokens(text);
  REQUIRE_MESSAGE(t, t.error().text);
  return *t;
}

}  // namespace

TEST_CASE("quartiles lie on the line between neighbours") {
  const Spread one = spread_of({7});
  CHECK(one.min == 7);
  CHECK(one.q1 == 7);
  CHECK(one.max == 7);
  const Spread five = spread_of({5, 1, 4, 2, 3});
  CHECK(five.min == 1);
  CHECK(five.q1 == 2);
  CHECK(five.median == 3);
  CHECK(five.q3 == 4);
  CHECK(five.max == 5);
  const Spread four = spread_of({40, 10, 20, 30});
  CHECK(four.q1 == 17.5);
  CHECK(four.median == 25);
  CHECK(four.q3 == 32.5);
}

TEST_CASE("shapes, models, numbers of tokens and formats are read, or refused by name") {
  CHECK(read_shape("4096x28672") == Shape{4096, 28672});
  for (const char* text : {"", "4096", "x", "4096x", "0x5", "-1x5", "4096x28672x2", "99999999x1", "16000000x16000000"})
    CHECK_MESSAGE(!read_shape(text), text);
  CHECK(shapes_of_model("llama-3.1-8b") ==
        std::vector<Shape>{{4096, 6144}, {4096, 4096}, {4096, 28672}, {14336, 4096}});
  const auto no_model = shapes_of_model("llama-9");
  REQUIRE_FALSE(no_model.has_value());
  CHECK(no_model.error().text.find("llama-3.1-70b") != std::string::npos);

  CHECK(tokens("1,8,3") == std::vector<int64_t>{1, 3, 8});
  CHECK(tokens("2..5,4..6") == std::vector<int64_t>{2, 3, 4, 5, 6});
  CHECK(tokens("64..256:64,512") == std::vector<int64_t>{64, 128, 192, 256, 512});
  for (const char* text : {"", "0", "1,", ",1", "5..2", "1..", "1..9:0", "a", "1..9999", "1048577", "1;2"})
    CHECK_MESSAGE(!read_tokens(text), text);

  const auto u4 = format_of("u4", 32, types::bf16);
  REQUIRE(u4.has_value());
  CHECK(u4->name == "u4 g32 x bf16");
  CHECK(u4->weights.zeros);
  CHECK(format_of("f16", 32, types::f16)->weights.group == 0);
  const auto q5 = format_of("q5", 32, types::f16);
  REQUIRE_FALSE(q5.has_value());
  CHECK(q5.error().text.find("u4b8, i4, u4") != std::string::npos);
}

TEST_CASE("a sweep's lines are cases, and a wrong one is named") {
  const model::ScratchFolder folder("lathe-bench-test");
  const auto format = format_of("u4b8", 128, types::f16);
  const auto cases = read_sweep(folder.write("s",
                                             "# a note\n\nvulkan:0 128 64 3 32 8 512 1 1 4 1 1 4\n"
                                             "vulkan:0 128 64 9 0 0 0 0 0 0 0 0\n"),
                                *format);
  REQUIRE_MESSAGE(cases, cases.error().text);
  REQUIRE(cases->size() == 2);
  CHECK((*cases)[0].m == 3);
  CHECK(to_string(*(*cases)[0].schedule) == "n32 m8 k512 s1x1x4 stages1 acc groups4");
  CHECK_FALSE((*cases)[1].schedule.has_value());
  for (const char* text : {"vulkan:0 128 64 3 32 8\n", "vulkan:0 0 64 3 0 0 0 0 0 0 0 0\n", "\n"}) {
    const auto refused = read_sweep(folder.write("bad", text), *format);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().text.find("bad") != std::string::npos);
  }
  CHECK_FALSE(read_sweep(folder.path("absent"), *format).has_value());
}

TEST_CASE("cliffs are found where a rule is broken, and only where both numbers were measured") {
  Report r;
  const std::pair<int64_t, double> times[] = {{1, 10},   {2, 12.9}, {4, 30},   {5, 27},    {63, 100},
                                              {64, 131}, {65, 209}, {66, 335}, {128, 275}, {132, 200}};
  for (const auto& [m, us] : times) r.rows.push_back(row("lathe", m, us));
  r.rows.push_back(row("cuBLAS f16", 1, 10)), r.rows.push_back(row("cuBLAS f16", 2, 100));
  const auto series = series_of(r);
  REQUIRE(series.size() == 2);
  CHECK(series[0].name() == "lathe cuda:0 u4b8 g128");
  CHECK(series[1].name() == "cuBLAS f16 cuda:0");
  const Cliffs cliffs = cliffs_of(series);
  // Neighbours: 1-2, 4-5, 63-64, 64-65, 65-66, two rules each; doubles: 1-2, 2-4, 64-128, 66-132.
  CHECK(cliffs.checked == 14);
  std::vector<std::string> found;
  for (const Cliff& c : cliffs.found) found.push_back(fmt::format("{}-{} {:.2f}", c.earlier, c.later, c.ratio));
  CHECK(found == std::vector<std::string>{"2-4 2.33", "4-5 1.11", "63-64 1.31", "65-66 1.60"});
}

TEST_CASE("a report reads back what was written, and refuses what is none") {
  const Report r = report();
  const auto back = read_report("r.json", lines_of(r));
  REQUIRE_MESSAGE(back, back.error().text);
  CHECK(lines_of(*back) == lines_of(r));
  CHECK(table_line(back->rows[1], *back) == table_line(r.rows[1], r));
  const std::string broken[] = {
      "[]",
      "{",
      "{}",
      R"({"by": 3})",
      R"({"by": "torch", "device": "cuda:0", "k": 1, "n": 1, "m": 1})",
      R"({"by": "torch", "device": "cuda:0", "k": 1, "n": 1, "m": 1, "us": {"median": -3}})",
      R"({"by": "torch", "device": "cuda:0", "k": 1, "n": 0, "m": 1, "us": {"median": 3}})",
      R"({"name": "x", "device": 7})",
      std::string(100000, '['),
  };
  for (const std::string& text : broken) {
    const auto refused = read_report("r.json", "\n" + text + "\n");
    CAPTURE(text.substr(0, 80));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().text.starts_with("r.json:2: "));
    CHECK(refused.error().text.find('\n') == std::string::npos);
  }
  const auto least = read_report("r", R"({"by": "torch", "device": "d", "k": 2, "n": 3, "m": 1, "us": {"median": 3}})");
  REQUIRE(least.has_value());
  CHECK(least->rows[0].us.max == 3);
}

TEST_CASE("the shares and ratios of a row need a known rate and a peer on the same GPU") {
  Report r = report();
  CHECK(*r.of_read_rate(r.rows[1]) == doctest::Approx(60'555'264 / 20e-6 / 4400e9));
  CHECK(*r.over_peer(r.rows[1]) == doctest::Approx(2.8));
  CHECK_FALSE(r.over_peer(r.rows[0]).has_value());
  CHECK_FALSE(r.over_peer(r.rows[2]).has_value());
  CHECK_FALSE(r.of_read_rate(r.rows[3]).has_value());
  r.add(DeviceRow{"vulkan:0", "NVIDIA H200", "another driver", 0});
  r.rows[1].device = "vulkan:0";
  CHECK(*r.over_peer(r.rows[1]) == doctest::Approx(2.8));
  CHECK_FALSE(r.of_read_rate(r.rows[1]).has_value());
  CHECK(row_of({.name = "NVIDIA H200"}).read_gb_s == 4570);
  CHECK(row_of({.name = "llvmpipe"}).read_gb_s == 0);
}

TEST_CASE("ticks cover an axis in round steps") {
  CHECK(ticks(0.9, 600, Scale::log2) == std::vector<double>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512});
  CHECK(ticks(9, 230, Scale::log10) == std::vector<double>{10, 20, 50, 100, 200});
  CHECK(ticks(0, 97, Scale::linear) == std::vector<double>{0, 20, 40, 60, 80});
  CHECK(ticks(0, 6, Scale::linear) == std::vector<double>{0, 1, 2, 3, 4, 5, 6});
  CHECK(ticks(0, 0.31, Scale::linear).size() == 7);
  CHECK(ticks(0.9, 1e6, Scale::log2).size() <= 11);
}

TEST_CASE("the page is closed, complete, and asks no network for anything") {
  const std::string page = html(report());
  CHECK(unclosed(page) == "");
  CHECK(unclosed("<p><b></p>") != "");
  for (const char* piece :
       {"<svg", "cuda:0: peer &amp; version", "&lt;all&gt;", "wrong: &lt;off&gt;", "M = 1: 20.00 us", "4096x28672",
        "2 of 3 pairs", "class=\"marked\"", "prefers-color-scheme", ">2.80<"})
    CHECK_MESSAGE(page.find(piece) != page.npos, std::string(piece));
  for (const char* piece : {"<script", "src=", "href=", "url(", "nan", "inf\""})
    CHECK_MESSAGE(page.find(piece) == page.npos, std::string(piece));
  CHECK(unclosed(html({})) == "");
}

TEST_CASE("samples are exact, and none lies outside") {
  const auto format = format_of("u4", 16, types::f16);
  const Problem p(*format, {40, 7}, 9);
  const auto samples = p.samples(3);
  CHECK(samples.size() == 3 * 7);
  const std::vector<uint16_t> w = p.f16_weights();
  for (const auto& s : samples) {
    double sum = 0;
    for (int64_t k = 0; k < 40; k++)
      sum += decode(types::f16, p.x()[static_cast<size_t>(s.row * 40 + k)]) *
             decode(types::f16, w[static_cast<size_t>(s.column * 40 + k)]);
    CHECK(s.row < 3);
    CHECK(s.bound > 0);
    CHECK(std::abs(sum - s.exact) <= s.bound);
  }
}

TEST_CASE("outputs are checked before any time is taken") {
  auto device = open_device("sim:sm_80");
  REQUIRE(device.has_value());
  const auto target = target_of(**device);
  REQUIRE(target.has_value());
  const auto format = format_of("u4b8", 32, types::f16);
  const Problem right(*format, {64, 48}, 3), other(*format_of("u4", 32, types::f16), {64, 48}, 3);
  auto matmul = Matmul::create(**device, *target, right.format().weights, types::f16, false);
  REQUIRE(matmul.has_value());
  REQUIRE((*matmul)->store(right.weights()));
  const auto second = (*matmul)->another();
  REQUIRE(second->store(right.weights()));
  auto x = (*device)->alloc(right.x().size_bytes()), y = (*device)->alloc(3 * 48 * 4),
       lost = (*device)->alloc(3 * 48 * 4);
  REQUIRE((*device)->upload(**x, 0, std::as_bytes(right.x())));
  const auto measured = [&](Matmul& m, runtime::Buffer& to, const Problem& expected) {
    const auto launch = m.launch(3, (*x)->address(), to.address());
    REQUIRE_MESSAGE(launch, launch.error().text);
    const auto graph = (*device)->record({&*launch, 1});
    Row r{.by = "lathe", .device = "sim", .type = "u4b8", .shape = right.shape()};
    r.m = 3, r.launches = 1;
    const auto done = check_and_time(**device, **graph, **y, types::f32, expected, r);
    REQUIRE_MESSAGE(done, done.error().text);
    return r;
  };
  CHECK(measured(**matmul, **y, right).measured());
  CHECK(measured(*second, **y, right).us.median > 0);
  CHECK((*matmul)->compilations() == 1);
  CHECK(second->compilations() == 1);
  const Row wrong = measured(**matmul, **y, other), nothing = measured(**matmul, **lost, right);
  CHECK(wrong.wrong);
  CHECK(wrong.us.median == 0);
  CHECK(nothing.error == "wrong: an output is no number");
}

TEST_CASE("a simulated device has no speed") {
  const auto refused = MatmulBench::open("sim:sm_80", true, {});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Error::Code::unsupported);
}

TEST_CASE("a device counts what its buffers hold") {
  auto device = open_device("sim:sm_80");
  REQUIRE(device.has_value());
  runtime::MemoryUse& use = (*device)->memory_use();
  {
    const auto a = (*device)->alloc(1000), b = (*device)->alloc(500);
    CHECK(use.held() == 1500);
  }
  CHECK(use.held() == 0);
  CHECK(use.peak() == 1500);
  use.restart();
  CHECK(use.peak() == 0);
}

}  // namespace lathe::bench
