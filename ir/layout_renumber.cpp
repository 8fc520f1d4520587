// New names for the same places: dimensions renumbered, slots and threads reordered, reshape, slice.
#include <algorithm>

#include "ir/layout_modes.h"

namespace lathe {
namespace {

/// Whether the digits, sorted by their old weight, form the chain 1, n0, n0*n1, .. up to `extent`.
bool covers(std::vector<Renumber> chain, int64_t extent) {
  std::erase_if(chain, [](const Renumber& r) { return r.n == 1; });
  std::sort(chain.begin(), chain.end(), [](const Renumber& a, const Renumber& b) { return a.from < b.from; });
  int64_t w = 1;
  for (const Renumber& r : chain) {
    if (r.n < 1 || r.from != w || extent % (w * r.n)) return false;
    w *= r.n;
  }
  return w == extent;
}

/// Cuts both lists at `cuts` (ascending) in dimension d.
bool cut_lists(Modes& T, Modes& S, int d, const std::vector<int64_t>& cuts) {
  std::optional<Modes> t = cut(T, d, cuts), s = cut(S, d, cuts);
  if (!t || !s) return false;
  T = std::move(*t);
  S = std::move(*s);
  return true;
}

}  // namespace

std::optional<Layout> permute_dim(const Layout& l, int d, const std::vector<Renumber>& chain) {
  if (!covers(chain, l.shape()[d])) return std::nullopt;  // the new weights are checked by make
  std::vector<int64_t> borders;
  for (const Renumber& r : chain) borders.push_back(r.from);
  std::sort(borders.begin(), borders.end());
  Modes T = l.T(), S = l.S();
  if (!cut_lists(T, S, d, borders)) return std::nullopt;
  for (Modes* list : {&T, &S}) {
    for (Mode& m : *list) {
      if (m.d != d) continue;
      const auto holds = [&](const Renumber& r) { return r.from <= m.w && m.w < r.from * r.n; };
      const Renumber& r = *std::find_if(chain.begin(), chain.end(), holds);
      m.w = r.to * (m.w / r.from);
    }
  }
  return Layout::make(l.shape(), T, S);
}

std::vector<Renumber> inverse(const std::vector<Renumber>& chain) {
  std::vector<Renumber> back;
  for (const Renumber& r : chain) back.push_back({r.n, r.to, r.from});
  return back;
}

// The chains leave the new modes no choice but the gaps that the other list leaves: any valid result is a permutation.
std::optional<Layout> permute_slots(const Layout& l, const Modes& S) { return Layout::make(l.shape(), l.T(), S); }

std::optional<Layout> permute_threads(const Layout& l, const Modes& T) {
  std::optional<Layout> out = Layout::make(l.shape(), T, l.S());
  if (out && (out->replicas() != l.replicas() || out->partials() != l.partials())) return std::nullopt;
  return out;
}

std::optional<Layout> reshape(const Layout& l, const Coord& shape) {
  int64_t elements = 1;
  std::vector<int64_t> below(shape.size());  // elements of one step in each new dimension
  for (size_t d = shape.size(); d-- > 0;) {
    below[d] = elements;
    const std::optional<int64_t> more = shape[d] >= 1 ? bounded_product(elements, shape[d]) : std::nullopt;
    if (!more) return std::nullopt;
    elements = *more;
  }
  if (elements != l.elements()) return std::nullopt;

  // Merge everything into one dimension, canonical so that neighbours join, then cut that one.
  Coord old_below(l.shape().size(), 1);
  for (size_t d = old_below.size(); d-- > 1;) old_below[d - 1] = old_below[d] * l.shape()[d];
  const auto flat = [&](Modes modes) {
    for (Mode& m : modes) {
      if (m.d >= 0) m = {m.n, 0, m.w * old_below[m.d]};
    }
    return canonical(modes);
  };
  Modes T = flat(l.T()), S = flat(l.S());
  if (!cut_lists(T, S, 0, {below.rbegin(), below.rend()})) return std::nullopt;
  for (Modes* list : {&T, &S}) {
    for (Mode& m : *list) {
      if (m.d < 0) continue;
      int d = static_cast<int>(shape.size()) - 1;
      while (m.w >= below[d] * shape[d]) --d;
      m = {m.n, d, m.w / below[d]};
    }
  }
  return Layout::make(shape, T, S);
}

std::optional<Layout> slice(const Layout& l, int d, int64_t extent) {
  if (extent < 1 || l.shape()[d] % extent) return std::nullopt;
  Modes T = l.T(), S = l.S();
  if (!cut_lists(T, S, d, {extent})) return std::nullopt;
  const auto above = [&](const Mode& m) { return m.d == d && m.w >= extent; };
  if (std::any_of(T.begin(), T.end(), above)) return std::nullopt;
  std::erase_if(S, above);
  Coord shape = l.shape();
  shape[d] = extent;
  return Layout::make(std::move(shape), T, S);
}

}  // namespace lathe
