// "16x64 T[8:m1 4:k16] S[8:k2 2:m8 2:k1]": printing, parsing, drawing. Rank 0 has the shape "()"; the weight of a
// dimension without a letter follows a dot, "2:d3.16"; marks are "2:R" and "2:P".
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "ir/layout_modes.h"

namespace lathe {
namespace {

constexpr std::string_view kLetters = "mkn";

std::string dimension_name(int d) {
  return d < static_cast<int>(kLetters.size()) ? std::string(1, kLetters[d]) : fmt::format("d{}", d);
}

std::string mode_text(const Mode& m) {
  if (m.d == Mode::kReplicate) return fmt::format("{}:R", m.n);
  if (m.d == Mode::kPartial) return fmt::format("{}:P", m.n);
  const bool lettered = m.d < static_cast<int>(kLetters.size());
  return fmt::format("{}:{}{}{}", m.n, dimension_name(m.d), lettered ? "" : ".", m.w);
}

std::string modes_text(const Modes& modes) {
  std::vector<std::string> parts;
  for (const Mode& m : modes) parts.push_back(mode_text(m));
  return fmt::format("{}", fmt::join(parts, " "));
}

std::string describe(const ModeFault& fault, const Coord& shape) {
  switch (fault.kind) {
    case ModeFault::Kind::bad_mode:
      return "layout: a digit has size or weight 0, or a dimension that the shape lacks";
    case ModeFault::Kind::mark_in_slots:
      return "layout: R and P stand among the thread digits T only";
    case ModeFault::Kind::too_large:
      return "layout: too many threads and slots";
    case ModeFault::Kind::no_chain:
      break;
  }
  return fmt::format("layout: the digits of dimension {} cover {} of its {} elements without gap or overlap",
                     dimension_name(fault.d), fault.reached, shape[fault.d]);
}

/// Reads one layout; the first fault stops it.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Layout> layout() {
    TRY_ASSIGN(Coord shape, extents());
    TRY_ASSIGN(Modes T, list('T'));
    TRY_ASSIGN(Modes S, list('S'));
    skip_blanks();
    if (at_ < text_.size()) return fault("nothing after S[..]");
    T = canonical(T);
    S = canonical(S);
    if (const std::optional<ModeFault> why = find_fault(shape, T, S)) return bad_input(describe(*why, shape));
    return Layout(std::move(shape), T, S);
  }

 private:
  tl::unexpected<Error> fault(std::string_view expected) const {
    return bad_input(fmt::format("layout, column {}: expected {}", at_ + 1, expected));
  }
  void skip_blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Result<int64_t> number(std::string_view expected) {
    int64_t value = 0;
    const char *first = text_.data() + at_, *last = text_.data() + text_.size();
    const auto [end, error] = std::from_chars(first, last, value);
    if (error == std::errc::result_out_of_range || value > kMaxPlaces) return fault("a smaller number");
    if (error != std::errc() || value < 0) return fault(expected);
    at_ += static_cast<size_t>(end - first);
    return value;
  }

  Result<Coord> extents() {
    skip_blanks();
    Coord out;
    if (take('(')) {
      if (!take(')')) return fault("')'");
      return out;
    }
    do {
      TRY_ASSIGN(const int64_t extent, number("an extent of the shape, as in 16x64"));
      out.push_back(extent);
    } while (take('x'));
    return out;
  }

  Result<Modes> list(char name) {
    skip_blanks();
    if (!take(name) || !take('[')) return fault(name == 'T' ? "T[thread digits]" : "S[slot digits]");
    Modes out;
    for (skip_blanks(); !take(']'); skip_blanks()) {
      TRY_ASSIGN(const Mode m, mode());
      out.push_back(m);
    }
    return out;
  }

  Result<Mode> mode() {
    TRY_ASSIGN(const int64_t n, number("a digit, as in 8:m1, or ']'"));
    if (!take(':')) return fault("':' after the size of a digit");
    if (take('R')) return Mode{n, Mode::kReplicate, 0};
    if (take('P')) return Mode{n, Mode::kPartial, 0};
    TRY_ASSIGN(const int d, dimension());
    TRY_ASSIGN(const int64_t w, number("the weight of a digit"));
    return Mode{n, d, w};
  }

  Result<int> dimension() {
    constexpr int64_t kMaxRank = 1 << 20;
    for (int d = 0; d < static_cast<int>(kLetters.size()); ++d) {
      if (take(kLetters[d])) return d;
    }
    if (!take('d')) return fault("a dimension (m, k, n, d3, d4, ..), R or P");
    TRY_ASSIGN(const int64_t d, number("the number of a dimension"));
    if (d >= kMaxRank) return fault("a smaller dimension");
    if (!take('.')) return fault("'.' and a weight, as in d3.16");
    return static_cast<int>(d);
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string to_string(const Layout& l) {
  const std::string shape = l.rank() == 0 ? "()" : fmt::format("{}", fmt::join(l.shape(), "x"));
  return fmt::format("{} T[{}] S[{}]", shape, modes_text(l.T()), modes_text(l.S()));
}

Result<Layout> parse_layout(std::string_view text) { return Reader(text).layout(); }

std::string draw(const Layout& l) {
  if (l.rank() != 2) return to_string(l) + "\n";
  std::vector<std::string> cells;
  size_t width = 0;
  for (int64_t i = 0; i < l.shape()[0]; ++i) {
    for (int64_t j = 0; j < l.shape()[1]; ++j) {
      const auto [thread, slot] = inverse(l, {i, j}).front();
      cells.push_back(fmt::format("{}/{}", thread, slot));
      width = std::max(width, cells.back().size());
    }
  }
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) {
    const bool last = (i + 1) % static_cast<size_t>(l.shape()[1]) == 0;
    out += fmt::format("{:>{}}{}", cells[i], width, last ? "\n" : " ");
  }
  return out;
}

}  // namespace lathe
