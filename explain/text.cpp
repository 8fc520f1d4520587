// The explanation for people.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "explain/explain.h"

namespace lathe::explain {
namespace {

std::string sizes_text(const Sizes& sizes) {
  std::vector<std::string> words;
  for (const auto& [name, size] : sizes) words.push_back(fmt::format("{}={}", name, size));
  return fmt::format("{}", fmt::join(words, " "));
}

std::string times(double count, double least) {
  if (least == 0) return "none";
  return fmt::format("{:.2f}", count / least);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

void numbered(std::string& out, const std::string& text, const std::vector<int>& numbers) {
  const auto lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); i++)
    out += fmt::format("{:>4} | {}\n", i < numbers.size() && numbers[i] ? std::to_string(numbers[i]) : "", lines[i]);
}

void programs(std::string& out, const Subject& s) {
  if (!s.text.empty()) {
    std::vector<int> count;
    for (size_t i = 0; i < lines_of(s.text).size(); i++) count.push_back(static_cast<int>(i) + 1);
    out += "\nprogram\n";
    numbered(out, s.text, count);
  }
  const tile::Listing after = tile::list(s.compiled.laid_out);
  out += "\nafter the passes (line of the program)\n";
  numbered(out, after.text, after.lines);
}

void tiles(std::string& out, const Explanation& e) {
  out += "\nlayouts (T: digits of the thread, S: of its slot)\n";
  size_t name = 0, type = 0;
  for (const PlacedTile& t : e.tiles) {
    name = std::max(name, t.name.size());
    type = std::max(type, tile::to_string(t.type).size());
  }
  for (const PlacedTile& t : e.tiles)
    out +=
        fmt::format("  {:<{}}  {:<{}}  {}\n", t.name, name, tile::to_string(t.type), type, to_string(*t.type.layout));
  for (const auto& [parameter, p] : e.packed)
    out += fmt::format("  {} is stored in units of {}, {} bytes a lane\n", parameter, to_string(p.unit),
                       p.lane_bits() / 8);
}

/// Words with commas, in lines of a width that fits a page.
void wrapped(std::string& out, const std::vector<std::string>& words) {
  constexpr size_t kWidth = 120;
  std::string line = "   ";
  for (size_t i = 0; i < words.size(); i++) {
    const std::string word = " " + words[i] + (i + 1 < words.size() ? "," : "");
    if (line.size() + word.size() > kWidth) out += std::exchange(line, "   ") + "\n";
    line += word;
  }
  out += line + "\n";
}

/// Atoms refused for one reason stand together.
void products(std::string& out, const Explanation& e) {
  for (const Product& p : e.products) {
    const MmaPlan& plan = p.plan;
    out += fmt::format("\nmatrix instruction of line {}: {}, {} x {} x {} of them a subgroup (m, n, k)\n", p.line,
                       plan.atom->name, plan.walk_m, plan.walk_n, plan.walk_k);
    std::vector<std::pair<std::string, std::vector<std::string>>> reasons;
    for (const RefusedAtom& r : plan.refused) {
      const std::string why = to_string(r);
      auto it = std::find_if(reasons.begin(), reasons.end(), [&](const auto& known) { return known.first == why; });
      if (it == reasons.end()) it = reasons.insert(reasons.end(), {why, {}});
      it->second.push_back(r.atom->name);
    }
    for (const auto& [why, atoms] : reasons) {
      out += fmt::format("  refused: {}\n", why);
      wrapped(out, atoms);
    }
  }
}

void copies(std::string& out, const Explanation& e) {
  out += "\naccesses of memory (of a subgroup: wide, how often, sectors and wavefronts over their least)\n";
  for (const Copy& copy : e.copies) {
    const sim::AccessCount& a = copy.count;
    out += fmt::format("  line {:<3} {:<24} {:>2} bytes a lane x {:<6} {}", a.loc.line, copy.what, a.bytes, a.issued,
                       a.loop ? fmt::format("in the loop at line {}", e.count.loops[a.loop].loc.line) : "once");
    if (a.sectors)
      out += fmt::format(", sectors {}", times(static_cast<double>(a.sectors), static_cast<double>(a.least_sectors)));
    if (a.wavefronts)
      out += fmt::format(", wavefronts {}",
                         times(static_cast<double>(a.wavefronts), static_cast<double>(a.least_wavefronts)));
    out += "\n";
  }
}

std::string classes_text(const sim::LoopCount& c) {
  std::vector<std::string> words;
  for (size_t k = 0; k < sim::kClasses; k++)
    if (c.by_class[k] && k != static_cast<size_t>(sim::Class::move))
      words.push_back(fmt::format("{} {}", sim::kClassNames[k], c.by_class[k]));
  return fmt::format("{}", fmt::join(words, ", "));
}

void counters(std::string& out, const Explanation& e) {
  out += fmt::format("\ncounted on the simulator ({}; {} workgroups of {} threads, {} bytes of shared memory)\n",
                     sizes_text(e.sample), e.sample_work.workgroups(), e.threads, e.shared_bytes);
  if (!e.not_counted.empty()) {
    out += fmt::format("  not counted: {}\n", e.not_counted);
    return;
  }
  for (size_t l = 0; l < e.count.loops.size(); l++) {
    const sim::LoopCount& c = e.count.loops[l];
    out += l ? fmt::format("  loop at line {}: ", c.loc.line) : std::string("  outside loops: ");
    out += fmt::format("{}; barriers {}\n", classes_text(c), c.barriers);
  }
  out += fmt::format("  in flight: {} bytes of asynchronous copies, {} of loads\n", e.count.flight.copies,
                     e.count.flight.loads);
}

void floor(std::string& out, const Explanation& e) {
  out += fmt::format("\nfloor ({}; {} workgroups)\n", sizes_text(e.problem), e.work.workgroups());
  const std::string whose = e.speed().device.empty() ? "" : ", " + e.speed().device;
  const auto row = [&](const std::string& what, const std::optional<double>& us, const std::string& rate) {
    out += "  " + what;
    out += us ? fmt::format(": {:.2f} us at {}{}\n", *us, rate, whose)
              : fmt::format(": {} has no figures\n", e.target->name);
  };
  row(fmt::format("{:.0f} bytes of memory", e.work.bytes), memory_us(e), fmt::format("{} GB/s", e.speed().memory_gb_s));
  if (!e.work.flops)
    out += "  operations of matrices: not known before the program runs\n";
  else if (*e.work.flops > 0)
    row(fmt::format("{:.4g} operations of matrices", *e.work.flops), matrix_us(e),
        fmt::format("{} TFLOPS", e.speed().matrix_tflops));
}

}  // namespace

std::string to_text(const Subject& s, const Explanation& e) {
  std::string out = fmt::format("{} on {}\n", e.name, e.target->name);
  programs(out, s);
  tiles(out, e);
  products(out, e);
  copies(out, e);
  counters(out, e);
  floor(out, e);
  return out + fmt::format("\nlimited by {}\n", e.limit.text);
}

}  // namespace lathe::explain
