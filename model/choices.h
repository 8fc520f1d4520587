#pragma once
// Schedules that were measured best, by device, weights and shape: those that ship (choices.def), and the user's own.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "shaders/kernels.h"

namespace lathe {

/// What was best for m tokens, and is taken for more than half as many.
struct Choice {
  std::string api, device;  ///< of the DeviceInfo: api and name
  std::string weights;      ///< weights_name()
  int64_t k = 0, n = 0, m = 0;
  std::string schedule;  ///< to_string(Schedule)
  bool same_case(const Choice& o) const {
    return api == o.api && device == o.device && weights == o.weights && k == o.k && n == o.n && m == o.m;
  }
};

/// "u4 g128 zero8", "u4 g128 zeros", "f16", with " x bf16" where the tokens are that.
std::string weights_name(const kernels::WeightFormat& format, Type activation);

/// For a device and weights; of one case once, the user's choice before the one that ships.
std::vector<Choice> choices_for(const runtime::DeviceInfo& device, const kernels::WeightFormat& format,
                                Type activation);

/// Beside the user's kernel cache; empty where there is none.
std::filesystem::path user_choices_file();
/// Adds to the user's file, in place of what it says of the same cases. bad_input: it cannot be written.
Result<Unit> keep_choices(std::span<const Choice> choices);

}  // namespace lathe
