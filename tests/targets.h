#pragma once
// Targets by name for the tests: a PTX target, or a profile in tests/profiles.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "backends/ptx/target.h"
#include "backends/spirv/target.h"
#include "ir/opaque.h"

namespace lathe {

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline constexpr const char* kTestTargets[] = {
    "sm_75",         "sm_80", "sm_90a", "lavapipe.json", "h200-vulkan.json", "rdna3-wave32.json", "rdna4-wave64.json",
    "plain-fma.json"};

/// "sm_80", "lavapipe.json", or "opaque:lavapipe.json": the profile without its lane maps.
inline Result<Target> test_target(const std::string& name) {
  constexpr std::string_view kOpaque = "opaque:";
  if (name.starts_with(kOpaque)) return test_target(name.substr(kOpaque.size())).map(with_opaque_atoms);
  if (!name.ends_with(".json")) return ptx_target(name);
  const auto path = std::filesystem::path(LATHE_SOURCE_DIR) / "tests/profiles" / name;
  if (!std::filesystem::exists(path)) return bad_input(fmt::format("{}: no such profile", path.string()));
  return spirv_target_from_json(file_text(path));
}

}  // namespace lathe
