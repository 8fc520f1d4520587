// What may happen to the cache between two runs, or during one: results stay right, no process stops, and what is
// damaged is made again.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/open.h"
#include "engine/target_of.h"
#include "engine/tile_run.h"
#include "fuzz/child.h"
#include "runtime/disk_cache.h"
#include "tests/scratch_files.h"

namespace lathe {
namespace {

namespace fs = std::filesystem;
using fuzz::Child;
using model::bytes_of;
using model::ScratchFolder;
using runtime::DiskCache;

std::span<const std::byte> span_of(const std::string& s) { return std::as_bytes(std::span(s.data(), s.size())); }
void write_file(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

constexpr const char* kProgram = R"(kernel sums(x: i32[M, N], y: i32[M, N]) grid [ceildiv(M, 8)] subgroups 2 {
  t = load(x[group_id(0) * 8, 0], [8, 32])
  store(y[group_id(0) * 8, 0], t + broadcast(reduce(t, 1, sum), [8, 32]))
}
)";

/// "" if the program gives on the device, opened afresh, what the interpreter says.
std::string run(const std::string& id) {
  const auto f = tile::parse(kProgram, "sums.tile");
  if (!f) return f.error().text;
  HostTensors want;
  for (const char* name : {"x", "y"}) want[name] = {types::i32, {21, 30}, std::vector<uint64_t>(21 * 30)};
  for (size_t i = 0; i < want["x"].raw.size(); i++) want["x"].raw[i] = i * i % 1009;
  HostTensors got = want;
  if (const auto done = tile::interpret(*f, want); !done) return done.error().text;
  const auto device = open_device(id);
  if (!device) return device.error().text;
  const auto target = target_of(**device);
  if (!target) return target.error().text;
  if (const auto done = run_tile(**device, *target, *f, got); !done) return done.error().text;
  return got["y"].raw == want["y"].raw ? "" : "wrong numbers";
}

constexpr size_t kHeaderBytes = 40;

/// Damage to the bytes of a file: nothing of it may be used.
struct Damage {
  const char* name;
  void (*make)(std::string& file);
};
const Damage kDamages[] = {
    {"nothing left", [](std::string& f) { f.clear(); }},
    {"header cut", [](std::string& f) { f.resize(11); }},
    {"cut in half", [](std::string& f) { f.resize(f.size() / 2); }},
    {"last byte lost", [](std::string& f) { f.pop_back(); }},
    {"lengthened", [](std::string& f) { f += "more"; }},
    {"another magic number", [](std::string& f) { f[0] = 'l'; }},
    {"another version's", [](std::string& f) { f[8]++; }},
    {"another length", [](std::string& f) { f[16] ^= 4; }},
    {"another checksum", [](std::string& f) { f[24] ^= 1; }},
    {"first bit flipped", [](std::string& f) { f[kHeaderBytes] ^= 1; }},
    {"last bit flipped", [](std::string& f) { f.back() = static_cast<char>(f.back() ^ 0x80); }},
};
/// Entries that are whole, but hold what no entry of ours does.
const std::string kLies[] = {
    "",
    "no object",
    std::string("{}\0", 3),
    std::string("[]\0code", 7),
    "{\"target\": 3, \"maps\": 3}",
    "{\"target\": {\"name\": 3}, \"maps\": []}",
    std::string("{\"entry\": \"sums\", \"threads\": 64}\0code", 37),
    std::string(
        R"({"entry":"sums","threads":64,"subgroup_size":0,"shared_bytes":0,"param_slots":4,"push":true,"overlaps":false,)"
        R"("atoms":"fma","source":"fma"})") +
        std::string("\0code", 5),
    std::string(
        R"({"entry":"sums","threads":64,"subgroup_size":0,"shared_bytes":0,"param_slots":4,"push":true,"overlaps":false,)"
        R"("atoms":"fma","source":"fma","packed":{"x":{"elem":3,"unit":[]}}})") +
        std::string("\0code", 5),
    std::string(
        R"({"entry":"sums","threads":64,"subgroup_size":0,"shared_bytes":0,"param_slots":4,"push":true,"overlaps":false,)"
        R"("atoms":"fma","source":"rumour"})") +
        std::string("\0code", 5),
};

class CacheFolder {
 public:
  CacheFolder() : cache_(folder_.path("kernels")) { setenv("LATHE_CACHE_DIR", folder_.path("").c_str(), 1); }
  ~CacheFolder() { setenv("LATHE_CACHE_DIR", "off", 1); }
  CacheFolder(const CacheFolder&) = delete;
  const DiskCache& cache() const { return cache_; }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& e : fs::directory_iterator(cache_.folder())) names.push_back(e.path().filename().string());
    return names;
  }

 private:
  ScratchFolder folder_{"lathe-cache-faults"};
  DiskCache cache_;
};

