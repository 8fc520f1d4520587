// Random programs on the simulator and on every software device against the interpreter, and each bug that such a
// program has found, on every device.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "fuzz/generate.h"
#include "fuzz/judge.h"
#include "tests/device_kernel.h"
#include "tests/scratch_files.h"
#include "tests/targets.h"

namespace lathe::fuzz {
namespace {

/// Programs that are run once do not belong into the cache.
const int kNoCache = setenv("LATHE_CACHE_DIR", "off", 1);

struct Counts {
  int agree = 0, refused = 0, failed = 0;
  int64_t elements = 0, checked = 0;
};

void run(TestDevice& d, uint64_t seed, uint64_t first, uint64_t count, Counts& counts) {
  for (uint64_t i = first; i < first + count; i++) {
    const auto p = generate(seed, i, d.target);
    REQUIRE_MESSAGE(p, p.error().text);
    const Verdict v = judge(*d.device, d.target, *p);
    counts.agree += v.outcome == Outcome::agrees;
    counts.refused += v.outcome == Outcome::refused;
    counts.failed += is_failure(v.outcome);
    counts.elements += v.elements;
    counts.checked += v.checked;
    CHECK_MESSAGE(!is_failure(v.outcome), d.device->info().id << ": lathe fuzz --seed " << seed << " --first " << i
                                                              << " --count 1: " << std::string(to_string(v.outcome))
                                                              << ": " << v.text);
  }
}

/// Whether the pins of a program are of this many threads.
bool pins_fit(const tile::Func& f, const Target& target) {
  return std::all_of(f.values.begin(), f.values.end(), [&](const auto& v) {
    return !v.type.layout || v.type.layout->threads() == int64_t{f.subgroups} * target.subgroup_size;
  });
}

void report(const std::string& id, const Counts& c) {
  MESSAGE(fmt::format("{}: {} agree, {} refused, {} failed; {} of {} elements compared", id, c.agree, c.refused,
                      c.failed, c.checked, c.elements));
  CHECK(c.agree > 3 * c.refused);
  CHECK(c.checked * 10 > c.elements * 9);
}

}  // namespace

TEST_CASE("2,000 programs: the simulator does what the interpreter does") {
  REQUIRE(kNoCache == 0);
  const std::pair<const char*, uint64_t> parts[] = {{"sim:sm_80", 1000}, {"sim:sm_90a", 500}, {"sim:rdna3", 500}};
  uint64_t first = 0;
  for (const auto& [id, count] : parts) {
    Counts counts;
    for (TestDevice& d : test_devices()) {
      if (d.device->info().id != id) continue;
      run(d, 1, first, count, counts);
    }
    first += count;
    report(id, counts);
  }
}

TEST_CASE("100 programs on each software device") {
  bool any = false;
  for (TestDevice& d : test_devices()) {
    if (!d.device->info().software || d.device->info().id.starts_with("sim:")) continue;
    any = true;
    Counts counts;
    run(d, 2, 0, 100, counts);
    report(d.device->info().id, counts);
  }
  if (!any) MESSAGE("SKIPPED: no software device here");
}

TEST_CASE("every bug that fuzzing has found, on every device") {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LATHE_SOURCE_DIR "/tests/fuzz")) {
    files++;
    const std::string path = entry.path().string();
    const auto p = program_from_text(model::bytes_of(path), path);
    REQUIRE_MESSAGE(p, p.error().text);
    for (TestDevice& d : test_devices()) {
      if (!pins_fit(p->func, d.target)) continue;
      const Verdict v = judge(*d.device, d.target, *p);
      CHECK_MESSAGE(!is_failure(v.outcome),
                    d.device->info().id << ": " << path << ": " << std::string(to_string(v.outcome)) << ": " << v.text);
    }
  }
  CHECK(files > 0);
}

}  // namespace lathe::fuzz
