// Does a smaller layout tile a larger one: divide (exactly) and fit (after renaming slots and renumbering dimensions).
#include <algorithm>

#include "ir/layout_modes.h"

namespace lathe {
namespace {

bool extents_divide(const Layout& h, const Layout& b) {
  if (h.rank() != b.rank()) return false;
  for (int d = 0; d < h.rank(); ++d) {
    if (h.shape()[d] % b.shape()[d]) return false;
  }
  return true;
}

/// H without the digits of B at its minor end, scaled down by `b_shape`.
std::optional<Modes> peel(Modes H, const Modes& B, const Coord& b_shape) {
  for (size_t i = B.size(); i-- > 0;) {
    const Mode& m = B[i];
    if (H.empty()) return std::nullopt;
    Mode& x = H.back();
    if (x.d != m.d || x.w != m.w || x.n % m.n) return std::nullopt;
    // What is left of a digit was merged with the digit of the quotient.
    if (x.n > m.n) {
      x = {x.n / m.n, x.d, x.w * m.n};
    } else {
      H.pop_back();
    }
  }
  for (Mode& m : H) {
    if (m.d >= 0) m.w /= b_shape[m.d];
  }
  return H;
}

}  // namespace

std::optional<Layout> divide(const Layout& h, const Layout& b) {
  if (!extents_divide(h, b)) return std::nullopt;
  std::optional<Modes> T = peel(h.T(), b.T(), b.shape()), S = peel(h.S(), b.S(), b.shape());
  if (!T || !S) return std::nullopt;
  Coord shape = h.shape();
  for (int d = 0; d < h.rank(); ++d) shape[d] /= b.shape()[d];
  return Layout::make(std::move(shape), *T, *S);
}

namespace {

/// The state of one fit: the digits of h not yet matched, and the renumbering so far.
class Fitter {
 public:
  Fitter(const Layout& h, const Layout& atom, const std::vector<int>& free_dims)
      : h_(h), atom_(atom), T_(h.T()), S_(h.S()), free_(h.shape().size()), renumbering_(h.shape().size()) {
    for (const int d : free_dims) free_[d] = true;
    std::stable_sort(S_.begin(), S_.end(), [](const Mode& a, const Mode& b) { return a.w > b.w; });
  }

  std::optional<Fit> run() {
    if (!take_threads() || !take_slots()) return std::nullopt;
    number_rest();
    std::optional<Layout> layout = Layout::make(h_.shape(), with_atom(T_, atom_.T()), with_atom(S_, atom_.S()));
    if (!layout) return std::nullopt;
    return Fit{std::move(*layout), std::move(renumbering_)};
  }

 private:
  bool is_free(int d) const { return d >= 0 && free_[d]; }
  bool matches(const Mode& x, const Mode& want) const { return x.d == want.d && (is_free(x.d) || x.w == want.w); }

  /// Thread digits keep their order: only the minor end can serve the atom's minor digit.
  bool take_threads() {
    for (size_t i = atom_.T().size(); i-- > 0;) {
      const auto last = [&](const Mode& want) {
        return !T_.empty() && matches(T_.back(), want) ? static_cast<int>(T_.size()) - 1 : -1;
      };
      if (!take(T_, atom_.T()[i], last)) return false;
    }
    return true;
  }

  /// Slots may stand anywhere; in a free dimension the smallest weights left go first, for the smallest span a step.
  bool take_slots() {
    Modes wanted = atom_.S();
    std::stable_sort(wanted.begin(), wanted.end(), [](const Mode& a, const Mode& b) { return a.w < b.w; });
    const auto smallest = [&](const Mode& want) {
      for (size_t i = S_.size(); i-- > 0;) {
        if (matches(S_[i], want)) return static_cast<int>(i);
      }
      return -1;
    };
    return std::all_of(wanted.begin(), wanted.end(), [&](const Mode& m) { return take(S_, m, smallest); });
  }

  /// Takes digits worth `want` off `from`; pick chooses the next. A digit may be served in pieces.
  template <class Pick>
  bool take(Modes& from, Mode want, const Pick& pick) {
    while (want.n > 1) {
      const int i = pick(want);
      if (i < 0) return false;
      Mode& x = from[i];
      const int64_t piece = std::min(x.n, want.n);
      if (x.n % piece || want.n % piece) return false;
      if (is_free(x.d)) renumbering_[x.d].push_back({piece, x.w, want.w});
      if (x.n > piece) {
        x = {x.n / piece, x.d, x.w * piece};
      } else {
        from.erase(from.begin() + i);
      }
      want = {want.n / piece, want.d, want.w * piece};
    }
    return true;
  }

  /// The rest of a free dimension keeps its order, above the atom's part.
  void number_rest() {
    Modes rest = T_;
    rest.insert(rest.end(), S_.begin(), S_.end());
    std::stable_sort(rest.begin(), rest.end(), [](const Mode& a, const Mode& b) { return a.w < b.w; });
    Coord next = atom_.shape();
    for (const Mode& m : rest) {
      if (!is_free(m.d)) continue;
      renumbering_[m.d].push_back({m.n, m.w, next[m.d]});
      next[m.d] *= m.n;
    }
  }

  Modes with_atom(Modes rest, const Modes& atom) const {
    for (Mode& m : rest) {
      if (!is_free(m.d)) continue;
      const auto& chain = renumbering_[m.d];
      m.w = std::find_if(chain.begin(), chain.end(), [&](const Renumber& r) { return r.from == m.w; })->to;
    }
    rest.insert(rest.end(), atom.begin(), atom.end());
    return rest;
  }

  const Layout &h_, &atom_;
  Modes T_, S_;
  std::vector<bool> free_;
  std::vector<std::vector<Renumber>> renumbering_;
};

}  // namespace

std::optional<Fit> fit(const Layout& h, const Layout& atom, const std::vector<int>& free_dims) {
  if (!extents_divide(h, atom)) return std::nullopt;
  return Fitter(h, atom, free_dims).run();
}

}  // namespace lathe
