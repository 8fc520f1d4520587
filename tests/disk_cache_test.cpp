// The disk cache: what is put comes back, and nothing that happens to the files reaches the program.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "runtime/disk_cache.h"

using namespace lathe::runtime;
namespace fs = std::filesystem;

namespace {

/// A folder of its own, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("lathe-cache-test-{:08x}", std::random_device{}());
  ~Folder() { fs::remove_all(path); }
};

std::vector<std::byte> some_bytes(size_t n, unsigned seed = 1) {
  std::vector<std::byte> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<std::byte>((i * 31 + seed * 101) >> 2);
  return v;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

/// Sets a variable of the environment, and puts it back.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_ ? old_->c_str() : nullptr); }

 private:
  void set(const char* value) const { value ? setenv(name_, value, 1) : unsetenv(name_); }
  const char* name_;
  std::optional<std::string> old_;
};

}  // namespace

TEST_CASE("hash_key: equal parts give equal keys, any difference another") {
  CHECK(hash_key({"a", "b"}) == hash_key({"a", "b"}));
  CHECK(hash_key({"a"}).size() == 32);
  std::set<std::string> keys{hash_key({}),
                             hash_key({""}),
                             hash_key({"", ""}),
                             hash_key({"ab"}),
                             hash_key({"a", "b"}),
                             hash_key({"b", "a"}),
                             hash_key({std::string_view("a\0", 2)}),
                             hash_key({"a"})};
  CHECK(keys.size() == 8);
  std::string text(300, 'x');
  std::set<std::string> flipped{hash_key({text})}, halves;
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << bit % 8));
    const std::string key = hash_key({text});
    flipped.insert(key);
    halves.insert(key.substr(0, 16)), halves.insert(key.substr(16));
    text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << bit % 8));
  }
  CHECK(flipped.size() == text.size() * 8 + 1);
  CHECK(halves.size() == text.size() * 16);
}

TEST_CASE("what is put comes back, in this process and the next") {
  const Folder folder;
  const std::string key = hash_key({"key"});
  for (size_t n : {size_t{0}, size_t{1}, size_t{7}, size_t{4096}, size_t{1'000'003}}) {
    const std::vector<std::byte> bytes = some_bytes(n);
    DiskCache(folder.path / "deep" / "er").put(key, bytes);
    const auto back = DiskCache(folder.path / "deep" / "er").get(key);
    REQUIRE(back.has_value());
    CHECK(*back == bytes);
  }
  CHECK_FALSE(DiskCache(folder.path).get(key).has_value());
}

TEST_CASE("a damaged entry is absent and can be written again") {
  const Folder folder;
  const DiskCache cache(folder.path);
  const std::string key = hash_key({"key"});
  const std::vector<std::byte> bytes = some_bytes(100);
  cache.put(key, bytes);
  const std::string good = read_file(folder.path / key);
  for (size_t length = 0; length < good.size(); ++length) {
    write_file(folder.path / key, good.substr(0, length));
    REQUIRE_FALSE(cache.get(key).has_value());
  }
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    write_file(folder.path / key, bad);
    REQUIRE_FALSE(cache.get(key).has_value());
  }
  write_file(folder.path / key, good + "x");
  CHECK_FALSE(cache.get(key).has_value());
  cache.put(key, bytes);
  CHECK(cache.get(key) == bytes);
}

TEST_CASE("a folder that cannot be written or read is an empty cache") {
  const Folder folder;
  fs::create_directories(folder.path);
  write_file(folder.path / "file", "a file where a folder should be");
  const DiskCache blocked(folder.path / "file");
  blocked.put(hash_key({"key"}), some_bytes(10));
  CHECK_FALSE(blocked.get(hash_key({"key"})).has_value());

  const DiskCache full("/dev/full");  // where it exists: each write fails as on a full disk
  full.put(hash_key({"key"}), some_bytes(10));
  CHECK_FALSE(full.get(hash_key({"key"})).has_value());

  const DiskCache read_only(folder.path / "read-only");
  read_only.put(hash_key({"old"}), some_bytes(10));
  fs::permissions(read_only.folder(), fs::perms::owner_read | fs::perms::owner_exec);
  read_only.put(hash_key({"new"}), some_bytes(10));  // root may write all the same
  CHECK(read_only.get(hash_key({"old"})) == some_bytes(10));
  fs::permissions(read_only.folder(), fs::perms::owner_all);
}

TEST_CASE("an entry that cannot be replaced leaves nothing behind") {
  const Folder folder;
  const DiskCache cache(folder.path);
  const std::string key = hash_key({"key"});
  fs::create_directories(folder.path / key /
                         "occupied");  // a rename onto a folder that is not empty fails, for root too
  cache.put(key, some_bytes(10));
  CHECK_FALSE(cache.get(key).has_value());
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("what a writer left a day ago goes when the cache is opened; its younger files and those of others stay") {
  const Folder folder;
  fs::create_directories(folder.path);
  const std::string key = hash_key({"key"});
  const auto now = fs::file_time_type::clock::now();
  const struct {
    std::string name;
    int hours;
    bool stays;
  } files[] = {{key + ".0123456789abcdef01234567.tmp", 25, false},
               {key + ".0123456789abcdef01234568.tmp", 23, true},
               {key + ".0123456789abcdef0123456.tmp", 25, true},
               {key + ".0123456789abcdef0123456X.tmp", 25, true},
               {"notes.tmp", 25, true},
               {key, 25, true}};
  for (const auto& f : files) {
    write_file(folder.path / f.name, "x");
    fs::last_write_time(folder.path / f.name, now - std::chrono::hours(f.hours));
  }
  const DiskCache cache(folder.path);
  for (const auto& f : files) CHECK_MESSAGE(fs::exists(folder.path / f.name) == f.stays, f.name);
}

TEST_CASE("two writers of one key: a reader sees one whole entry or the other") {
  const Folder folder;
  const std::string key = hash_key({"key"});
  const std::vector<std::byte> one = some_bytes(50'000, 1), two = some_bytes(60'000, 2);
  const auto write = [&](const std::vector<std::byte>& bytes) {
    const DiskCache cache(folder.path);
    for (int i = 0; i < 100; ++i) cache.put(key, bytes);
  };
  DiskCache(folder.path).put(key, one);
  std::thread a(write, one), b(write, two);
  int damaged = 0;
  for (int i = 0; i < 200; ++i) {
    const auto seen = DiskCache(folder.path).get(key);
    damaged += !seen || (*seen != one && *seen != two);
  }
  a.join(), b.join();
  CHECK(damaged == 0);
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("the standard folder follows the environment") {
  {
    const Variable v("LATHE_CACHE_DIR", "off");
    CHECK(DiskCache::standard() == nullptr);
  }
  {
    const Variable v("LATHE_CACHE_DIR", "/some/where");
    CHECK(DiskCache::standard()->folder() == "/some/where/kernels");
  }
  const Variable none("LATHE_CACHE_DIR", nullptr), home("HOME", "/home/someone");
  {
    const Variable v("XDG_CACHE_HOME", "/caches");
    CHECK(DiskCache::standard()->folder() == "/caches/lathe/kernels");
  }
  {
    const Variable v("XDG_CACHE_HOME", "relative");
    CHECK(DiskCache::standard()->folder() == "/home/someone/.cache/lathe/kernels");
  }
  const Variable v("XDG_CACHE_HOME", nullptr);
  CHECK(DiskCache::standard()->folder() == "/home/someone/.cache/lathe/kernels");
  const Variable no_home("HOME", nullptr);
  CHECK(DiskCache::standard() == nullptr);
}
