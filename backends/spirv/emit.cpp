#include "backends/spirv/emit.h"

#include <fmt/format.h>

#include "backends/spirv/body.h"

namespace lathe {
namespace {

using thread::Scalar;

Result<Unit> check_workgroup(const thread::Func& f, const Target& target) {
  if (f.subgroup_size != target.subgroup_size || f.subgroups * f.subgroup_size > target.max_threads)
    return unsupported(fmt::format("{}: {} has no workgroups of {} subgroups of {} threads", f.name, target.name,
                                   f.subgroups, f.subgroup_size));
  int64_t shared = 0;
  for (const thread::SharedArray& a : f.shared) shared += a.bytes;
  if (shared > target.shared_bytes)
    return unsupported(
        fmt::format("{}: {} bytes of shared memory; {} has {}", f.name, shared, target.name, target.shared_bytes));
  return Unit{};
}

/// Fragments have a type for their elements, and who shares a subgroup is known.
Result<Unit> check_subgroup_use(const thread::Func& f, const Target& target) {
  Result<Unit> result = Unit{};
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const auto& i = f.inst(id);
    bool shares = i.op == thread::Op::shuffle_xor || i.op == thread::Op::shuffle_index;
    for (const ValueId v : i.results) {
      const thread::Type& t = f.type(v);
      shares = shares || t.is_frag();
      if (t.is_frag() && (t.scalar == Scalar::bf16 || (t.scalar == Scalar::f16 && !target.f16_arithmetic)))
        result = unsupported(fmt::format("{}: {} has no fragments {}", f.name, target.name, thread::to_string(t)));
    }
    if (shares && !target.fixed_subgroup_size)
      result = unsupported(
          fmt::format("{}: {} of {} needs a fixed subgroup size", f.name, thread::info(i.op).name, target.name));
  });
  return result;
}

/// What the target can promise about rounding and subnormals, for the widths in use.
void float_controls(spirv::Module& m, const Target& target) {
  const struct {
    bool has;
    spv::Capability capability;
    spv::ExecutionMode mode;
    uint32_t bits;
  } controls[] = {
      {target.rte_f16, spv::Capability::RoundingModeRTE, spv::ExecutionMode::RoundingModeRTE, 16},
      {target.rte_f32, spv::Capability::RoundingModeRTE, spv::ExecutionMode::RoundingModeRTE, 32},
      {target.preserve_f16_denorm, spv::Capability::DenormPreserve, spv::ExecutionMode::DenormPreserve, 16},
      {target.preserve_f32_denorm, spv::Capability::DenormPreserve, spv::ExecutionMode::DenormPreserve, 32},
  };
  for (const auto& c : controls) {
    if (!c.has || !m.has_float(static_cast<int>(c.bits))) continue;
    m.require(c.capability);
    m.execution_mode(c.mode, {c.bits});
  }
}

}  // namespace

bool params_in_push_constants(const thread::Func& f) { return 8 * f.param_slots <= kPushConstantBytes; }

Result<std::vector<uint32_t>> emit_spirv(const thread::Func& f, const Target& target) {
  TRY(check_workgroup(f, target));
  TRY(check_subgroup_use(f, target));
  spirv::Module m;
  for (const spv::Capability c : {spv::Capability::Shader, spv::Capability::VulkanMemoryModel,
                                  spv::Capability::PhysicalStorageBufferAddresses, spv::Capability::Int64})
    m.require(c);
  m.name(m.entry(), f.name);
  TRY_ASSIGN(const spirv::Words function, spirv::Body(f, target, m).write());
  m.execution_mode(spv::ExecutionMode::LocalSize, {static_cast<uint32_t>(f.subgroups * f.subgroup_size), 1, 1});
  float_controls(m, target);
  return m.finish(function);
}

}  // namespace lathe
