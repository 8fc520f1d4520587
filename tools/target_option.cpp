#include "tools/target_option.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "backends/ptx/target.h"
#include "backends/spirv/profiles.h"
#include "backends/spirv/target.h"
#include "model/file.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;
constexpr uint64_t kMaxProfile = 16 << 20;
constexpr int kMaxDepth = 16;

/// The target in a file of `devices --json`: the only device that has one, or the one with the id.
Result<Json> pick(const Json& devices, const std::string& id) {
  std::vector<std::string> ids;
  const Json* found = nullptr;
  for (const Json& d : devices) {
    if (!d.is_object() || !d.contains("target")) continue;
    const std::string of = d.contains("id") && d["id"].is_string() ? d["id"].get<std::string>() : "";
    if (!id.empty() && of != id) continue;
    ids.push_back(of);
    found = &d["target"];
  }
  if (ids.size() == 1) return *found;
  if (ids.empty())
    return bad_input(id.empty() ? "no device with a target in it" : fmt::format("no device '{}' in it", id));
  return bad_input(fmt::format("several devices in it: say FILE#ID, ID one of {}", fmt::join(ids, ", ")));
}

Result<Target> read_profile(const std::string& path, const std::string& id) {
  TRY_ASSIGN(model::InputFile file, model::InputFile::open(path));
  if (file.size() > kMaxProfile) return file.fail("too large for a profile");
  TRY_ASSIGN(const auto bytes, file.read(0, file.size()));
  // What is nested deeper than any profile is dropped: writing it out again would exhaust the stack.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= kMaxDepth; };
  Json j = Json::parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), shallow, false);
  if (!j.is_object()) return file.fail("no profile: not a JSON object");
  if (j.contains("devices") && j["devices"].is_array()) {
    auto one = pick(j["devices"], id);
    if (!one) return file.fail(one.error().text);
    j = *one;
  } else if (j.contains("target")) {
    j = Json(j["target"]);
  }
  auto target = spirv_target_from_json(j.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!target) return file.fail(target.error().text);
  return target;
}

}  // namespace

std::string target_help() {
  return fmt::format(
      "{}, the profiles {}, or a file with what `lathe devices --json` prints (FILE#ID picks one of several devices)",
      fmt::join(ptx_target_names(), ", "), fmt::join(spirv_profile_names(), ", "));
}

Result<Target> read_target(const std::string& text) {
  const auto ptx = ptx_target_names(), profiles = spirv_profile_names();
  if (std::find(ptx.begin(), ptx.end(), text) != ptx.end()) return ptx_target(text);
  if (std::find(profiles.begin(), profiles.end(), text) != profiles.end()) return spirv_profile(text);
  const size_t mark = text.rfind('#');
  const std::string path = text.substr(0, mark), id = mark == text.npos ? "" : text.substr(mark + 1);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return bad_input(fmt::format("no target {}: neither one of {}, {} nor a profile file", model::in_quotes(text),
                                 fmt::join(ptx, ", "), fmt::join(profiles, ", ")));
  return read_profile(path, id);
}

}  // namespace lathe::tools
