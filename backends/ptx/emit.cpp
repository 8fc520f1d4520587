#include "backends/ptx/emit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/ptx/body.h"
#include "backends/ptx/features.h"

namespace lathe {
namespace {

Result<Unit> can_emit(const thread::Func& f, const Target& target, const ptx::TargetRow* row) {
  if (row == nullptr) return bad_input(fmt::format("no PTX target '{}'", target.name));
  const int threads = f.subgroups * f.subgroup_size;
  if (f.subgroup_size != target.subgroup_size || threads > target.max_threads)
    return unsupported(fmt::format("{}: {} has no workgroups of {} subgroups of {} threads", f.name, target.name,
                                   f.subgroups, f.subgroup_size));
  if (shared_bytes(f) > target.shared_bytes)
    return unsupported(fmt::format("{}: {} bytes of shared memory; {} has {}", f.name, shared_bytes(f), target.name,
                                   target.shared_bytes));
  return Unit{};
}

std::string shared_declaration(const thread::Func& f, const std::string& symbol) {
  const int64_t bytes = shared_bytes(f);
  int64_t align = 16;
  for (const thread::SharedArray& array : f.shared) align = std::max(align, array.align);
  if (bytes == 0) return "";
  if (bytes > kStaticSharedBytes) return fmt::format(".extern .shared .align {} .b8 {}[];\n", align, symbol);
  return fmt::format(".shared .align {} .b8 {}[{}];\n", align, symbol, bytes);
}

std::string zeros_declaration(const thread::Func& f) {
  const int64_t bytes = ptx::zeros_bytes(f);
  return bytes == 0 ? "" : fmt::format(".global .align 16 .b8 {}[{}];\n", ptx::zeros_symbol(f), bytes);
}

std::string parameters(const thread::Func& f) {
  std::vector<std::string> list;
  for (int i = 0; i < f.param_slots; i++) list.push_back(fmt::format("\n\t.param .b64 p{}", i));
  for (size_t i = 0; i < f.boxes.size(); i++)
    list.push_back(fmt::format("\n\t.param .align 64 .b8 {}[128]", ptx::box_parameter(static_cast<int64_t>(i))));
  return list.empty() ? "()" : fmt::format("({}\n)", fmt::join(list, ","));
}

}  // namespace

int64_t shared_bytes(const thread::Func& f) { return ptx::shared_offsets(f).back(); }

Result<std::string> emit_ptx(const thread::Func& f, const Target& target) {
  const ptx::TargetRow* row = ptx::find_target(target.name);
  TRY(can_emit(f, target, row));
  const std::string symbol = f.name + "_shared";
  ptx::Body body(f, target, row->features, symbol);
  TRY(body.print());
  const int isa = std::max(target.ptx_isa, body.isa());
  return fmt::format(
      ".version {}.{}\n.target {}\n.address_size 64\n\n{}{}.visible .entry {}{}\n.reqntid {}, 1, 1\n{{\n{}{}}}\n",
      isa / 10, isa % 10, target.name, shared_declaration(f, symbol), zeros_declaration(f), f.name, parameters(f),
      f.subgroups * f.subgroup_size, body.declarations(), body.text());
}

}  // namespace lathe
