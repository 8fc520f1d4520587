#pragma once
// NVIDIA's devices through the CUDA driver. No CUDA header is needed to include this.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

struct CUstream_st;

namespace lathe::runtime::cuda {

/// A line in `absent` for why there is no CUDA, or for each device that cannot be asked.
std::vector<DeviceInfo> list(std::vector<std::string>* absent);
/// The device of that number in the driver's order. Its primary context is retained as long as anything of it is in
/// use.
Result<std::unique_ptr<Device>> open(int index, const DeviceOptions& options);

/// Work of a library of others on a stream of ours. The device's context, which is its primary one, is current.
using Submit = std::function<Result<Unit>(CUstream_st* stream)>;
/// Submits to a stream of its own, and waits. unsupported: no device of CUDA's.
Result<Unit> with_stream(Device& device, const Submit& submit);
/// Records what is submitted, which does not run then. The library's objects must outlive the graph.
Result<std::unique_ptr<Graph>> capture(Device& device, const Submit& submit);

}  // namespace lathe::runtime::cuda
