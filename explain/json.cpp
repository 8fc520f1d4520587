// The explanation for programs.
#include <nlohmann/json.hpp>

#include "explain/explain.h"

namespace lathe::explain {
namespace {

using Json = nlohmann::ordered_json;

Json tiles(const Explanation& e) {
  Json out = Json::array();
  for (const PlacedTile& t : e.tiles)
    out.push_back({{"name", t.name},
                   {"line", t.line},
                   {"type", tile::to_string(t.type)},
                   {"layout", to_string(*t.type.layout)},
                   {"in_flight", t.type.is_token()}});
  return out;
}

Json products(const Explanation& e) {
  Json out = Json::array();
  for (const Product& p : e.products) {
    Json refused = Json::array();
    for (const RefusedAtom& r : p.plan.refused) refused.push_back({{"name", r.atom->name}, {"reason", to_string(r)}});
    out.push_back({{"line", p.line},
                   {"atom", p.plan.atom->name},
                   {"source", to_string(p.plan.atom->source)},
                   {"of_subgroup", {p.plan.walk_m, p.plan.walk_n, p.plan.walk_k}},
                   {"refused", refused}});
  }
  return out;
}

Json copies(const Explanation& e) {
  Json out = Json::array();
  for (const Copy& copy : e.copies) {
    const sim::AccessCount& a = copy.count;
    out.push_back({{"line", a.loc.line},
                   {"what", copy.what},
                   {"bytes", a.bytes},
                   {"issued", a.issued},
                   {"loop_line", e.count.loops[a.loop].loc.line},
                   {"sectors", a.sectors},
                   {"least_sectors", a.least_sectors},
                   {"wavefronts", a.wavefronts},
                   {"least_wavefronts", a.least_wavefronts}});
  }
  return out;
}

Json floor(const Explanation& e) {
  Json out{{"bytes", e.work.bytes}, {"workgroups", e.work.workgroups()}};
  if (e.work.flops) out["flops"] = *e.work.flops;
  if (!e.speed().device.empty()) out["device"] = e.speed().device;
  if (const auto us = memory_us(e)) out["memory_us"] = *us;
  if (const auto us = matrix_us(e)) out["matrix_us"] = *us;
  return out;
}

}  // namespace

std::string to_json(const Subject& s, const Explanation& e) {
  Json out{{"kernel", e.name},
           {"target", e.target->name},
           {"program", tile::print(s.program)},
           {"after_passes", tile::print(s.compiled.laid_out)},
           {"tiles", tiles(e)},
           {"products", products(e)},
           {"copies", copies(e)},
           {"shared_bytes", e.shared_bytes},
           {"threads", e.threads},
           {"problem", e.problem},
           {"sample", e.sample},
           {"floor", floor(e)}};
  for (const auto& [name, p] : e.packed)
    out["packed"][name] = {{"type", to_string(p.elem)}, {"unit", to_string(p.unit)}};
  if (e.not_counted.empty())
    out["counters"] = Json::parse(sim::to_json({e.count}))[0];
  else
    out["not_counted"] = e.not_counted;
  out["limit"] = {{"cause", to_string(e.limit.cause)}, {"line", e.limit.line}, {"text", e.limit.text}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lathe::explain
