#pragma once
// Bytes kept on disk under a key that determines them. A cache never fails its user: what cannot be read is absent,
// what cannot be written is not kept.
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::runtime {

/// 32 hex digits of a 128-bit non-cryptographic hash of the parts; where one part ends counts.
std::string hash_key(std::initializer_list<std::string_view> parts);

/// Thread-safe, and safe against other processes on the same folder.
class DiskCache {
 public:
  /// The folder is made at the first put. What writers that were killed over a day ago left in it is removed.
  explicit DiskCache(std::filesystem::path folder);
  /// $LATHE_CACHE_DIR, else $XDG_CACHE_HOME/lathe, else ~/.cache/lathe; in it the folder "kernels".
  /// Null where LATHE_CACHE_DIR is "off" or no folder is known.
  static std::shared_ptr<const DiskCache> standard();

  /// What was put under `key` (of hash_key), or none; a damaged entry is none.
  std::optional<std::vector<std::byte>> get(std::string_view key) const;
  /// Written beside and renamed, so that a reader sees the whole entry or none.
  void put(std::string_view key, std::span<const std::byte> bytes) const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

}  // namespace lathe::runtime
