#pragma once
// Lines over two axes as SVG text that stands in a page by itself: ticks, a legend, and a title under each point.
#include <string>
#include <vector>

namespace lathe::bench {

struct Point {
  double x, y;        ///< on a logarithmic axis over 0
  std::string title;  ///< shown under the mouse
  bool marked = false;
};
struct Line {
  std::string name;
  int colour = 0;  ///< class "c0" .. "c7" of the page
  bool dashed = false;
  std::vector<Point> points;  ///< x rising
};
struct Plot {
  std::string title, x_name, y_name;
  bool log_y = true;  ///< x is always logarithmic, to base 2
  std::vector<Line> lines;
};
inline constexpr int kColours = 8;

/// Nothing for a plot without points.
std::string svg(const Plot& plot);

/// Values for the ticks of an axis from low to high: 1, 2 and 5 times powers of ten on a logarithmic one, powers of two
/// where `base` is 2, multiples of one of those steps on a linear one.
enum class Scale { linear, log10, log2 };
std::vector<double> ticks(double low, double high, Scale scale);

/// For text in a page.
std::string escaped(const std::string& text);

}  // namespace lathe::bench
