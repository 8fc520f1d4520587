#pragma once
// The target of a device as the disk cache keeps it.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/target.h"

namespace lathe {

struct TargetEntry {
  Target target;
  std::vector<std::string> maps;  ///< ProbeReport::maps
};
std::string to_text(const TargetEntry& entry);
/// The inverse; none where the text is anything else.
std::optional<TargetEntry> target_entry(std::string_view text);

}  // namespace lathe
