#include "engine/target_entry.h"

#include <nlohmann/json.hpp>

#include "backends/spirv/target.h"

namespace lathe {

std::string to_text(const TargetEntry& entry) {
  return nlohmann::json{{"target", to_json(entry.target)}, {"maps", entry.maps}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<TargetEntry> target_entry(std::string_view text) {
  const auto j = nlohmann::json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("target") || !j.contains("maps")) return std::nullopt;
  const auto &target = j["target"], &maps = j["maps"];
  if (!target.is_string() || !maps.is_array()) return std::nullopt;
  auto t = spirv_target_from_json(target.get_ref<const std::string&>());
  if (!t) return std::nullopt;
  TargetEntry entry{std::move(*t), {}};
  for (const auto& line : maps) {
    if (!line.is_string()) return std::nullopt;
    entry.maps.push_back(line.get<std::string>());
  }
  return entry;
}

}  // namespace lathe
