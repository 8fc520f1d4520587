// lathe devices: what is there, what each can do, and the profile that --target takes.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "backends/spirv/target.h"
#include "engine/open.h"
#include "engine/target_of.h"
#include "tools/command.h"
#include "tools/output.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;

struct Found {
  runtime::DeviceInfo info;
  Result<Target> target;
  ProbeReport probe;
};

Found inspect(const runtime::DeviceInfo& info) {
  Found found{info, Target{}, {}};
  auto device = lift(runtime::open_device(info.id));
  if (device)
    found.target = target_of(**device, {}, &found.probe);
  else
    found.target = tl::unexpected(device.error());
  return found;
}

Json to_json(const Found& f) {
  Json j{{"id", f.info.id},     {"name", f.info.name},         {"driver", f.info.driver},
         {"api", f.info.api},   {"software", f.info.software}, {"memory_bytes", f.info.memory_bytes},
         {"maps", f.probe.maps}};
  if (f.target)
    j["target"] = Json::parse(lathe::to_json(*f.target));
  else
    j["error"] = f.target.error().text;
  return j;
}

std::string describe(const Found& f) {
  std::string out =
      fmt::format("{:<10} {}\n{:<10} {}; {:.1f} GiB{}\n", f.info.id, f.info.name, "", f.info.driver,
                  static_cast<double>(f.info.memory_bytes) / (1 << 30), f.info.software ? "; software" : "");
  if (!f.target) return out + fmt::format("{:<10} cannot be used: {}\n", "", f.target.error().text);
  const Target& t = *f.target;
  const char* fixed = t.fixed_subgroup_size ? "" : " (not fixed)";
  out += fmt::format("{:<10} subgroup {}{}, {} threads and {} KiB shared memory a workgroup\n", "", t.subgroup_size,
                     fixed, t.max_threads, t.shared_bytes / 1024);
  out += fmt::format(
      "{:<10} f16 arithmetic {}, 16-bit storage {}, 8-bit storage {}, f16 subnormals in the matrix unit {}\n", "",
      t.f16_arithmetic, t.f16_storage, t.byte_storage, t.mma_f16_subnormals);
  for (const Atom& a : t.atoms) {
    if (a.source == MapSource::fma) continue;  // every target has those
    out += fmt::format("{:<10} {} x {} x {} {} into {}: {}, {}\n", "", a.m, a.n, a.k, to_string(a.a), to_string(a.c),
                       to_string(a.source), a.name);
  }
  if (t.atoms.empty() || t.atoms.front().source == MapSource::fma)
    out += fmt::format("{:<10} no matrix instructions: multiply-adds\n", "");
  for (const std::string& line : f.probe.maps) out += fmt::format("{:<10} {}\n", "", line);
  return out;
}

Result<int> devices(bool json) {
  std::vector<std::string> absent;
  std::vector<Found> all;
  for (const auto& info : runtime::list_devices(&absent)) all.push_back(inspect(info));
  std::string text;
  if (json) {
    Json list = Json::array();
    for (const Found& f : all) list.push_back(to_json(f));
    text = Json{{"devices", list}, {"absent", absent}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  } else {
    for (const Found& f : all) text += describe(f);
    text += fmt::format("{:<10} the tile interpreter\n", "interp");
    text += fmt::format("{:<10} simulated, with checks and counters: {}\n", "sim:NAME", kSimulatedIds);
    for (const std::string& line : absent) text += fmt::format("{:<10} {}\n", "absent", line);
  }
  TRY(write_output("", text));
  return 0;
}

}  // namespace

Command devices_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("devices", "every CUDA and Vulkan device and what it can do");
  auto json = std::make_shared<bool>(false);
  app->add_flag("--json", *json, "as JSON, which --target takes as a profile");
  return {app, [json] { return devices(*json); }};
}

}  // namespace lathe::tools
