#include "runtime/disk_cache.h"

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>

#include <fmt/format.h>

namespace lathe::runtime {
namespace {

namespace fs = std::filesystem;

/// Two 64-bit lanes over 8-byte words, each a multiply and a rotation with its own constants, mixed at the end.
class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (; bytes >= 8; p += 8, bytes -= 8) word(load(p, 8));
    if (bytes) word(load(p, bytes));
  }
  void word(uint64_t w) {
    a_ = std::rotl((a_ ^ w) * 0x9E3779B97F4A7C15u, 29) + b_;
    b_ = (std::rotl(b_, 31) ^ (w * 0xC2B2AE3D27D4EB4Fu)) * 0x165667B19E3779F9u + 0x27D4EB2F165667C5u;
    ++words_;
  }
  std::array<uint64_t, 2> digest() const {
    const uint64_t a = mix(a_ ^ words_), b = mix(b_ + std::rotl(a, 23));
    return {mix(a + b), b};
  }

 private:
  static uint64_t load(const unsigned char* p, size_t n) {
    uint64_t w = 0;
    std::memcpy(&w, p, n);
    return w;
  }
  static uint64_t mix(uint64_t x) {  // splitmix64's finaliser: every input bit moves every output bit
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }
  uint64_t a_ = 0x243F6A8885A308D3u, b_ = 0x13198A2E03707344u, words_ = 0;
};

struct Header {
  std::array<char, 8> magic{'L', 'A', 'T', 'H', 'E', 'B', 'I', 'N'};
  uint64_t version = 1;
  uint64_t bytes = 0;
  std::array<uint64_t, 2> checksum{};
  bool operator==(const Header&) const = default;
};

Header header_of(std::span<const std::byte> payload) {
  Header h;
  Hash hash;
  hash.add(payload.data(), payload.size());
  h.bytes = payload.size();
  h.checksum = hash.digest();
  return h;
}

constexpr size_t kKeyDigits = 32, kSuffixDigits = 24;
constexpr std::string_view kPartEnding = ".tmp";

/// Drawn at each call: what a process keeps is the same in the processes it forks.
std::string unique_suffix() {
  std::random_device random;
  return fmt::format(".{:08x}{:08x}{:08x}{}", random(), random(), random(), kPartEnding);
}

/// KEY.SUFFIX.tmp, which nobody else calls a file.
bool is_part(std::string_view name) {
  const auto digits = [](std::string_view s) { return s.find_first_not_of("0123456789abcdef") == s.npos; };
  return name.size() == kKeyDigits + 1 + kSuffixDigits + kPartEnding.size() && name.ends_with(kPartEnding) &&
         digits(name.substr(0, kKeyDigits)) && name[kKeyDigits] == '.' &&
         digits(name.substr(kKeyDigits + 1, kSuffixDigits));
}

void remove_old_parts(const fs::path& folder) {
  const auto yesterday = fs::file_time_type::clock::now() - std::chrono::hours(24);
  std::error_code ec;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
    std::error_code gone;  // another process may be at it too
    if (!is_part(at->path().filename().string())) continue;
    const auto written = at->last_write_time(gone);
    if (!gone && written < yesterday) fs::remove(at->path(), gone);
  }
}

fs::path environment_path(const char* name) {
  const char* text = std::getenv(name);
  return text ? fs::path(text) : fs::path();
}

}  // namespace

std::string hash_key(std::initializer_list<std::string_view> parts) {
  Hash hash;
  for (std::string_view part : parts) {
    hash.word(part.size());
    hash.add(part.data(), part.size());
  }
  const auto digest = hash.digest();
  return fmt::format("{:016x}{:016x}", digest[0], digest[1]);
}

DiskCache::DiskCache(fs::path folder) : folder_(std::move(folder)) { remove_old_parts(folder_); }

std::shared_ptr<const DiskCache> DiskCache::standard() {
  fs::path folder = environment_path("LATHE_CACHE_DIR");
  if (folder == "off") return nullptr;
  if (folder.empty()) {
    fs::path base = environment_path("XDG_CACHE_HOME");
    if (!base.is_absolute()) {  // the XDG specification has relative ones ignored
      const fs::path home = environment_path("HOME");
      if (home.empty()) return nullptr;
      base = home / ".cache";
    }
    folder = base / "lathe";
  }
  return std::make_shared<const DiskCache>(folder / "kernels");
}

std::optional<std::vector<std::byte>> DiskCache::get(std::string_view key) const {
  const fs::path path = folder_ / key;
  std::error_code ec;
  if (!fs::is_regular_file(path, ec)) return std::nullopt;
  // The size is asked of the open file: another may take its name at any moment.
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = in ? static_cast<std::streamoff>(in.tellg()) : -1;
  if (size < static_cast<std::streamoff>(sizeof(Header))) return std::nullopt;
  in.seekg(0);
  Header header;
  in.read(reinterpret_cast<char*>(&header), sizeof(Header));
  if (!in || header.bytes != static_cast<uint64_t>(size) - sizeof(Header)) return std::nullopt;  // before room is made
  std::vector<std::byte> bytes(header.bytes);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in || header != header_of(bytes)) return std::nullopt;
  return bytes;
}

void DiskCache::put(std::string_view key, std::span<const std::byte> bytes) const {
  std::error_code ec;
  fs::create_directories(folder_, ec);
  const fs::path path = folder_ / key, part = folder_ / (std::string(key) + unique_suffix());
  const Header header = header_of(bytes);
  std::ofstream out(part, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&header), sizeof(Header));
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (out) fs::rename(part, path, ec);
  if (!out || ec) fs::remove(part, ec);
}

}  // namespace lathe::runtime
