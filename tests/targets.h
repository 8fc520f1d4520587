#pragma once
// Targets by name for the tests: a PTX target, or a profile.
#include <algorithm>
#include <string>

#include "backends/ptx/target.h"
#include "backends/spirv/profiles.h"
#include "ir/opaque.h"

namespace lathe {

inline constexpr const char* kTestTargets[] = {"sm_75", "sm_80",        "sm_90a", "lavapipe", "nvidia",
                                               "rdna3", "rdna4-wave64", "xe2",    "plain"};

/// "sm_80", "lavapipe", or "opaque-lavapipe": the profile without its lane maps.
inline Result<Target> test_target(const std::string& name) {
  constexpr std::string_view kOpaque = "opaque-";
  if (name.starts_with(kOpaque)) return test_target(name.substr(kOpaque.size())).map(with_opaque_atoms);
  const auto names = ptx_target_names();
  return std::find(names.begin(), names.end(), name) != names.end() ? ptx_target(name) : spirv_profile(name);
}

}  // namespace lathe
