#include "bench/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lathe::bench {
namespace {

constexpr double kWidth = 620, kHeight = 380;
constexpr double kLeft = 62, kRight = 14, kTop = 34, kBottom = 46, kLegendLine = 17;

struct Axis {
  double low, high;  ///< values at the ends
  double from, to;   ///< where these are in the picture
  Scale scale;
  double at(double v) const {
    const auto place = [&](double x) { return scale == Scale::linear ? x : std::log(x); };
    return from + (to - from) * (place(v) - place(low)) / (place(high) - place(low));
  }
};

/// Room beyond the outermost values; on the linear axis from 0.
void widen(Axis& a) {
  if (a.scale == Scale::linear) {
    a.low = 0, a.high = std::max(a.high * 1.08, 1e-9);
    return;
  }
  const double room = std::max(std::pow(a.high / a.low, 0.04), 1.15);
  a.low /= room, a.high *= room;
}

std::string number(double v) { return v >= 1e6 ? fmt::format("{:.3g}", v) : fmt::format("{:.6g}", v); }

std::string text(double x, double y, const char* anchor, const std::string& what, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                     escaped(what));
}
std::string rule(const char* kind, double x1, double y1, double x2, double y2) {
  return fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", kind, x1, y1, x2,
                     y2);
}

std::string draw_axes(const Plot& plot, const Axis& x, const Axis& y) {
  std::string out;
  for (const double v : ticks(x.low, x.high, x.scale))
    out += rule("grid", x.at(v), y.from, x.at(v), y.to) + text(x.at(v), y.from + 16, "middle", number(v));
  for (const double v : ticks(y.low, y.high, y.scale))
    out += rule("grid", x.from, y.at(v), x.to, y.at(v)) + text(x.from - 6, y.at(v) + 4, "end", number(v));
  out += rule("axis", x.from, y.from, x.to, y.from) + rule("axis", x.from, y.from, x.from, y.to);
  out += text((x.from + x.to) / 2, y.from + 36, "middle", plot.x_name);
  const std::string turned = fmt::format(" transform=\"rotate(-90 14 {:.1f})\"", (y.from + y.to) / 2);
  return out + text(14, (y.from + y.to) / 2, "middle", plot.y_name, turned.c_str());
}

std::string draw_line(const Line& line, const Axis& x, const Axis& y) {
  constexpr size_t kManyPoints = 80;
  constexpr double kRadius = 3.2;
  const bool many = line.points.size() > kManyPoints;
  std::string path, dots;
  for (const Point& p : line.points) {
    path += fmt::format("{:.1f},{:.1f} ", x.at(p.x), y.at(p.y));
    dots += fmt::format("<circle{} cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"><title>{}</title></circle>\n",
                        p.marked ? " class=\"marked\""
                        : many   ? " class=\"unseen\""
                                 : "",
                        x.at(p.x), y.at(p.y), p.marked ? kRadius + 2 : kRadius, escaped(p.title));
  }
  return fmt::format("<g class=\"c{}\"><polyline{} points=\"{}\"/>\n{}</g>\n", line.colour % kColours,
                     line.dashed ? " class=\"dashed\"" : "", path, dots);
}

std::string draw_legend(const std::vector<Line>& lines, double top) {
  std::string out;
  for (size_t i = 0; i < lines.size(); i++) {
    const double y = top + kLegendLine * static_cast<double>(i);
    out += fmt::format("<g class=\"c{}\"><polyline{} points=\"{:.1f},{:.1f} {:.1f},{:.1f}\"/></g>\n",
                       lines[i].colour % kColours, lines[i].dashed ? " class=\"dashed\"" : "", kLeft, y - 4, kLeft + 28,
                       y - 4);
    out += text(kLeft + 36, y, "start", lines[i].name);
  }
  return out;
}

}  // namespace

std::vector<double> ticks(double low, double high, Scale scale) {
  std::vector<double> out;
  if (scale == Scale::log2) {
    const double octaves = std::log2(high / low);
    const double step = std::max(1.0, std::ceil(octaves / 10));
    for (double e = std::ceil(std::log2(low) / step) * step; std::exp2(e) <= high; e += step)
      out.push_back(std::exp2(e));
    return out;
  }
  constexpr double kSteps[] = {1, 2, 5};
  if (scale == Scale::log10) {
    for (double decade = std::pow(10, std::floor(std::log10(low))); decade <= high; decade *= 10)
      for (const double s : kSteps)
        if (s * decade >= low && s * decade <= high) out.push_back(s * decade);
    return out;
  }
  constexpr double kMostTicks = 7;
  double decade = std::pow(10, std::floor(std::log10((high - low) / kMostTicks)));
  double step = decade;
  for (int i = 0; (high - low) / step > kMostTicks; i++)
    step = kSteps[(i + 1) % 3] * (i % 3 == 2 ? decade *= 10 : decade);
  for (int64_t i = static_cast<int64_t>(std::ceil(low / step)); static_cast<double>(i) * step <= high; i++)
    out.push_back(static_cast<double>(i) * step);
  return out;
}

std::string escaped(const std::string& plain) {
  std::string out;
  for (const char c : plain) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  return out;
}

std::string svg(const Plot& plot) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double height = kHeight + kLegendLine * static_cast<double>(plot.lines.size());
  Axis x{kInfinity, 0, kLeft, kWidth - kRight, Scale::log2};
  Axis y{kInfinity, 0, kHeight - kBottom, kTop, plot.log_y ? Scale::log10 : Scale::linear};
  for (const Line& line : plot.lines)
    for (const Point& p : line.points) {
      x.low = std::min(x.low, p.x), x.high = std::max(x.high, p.x);
      y.low = std::min(y.low, p.y), y.high = std::max(y.high, p.y);
    }
  if (x.high == 0) return "";
  widen(x), widen(y);
  std::string out =
      fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{}</title>\n",
                  kWidth, height, escaped(plot.title));
  out += text(kLeft, 20, "start", plot.title, " class=\"name\"") + draw_axes(plot, x, y);
  for (const Line& line : plot.lines) out += draw_line(line, x, y);
  return out + draw_legend(plot.lines, kHeight + 8) + "</svg>\n";
}

}  // namespace lathe::bench
