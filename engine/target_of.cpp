#include "engine/target_of.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstring>

#include "backends/fma_atom.h"
#include "backends/ptx/target.h"
#include "backends/sim/device.h"
#include "build_id.h"
#include "engine/probe.h"
#include "engine/target_entry.h"
#include "ir/opaque.h"

namespace lathe {
namespace {

/// The newest PTX target the device runs; architecture-specific ones ("a") run on their own generation only.
Result<Target> cuda_target(const runtime::CudaFacts& facts) {
  const int capability = facts.major * 10 + facts.minor;
  std::string best;
  for (const std::string_view name : ptx_target_names()) {
    int number = 0;
    for (char c : name)
      if (c >= '0' && c <= '9') number = number * 10 + (c - '0');
    const bool exact = name.back() == 'a';
    if (exact ? number == capability : number <= capability) best = name;
  }
  if (best.empty())
    return unsupported(fmt::format("compute capability {}.{} is older than sm_75", facts.major, facts.minor));
  return ptx_target(best);
}

constexpr int kNarrow = 16;  ///< lanes of a subgroup, where the driver leaves the choice

Target vulkan_facts(const runtime::DeviceInfo& info) {
  const runtime::VulkanFacts& v = info.facts.vulkan;
  Target t;
  t.name = info.name;
  t.backend = Backend::spirv;
  t.subgroup_size = static_cast<int>(info.facts.subgroup_size);
  t.fixed_subgroup_size =
      (v.can_require_subgroup_size && v.full_subgroups) || v.subgroup_size_min == v.subgroup_size_max;
  t.max_threads = static_cast<int>(info.facts.max_threads);
  if (v.lane_registers > 0) t.max_registers = static_cast<int>(v.lane_registers);
  // Where subgroups may be this narrow their lanes share 128 registers as wide as the narrowest subgroup: fewer lanes
  // have more room. No driver tells it.
  if (v.can_require_subgroup_size && v.subgroup_size_min < v.subgroup_size_max && v.subgroup_size_min <= kNarrow) {
    t.subgroup_size = kNarrow;
    t.max_registers = static_cast<int>(128 * v.subgroup_size_min) / kNarrow;
  }
  t.shared_bytes = static_cast<int64_t>(info.facts.shared_bytes);
  t.f16_arithmetic = v.float16;
  t.f16_storage = v.storage16;
  t.byte_storage = v.storage8;
  t.rte_f16 = v.rte_f16;
  t.rte_f32 = v.rte_f32;
  t.preserve_f16_denorm = v.preserve_denorm_f16;
  t.preserve_f32_denorm = v.preserve_denorm_f32;
  return t;
}

/// The configurations worth an atom, best first: the most work an instruction, then the narrowest (it serves few
/// tokens).
std::vector<runtime::MatrixConfig> usable_matrices(const runtime::VulkanFacts& v) {
  std::vector<runtime::MatrixConfig> out;
  for (const auto& m : v.matrices)
    if (m.scope == "subgroup" && m.a == "f16" && m.b == "f16" && m.c == "f32" && m.result == "f32" && !m.saturating)
      out.push_back(m);
  std::sort(out.begin(), out.end(),
            [](const auto& x, const auto& y) { return x.m * x.k != y.m * y.k ? x.m * x.k > y.m * y.k : x.n < y.n; });
  return out;
}

/// The lane maps of the atom, as far as they are layouts; false where one is none.
Result<bool> probe_maps(runtime::Device& device, const Target& t, Atom& atom, std::string& line) {
  const struct {
    thread::Use use;
    Type elem;
    int rows, cols;
    Layout& layout;
  } parts[] = {{thread::Use::a, atom.a, atom.m, atom.k, atom.layout_a},
               {thread::Use::b, atom.b, atom.k, atom.n, atom.layout_b},
               {thread::Use::c, atom.c, atom.m, atom.n, atom.layout_c}};
  bool whole = true;
  std::string why;
  for (const auto& p : parts) {
    TRY_ASSIGN(const auto layout, probe_lane_map(device, t, p.use, p.elem, p.rows, p.cols, why));
    whole = whole && layout;
    if (layout) p.layout = *layout;
    line += layout ? fmt::format("  {}", to_string(*layout)) : fmt::format("  refused ({})", why);
  }
  return whole;
}

Result<Unit> probe_atoms(runtime::Device& device, const TargetOptions& options, Target& t,
                         std::vector<std::string>& lines) {
  const runtime::VulkanFacts& v = device.info().facts.vulkan;
  if (!v.cooperative_matrix || v.matrices.empty()) return Unit{};
  if (!t.fixed_subgroup_size) {
    lines.push_back("matrices are not used: the subgroup size is not fixed");
    return Unit{};
  }
  TRY_ASSIGN(const bool ordered, probe_thread_order(device, t));
  if (!ordered) {
    lines.push_back("matrices are not used: lanes are not numbered as threads");
    return Unit{};
  }
  for (const auto& m : usable_matrices(v)) {
    Atom atom{fmt::format("coopmat {}x{}x{} f16 f32", m.m, m.n, m.k),
              static_cast<int>(m.m),
              static_cast<int>(m.n),
              static_cast<int>(m.k),
              types::f16,
              types::f16,
              types::f32};
    atom.source = MapSource::probed;
    std::string line = atom.name + ":";
    bool known = false;
    if (options.probe) {
      TRY_ASSIGN(known, probe_maps(device, t, atom, line));
    } else {
      line += "  not probed";
    }
    if (!known) make_opaque(atom, t.subgroup_size);
    lines.push_back(line);
    t.atoms.push_back(atom);
  }
  std::stable_partition(t.atoms.begin(), t.atoms.end(), [](const Atom& a) { return a.source == MapSource::probed; });
  return Unit{};
}

Result<Target> measure(runtime::Device& device, const TargetOptions& options, std::vector<std::string>& lines) {
  const runtime::DeviceInfo& info = device.info();
  Target t;
  if (info.api == "cuda") {
    TRY_ASSIGN(t, cuda_target(info.facts.cuda));
    t.shared_bytes = static_cast<int64_t>(info.facts.shared_bytes);
  } else {
    t = vulkan_facts(info);
    TRY(probe_atoms(device, options, t, lines));
    append_fma_atoms(t);
  }
  for (Atom& atom : t.atoms) {
    TRY_ASSIGN(atom.constant_operands, probe_constant_operands(device, t, atom));
    if (!atom.constant_operands) lines.push_back(atom.name + ": constant operands come out wrong and are hidden");
  }
  const auto in_registers = std::find_if(t.atoms.begin(), t.atoms.end(), [](const Atom& a) { return !a.b_in_shared; });
  if (in_registers != t.atoms.end()) {
    TRY_ASSIGN(t.mma_f16_subnormals, probe_f16_subnormals(device, t, *in_registers));
  }
  return t;
}

}  // namespace

Result<Target> target_of(runtime::Device& device, const TargetOptions& options, ProbeReport* report) {
  const runtime::DeviceInfo& info = device.info();
  if (const auto* simulated = dynamic_cast<const sim::Device*>(&device); simulated && simulated->target())
    return options.probe ? *simulated->target() : with_opaque_atoms(*simulated->target());
  const auto cache = info.api == "sim" ? nullptr : runtime::DiskCache::standard();
  const std::string key =
      runtime::hash_key({"target 2", kBuildId, info.api, info.name, info.driver, info.facts.vulkan.device_uuid,
                         info.facts.vulkan.pipeline_cache_uuid, options.probe ? "probed" : "opaque"});
  if (cache)
    if (const auto hit = cache->get(key)) {
      auto entry = target_entry({reinterpret_cast<const char*>(hit->data()), hit->size()});
      if (entry) {
        if (report) *report = {std::move(entry->maps), true};
        return std::move(entry->target);
      }
    }
  std::vector<std::string> lines;
  TRY_ASSIGN(const Target t, measure(device, options, lines));
  if (report) *report = {lines, false};
  if (cache) {
    const std::string text = to_text({t, lines});
    cache->put(key, std::as_bytes(std::span(text)));
  }
  return t;
}

}  // namespace lathe
