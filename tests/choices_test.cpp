// Tuned choices: the space they come from, the estimate that narrows it, the file that keeps them, the layer that uses
// them.
#include "model/choices.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <set>

#include "backends/ptx/target.h"
#include "bench/estimate.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "model/matmul.h"
#include "model/schedule_space.h"
#include "tests/scratch_files.h"

namespace lathe {
namespace {

const model::ScratchFolder& folder() {
  static const model::ScratchFolder scratch("lathe-choices-test");
  setenv("LATHE_CACHE_DIR", scratch.path("cache").c_str(), 1);
  return scratch;
}

kernels::WeightFormat u4b8() { return {.code = types::u4, .group = 128, .constant_zero = 8}; }

Choice choice(int64_t m, const std::string& schedule) {
  return {"sim", "sm_80", "u4 g128 zero8", 1024, 64, m, schedule};
}

runtime::DeviceInfo simulated() {
  runtime::DeviceInfo info;
  info.api = "sim", info.name = "sm_80";
  return info;
}

std::vector<std::string> schedules(const std::vector<Choice>& choices) {
  std::vector<std::string> out;
  for (const Choice& c : choices) out.push_back(fmt::format("{}: {}", c.m, c.schedule));
  return out;
}

}  // namespace

TEST_CASE("a schedule's text is read back") {
  for (const Schedule& s :
       {Schedule{}, Schedule{256, 128, 64, {8, 2, 1}, 3, true, 8}, Schedule{1, 1, 1, {1, 1, 1}, 1, false, 2}})
    CHECK(parse_schedule(to_string(s)) == s);
  for (const char* text :
       {"", "n32", "n32 m8 k512 s1x1x4 stages", "n32 m8 k512 s1x1x4 stages2 acc ", "n32 m8 k512 s1x1x4 stages2 groups1",
        "n0 m8 k512 s1x1x4 stages2", "n32 m-8 k512 s1x1x4 stages2", "n99999999999999999999 m8 k512 s1x1x4 stages2",
        "n32 m8 k512 s1x1x4 stages2 groups4 acc"})
    CHECK_MESSAGE(!parse_schedule(text), std::string(text));
}

TEST_CASE("the user's choices are kept, replaced by case, and what is no choice is passed over") {
  folder();
  const auto kept = [] { return schedules(choices_for(simulated(), u4b8(), types::f16)); };
  CHECK(kept().empty());
  REQUIRE(keep_choices({{choice(1, "a"), choice(8, "b")}}));
  CHECK(kept() == std::vector<std::string>{"1: a", "8: b"});
  REQUIRE(keep_choices({{choice(1, "c")}}));
  CHECK(kept() == std::vector<std::string>{"8: b", "1: c"});
  Choice other = choice(1, "d");
  other.device = "sm_90a";
  REQUIRE(keep_choices({{other}}));
  CHECK(kept().size() == 2);
  CHECK(choices_for(simulated(), {.code = types::i4}, types::f16).empty());
  CHECK(choices_for(simulated(), u4b8(), types::bf16).empty());

  const std::string file = user_choices_file().string(), whole = model::bytes_of(file);
  for (const std::string& damage : {std::string("[1]\n{\n\xff\n"), std::string(100000, '['), whole.substr(0, 30)}) {
    std::ofstream(file, std::ios::binary) << damage << "\n" << whole;
    CHECK(kept() == std::vector<std::string>{"8: b", "1: c"});
  }
  std::ofstream(file) << "";
}

TEST_CASE("a layer takes the choice for its shape and about as many tokens, if it reads what is stored") {
  folder();
  const std::string good = "n32 m8 k512 s1x1x4 stages1", many = "n64 m16 k512 s2x1x4 stages1";
  REQUIRE(
      keep_choices({{choice(4, good), choice(64, many), choice(2, "n32 m8 k96 s1x1x4 stages1"), choice(1, "none")}}));
  const auto device = open_device("sim:sm_80");
  REQUIRE(device.has_value());
  const auto target = target_of(**device);
  const auto matmul = Matmul::create(**device, *target, u4b8(), types::f16, false);
  REQUIRE_MESSAGE(matmul, matmul.error().text);
  const ScheduleSet& set = (*matmul)->schedules();
  CHECK(set.tuned.size() == 2);
  const auto chosen = [&](int64_t m, int64_t n, int64_t k) { return to_string(choose_schedule(set, m, n, k)); };
  CHECK(chosen(4, 64, 1024) == good);
  CHECK(chosen(3, 64, 1024) == good);
  CHECK(chosen(33, 64, 1024) == many);
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{2, 64, 1024},
                                {5, 64, 1024},
                                {32, 64, 1024},
                                {65, 64, 1024},
                                {4, 65, 1024},
                                {4, 64, 2048}}) {
    CAPTURE(m);
    CHECK(chosen(m, n, k) != good);
    CHECK(chosen(m, n, k) != many);
  }
  std::ofstream(user_choices_file()) << "";
}

TEST_CASE("the space holds the table's schedules, each once, within the machine's limits") {
  for (const char* name : {"sm_80", "sm_90a"}) {
    const Target target = *ptx_target(name);
    const auto set = schedules_of(target, u4b8());
    REQUIRE(set.has_value());
    for (const int64_t m : {1, 16, 64, 4096}) {
      const auto space = schedule_space(target, u4b8(), types::f16, m, 28672, 4096);
      std::set<std::string> names;
      for (const Schedule& s : space) {
        names.insert(to_string(s));
        CHECK(s.split[0] * s.split[1] * s.split[2] * target.subgroup_size <= target.max_threads);
      }
      CHECK(names.size() == space.size());
      CAPTURE(m);
      CHECK(names.contains(to_string(choose_schedule(*set, m, 28672, 4096))));
    }
  }
}

TEST_CASE("the estimate grows with what has to be done, and the simulator counts what it is fed") {
  const Target target = *ptx_target("sm_90a");
  const bench::Machine machine{.cores = 132, .read_bytes_us = 4.4e6};
  const auto format = bench::format_of("u4b8", 128, types::f16);
  const Schedule s = *parse_schedule("n32 m8 k512 s1x1x4 stages1 acc");
  const auto counts = bench::simulate(s, target, *format);
  REQUIRE_MESSAGE(counts, counts.error().text);
  CHECK(counts->turn > 500);
  CHECK(counts->outside > 100);
  CHECK(counts->flight_bytes >= 32 * 512 / 2);
  const auto us = [&](bench::Shape shape, int64_t m) {
    return bench::estimate_us(s, *counts, machine, target, format->weights, shape, m);
  };
  CHECK(us({4096, 28672}, 1) > 4096.0 * 28672 / 2 / 4.4e6);  // the time to read the weights
  CHECK(us({8192, 28672}, 1) > us({4096, 28672}, 1));
  CHECK(us({4096, 57344}, 1) > us({4096, 28672}, 1));
  CHECK(us({4096, 28672}, 64) > us({4096, 28672}, 8));
  CHECK_FALSE(bench::simulate(*parse_schedule("n32 m8 k96 s1x1x4 stages1"), target, *format).has_value());
}

}  // namespace lathe