std::vector<std::string> device_ids() {
  std::vector<std::string> ids{"sim:sm_80"};
  for (const auto& info : runtime::list_devices()) ids.push_back(info.id);
  return ids;
}

}  // namespace

TEST_CASE("two processes build the same kernels at once; one is killed, again and again") {
  const CacheFolder folder;
  const auto builds = [](int times) {
    return [times](const Child::Say& say) {
      for (int i = 0; i < times; i++) {
        for (const auto& e : fs::directory_iterator(DiskCache::standard()->folder())) {
          std::error_code gone;  // the other may have taken it away already
          fs::remove(e.path(), gone);
        }
        say(run("sim:sm_80"));
      }
    };
  };
  REQUIRE(run("sim:sm_80") == "");
  auto one = Child::start(builds(100)), two = Child::start(builds(100));
  REQUIRE(one.has_value());
  REQUIRE(two.has_value());
  for (int i = 0; i < 100; i++)
    for (Child* child : {&*one, &*two}) {
      const auto line = child->line(20);
      REQUIRE(line.has_value());
      CHECK(*line == "");
    }
  CHECK(one->end() == "");
  CHECK(two->end() == "");
  for (int i = 0; i < 30; i++) {
    {
      auto child = Child::start(builds(1000));
      REQUIRE(child.has_value());
      REQUIRE(child->line(20).has_value());
      std::this_thread::sleep_for(std::chrono::microseconds(137 * i));
    }  // killed
    CHECK(run("sim:sm_80") == "");
  }
}

TEST_CASE("a writer killed in the middle of an entry leaves the old one or the new one") {
  const CacheFolder folder;
  const std::string key = runtime::hash_key({"key"}), other = runtime::hash_key({"other"});
  const std::string old(3 << 20, 'o'), fresh(5 << 20, 'n');
  folder.cache().put(key, span_of(old));
  int left_parts = 0;
  for (int i = 0; i < 40; i++) {
    {
      auto child = Child::start([&](const Child::Say& say) {
        say("ready");
        for (;;) folder.cache().put(key, span_of(i % 2 ? old : fresh));
      });
      REQUIRE(child.has_value());
      REQUIRE(child->line(20).has_value());
      std::this_thread::sleep_for(std::chrono::microseconds(211 * i));
    }  // killed
    const auto seen = folder.cache().get(key);
    REQUIRE(seen.has_value());
    CHECK((std::ranges::equal(*seen, span_of(old)) || std::ranges::equal(*seen, span_of(fresh))));
    left_parts = static_cast<int>(folder.entries().size()) - 1;
  }
  CHECK(left_parts > 0);  // else none was killed while it wrote, and nothing was tested
  folder.cache().put(other, span_of(fresh));
  CHECK(folder.cache().get(other).has_value());
  const fs::path kernels = folder.cache().folder();
  for (const std::string& name : folder.entries())
    fs::last_write_time(kernels / name, fs::file_time_type::clock::now() - std::chrono::hours(25));
  CHECK(folder.entries().size() > 2);
  const DiskCache a_day_later(kernels);
  CHECK(folder.entries().size() == 2);
  CHECK(a_day_later.get(key).has_value());
  CHECK(a_day_later.get(other).has_value());
}

