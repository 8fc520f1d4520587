#include "bench/html.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/cliffs.h"
#include "bench/plot.h"

namespace lathe::bench {
namespace {

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Lathe: matmul, measured</title>
<style>
:root { color-scheme: light dark; --back: #ffffff; --ink: #1d2330; --faint: #d9dde5; --soft: #5b6475; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --back: #14171d; --ink: #e6e9ef; --faint: #343a46; --soft: #9aa4b5; --bad: #ff6b6b; } }
body { background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1320px; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 75ch; } .soft { color: var(--soft); }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .name { font-size: 14px; font-weight: 600; }
.grid { stroke: var(--faint); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; }
polyline { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 6 4; }
.unseen { fill-opacity: 0; } .marked { fill: none; stroke: var(--bad); stroke-width: 2; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { border-bottom: 1px solid var(--faint); padding: .22rem .6rem; text-align: right; white-space: nowrap; }
th.t, td.t { text-align: left; } td.bad { color: var(--bad); text-align: left; white-space: normal; }
)";

constexpr const char* kPalette[kColours] = {"#0b6bcb", "#d9480f", "#2b8a3e", "#9c36b5",
                                            "#b08900", "#0c8599", "#c2255c", "#6b7280"};

std::string paragraph(const std::string& text) { return "<p class=\"soft\">" + escaped(text) + "</p>\n"; }

std::string head(const Report& report) {
  std::string out = kHead;
  for (int i = 0; i < kColours; i++)
    out +=
        fmt::format(".c{0} polyline {{ stroke: {1}; }} .c{0} circle:not(.marked) {{ fill: {1}; }}\n", i, kPalette[i]);
  out += "</style></head><body>\n<h1>Matmul, measured</h1>\n";
  if (!report.command.empty()) out += "<p><code>" + escaped(report.command) + "</code></p>\n";
  out += "<ul>\n";
  for (const DeviceRow& d : report.devices)
    out += fmt::format("<li><b>{}</b>: {}, {}{}</li>\n", escaped(d.id), escaped(d.name), escaped(d.driver),
                       d.read_gb_s > 0 ? fmt::format(", reads at most {:.0f} GB/s", d.read_gb_s) : "");
  for (const std::string& note : report.notes) out += "<li class=\"soft\">" + escaped(note) + "</li>\n";
  out += "</ul>\n";
  return out +
         paragraph(
             "A time is that of one multiplication of M tokens in a recorded list of ordered launches, the median "
             "of several replays right after 20 ms of the same work; weights in turn, so that none is in a cache; "
             "outputs checked on samples against f64 first. The share of what the device reads counts weights "
             "and their scales as they are stored.");
}

/// The same series has one colour on the whole page.
class Colours {
 public:
  int of(const Series& s) {
    const auto at = std::find(names_.begin(), names_.end(), s.name());
    if (at != names_.end()) return static_cast<int>(at - names_.begin());
    names_.push_back(s.name());
    return static_cast<int>(names_.size()) - 1;
  }

 private:
  std::vector<std::string> names_;
};

Line line_of(const Series& s, Colours& colours) { return {s.name(), colours.of(s), s.by != kOurs, {}}; }

std::string plots_of(const Report& report, const std::vector<const Series*>& series, const Cliffs& cliffs,
                     Colours& colours) {
  Plot time{"Time", "tokens (M)", "microseconds", true, {}};
  Plot share{"Weights read, of what the device can read", "tokens (M)", "%", false, {}};
  for (const Series* s : series) {
    Line us = line_of(*s, colours), part = us;
    for (const Row* r : s->rows) {
      const bool marked = std::any_of(cliffs.found.begin(), cliffs.found.end(), [&](const Cliff& c) {
        return c.series->name() == s->name() && c.series->shape == s->shape && c.later == r->m;
      });
      const auto x = static_cast<double>(r->m);
      us.points.push_back(
          {x, r->us.median,
           fmt::format("{}, M = {}: {:.2f} us, {:.1f} TFLOPS", s->name(), r->m, r->us.median, r->tflops()), marked});
      if (const auto of = report.of_read_rate(*r))
        part.points.push_back({x, 100 * *of, fmt::format("{}, M = {}: {:.1f} %", s->name(), r->m, 100 * *of)});
    }
    time.lines.push_back(std::move(us));
    if (!part.points.empty()) share.lines.push_back(std::move(part));
  }
  return "<div class=\"plots\">\n" + svg(time) + svg(share) + "</div>\n";
}

std::string cliffs_text(const Cliffs& cliffs) {
  if (cliffs.checked == 0) return "";
  std::string out = "<h2>Cliffs</h2>\n" +
                    paragraph(fmt::format("{} of {} pairs of M break one of t(M) <= 1.10 t(M+1); t(M+1) <= 1.3 t(M) up "
                                          "to 64 and 1.6 t(M) above; t(2M) <= 2.1 t(M). Ringed in the plots.",
                                          cliffs.found.size(), cliffs.checked));
  if (cliffs.found.empty()) return out;
  out +=
      "<div class=\"wide\"><table>\n<tr><th class=\"t\">what</th><th>K x N</th><th>M</th><th>and</th><th>ratio</th>"
      "<th class=\"t\">broken</th></tr>\n";
  for (const Cliff& c : cliffs.found)
    out += fmt::format(
        "<tr><td class=\"t\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2f}</td><td class=\"t\">{}</td></tr>\n",
        escaped(c.series->name()), to_string(c.series->shape), c.earlier, c.later, c.ratio, escaped(c.rule));
  return out + "</table></div>\n";
}

std::string table_row(const Report& report, const Row& r) {
  std::string out =
      fmt::format("<tr><td class=\"t\">{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td><td>{}</td><td>{}</td>",
                  escaped(r.by), escaped(r.device), escaped(r.type), to_string(r.shape), r.m);
  if (!r.measured()) return out + fmt::format("<td class=\"bad\" colspan=\"10\">{}</td></tr>\n", escaped(r.error));
  const auto share = report.of_read_rate(r), faster = report.over_peer(r);
  const auto mb = [](uint64_t bytes) { return bytes ? fmt::format("{:.1f}", static_cast<double>(bytes) * 1e-6) : ""; };
  out += fmt::format("<td>{:.2f}</td><td>{:.2f} to {:.2f}</td><td>{:.4g}</td><td>{}</td><td>{:.4g}</td><td>{}</td>",
                     r.us.median, r.us.min, r.us.max, r.gb_s(), share ? fmt::format("{:.0f} %", 100 * *share) : "",
                     r.tflops(), faster ? fmt::format("{:.2f}", *faster) : "");
  return out + fmt::format("<td>{}</td><td>{}</td><td class=\"t\">{}</td><td class=\"t\">{}</td></tr>\n",
                           mb(r.weight_bytes), mb(r.peak_bytes), escaped(r.schedule),
                           escaped(r.path + (r.atoms.empty() || r.atoms == r.path ? "" : ": " + r.atoms)));
}

std::string table(const Report& report) {
  constexpr size_t kManyRows = 80;
  std::string rows;
  for (const Row& r : report.rows) rows += table_row(report, r);
  const std::string summary = fmt::format("<summary>{} measurements</summary>\n", report.rows.size());
  return "<h2>All measurements</h2>\n<details" + std::string(report.rows.size() > kManyRows ? "" : " open=\"open\"") +
         ">" + summary +
         "<div class=\"wide\"><table>\n<tr><th class=\"t\">by</th><th class=\"t\">device</th><th class=\"t\">type</th>"
         "<th>K x N</th><th>M</th><th>us</th><th>min to max</th><th>GB/s</th><th>of read</th><th>TFLOPS</th>"
         "<th>peer / ours</th><th>weights MB</th><th>peak MB</th><th class=\"t\">schedule</th>"
         "<th class=\"t\">instructions</th></tr>\n" +
         rows + "</table></div></details>\n";
}

}  // namespace

std::string html(const Report& report) {
  const auto series = series_of(report);
  const Cliffs cliffs = cliffs_of(series);
  Colours colours;
  std::string out = head(report);
  std::vector<Shape> shapes;
  for (const Series& s : series)
    if (std::find(shapes.begin(), shapes.end(), s.shape) == shapes.end()) shapes.push_back(s.shape);
  for (const Shape shape : shapes) {
    std::vector<const Series*> here;
    for (const Series& s : series)
      if (s.shape == shape) here.push_back(&s);
    out += fmt::format("<h2>K x N = {}</h2>\n", to_string(shape)) + plots_of(report, here, cliffs, colours);
  }
  return out + cliffs_text(cliffs) + table(report) + "</body></html>\n";
}

}  // namespace lathe::bench
