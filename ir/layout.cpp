#include "ir/layout.h"

#include <algorithm>

#include "ir/layout_modes.h"

namespace lathe {

std::optional<Layout> Layout::make(Coord shape, const Modes& T, const Modes& S) {
  Layout l;
  l.T_ = canonical(T);
  l.S_ = canonical(S);
  if (find_fault(shape, l.T_, l.S_)) return std::nullopt;
  l.shape_ = std::move(shape);
  return l;
}

Layout::Layout(Coord shape, const Modes& T, const Modes& S) {
  std::optional<Layout> made = make(std::move(shape), T, S);
  if (!made) internal_abort("the modes of a layout do not form a chain");
  *this = std::move(*made);
}

namespace {

int64_t count(const Modes& modes) {
  int64_t n = 1;
  for (const Mode& m : modes) n *= m.n;
  return n;
}

int64_t count(const Modes& modes, int mark) {
  int64_t n = 1;
  for (const Mode& m : modes) n *= m.d == mark ? m.n : 1;
  return n;
}

void add_digits(const Modes& modes, int64_t number, Coord& c) {
  for (size_t i = modes.size(); i-- > 0 && number > 0;) {
    const Mode& m = modes[i];
    if (m.d >= 0) c[m.d] += number % m.n * m.w;
    number /= m.n;
  }
}

enum class Order { row, column };

Modes grid(const Coord& extents, Order order) {
  Modes modes;
  for (int d = 0; d < static_cast<int>(extents.size()); ++d) modes.push_back({extents[d], d, 1});
  if (order == Order::column) std::reverse(modes.begin(), modes.end());
  return modes;
}

}  // namespace

int64_t Layout::threads() const { return count(T_); }
int64_t Layout::slots() const { return count(S_); }
int64_t Layout::replicas() const { return count(T_, Mode::kReplicate); }
int64_t Layout::partials() const { return count(T_, Mode::kPartial); }
int64_t Layout::elements() const { return product(shape_); }

Coord Layout::at(int64_t t, int64_t s) const {
  Coord c(shape_.size());
  add_digits(T_, t, c);
  add_digits(S_, s, c);
  return c;
}

Layout spatial(const Coord& extents) { return Layout(extents, grid(extents, Order::row), {}); }
Layout local(const Coord& extents) { return Layout(extents, {}, grid(extents, Order::row)); }
Layout column_spatial(const Coord& extents) { return Layout(extents, grid(extents, Order::column), {}); }
Layout column_local(const Coord& extents) { return Layout(extents, {}, grid(extents, Order::column)); }
Layout replicate(int64_t copies, int rank) { return Layout(Coord(rank, 1), {{copies, Mode::kReplicate, 0}}, {}); }
Layout partial(int64_t copies, int rank) { return Layout(Coord(rank, 1), {{copies, Mode::kPartial, 0}}, {}); }

Layout operator*(const Layout& f, const Layout& g) {
  if (f.rank() != g.rank()) internal_abort("product of layouts of different rank");
  Coord shape = f.shape();
  for (int d = 0; d < f.rank(); ++d) {
    const std::optional<int64_t> extent = bounded_product(shape[d], g.shape()[d]);
    if (!extent) internal_abort("product of layouts is too large");
    shape[d] = *extent;
  }
  const auto join = [&](const Modes& major, const Modes& minor) {
    Modes out = major;
    out.reserve(major.size() + minor.size());
    for (Mode& m : out) m.w *= m.d >= 0 ? g.shape()[m.d] : 1;
    out.insert(out.end(), minor.begin(), minor.end());
    return out;
  };
  return Layout(std::move(shape), join(f.T(), g.T()), join(f.S(), g.S()));
}

Layout transpose(const Layout& l, const std::vector<int>& order) {
  std::vector<int> place(l.shape().size(), -1);
  if (order.size() != place.size()) internal_abort("transpose: order and rank differ");
  Coord shape;
  for (int i = 0; i < l.rank(); ++i) {
    if (order[i] < 0 || order[i] >= l.rank() || place[order[i]] >= 0) internal_abort("transpose: no permutation");
    place[order[i]] = i;
    shape.push_back(l.shape()[order[i]]);
  }
  const auto rename = [&](Modes modes) {
    for (Mode& m : modes) m.d = m.d >= 0 ? place[m.d] : m.d;
    return modes;
  };
  return Layout(std::move(shape), rename(l.T()), rename(l.S()));
}

Layout reduce(const Layout& l, int d, int mark) {
  if (d < 0 || d >= l.rank()) internal_abort("reduce: no such dimension");
  Coord shape = l.shape();
  shape[d] = 1;
  Modes T = l.T(), S = l.S();
  for (Mode& m : T) {
    if (m.d == d) m = {m.n, mark, 0};
  }
  std::erase_if(S, [d](const Mode& m) { return m.d == d; });
  return Layout(std::move(shape), T, S);
}

std::vector<std::pair<int64_t, int64_t>> inverse(const Layout& l, const Coord& e) {
  const auto digit = [&](const Mode& m) { return m.d >= 0 ? e[m.d] / m.w % m.n : 0; };
  int64_t slot = 0;
  for (const Mode& m : l.S()) slot = slot * m.n + digit(m);
  // Each mark digit multiplies the list of thread numbers; appending its values keeps the list ascending.
  std::vector<int64_t> threads = {0};
  for (const Mode& m : l.T()) {
    std::vector<int64_t> next;
    next.reserve(threads.size() * (m.d < 0 ? m.n : 1));
    for (const int64_t t : threads) {
      for (int64_t x = digit(m), end = m.d < 0 ? m.n : x + 1; x < end; ++x) next.push_back(t * m.n + x);
    }
    threads = std::move(next);
  }
  std::vector<std::pair<int64_t, int64_t>> places;
  for (const int64_t t : threads) places.emplace_back(t, slot);
  return places;
}

}  // namespace lathe
