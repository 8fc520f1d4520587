#pragma once
// Thread IR -> PTX text, one module with one kernel named as the function.
#include <cstdint>
#include <string>

#include "ir/result.h"
#include "ir/target.h"
#include "ir/thread.h"

namespace lathe {

/// needs: verify(f) passes, f's subgroup size is the target's (32), target is one of ptx_target().
/// The kernel takes f.param_slots parameters of 8 bytes; its shared memory is static up to 48 KiB, and beyond that one
/// dynamic block of shared_bytes(f), which the launch must give. unsupported: the target lacks what f uses.
Result<std::string> emit_ptx(const thread::Func& f, const Target& target);

/// Shared memory of a workgroup: the arrays one after another, each 16-byte aligned.
int64_t shared_bytes(const thread::Func& f);
/// The most a kernel may have without a dynamic block.
inline constexpr int64_t kStaticSharedBytes = 48 * 1024;

}  // namespace lathe
