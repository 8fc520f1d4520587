#pragma once
// What a PTX target has, one bit each. targets.def gives them, atoms.def and rows.def ask for them.
#include <cstdint>
#include <string_view>

namespace lathe::ptx {

using Features = uint32_t;
inline constexpr Features kMmaK8 = 1;              ///< mma m16n8k8 on f16
inline constexpr Features kMmaK16 = 2;             ///< mma m16n8k16 on f16 and bf16, m16n8k8 on bf16
inline constexpr Features kHalfMinMax = 4;         ///< min and max on f16
inline constexpr Features kBf16 = 8;               ///< fma, min, max on bf16; f32 -> bf16
inline constexpr Features kPairCvt = 16;           ///< two f32 -> f16x2 or bf16x2 in one instruction
inline constexpr Features kAsyncCopy = 32;         ///< cp.async
inline constexpr Features kBulkCopy = 256;         ///< cp.async.bulk, mbarrier transactions
inline constexpr Features kMmaWarpgroup = 128;     ///< wgmma
inline constexpr Features kOverlappedLaunch = 64;  ///< griddepcontrol

struct TargetRow {
  const char* name;
  int isa;               ///< lowest .version, times ten
  int64_t shared_bytes;  ///< the most a workgroup may use (dynamic)
  Features features;
};
/// null when no row has the name.
const TargetRow* find_target(std::string_view name);
/// The .version (times ten) the mma instruction needs, or 0 when atoms.def has no such row.
int atom_isa(std::string_view instruction);

}  // namespace lathe::ptx
