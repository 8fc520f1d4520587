#pragma once
// What a target can do, as plain data. The rows that fill it live in backends/*/atoms.def, a device's probe or a
// profile.
#include <cstdint>
#include <string>
#include <vector>

#include "ir/layout.h"
#include "ir/types.h"

namespace lathe {

/// Where an atom's lane map comes from. opaque: from nowhere, its layouts are nominal and fragments go through shared
/// memory. fma: no matrix instruction, one multiply-add a slot.
enum class MapSource : uint8_t { published, probed, assumed, opaque, fma };
inline constexpr MapSource kMapSources[] = {MapSource::published, MapSource::probed, MapSource::assumed,
                                            MapSource::opaque, MapSource::fma};
const char* to_string(MapSource s);

/// A matrix instruction: d (m x n) = a (m x k) * b (k x n) + c. Layouts are of one subgroup.
struct Atom {
  std::string name;  ///< PTX: the instruction. SPIR-V: "coopmat 16x8x16 f16 f16 f32 f32". FMA: "fma MxN"
  int m = 0, n = 0, k = 0;
  Type a, b, c;                         ///< element types; c also of the result
  Layout layout_a, layout_b, layout_c;  ///< m x k, k x n, m x n
  MapSource source = MapSource::published;
  int subgroups = 1;              ///< neighbours along m that run it together, each m rows of it
  bool b_in_shared = false;       ///< b is read from shared memory, as shared_operand() lays it out
  bool constant_operands = true;  ///< a, b may be constants: false where a driver was seen to get them wrong
};

/// An instruction that brings 16-bit elements from shared memory to lanes that did not give their addresses. Layouts of
/// a subgroup, over tiles whose last dimension is contiguous: which lane and slot gets an element, and which lane says
/// where it is (its slots are one access).
struct MatrixLoad {
  std::string name;
  Layout registers, addresses;
};

/// How fast a device of the target is; 0: not known. Floors, advice and the choice of schedules come from it, no code.
struct Speed {
  std::string device;        ///< "H200 (measured)": whose figures these are; "": nobody's
  int memory_gb_s = 0;       ///< 10^9 bytes a second, read from global memory
  int matrix_tflops = 0;     ///< 10^12 f16 operations a second, into f32 (a multiply-add is two)
  int cores = 0;             ///< that workgroups are spread over
  int mhz = 0;               ///< of a core under load
  int64_t flight_bytes = 0;  ///< on their way to a core, from which on memory_gb_s is reached
};

enum class Backend : uint8_t { ptx, spirv };

struct Target {
  std::string name;  ///< "sm_90a", or the device's name
  Backend backend = Backend::ptx;
  int subgroup_size = 32;
  bool fixed_subgroup_size = true;  ///< the size can be required; without it there are no lane maps
  int max_threads = 1024;           ///< threads of a workgroup
  int64_t shared_bytes = 48 * 1024;
  int max_registers = 255;  ///< 32-bit registers a thread may use
  bool f16_arithmetic = true;
  bool bf16_arithmetic = false;
  bool f16_storage = true;          ///< 16-bit loads and stores
  bool byte_storage = true;         ///< 8-bit loads and stores
  bool mma_f16_subnormals = false;  ///< f16 subnormal operands are exact in the mma (measured)
  bool rte_f16 = false;             ///< SPIR-V: rounding to nearest even can be required for f16 conversions
  bool preserve_f16_denorm = false, preserve_f32_denorm = false;
  bool rte_f32 = false;
  bool async_copy = false;         ///< global to shared memory without registers, in groups waited for by number
  bool bulk_copy = false;          ///< bulk_copy and bulk_box of thread.def
  bool overlapped_launch = false;  ///< a launch may start before the one in front has ended, and wait for it itself
  int ptx_isa = 0;                 ///< PTX: version times ten (63 = 6.3); 0 elsewhere
  Speed speed;
  std::vector<MatrixLoad> matrix_loads;  ///< in order of preference
  std::vector<Atom> atoms;               ///< in order of preference
};

}  // namespace lathe
