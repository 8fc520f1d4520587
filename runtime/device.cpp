#include "runtime/device.h"

#include <fmt/format.h>

#include "runtime/cuda/device.h"
#include "runtime/vulkan/device.h"

namespace lathe::runtime {
namespace {

struct Api {
  const char* prefix;
  std::vector<DeviceInfo> (*list)(std::vector<std::string>* absent);
  Result<std::unique_ptr<Device>> (*open)(int index, const DeviceOptions& options);
};
constexpr Api kApis[] = {{"cuda:", cuda::list, cuda::open}, {"vulkan:", vulkan::list, vulkan::open}};

/// A decimal number of one to four digits, or -1.
int parse_index(std::string_view text) {
  if (text.empty() || text.size() > 4) return -1;
  int value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

std::vector<DeviceInfo> list_devices(std::vector<std::string>* absent) {
  std::vector<DeviceInfo> all;
  for (const Api& api : kApis)
    for (DeviceInfo& info : api.list(absent)) all.push_back(std::move(info));
  return all;
}

Result<std::unique_ptr<Device>> open_device(std::string_view id, const DeviceOptions& options) {
  for (const Api& api : kApis) {
    if (!id.starts_with(api.prefix)) continue;
    const int index = parse_index(id.substr(std::string_view(api.prefix).size()));
    if (index >= 0) return api.open(index, options);
  }
  return fail(Error::Code::no_device, fmt::format("no device \"{}\": ids are \"cuda:N\" and \"vulkan:N\"", id));
}

Result<double> Graph::replay() {
  TRY_ASSIGN(const std::vector<double> us, time_us(1));
  return us.front();
}

Result<Unit> Device::run(std::span<const LaunchRecord> launches) {
  TRY(run_timed(launches));
  return Unit{};
}

Result<double> Device::run_timed(std::span<const LaunchRecord> launches) {
  TRY_ASSIGN(const std::unique_ptr<Graph> graph, record(launches));
  return graph->replay();
}

Result<Unit> check_launch(const ProgramInfo& info, const Facts& facts, Dim3 grid, std::span<const uint64_t> params) {
  if (params.size() != info.param_slots) {
    return fail(Error::Code::bad_input, fmt::format("{}: launched with {} parameters, the program takes {}", info.entry,
                                                    params.size(), info.param_slots));
  }
  const Dim3 max = facts.max_grid;
  if (!grid.x || !grid.y || !grid.z || grid.x > max.x || grid.y > max.y || grid.z > max.z) {
    return fail(Error::Code::bad_input,
                fmt::format("{}: a grid of {} x {} x {} workgroups is outside 1 .. {} x {} x {}", info.entry, grid.x,
                            grid.y, grid.z, max.x, max.y, max.z));
  }
  return Unit{};
}

Result<Unit> check_range(const Buffer& buffer, uint64_t offset, uint64_t bytes) {
  if (offset <= buffer.bytes() && bytes <= buffer.bytes() - offset) return Unit{};
  return fail(Error::Code::bad_input,
              fmt::format("{} bytes at offset {} are outside a buffer of {} bytes", bytes, offset, buffer.bytes()));
}

}  // namespace lathe::runtime
