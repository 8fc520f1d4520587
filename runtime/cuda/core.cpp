#include "runtime/cuda/core.h"

#include <chrono>
#include <thread>

#include <fmt/format.h>

namespace lathe::runtime::cuda {

Result<std::shared_ptr<Core>> Core::create(const Api& api, CUdevice device, DeviceInfo of,
                                           const DeviceOptions& options) {
  std::shared_ptr<Core> core(new Core(api, device, std::move(of), options));
  CUcontext context = nullptr;
  TRY(core->check(api.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain",
                  core->info.id + " cannot be opened"));
  core->context = context;
  return core;
}

Core::~Core() {
  if (context && !health.abandoned()) api.cuDevicePrimaryCtxRelease_v2(device_);
}

Result<Unit> Core::check(CUresult result, const char* call, const std::string& what) {
  if (result == CUDA_SUCCESS) return Unit{};
  auto error = cuda_error(api, result, call, what);
  if (error.value().code == Error::Code::device_lost) health.lose(error.value().text);
  return error;
}

/// Polls, since the driver's own wait has no limit: without pause at first, a token's work is short.
Result<Unit> Core::wait(CUstream stream) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (;;) {
    const CUresult r = api.cuStreamQuery(stream);
    if (r != CUDA_ERROR_NOT_READY) return check(r, "cuStreamQuery", info.id + ": submitted work failed");
    const std::chrono::duration<double> waited = Clock::now() - start;
    if (waited.count() > options.timeout_s) {
      const std::string text = fmt::format("{}: submitted work did not end within {} s", info.id, options.timeout_s);
      health.abandon(text);
      return fail(Error::Code::timeout, text);
    }
    if (waited < std::chrono::milliseconds(5))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

Result<Stream> make_stream(const std::shared_ptr<Core>& core) {
  CUstream stream = nullptr;
  TRY(core->check(core->api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate", "no stream"));
  return Stream(core, stream);
}

}  // namespace lathe::runtime::cuda
