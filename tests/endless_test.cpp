// A kernel that never ends: the wait for it ends, with one line, and what is left of the process works.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "engine/open.h"
#include "engine/target_of.h"
#include "engine/tile_run.h"
#include "fuzz/child.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace lathe {
namespace {

using fuzz::Child;

constexpr double kLimit = 0.3;  ///< seconds
const int kNoCache = setenv("LATHE_CACHE_DIR", "off", 1);

/// With x = {1, 0} no workgroup ends; where the driver's compiler ends each loop after some ten thousand turns
/// (llvmpipe), the grid takes hours.
constexpr const char* kCountdown = R"(kernel countdown(x: i32[N], y: i32[G]) grid [G, 9999] subgroups 1 {
  n = item(load(x[0], [1]))
  down = item(load(x[1], [1]))
  turns = cast(0, i32)
  while n > 0 {
    n = n - down
    turns = turns + 1
  }
  store(y[group_id(0)], fill(i32[1], turns))
}
)";

/// Turns of the loop when x = {1, down}.
Result<uint64_t> count_down(runtime::Device& device, const Target& target, uint64_t down) {
  TRY_ASSIGN(const tile::Func f, tile::parse(kCountdown, "countdown.tile"));
  const int64_t groups = down ? 1 : 50'000;
  HostTensors t{{"x", {types::i32, {2}, {1, down}}},
                {"y", {types::i32, {groups}, std::vector<uint64_t>(static_cast<size_t>(groups))}}};
  TRY(run_tile(device, target, f, t));
  return t["y"].raw[0];
}

struct Opened {
  std::unique_ptr<runtime::Device> device;
  Target target;
};
Result<Opened> open_limited(const std::string& id, double limit) {
  Opened o;
  TRY_ASSIGN(o.device, open_device(id, {.timeout_s = limit, .cache = nullptr}));
  TRY_ASSIGN(o.target, target_of(*o.device));
  return o;
}

/// Says each thing that is not as it should be.
void run_endless(const std::string& id, const Child::Say& say) {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler leaks;  // the objects of a device that was given up are never destroyed
#endif
  const auto want = [&](bool holds, const std::string& what) {
    if (!holds) say(what);
  };
  const auto text_of = [](const Result<uint64_t>& r) { return r ? fmt::format("{} turns", *r) : r.error().text; };
  auto limited = open_limited(id, kLimit);
  if (!limited) return say(limited.error().text);
  const auto start = std::chrono::steady_clock::now();
  const std::string endless = text_of(count_down(*limited->device, limited->target, 0));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  const bool simulated = id.starts_with("sim:");
  want(endless.find(simulated ? "does not end in time" : "did not end within 0.3 s") != std::string::npos, endless);
  want(endless.find('\n') == std::string::npos, "more than a line: " + endless);
  want(took.count() >= kLimit && took.count() < kLimit + 10, fmt::format("it took {} s", took.count()));
  // The simulator has stopped it; elsewhere it may run on, and the device is given up.
  const std::string after = text_of(count_down(*limited->device, limited->target, 1));
  want(simulated ? after == "1 turns" : after.find("the device was lost earlier") == 0, after);
  // Opened again, the same device may be busy still; another is not.
  if (auto second = open_limited(id, kLimit)) {
    const std::string again = text_of(count_down(*second->device, second->target, 1));
    want(again == "1 turns" || again.find("did not end within") != std::string::npos, "opened again: " + again);
  }
  auto other = open_limited("sim:sm_90a", 20);
  if (!other) return say(other.error().text);
  const std::string elsewhere = text_of(count_down(*other->device, other->target, 1));
  want(elsewhere == "1 turns", "on another device: " + elsewhere);
}

}  // namespace

TEST_CASE("an endless kernel on every device: reported in time, the process ends as it should") {
  REQUIRE(kNoCache == 0);
  std::vector<std::string> ids{"sim:sm_80"};
  {
    auto lister = Child::start([](const Child::Say& say) {
      for (const auto& info : runtime::list_devices()) say(info.id);
    });
    REQUIRE(lister.has_value());
    while (const auto line = lister->line(60)) ids.push_back(*line);
  }
  for (const std::string& id : ids) {
    CAPTURE(id);
    auto child = Child::start([&](const Child::Say& say) {
      run_endless(id, say);
      say("done");
      std::exit(0);  // with what the drivers do at an exit
    });
    REQUIRE(child.has_value());
    std::string said;
    while (const auto line = child->line(30)) said += *line + "\n";
    CHECK(said == "done\n");
    CHECK(child->end() == "");
  }
}

}  // namespace lathe
