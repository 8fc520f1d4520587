#include "explain/drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "ir/lower/banks.h"

namespace lathe::explain {
namespace {

constexpr int64_t kMostRows = 32, kMostColumns = 32;
constexpr int kCellWidth = 40, kCellHeight = 18, kLeft = 48, kTop = 96, kLineHeight = 18;
constexpr int kBanks = 32, kBankBytes = 4;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}

/// Neighbours differ, and a lane has one colour in every picture.
std::string lane_colour(int64_t lane, int64_t subgroup) {
  const double hue = std::fmod(static_cast<double>(lane) * 137.508, 360);
  return fmt::format("hsl({:.0f},70%,{}%)", hue, 88 - subgroup % 4 * 8);
}
std::string bank_colour(int64_t bank) {
  return fmt::format("hsl({},70%,{}%)", bank * 360 / kBanks, bank % 2 ? 74 : 86);
}

/// Neighbours of one row that look alike.
struct Run {
  int64_t row, column, length;
  std::string fill, label;
  bool marked = false;  ///< with a thick border
};

/// A picture of the first rows and columns of a tile; more than two dimensions are rows of the last one.
class Picture {
 public:
  Picture(const Coord& shape, std::vector<std::string> head) : shape_(shape), head_(std::move(head)) {
    columns_ = std::min(shape.back(), kMostColumns);
    rows_ = std::min(std::accumulate(shape.begin(), shape.end() - 1, int64_t{1}, std::multiplies<>()), kMostRows);
    const int64_t all = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()) / shape.back();
    if (rows_ < all || columns_ < shape.back())
      head_.push_back(fmt::format("The first {} of {} rows and {} of {} columns.", rows_, all, columns_, shape.back()));
  }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  Coord at(int64_t row, int64_t column) const {
    Coord c(shape_.size());
    c.back() = column;
    for (size_t d = shape_.size() - 1; d-- > 0; row /= shape_[d]) c[d] = row % shape_[d];
    return c;
  }
  void add(Run run) { runs_.push_back(std::move(run)); }

  std::string svg() const {
    const auto left = [](int64_t column) { return kLeft + column * kCellWidth; };
    const auto top = [](int64_t row) { return kTop + row * kCellHeight; };
    size_t longest = 0;
    for (const std::string& line : head_) longest = std::max(longest, line.size());
    const int64_t width = std::max<int64_t>(left(columns_) + 16, kLeft + static_cast<int64_t>(longest) * 8);
    const int64_t height = top(rows_) + 16;
    std::string out = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
        "font-family=\"DejaVu Sans Mono, monospace\" font-size=\"11\">\n<rect width=\"{0}\" height=\"{1}\" "
        "fill=\"white\"/>\n",
        width, height);
    for (size_t i = 0; i < head_.size(); i++)
      out += fmt::format("<text x=\"8\" y=\"{}\" font-size=\"13\">{}</text>\n", kLineHeight * (static_cast<int>(i) + 1),
                         escaped(head_[i]));
    for (int64_t c = 0; c < columns_; c++)
      out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{}</text>\n",
                         left(c) + kCellWidth / 2, kTop - 6, c);
    for (int64_t r = 0; r < rows_; r++)
      out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">{}</text>\n", kLeft - 6,
                         top(r) + 13, r);
    for (const bool marked : {false, true})  // thick borders above thin ones
      for (const Run& run : runs_) {
        if (run.marked != marked) continue;
        const int64_t x = left(run.column), y = top(run.row), w = run.length * kCellWidth;
        out += fmt::format(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>"
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            x, y, w, kCellHeight, run.fill, marked ? "black" : "#999", marked ? 2.5 : 0.5, x + w / 2, y + 13,
            run.label);
      }
    return out + "</svg>\n";
  }

 private:
  Coord shape_;
  std::vector<std::string> head_;
  std::vector<Run> runs_;
  int64_t rows_ = 0, columns_ = 0;
};

/// The runs of each row: `key(place)` tells what is alike; `run(key, first, length)` draws it.
template <class Key, class MakeRun>
void each_run(Picture& picture, const Key& key, const MakeRun& make) {
  for (int64_t row = 0; row < picture.rows(); row++)
    for (int64_t column = 0; column < picture.columns();) {
      const auto first = key(picture.at(row, column));
      int64_t length = 1;
      while (column + length < picture.columns() && key(picture.at(row, column + length)).follows(first, length))
        length++;
      picture.add(make(first, row, column, length));
      column += length;
    }
}

