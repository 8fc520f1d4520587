// The stored order every packed parameter of a kernel is read in.
#include <fmt/format.h>

#include "ir/pass/passes.h"

namespace lathe::tile {

Result<std::map<std::string, PackedLayout>> packed_parameters(const Func& f, const Target& t) {
  std::map<std::string, PackedLayout> out;
  Result<Unit> status = Unit{};
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const Func::Inst& inst = f.inst(id);
    if (!status || inst.op != Op::load || !f.type(inst.args[0]).packed) return;
    const Type& tile = f.type(inst.results[0]);
    const std::string& name = f.values[inst.args[0]].name;
    const auto p = derive_packed(*tile.layout, tile.elem, t.subgroup_size);
    if (!p) {
      status = tl::unexpected(p.error());
      return;
    }
    const auto [known, fresh] = out.try_emplace(name, *p);
    if (!fresh && known->second != *p)
      status = unsupported(fmt::format("{}: two loads ask for different units, {} and {}", name, to_string(known->second.unit), to_string(p->unit)));
  });
  if (!status) return tl::unexpected(status.error());
  return out;
}

}  // namespace lathe::tile
