#pragma once
// The CUDA driver, loaded by name when it is first asked for: our own declarations, so that no toolkit is needed.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/result.h"

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUlinkState_st;
struct CUgraph_st;
struct CUgraphNode_st;
struct CUgraphExec_st;

namespace lathe::runtime::cuda {

using CUresult = int;
using CUdevice = int;
using CUdevice_attribute = int;
using CUfunction_attribute = int;
using CUjit_option = int;
using CUjitInputType = int;
using CUdeviceptr = unsigned long long;
using CUcontext = CUctx_st*;
using CUmodule = CUmod_st*;
using CUfunction = CUfunc_st*;
using CUstream = CUstream_st*;
using CUevent = CUevent_st*;
using CUlinkState = CUlinkState_st*;
using CUgraph = CUgraph_st*;
using CUgraphNode = CUgraphNode_st*;
using CUgraphExec = CUgraphExec_st*;

/// CUDA_KERNEL_NODE_PARAMS_v1, which cuGraphAddKernelNode without a suffix takes.
struct KernelNode {
  CUfunction function = nullptr;
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned shared_bytes = 0;
  void** params = nullptr;
  void** extra = nullptr;
};

/// CUtensorMap.
struct alignas(128) TensorMap {
  std::array<uint64_t, 16> opaque{};
};

/// CUgraphEdgeData.
struct GraphEdge {
  unsigned char from_port = 0, to_port = 0, type = 0, reserved[5] = {};
};

#define LATHE_CUDA_CONSTANT(name, value) inline constexpr int name = value;
#define LATHE_CUDA_RESULT(name, value, code) inline constexpr CUresult name = value;
#include "runtime/cuda/constants.def"
/// Of a graph's edge, the port that opens when all workgroups of a kernel have begun; a macro in cuda.h.
inline constexpr unsigned char kPortLaunchOrder = 2;

struct Api {
#define LATHE_CUDA_FUNCTION(name, params) CUresult(*name) params = nullptr;
#include "runtime/cuda/functions.def"
  std::string driver;  ///< "NVIDIA 580.95.05 (CUDA 13.0)"
};

/// The driver, loaded and initialised once and kept. Error: why there is no CUDA.
Result<const Api*> api();

/// The error that a result is: `what` ("cannot do Z"), then the driver's name and text for it.
tl::unexpected<Error> cuda_error(const Api& api, CUresult result, const char* call, const std::string& what);

}  // namespace lathe::runtime::cuda
