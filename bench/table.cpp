#include "bench/table.h"

#include <fmt/format.h>

namespace lathe::bench {
namespace {

constexpr const char* kLine = "{:<11} {:<9} {:<12} {:>12} {:>5} {:>9} {:>20} {:>7} {:>7} {:>7} {:>8}  {}\n";

/// Four digits that matter.
std::string us_text(double us) { return us < 1000 ? fmt::format("{:.4g}", us) : fmt::format("{:.0f}", us); }

}  // namespace

std::string table_head() {
  return fmt::format(kLine, "by", "device", "type", "K x N", "M", "us", "min .. max", "GB/s", "of read", "TFLOPS",
                     "vs peer", "schedule");
}

std::string table_line(const Row& r, const Report& of) {
  const std::string shape = to_string(r.shape), m = fmt::format("{}", r.m);
  if (!r.measured())
    return fmt::format("{:<11} {:<9} {:<12} {:>12} {:>5} {}\n", r.by, r.device, r.type, shape, m, r.error);
  const auto share = of.of_read_rate(r), faster = of.over_peer(r);
  return fmt::format(kLine, r.by, r.device, r.type, shape, m, us_text(r.us.median),
                     fmt::format("{} .. {}", us_text(r.us.min), us_text(r.us.max)), fmt::format("{:.4g}", r.gb_s()),
                     share ? fmt::format("{:.0f} %", 100 * *share) : "", fmt::format("{:.4g}", r.tflops()),
                     faster ? fmt::format("{:.2f} x", *faster) : "", r.schedule);
}

std::string table_end(const Report& report) {
  const auto series = series_of(report);
  const Cliffs cliffs = cliffs_of(series);
  if (cliffs.checked == 0) return "";
  std::string text = fmt::format("cliffs: {} of {} pairs of M\n", cliffs.found.size(), cliffs.checked);
  for (const Cliff& c : cliffs.found)
    text += fmt::format("  {} {}: M = {} and {}: {:.2f}, not {}\n", c.series->name(), to_string(c.series->shape),
                        c.earlier, c.later, c.ratio, c.rule);
  return text;
}

}  // namespace lathe::bench