std::string draw_registers(const PlacedTile& t, int subgroup_size) {
  const Layout& l = *t.type.layout;
  std::string copies;
  if (l.replicas() > 1) copies += fmt::format(" Each element is held by {} threads; the first is shown.", l.replicas());
  if (l.partials() > 1)
    copies += fmt::format(" {} threads hold addends of each element; the first is shown.", l.partials());
  Picture picture(l.shape(),
                  {fmt::format("{} {}, line {}: {} threads of {} slots", t.name, tile::to_string(t.type), t.line,
                               l.threads(), l.slots()),
                   to_string(l), "thread/slot of each element; colours are lanes, shades subgroups." + copies});
  struct Holder {
    int64_t thread, slot;
    bool follows(const Holder& first, int64_t by) const { return thread == first.thread && slot == first.slot + by; }
  };
  const auto holder = [&](const Coord& at) {
    const auto [thread, slot] = inverse(l, at).front();
    return Holder{thread, slot};
  };
  each_run(picture, holder, [&](const Holder& h, int64_t row, int64_t column, int64_t length) {
    const std::string slots = length > 1 ? fmt::format("{}..{}", h.slot, h.slot + length - 1) : std::to_string(h.slot);
    return Run{row, column, length, lane_colour(h.thread % subgroup_size, h.thread / subgroup_size),
               fmt::format("{}/{}", h.thread, slots)};
  });
  return picture.svg();
}

/// The elements that lanes touch at once with the first access of a thread: its first wavefronts.
std::vector<std::pair<Coord, int64_t>> first_phase(const Layout& l, const MemoryLayout& m, int64_t elems,
                                                   int64_t elem_bytes, int subgroup_size) {
  const int64_t lanes = std::clamp<int64_t>(kBanks * kBankBytes / (elems * elem_bytes), 1, subgroup_size);
  std::vector<std::pair<Coord, int64_t>> out;
  for (int64_t lane = 0; lane < lanes; lane++) {
    const int64_t first = m.linear(l.at(lane, 0));
    for (int64_t s = 0; s < l.slots(); s++)
      if (const int64_t at = m.linear(l.at(lane, s)); at >= first && at < first + elems)
        out.emplace_back(l.at(lane, s), lane);
  }
  return out;
}

std::string access_text(const char* verb, const Layout& l, const SharedTile& t, int64_t elems, int subgroup_size) {
  const int bytes = t.elem.bits / 8;
  const int64_t wavefronts = bank_phases(l, t.memory, elems, bytes, subgroup_size);
  const int64_t least = std::max<int64_t>(1, subgroup_size * elems * bytes / (kBanks * kBankBytes));
  return fmt::format("{} {} bytes a lane: {} wavefronts an access of a subgroup, {} without conflicts. ", verb,
                     elems * bytes, wavefronts, least);
}

std::string draw_shared(const SharedTile& t, int subgroup_size) {
  const int64_t bytes = t.elem.bits / 8;
  std::string accesses;
  if (t.written) accesses += access_text("Written", *t.written, t, t.write_elems, subgroup_size);
  if (t.read) accesses += access_text("Read", *t.read, t, t.read_elems, subgroup_size);
  if (!t.read && t.written) accesses += "Read by the matrix instruction. ";
  Picture picture(t.memory.shape, {fmt::format("{} {}, line {}: {} bytes of shared memory", t.name, to_string(t.elem),
                                               t.loc.line, t.memory.span() * bytes),
                                   accesses,
                                   "bank of each element" +
                                       std::string(t.read ? "; bold: lane:bank of what is read at once" : "") + "."});
  std::map<Coord, int64_t> lanes;
  if (t.read)
    for (const auto& [at, lane] : first_phase(*t.read, t.memory, t.read_elems, bytes, subgroup_size)) lanes[at] = lane;
  struct Place {
    int64_t bank, lane;
    bool follows(const Place& first, int64_t) const { return bank == first.bank && lane == first.lane; }
  };
  const auto place = [&](const Coord& at) {
    const auto lane = lanes.find(at);
    return Place{t.memory.address(at) * bytes / kBankBytes % kBanks, lane == lanes.end() ? -1 : lane->second};
  };
  each_run(picture, place, [&](const Place& p, int64_t row, int64_t column, int64_t length) {
    const std::string label = p.lane < 0 ? std::to_string(p.bank) : fmt::format("{}:{}", p.lane, p.bank);
    return Run{row, column, length, bank_colour(p.bank), label, p.lane >= 0};
  });
  return picture.svg();
}

}  // namespace

std::vector<Drawing> drawings(const Explanation& e, int subgroup_size) {
  std::vector<Drawing> out;
  std::set<std::string> names, pictures;
  const auto add = [&](const std::string& name, std::string svg) {
    if (!pictures.insert(svg).second) return;  // the rooms of one ring look alike
    std::string unique = name;
    for (int n = 2; !names.insert(unique).second; n++) unique = fmt::format("{}_{}", name, n);
    out.push_back({unique + ".svg", std::move(svg)});
  };
  for (const PlacedTile& t : e.tiles)
    if (!t.type.is_token() && t.type.layout->rank() > 0) add(t.name, draw_registers(t, subgroup_size));
  for (const SharedTile& t : e.shared_tiles) add("shared_" + t.name, draw_shared(t, subgroup_size));
  return out;
}

}  // namespace lathe::explain