TEST_CASE("every entry damaged in every way: results stay right, and the entry is made again") {
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    const CacheFolder folder;
    REQUIRE(run(id) == "");
    const auto entries = folder.entries();
    REQUIRE(!entries.empty());
    for (const std::string& entry : entries) {
      const std::string path = (folder.cache().folder() / entry).string(), whole = bytes_of(path);
      for (const Damage& d : kDamages) {
        std::string bad = whole;
        d.make(bad);
        write_file(path, bad);
        REQUIRE_FALSE(folder.cache().get(entry).has_value());
        CHECK_MESSAGE(run(id) == "", std::string(d.name));
        CHECK_MESSAGE(folder.cache().get(entry).has_value(), std::string(d.name));
      }
      std::vector<std::string> lies(std::begin(kLies), std::end(kLies));
      auto target = nlohmann::json::parse(whole.substr(kHeaderBytes), nullptr, false);
      if (target.contains("maps")) {  // right but for its last part
        target["maps"] = 3;
        lies.push_back(target.dump());
      }
      for (const std::string& lie : lies) {
        CAPTURE(lie);
        folder.cache().put(entry, span_of(lie));
        CHECK(run(id) == "");
        const auto again = folder.cache().get(entry);
        REQUIRE(again.has_value());
        CHECK_FALSE(std::ranges::equal(*again, span_of(lie)));
      }
    }
    CHECK(folder.entries().size() == entries.size());
  }
}

TEST_CASE("an entry of a terabyte is no entry, and takes no memory") {
  const CacheFolder folder;
  const std::string key = runtime::hash_key({"key"}), path = (folder.cache().folder() / key).string();
  folder.cache().put(key, span_of("short"));
  std::error_code refused;
  fs::resize_file(path, uint64_t{1} << 40, refused);
  if (refused) {
    MESSAGE("SKIPPED: no file of a terabyte here: " << refused.message());
    return;
  }
  CHECK_FALSE(folder.cache().get(key).has_value());
}

namespace {

/// Says what goes wrong with the cache on a file system of `kilobytes`; "SKIPPED: why" where none can be mounted.
void in_small_file_system(const Child::Say& say, const std::string& folder, int kilobytes, bool read_only) {
  const std::string size = fmt::format("size={}k", kilobytes), place = folder + "/mounted";
  fs::create_directories(place);
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", place.c_str(), "tmpfs", 0, size.c_str()) != 0)
    return say(fmt::format("SKIPPED: no file system can be mounted: {}", std::strerror(errno)));
  setenv("LATHE_CACHE_DIR", place.c_str(), 1);
  const auto cache = DiskCache::standard();
  const std::string key = runtime::hash_key({"key"}), large = runtime::hash_key({"large"});
  cache->put(key, span_of("kept"));
  const std::string room(static_cast<size_t>(kilobytes) * 700, 'r'),
      too_much(static_cast<size_t>(kilobytes) * 2048, 't');
  cache->put(large, span_of(room));
  if (!cache->get(large)) say("what has room was not kept");
  if (read_only && mount(nullptr, place.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0)
    return say(fmt::format("SKIPPED: not mounted again: {}", std::strerror(errno)));
  cache->put(key, span_of(too_much));
  cache->put(runtime::hash_key({"new"}), span_of(too_much));
  if (cache->get(runtime::hash_key({"new"}))) say("what has no room was kept");
  const auto kept = cache->get(key);
  if (!kept || !std::ranges::equal(*kept, span_of("kept"))) say("the old entry is not what it was");
  const auto count = std::distance(fs::directory_iterator(cache->folder()), {});
  if (count != 2) say(fmt::format("{} files instead of 2", count));
  for (int i = 0; i < 2; i++)
    if (const std::string wrong = run("sim:sm_80"); !wrong.empty()) say(wrong);
  say("done");
}

}  // namespace

TEST_CASE("on a full disk and on a read-only one") {
  for (const bool read_only : {false, true}) {
    CAPTURE(read_only);
    const ScratchFolder folder("lathe-small-disk");
    auto child =
        Child::start([&](const Child::Say& say) { in_small_file_system(say, folder.path(""), 64, read_only); });
    REQUIRE(child.has_value());
    std::string said = child->line(60).value_or("nothing was said");
    CHECK(child->end() == "");
    if (said.starts_with("SKIPPED"))
      MESSAGE(said);
    else
      CHECK(said == "done");
  }
}

}  // namespace lathe
