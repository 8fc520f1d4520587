#include "backends/sim/models.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

#include "backends/ptx/target.h"
#include "backends/sim/random_model.h"
#include "backends/spirv/profiles.h"
#include "backends/spirv/target.h"

namespace lathe::sim {
namespace {

constexpr uint64_t kMemoryBytes = uint64_t{1} << 30;

runtime::DeviceInfo describe(std::string_view name, const Target& t) {
  runtime::DeviceInfo info{.id = fmt::format("sim:{}", name), .name = t.name, .driver = "simulator", .api = "sim"};
  info.memory_bytes = kMemoryBytes;
  info.software = true;
  info.facts.subgroup_size = static_cast<uint32_t>(t.subgroup_size);
  info.facts.max_threads = static_cast<uint32_t>(t.max_threads);
  info.facts.shared_bytes = static_cast<uint64_t>(t.shared_bytes);
  info.facts.max_grid = {INT32_MAX, UINT16_MAX, UINT16_MAX};
  return info;
}

const char* name_of(Type t) {
  return t == types::f16 ? "f16" : t == types::bf16 ? "bf16" : t == types::f32 ? "f32" : t == types::i8 ? "i8" : "i32";
}

}  // namespace

Model model_of(std::string_view name, Target t) {
  Model m{describe(name, t), {}, MatrixUnit(t)};
  for (const Atom& a : t.atoms)
    if (a.source != MapSource::fma)
      m.info.facts.vulkan.matrices.push_back({static_cast<uint32_t>(a.m), static_cast<uint32_t>(a.n),
                                              static_cast<uint32_t>(a.k), name_of(a.a), name_of(a.b), name_of(a.c),
                                              name_of(a.c), false, "subgroup"});
  m.matrices.keeps_f16_subnormals = t.mma_f16_subnormals;
  m.target = std::move(t);
  return m;
}

runtime::Result<Model> find_model(std::string_view name) {
  const auto refuse = [&](const std::string& why) {
    return runtime::fail(runtime::Error::Code::no_device, fmt::format("no simulated device \"{}\": {}", name, why));
  };
  const auto names = ptx_target_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    auto t = ptx_target(name);
    if (!t) return refuse(t.error().text);
    return model_of(name, std::move(*t));
  }
  constexpr std::string_view kRandom = "probe?seed=";
  if (name.starts_with(kRandom)) {
    const std::string_view digits = name.substr(kRandom.size());
    uint64_t seed = 0;
    const auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), seed);
    if (status != std::errc() || end != digits.data() + digits.size()) return refuse("the seed is no number");
    return random_model(name, seed);
  }
  const auto profiles = spirv_profile_names();
  if (std::find(profiles.begin(), profiles.end(), name) != profiles.end()) {
    auto t = spirv_profile(name);
    if (!t) return refuse(t.error().text);
    return model_of(name, std::move(*t));
  }
  if (!name.ends_with(".json"))
    return refuse(fmt::format("it is none of {}, {}, {}N, and no profile's .json file", fmt::join(names, ", "),
                              fmt::join(profiles, ", "), kRandom));
  std::ifstream in{std::string(name), std::ios::binary};
  if (!in) return refuse("the file cannot be read");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  auto t = spirv_target_from_json(text);
  if (!t) return refuse(t.error().text);
  return model_of(name, std::move(*t));
}

}  // namespace lathe::sim
