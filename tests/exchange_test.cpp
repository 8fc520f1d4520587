// Layout conversion: what stays inside subgroups is found, shuffles bring every element to its place, and on every
// device any two layouts meet.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <random>

#include "ir/compile.h"
#include "ir/lower/subgroup_exchange.h"
#include "tests/device_kernel.h"
#include "tests/targets.h"

namespace lathe {
namespace {

/// A layout of 2^row_bits x 2^column_bits whose digits are dealt at random: `subgroups` x `lanes` threads, copies where
/// digits run out. `above` are the digits of the subgroups, or none to draw them too.
Layout random_layout(std::mt19937& rng, int row_bits, int column_bits, int64_t subgroups, int64_t lanes,
                     const std::vector<Mode>* above) {
  std::vector<Mode> digits;
  for (int b = 0; b < row_bits; b++) digits.push_back({2, 0, int64_t{1} << b});
  for (int b = 0; b < column_bits; b++) digits.push_back({2, 1, int64_t{1} << b});
  std::shuffle(digits.begin(), digits.end(), rng);
  std::vector<Mode> T;
  if (above) {
    T = *above;
    std::erase_if(digits, [&](const Mode& m) { return std::find(T.begin(), T.end(), m) != T.end(); });
  }
  for (int64_t threads = above ? subgroups : 1; threads < subgroups * lanes; threads *= 2) {
    if (digits.empty() || rng() % 16 == 0) {
      T.push_back({2, Mode::kReplicate, 0});
      continue;
    }
    T.push_back(digits.back());
    digits.pop_back();
  }
  return Layout({int64_t{1} << row_bits, int64_t{1} << column_bits}, T, digits);
}

/// The first thread digits of 2 * subgroups threads, digit by digit.
std::vector<Mode> draw_above(std::mt19937& rng, int64_t subgroups) {
  std::vector<Mode> above;
  for (int64_t n = 1; n < subgroups; n *= 2)
    above.push_back(rng() % 4 == 0 ? Mode{2, Mode::kReplicate, 0}
                                   : Mode{2, static_cast<int>(n % 2), int64_t{1} << (rng() % 3)});
  return above;
}

struct Counts {
  int shuffles = 0, subgroup = 0, workgroup = 0;
};
Counts count(const thread::Func& f) {
  Counts c;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    c.shuffles += f.inst(id).op == thread::Op::shuffle_index;
    c.subgroup += f.inst(id).op == thread::Op::barrier_subgroup;
    c.workgroup += f.inst(id).op == thread::Op::barrier;
  });
  return c;
}

std::string meeting(const char* type, const Layout& from, const Layout& to, int64_t subgroups) {
  return fmt::format(
      "kernel meet(x: {0}[R, C], y: {0}[R, C]) grid [1] subgroups {1} {{\n"
      "  a = load(x[0, 0], [{2}, {3}]) layout=\"{4}\"\n  b = a + 1 layout=\"{5}\"\n  store(y[0, 0], b)\n}}\n",
      type, subgroups, from.shape()[0], from.shape()[1], to_string(from), to_string(to));
}

}  // namespace

