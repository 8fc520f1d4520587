#include "backends/sim/counters.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "backends/sim/lead.h"

namespace lathe::sim {
namespace {

nlohmann::ordered_json json_of(const LoopCount& c) {
  nlohmann::ordered_json j{{"line", c.loc.line}};
  for (size_t k = 0; k < kClasses; k++) j["instructions"][kClassNames[k]] = c.by_class[k];
  j["barriers"] = c.barriers;
  j["sectors"] = c.sectors;
  j["least_sectors"] = c.least_sectors;
  j["wavefronts"] = c.wavefronts;
  j["least_wavefronts"] = c.least_wavefronts;
  if (c.operand_lead) j["operand_lead"] = *c.operand_lead;
  return j;
}

std::string text_of(const LoopCount& c) {
  std::string classes;
  for (size_t k = 0; k < kClasses; k++)
    if (c.by_class[k]) classes += fmt::format("{}{} {}", classes.empty() ? "" : ", ", kClassNames[k], c.by_class[k]);
  return fmt::format("{}; barriers {}; sectors {} of at least {}; wavefronts {} of at least {}",
                     classes.empty() ? "nothing" : classes, c.barriers, c.sectors, c.least_sectors, c.wavefronts,
                     c.least_wavefronts);
}

}  // namespace

void LoopCount::add(const LoopCount& other) {
  for (size_t k = 0; k < kClasses; k++) by_class[k] += other.by_class[k];
  barriers += other.barriers;
  sectors += other.sectors;
  least_sectors += other.least_sectors;
  wavefronts += other.wavefronts;
  least_wavefronts += other.least_wavefronts;
}

void KernelCount::add(const AccessCount& access) {
  for (AccessCount& a : accesses) {
    if (!a.same_place(access)) continue;
    a.issued += access.issued;
    a.sectors += access.sectors;
    a.least_sectors += access.least_sectors;
    a.wavefronts += access.wavefronts;
    a.least_wavefronts += access.least_wavefronts;
    return;
  }
  accesses.push_back(access);
}

void KernelCount::add(const KernelCount& other) {
  launches += other.launches;
  for (size_t l = 0; l < other.loops.size(); l++) loops[l].add(other.loops[l]);
  for (const AccessCount& a : other.accesses) add(a);
  flight = {std::max(flight.copies, other.flight.copies), std::max(flight.loads, other.flight.loads)};
}

uint64_t LoopCount::instructions() const {
  uint64_t sum = 0;
  for (size_t k = 0; k < kClasses; k++) sum += k == static_cast<size_t>(Class::move) ? 0 : by_class[k];
  return sum;
}

const LoopCount& KernelCount::main_loop() const {
  const auto weight = [](const LoopCount& l) { return std::pair(l.of(Class::mma), l.instructions()); };
  const auto less = [&](const LoopCount& a, const LoopCount& b) { return weight(a) < weight(b); };
  return loops.size() == 1 ? loops[0] : *std::max_element(loops.begin() + 1, loops.end(), less);
}

LoopCount KernelCount::total() const {
  LoopCount sum;
  for (const LoopCount& l : loops) sum.add(l);
  return sum;
}

KernelCount summarise(const Code& program, const std::vector<StepCount>& counts, const FlightCount& flight) {
  KernelCount k{program.func.name, 1, {}, {}, flight};
  for (const LoopInfo& l : program.loops) k.loops.push_back({l.loc});
  for (size_t i = 0; i < counts.size(); i++) {
    const Step& s = program.steps[i];
    const StepCount& c = counts[i];
    LoopCount one;
    one.by_class[static_cast<size_t>(s.kind)] = c.issued;
    one.barriers = s.op == thread::Op::barrier ? c.issued : 0;
    one.sectors = c.sectors, one.least_sectors = c.least_sectors;
    one.wavefronts = c.wavefronts, one.least_wavefronts = c.least_wavefronts;
    k.loops[s.loop].add(one);
    if (s.kind == Class::memory)
      k.add({s.loc, s.loop, s.op, static_cast<uint32_t>(thread::total_bits(s.type) / 8), c.issued, c.sectors,
             c.least_sectors, c.wavefronts, c.least_wavefronts});
  }
  for (uint32_t l = 1; l < k.loops.size(); l++) k.loops[l].operand_lead = operand_lead(program, l);
  return k;
}

std::string to_text(const std::vector<KernelCount>& kernels) {
  std::string out;
  for (const KernelCount& k : kernels) {
    out += fmt::format("{}, {} launches: {}; in flight at most {} bytes of asynchronous copies, {} of loads\n", k.name,
                       k.launches, text_of(k.total()), k.flight.copies, k.flight.loads);
    for (size_t l = 1; l < k.loops.size(); l++)
      out += fmt::format("  loop at line {}: {}{}\n", k.loops[l].loc.line, text_of(k.loops[l]),
                         k.loops[l].operand_lead ? fmt::format("; operands lead by {}", *k.loops[l].operand_lead) : "");
  }
  return out;
}

std::string to_json(const std::vector<KernelCount>& kernels) {
  auto list = nlohmann::ordered_json::array();
  for (const KernelCount& k : kernels) {
    auto loops = nlohmann::ordered_json::array();
    for (size_t l = 1; l < k.loops.size(); l++) loops.push_back(json_of(k.loops[l]));
    list.push_back({{"kernel", k.name},
                    {"launches", k.launches},
                    {"copy_bytes_in_flight", k.flight.copies},
                    {"load_bytes_in_flight", k.flight.loads},
                    {"total", json_of(k.total())},
                    {"loops", loops}});
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lathe::sim
