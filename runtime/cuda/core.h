#pragma once
// An opened CUDA device: its primary context, made current only inside a call, and handles that destroy themselves.
#include <memory>
#include <utility>

#include "runtime/cuda/api.h"
#include "runtime/device.h"
#include "runtime/health.h"

namespace lathe::runtime::cuda {

/// Shared by everything made from the device; thread-safe.
class Core {
 public:
  static Result<std::shared_ptr<Core>> create(const Api& api, CUdevice device, DeviceInfo of,
                                              const DeviceOptions& options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// CUDA_SUCCESS, or the error; a lost device is remembered. `what`: what could not be done.
  Result<Unit> check(CUresult result, const char* call, const std::string& what);
  /// Waits until the stream is empty, options.timeout_s at most. The context is current.
  Result<Unit> wait(CUstream stream);

  const Api& api;
  CUcontext context = nullptr;
  DeviceInfo info;
  DeviceOptions options;
  Health health;

 private:
  Core(const Api& a, CUdevice d, DeviceInfo i, DeviceOptions o)
      : api(a), info(std::move(i)), options(std::move(o)), device_(d) {}
  CUdevice device_;
};

/// The device's context is current from construction to destruction; the caller's own is then current again.
class Current {
 public:
  explicit Current(const Core& core)
      : core_(core), pushed_(core.api.cuCtxPushCurrent_v2(core.context) == CUDA_SUCCESS) {}
  ~Current() {
    CUcontext popped = nullptr;
    if (pushed_) core_.api.cuCtxPopCurrent_v2(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const Core& core_;
  bool pushed_;
};

/// A driver object and the function that destroys it. Nothing is destroyed on an abandoned device.
template <class T, auto Destroy>
class Handle {
 public:
  Handle() = default;
  Handle(std::shared_ptr<Core> core, T handle) : core_(std::move(core)), handle_(handle) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Handle() {
    if (!handle_ || core_->health.abandoned()) return;
    const Current current(*core_);
    (core_->api.*Destroy)(handle_);  // fails on a lost device, where there is nothing left to do
  }
  T get() const { return handle_; }
  Core& core() const { return *core_; }

 private:
  void swap(Handle& other) {
    std::swap(core_, other.core_);
    std::swap(handle_, other.handle_);
  }
  std::shared_ptr<Core> core_;
  T handle_{};
};

using Stream = Handle<CUstream, &Api::cuStreamDestroy_v2>;
using Event = Handle<CUevent, &Api::cuEventDestroy_v2>;
using Module = Handle<CUmodule, &Api::cuModuleUnload>;
using DeviceMemory = Handle<CUdeviceptr, &Api::cuMemFree_v2>;
using GraphHandle = Handle<CUgraph, &Api::cuGraphDestroy>;
using GraphExec = Handle<CUgraphExec, &Api::cuGraphExecDestroy>;

/// A stream that waits for no other. The context is current.
Result<Stream> make_stream(const std::shared_ptr<Core>& core);

}  // namespace lathe::runtime::cuda