TEST_CASE("what one subgroup sees of a conversion is the conversion, and shuffles find every element") {
  std::mt19937 rng(7);
  int found = 0, shuffled = 0, refused = 0;
  for (int trial = 0; trial < 300; trial++) {
    const int64_t lanes = int64_t{8} << rng() % 4, subgroups = int64_t{1} << rng() % 3;
    const auto above = draw_above(rng, subgroups);
    const bool same = rng() % 4 != 0;
    const Layout from = random_layout(rng, 4, 5, subgroups, lanes, &above),
                 to = random_layout(rng, 4, 5, subgroups, lanes, same ? &above : nullptr);
    CAPTURE(fmt::format("{} to {}", to_string(from), to_string(to)));
    const auto near = within_subgroup(from, to, lanes);
    if (!near) {
      CHECK_FALSE(same);
      refused++;
      continue;
    }
    found++;
    const auto plan = plan_shuffles(*near);
    REQUIRE(plan);  // digits of two are bit-linear
    shuffled++;
    bool right = true;
    for (int64_t g = 0; g < subgroups; g++)
      for (int64_t lane = 0; lane < lanes; lane++)
        for (int64_t s = 0; s < to.slots(); s++) {
          ShufflePlan::Place at = plan->of_slot[static_cast<size_t>(s)];
          for (size_t b = 0; b < plan->of_lane_bit.size(); b++)
            if (lane >> b & 1) at.lane ^= plan->of_lane_bit[b].lane, at.slot ^= plan->of_lane_bit[b].slot;
          right = right && from.at(g * lanes + at.lane, at.slot) == to.at(g * lanes + lane, s);
        }
    CHECK(right);
  }
  CHECK(found > 150);
  CHECK(shuffled == found);
  CHECK(refused > 10);
}

TEST_CASE("a conversion takes the cheapest way that reaches: shuffles, the subgroup's memory, the workgroup's") {
  const auto t = test_target("sm_80");
  REQUIRE(t);
  const auto ways = [&](const char* from, const char* to) {
    const auto f = tile::parse(meeting("f32", *parse_layout(from), *parse_layout(to), 2), "meet");
    REQUIRE_MESSAGE(f, f.error().text);
    const auto c = compile(*f, *t, {});
    REQUIRE_MESSAGE(c, c.error().text);
    return count(c->func);
  };
  const Counts pair = ways("8x32 T[2:m4 32:k1] S[4:m1]", "8x32 T[2:m4 16:k2 2:k1] S[4:m1]");
  CHECK((pair.shuffles == 0 && pair.subgroup == 0 && pair.workgroup == 0));  // the same layout
  const Counts lanes = ways("8x32 T[2:m4 32:k1] S[4:m1]", "8x32 T[2:m4 2:k1 16:k2] S[4:m1]");
  CHECK((lanes.shuffles == 4 && lanes.subgroup == 0 && lanes.workgroup == 0));
  const Counts memory = ways("64x32 T[2:m32 32:k1] S[32:m1]", "64x32 T[2:m32 32:m1] S[32:k1]");
  CHECK((memory.shuffles == 0 && memory.subgroup > 0 && memory.workgroup == 0));
  const Counts far = ways("8x32 T[2:m4 32:k1] S[4:m1]", "8x32 T[2:m1 32:k1] S[4:m2]");
  CHECK((far.shuffles == 0 && far.subgroup == 0 && far.workgroup > 0));
}

TEST_CASE("on every device any two layouts meet") {
  std::mt19937 rng(11);
  for (TestDevice& d : test_devices())
    for (int trial = 0; trial < 12; trial++) {
      const int64_t lanes = d.target.subgroup_size, subgroups = int64_t{1} << trial % 3;
      const auto above = draw_above(rng, subgroups);
      const Layout from = random_layout(rng, 4, 5, subgroups, lanes, &above),
                   to = random_layout(rng, 4, 5, subgroups, lanes, trial % 4 != 3 ? &above : nullptr);
      const char* type = trial % 2 ? "f16" : "f32";
      const std::string text = meeting(type, from, to, subgroups);
      CAPTURE(fmt::format("{}\n{}", d.id, text));
      const auto f = tile::parse(text, "meet");
      REQUIRE_MESSAGE(f, f.error().text);
      const Type elem = *parse_type(type);
      Tensors want;
      want["x"] = random_tensor(elem, {15, 31}, false, static_cast<uint32_t>(trial + 1));
      want["y"] = random_tensor(elem, {15, 31}, true, 2);
      Tensors got = want;
      REQUIRE(tile::interpret(*f, want));
      const auto status = run_on(d, *f, got);
      REQUIRE_MESSAGE(status, status.error().text);
      CHECK(got.at("y").raw == want.at("y").raw);
    }
}

}  // namespace lathe
