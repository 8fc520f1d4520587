#include "tests/fake_cuda.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace lathe::runtime::cuda;

namespace {

lathe::FakeCuda fake;

/// Whether this is the call that fails.
bool fails(const char* name, bool wants_memory) {
  if (fake.fails ? std::strcmp(name, fake.fails) != 0 : !wants_memory) return false;
  if (++fake.calls != fake.fail_at) return false;
  fake.failed = name;
  return true;
}

template <class T>
CUresult make(const char* name, T* handle, size_t bytes = 16) {
  if (fails(name, true)) return fake.with;
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memcpy(handle, &p, sizeof(p));
  fake.live++;
  return CUDA_SUCCESS;
}
template <class T>
CUresult destroy(T handle) {
  void* p = nullptr;
  std::memcpy(&p, &handle, sizeof(p));
  std::free(p);
  fake.live--;
  return CUDA_SUCCESS;
}
CUresult plain(const char* name, bool wants_memory = true) {
  return fails(name, wants_memory) ? fake.with : CUDA_SUCCESS;
}
template <class T, class V>
CUresult tell(T* out, V value) {
  *out = value;
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {
lathe::FakeCuda* fake_cuda() { return &fake; }

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return tell(version, 13000); }
CUresult cuGetErrorName(CUresult error, const char** text) {
  switch (error) {
#define LATHE_CUDA_RESULT(name, value, code) \
  case value:                                \
    return tell(text, #name);
#include "runtime/cuda/constants.def"
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult cuGetErrorString(CUresult, const char** text) { return tell(text, "as the test wants it"); }
CUresult cuDeviceGetCount(int* count) { return tell(count, 2); }
CUresult cuDeviceGet(CUdevice* device, int ordinal) { return tell(device, ordinal); }
CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  return std::snprintf(name, static_cast<size_t>(size), "fake") < 0;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute, CUdevice) { return tell(value, 1024); }
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) { return tell(bytes, size_t{1} << 30); }
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  if (fails("cuDevicePrimaryCtxRetain", true)) return fake.with;
  fake.live++;
  return tell(context, reinterpret_cast<CUcontext>(&fake));
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
  fake.live--;
  return CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent_v2(CUcontext) { return CUDA_SUCCESS; }
CUresult cuCtxPopCurrent_v2(CUcontext* context) { return tell(context, nullptr); }
CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) { return make("cuMemAlloc", address, bytes); }
CUresult cuMemFree_v2(CUdeviceptr address) { return destroy(address); }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return plain("cuMemcpyHtoDAsync");
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream) {
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return plain("cuMemcpyDtoHAsync");
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream) {
  std::memset(reinterpret_cast<void*>(to), value, count);
  return plain("cuMemsetD8Async");
}
CUresult cuModuleLoadDataEx(CUmodule* module, const void*, unsigned, CUjit_option*, void**) {
  return make("cuModuleLoadDataEx", module);
}
CUresult cuModuleUnload(CUmodule module) { return destroy(module); }
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char*) {
  return tell(function, reinterpret_cast<CUfunction>(module));
}
CUresult cuLinkCreate_v2(unsigned, CUjit_option*, void**, CUlinkState*) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuLinkAddData_v2(CUlinkState, CUjitInputType, void*, size_t, const char*, unsigned, CUjit_option*, void**) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuLinkComplete(CUlinkState, void**, size_t*) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuLinkDestroy(CUlinkState) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) { return tell(value, 64); }
CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return plain("cuFuncSetAttribute"); }
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream,
                        void**, void**) {
  return plain("cuLaunchKernel");
}
CUresult cuTensorMapEncodeTiled(TensorMap*, int, unsigned, void*, const uint64_t*, const uint64_t*, const uint32_t*,
                                const uint32_t*, int, int, int, int) {
  return plain("cuTensorMapEncodeTiled");
}
CUresult cuStreamCreate(CUstream* stream, unsigned) { return make("cuStreamCreate", stream); }
CUresult cuStreamDestroy_v2(CUstream stream) { return destroy(stream); }
CUresult cuStreamQuery(CUstream) { return fake.endless ? CUDA_ERROR_NOT_READY : plain("cuStreamQuery", false); }
CUresult cuStreamBeginCapture_v2(CUstream, int) { return plain("cuStreamBeginCapture"); }
CUresult cuStreamEndCapture(CUstream, CUgraph* graph) { return make("cuStreamEndCapture", graph); }
CUresult cuEventCreate(CUevent* event, unsigned) { return make("cuEventCreate", event); }
CUresult cuEventDestroy_v2(CUevent event) { return destroy(event); }
CUresult cuEventRecord(CUevent, CUstream) { return plain("cuEventRecord"); }
CUresult cuEventElapsedTime(float* milliseconds, CUevent, CUevent) { return tell(milliseconds, 1.0F); }
CUresult cuGraphCreate(CUgraph* graph, unsigned) { return make("cuGraphCreate", graph); }
CUresult cuGraphAddKernelNode(CUgraphNode* node, CUgraph graph, const CUgraphNode*, size_t, const KernelNode*) {
  *node = reinterpret_cast<CUgraphNode>(graph);
  return plain("cuGraphAddKernelNode");
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph, unsigned long long) {
  return make("cuGraphInstantiateWithFlags", executable);
}
CUresult cuGraphDestroy(CUgraph graph) { return destroy(graph); }
CUresult cuGraphExecDestroy(CUgraphExec executable) { return destroy(executable); }
CUresult cuGraphLaunch(CUgraphExec, CUstream) {
  if (fake.on_graph_launch) fake.on_graph_launch();
  return plain("cuGraphLaunch");
}
}
