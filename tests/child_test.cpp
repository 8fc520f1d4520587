// Work in a process of its own: when it is taken for hung.
#include <doctest/doctest.h>

#include <chrono>
#include <ctime>
#include <thread>

#include "fuzz/child.h"

namespace lathe::fuzz {
namespace {

using namespace std::chrono_literals;

double used_s() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }
double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The first line of a process that does this and then says "done"; empty when it was taken for hung.
std::string line_of(double seconds, void (*work)()) {
  auto child = Child::start([work](const Child::Say& say) {
    work();
    say("done");
  });
  REQUIRE(child.has_value());
  const auto line = child->line(seconds);
  CHECK(child->hung() == !line);
  return line.value_or("");
}

}  // namespace

TEST_CASE("a process that works is hung after that much processor time") {
  CHECK(line_of(0.3, [] {
          for (;;) used_s();
        }).empty());
}

TEST_CASE("a process that waits is hung after that much time on the clock") {
  const double start = now_s();
  CHECK(line_of(0.3, [] { std::this_thread::sleep_for(60s); }).empty());
  CHECK(now_s() - start < 20);
}

TEST_CASE("a process that gets little of the machine is not hung") {
  CHECK(line_of(0.5, [] {
          for (const double end = now_s() + 1.5; now_s() < end; std::this_thread::sleep_for(20ms))
            for (const double until = used_s() + 0.002; used_s() < until;) continue;
        }) == "done");
}

}  // namespace lathe::fuzz
