#include "runtime/cuda/device.h"

#include <array>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

#include "runtime/cuda/launch.h"

namespace lathe::runtime::cuda {
namespace {

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(DeviceMemory memory, uint64_t bytes, std::shared_ptr<MemoryUse> use)
      : Buffer(memory.get(), bytes, std::move(use)), memory_(std::move(memory)) {}
  const Core& core() const { return memory_.core(); }

 private:
  DeviceMemory memory_;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(std::shared_ptr<Core> core, Stream copies) : core_(std::move(core)), copies_(std::move(copies)) {}
  const DeviceInfo& info() const override { return core_->info; }
  const std::shared_ptr<Core>& core() const { return core_; }
  Result<std::unique_ptr<Program>> load(std::span<const std::byte> code, const ProgramInfo& program) override {
    return CudaProgram::create(core_, code, program);
  }
  Result<std::unique_ptr<Buffer>> alloc(uint64_t bytes) override;
  Result<Unit> upload(Buffer& to, uint64_t offset, std::span<const std::byte> from) override {
    TRY(check_buffer(to, offset, from.size()));
    return copy(from.size(), "cuMemcpyHtoDAsync", [&](CUstream s) {
      return core_->api.cuMemcpyHtoDAsync_v2(to.address() + offset, from.data(), from.size(), s);
    });
  }
  Result<Unit> download(const Buffer& from, uint64_t offset, std::span<std::byte> to) override {
    TRY(check_buffer(from, offset, to.size()));
    return copy(to.size(), "cuMemcpyDtoHAsync", [&](CUstream s) {
      return core_->api.cuMemcpyDtoHAsync_v2(to.data(), from.address() + offset, to.size(), s);
    });
  }
  Result<Unit> fill(Buffer& buffer, uint64_t offset, uint64_t bytes, std::byte value) override {
    TRY(check_buffer(buffer, offset, bytes));
    return copy(bytes, "cuMemsetD8Async", [&](CUstream s) {
      return core_->api.cuMemsetD8Async(buffer.address() + offset, std::to_integer<unsigned char>(value), bytes, s);
    });
  }
  Result<std::unique_ptr<Queue>> queue() override { return CudaQueue::create(core_); }
  Result<std::unique_ptr<Graph>> record(std::span<const LaunchRecord> launches) override {
    return CudaGraph::create(core_, launches);
  }

 private:
  Result<Unit> check_buffer(const Buffer& buffer, uint64_t offset, uint64_t bytes) const {
    const auto* b = dynamic_cast<const CudaBuffer*>(&buffer);
    if (!b || &b->core() != core_.get())
      return fail(Error::Code::bad_input, fmt::format("{}: the buffer is of another device", core_->info.id));
    return check_range(buffer, offset, bytes);
  }
  /// Starts a copy and waits for it. The stream is our own: the driver's default one returns before a copy from
  /// pageable memory has arrived, and our queues do not wait for it.
  template <class Start>
  Result<Unit> copy(uint64_t bytes, const char* call, Start start) {
    TRY(core_->health.alive());
    if (bytes == 0) return Unit{};
    const std::lock_guard lock(copies_mutex_);
    const Current current(*core_);
    TRY(core_->check(start(copies_.get()), call, core_->info.id + ": a copy cannot be started"));
    return core_->wait(copies_.get());
  }

