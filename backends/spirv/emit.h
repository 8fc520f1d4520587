#pragma once
// Thread IR -> SPIR-V 1.5, one module with one compute entry point "main".
#include <cstdint>
#include <vector>

#include "ir/result.h"
#include "ir/target.h"
#include "ir/thread.h"

namespace lathe {

/// needs: verify(f) passes. unsupported: the target, or this backend, lacks what f uses.
/// The pipeline must require the subgroup size where the target's is fixed, and full subgroups.
Result<std::vector<uint32_t>> emit_spirv(const thread::Func& f, const Target& target);

/// Where the launch arguments are: f.param_slots values of 8 bytes as push constants (true, also when there are none),
/// or in a buffer whose 64-bit address is the only push constant.
bool params_in_push_constants(const thread::Func& f);
/// The push constants every Vulkan device has room for.
inline constexpr int kPushConstantBytes = 128;

}  // namespace lathe
