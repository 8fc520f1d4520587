#include "runtime/vulkan/device.h"

#include <fmt/format.h>

#include "runtime/vulkan/facts.h"
#include "runtime/vulkan/instance.h"
#include "runtime/vulkan/launch.h"

namespace lathe::runtime::vulkan {
namespace {

class VulkanDevice final : public Device {
 public:
  explicit VulkanDevice(std::shared_ptr<Core> core) : core_(std::move(core)), staging_(core_) {}
  const DeviceInfo& info() const override { return core_->info; }
  Result<std::unique_ptr<Program>> load(std::span<const std::byte> code, const ProgramInfo& program) override {
    return VulkanProgram::create(core_, code, program);
  }
  Result<std::unique_ptr<Buffer>> alloc(uint64_t bytes) override {
    TRY(core_->health.alive());
    TRY_ASSIGN(Memory memory, Memory::create(core_, bytes, Place::device));
    return std::make_unique<VulkanBuffer>(std::move(memory), bytes, memory_use_);
  }
  Result<Unit> upload(Buffer& to, uint64_t offset, std::span<const std::byte> from) override {
    TRY_ASSIGN(const VulkanBuffer* const buffer, checked(to, offset, from.size()));
    return staging_.upload(buffer->memory(), offset, from);
  }
  Result<Unit> download(const Buffer& from, uint64_t offset, std::span<std::byte> to) override {
    TRY_ASSIGN(const VulkanBuffer* const buffer, checked(from, offset, to.size()));
    return staging_.download(buffer->memory(), offset, to);
  }
  Result<Unit> fill(Buffer& to, uint64_t offset, uint64_t bytes, std::byte value) override {
    TRY_ASSIGN(const VulkanBuffer* const buffer, checked(to, offset, bytes));
    return staging_.fill(buffer->memory(), offset, bytes, value);
  }
  Result<std::unique_ptr<Queue>> queue() override { return VulkanQueue::create(core_); }
  Result<std::unique_ptr<Graph>> record(std::span<const LaunchRecord> launches) override {
    return VulkanGraph::create(core_, launches);
  }

 private:
  Result<const VulkanBuffer*> checked(const Buffer& buffer, uint64_t offset, uint64_t bytes) const {
    const auto* b = dynamic_cast<const VulkanBuffer*>(&buffer);
    if (!b || &b->core() != core_.get())
      return fail(Error::Code::bad_input, fmt::format("{}: the buffer is of another device", core_->info.id));
    TRY(check_range(buffer, offset, bytes));
    return b;
  }

  std::shared_ptr<Core> core_;
  Staging staging_;
};

}  // namespace

std::vector<DeviceInfo> list(std::vector<std::string>* absent) {
  std::vector<DeviceInfo> infos;
  const auto skip = [&](const std::string& why) {
    if (absent) absent->push_back(why);
  };
  const Result<std::vector<VkPhysicalDevice>> devices = physical_devices();
  if (!devices) {
    skip(devices.error().text);
    return infos;
  }
  if (devices->empty()) skip("Vulkan: no device");
  for (size_t i = 0; i < devices->size(); ++i) {
    Result<DeviceInfo> info = describe((*devices)[i], static_cast<int>(i));
    if (info)
      infos.push_back(std::move(*info));
    else
      skip(info.error().text);
  }
  return infos;
}

Result<std::unique_ptr<Device>> open(int index, const DeviceOptions& options) {
  TRY_ASSIGN(const std::vector<VkPhysicalDevice> devices, physical_devices());
  if (static_cast<size_t>(index) >= devices.size())
    return fail(Error::Code::no_device, fmt::format("vulkan:{}: Vulkan has {} devices", index, devices.size()));
  TRY_ASSIGN(DeviceInfo info, describe(devices[static_cast<size_t>(index)], index));
  TRY_ASSIGN(std::shared_ptr<Core> core, Core::create(devices[static_cast<size_t>(index)], std::move(info), options));
  return std::make_unique<VulkanDevice>(std::move(core));
}

}  // namespace lathe::runtime::vulkan