  std::shared_ptr<Core> core_;
  std::mutex copies_mutex_;
  Stream copies_;
};

Result<std::unique_ptr<Buffer>> CudaDevice::alloc(uint64_t bytes) {
  TRY(core_->health.alive());
  if (bytes > core_->info.memory_bytes) {
    return fail(Error::Code::out_of_memory, fmt::format("{}: a buffer of {} bytes is more than its {} bytes of memory",
                                                        core_->info.id, bytes, core_->info.memory_bytes));
  }
  const Current current(*core_);
  CUdeviceptr address = 0;
  TRY(core_->check(core_->api.cuMemAlloc_v2(&address, std::max<uint64_t>(bytes, 1)), "cuMemAlloc",
                   fmt::format("{}: {} bytes cannot be allocated", core_->info.id, bytes)));
  return std::make_unique<CudaBuffer>(DeviceMemory(core_, address), bytes, memory_use_);
}

/// Each fact and the attribute that gives it; an attribute the driver does not know stays 0.
void fill_facts(const Api& api, CUdevice device, Facts& facts) {
  const auto ask = [&](CUdevice_attribute which) {
    int value = 0;
    return api.cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? static_cast<uint32_t>(value) : 0u;
  };
  facts.subgroup_size = ask(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  facts.max_threads = ask(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  facts.shared_bytes = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  facts.max_grid = {ask(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X), ask(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
                    ask(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z)};
  facts.cuda.major = static_cast<int>(ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
  facts.cuda.minor = static_cast<int>(ask(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  facts.cuda.sm_count = static_cast<int>(ask(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  facts.cuda.l2_bytes = ask(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  facts.cuda.shared_bytes_per_sm = ask(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
}

Result<DeviceInfo> describe(const Api& api, int index) {
  DeviceInfo info{.id = fmt::format("cuda:{}", index), .driver = api.driver, .api = "cuda"};
  const auto check = [&](CUresult r, const char* call) -> Result<Unit> {
    if (r != CUDA_SUCCESS) return cuda_error(api, r, call, info.id + " cannot be asked what it is");
    return Unit{};
  };
  CUdevice device = 0;
  std::array<char, 256> name{};
  size_t bytes = 0;
  TRY(check(api.cuDeviceGet(&device, index), "cuDeviceGet"));
  TRY(check(api.cuDeviceGetName(name.data(), static_cast<int>(name.size()), device), "cuDeviceGetName"));
  TRY(check(api.cuDeviceTotalMem_v2(&bytes, device), "cuDeviceTotalMem"));
  info.name.assign(name.data(), strnlen(name.data(), name.size()));
  info.memory_bytes = bytes;
  fill_facts(api, device, info.facts);
  return info;
}

Result<int> device_count(const Api& api) {
  int count = 0;
  const CUresult r = api.cuDeviceGetCount(&count);
  if (r != CUDA_SUCCESS) return cuda_error(api, r, "cuDeviceGetCount", "CUDA: the devices cannot be counted");
  return count;
}

}  // namespace

std::vector<DeviceInfo> list(std::vector<std::string>* absent) {
  std::vector<DeviceInfo> infos;
  const auto skip = [&](const std::string& why) {
    if (absent) absent->push_back(why);
  };
  const Result<const Api*> driver = api();
  const Result<int> count = driver ? device_count(**driver) : Result<int>(tl::unexpected(driver.error()));
  if (!count) {
    skip(count.error().text);
    return infos;
  }
  if (*count == 0) skip("CUDA: no device");
  for (int i = 0; i < *count; ++i) {
    Result<DeviceInfo> info = describe(**driver, i);
    if (info)
      infos.push_back(std::move(*info));
    else
      skip(info.error().text);
  }
  return infos;
}

Result<std::unique_ptr<Device>> open(int index, const DeviceOptions& options) {
  TRY_ASSIGN(const Api* const driver, api());
  TRY_ASSIGN(const int count, device_count(*driver));
  if (index >= count) return fail(Error::Code::no_device, fmt::format("cuda:{}: CUDA has {} devices", index, count));
  TRY_ASSIGN(DeviceInfo info, describe(*driver, index));
  CUdevice device = 0;
  if (const CUresult r = driver->cuDeviceGet(&device, index); r != CUDA_SUCCESS)
    return cuda_error(*driver, r, "cuDeviceGet", info.id + " cannot be opened");
  TRY_ASSIGN(std::shared_ptr<Core> core, Core::create(*driver, device, std::move(info), options));
  const Current current(*core);
  TRY_ASSIGN(Stream copies, make_stream(core));
  return std::make_unique<CudaDevice>(std::move(core), std::move(copies));
}

namespace {
Result<std::shared_ptr<Core>> core_of(const Device& device) {
  const auto* d = dynamic_cast<const CudaDevice*>(&device);
  if (!d) return fail(Error::Code::unsupported, device.info().id + " is no CUDA device");
  return d->core();
}
}  // namespace

Result<Unit> with_stream(Device& device, const Submit& submit) {
  TRY_ASSIGN(const std::shared_ptr<Core> core, core_of(device));
  TRY(core->health.alive());
  const Current current(*core);
  TRY_ASSIGN(const Stream stream, make_stream(core));
  TRY(submit(stream.get()));
  return core->wait(stream.get());
}

Result<std::unique_ptr<Graph>> capture(Device& device, const Submit& submit) {
  TRY_ASSIGN(const std::shared_ptr<Core> core, core_of(device));
  return CudaGraph::capture(core, submit);
}

}  // namespace lathe::runtime::cuda
