#include "backends/ptx/emit.h"

#include <fmt/format.h>

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

std::string parameters(int slots) {
  std::string text;
  for (int i = 0; i < slots; i++) text += fmt::format("{}\n\t.param .b64 p{}", i == 0 ? "" : ",", i);
  return slots == 0 ? "()" : "(" + text + "\n)";
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
      ".version {}.{}\n.target {}\n.address_size 64\n\n{}.visible .entry {}{}\n.reqntid {}, 1, 1\n{{\n{}{}}}\n",
      isa / 10, isa % 10, target.name, shared_declaration(f, symbol), f.name, parameters(f.param_slots),
      f.subgroups * f.subgroup_size, body.declarations(), body.text());
}

}  // namespace lathe
