#pragma once
// The kernels that come with Lathe, by name, for `lathe compile`: their settings and what they default to.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ir/compile.h"

namespace lathe::tools {

/// NAME=NUMBER arguments. Each is taken by whoever knows it; what is left over at the end is an error.
class Settings {
 public:
  /// bad_input: an argument that is not NAME=NUMBER.
  static Result<Settings> parse(const std::vector<std::string>& arguments);
  /// Changes `value` if the setting was given; bad_input when outside low .. high.
  Result<Unit> take(const std::string& name, int64_t& value, int64_t low, int64_t high);
  /// bad_input: a setting that nobody took; the message lists those that exist.
  Result<Unit> finish() const;
  /// What was given for a setting, whoever took it.
  std::optional<int64_t> value(const std::string& name) const;

 private:
  std::map<std::string, int64_t> given_, all_;
  std::vector<std::string> known_;
};

/// Whether a kernel has this name.
bool is_named_kernel(const std::string& name);
std::vector<std::string> kernel_names();
/// The kernel with its settings (defaults: the schedule that the target has for `tokens` rows), and `factor` as the
/// schedule says.
Result<tile::Func> named_kernel(const std::string& name, const Target& target, Settings& settings,
                                tile::Factor& factor);
/// Sizes by symbol that its schedule is chosen for; none where it hangs on no size.
std::map<std::string, int64_t> named_sizes(const std::string& name, const Settings& settings);

}  // namespace lathe::tools
