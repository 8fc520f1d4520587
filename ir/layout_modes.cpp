#include "ir/layout_modes.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace lathe {

void internal_abort(const char* what) {
  std::fprintf(stderr, "internal error: %s\n", what);
  std::abort();
}

std::optional<int64_t> bounded_product(int64_t a, int64_t b) {
  if (a != 0 && b > kMaxPlaces / a) return std::nullopt;
  return a * b;
}

int64_t product(const Coord& extents) {
  int64_t out = 1;
  for (const int64_t n : extents) out *= n;
  return out;
}

Modes canonical(const Modes& modes) {
  Modes out;
  out.reserve(modes.size());
  for (const Mode& m : modes) {
    if (m.n == 1) continue;
    Mode* last = out.empty() ? nullptr : &out.back();
    // n is not negative and w fits n beside it in any valid list; dividing keeps hostile numbers from overflowing.
    const bool continues = last && last->d == m.d && m.n > 0 && last->w % m.n == 0 && last->w / m.n == m.w;
    const std::optional<int64_t> both = continues && last->n > 0 ? bounded_product(last->n, m.n) : std::nullopt;
    if (both) {
      *last = {*both, m.d, m.w};
    } else {
      out.push_back(m);
    }
  }
  return out;
}

namespace {

bool is_mark(const Mode& m) { return m.d == Mode::kReplicate || m.d == Mode::kPartial; }

bool is_mode(const Mode& m, int rank) {
  return m.n >= 1 && (is_mark(m) ? m.w == 0 : m.d >= 0 && m.d < rank && m.w >= 1);
}

}  // namespace

std::optional<ModeFault> find_fault(const Coord& shape, const Modes& T, const Modes& S) {
  using Kind = ModeFault::Kind;
  int64_t places = 1;
  Modes chain;
  chain.reserve(T.size() + S.size());
  for (const Modes* list : {&T, &S}) {
    for (const Mode& m : *list) {
      if (!is_mode(m, static_cast<int>(shape.size()))) return ModeFault{Kind::bad_mode};
      if (is_mark(m) && list == &S) return ModeFault{Kind::mark_in_slots};
      const std::optional<int64_t> more = bounded_product(places, m.n);
      if (!more) return ModeFault{Kind::too_large};
      places = *more;
      if (!is_mark(m)) chain.push_back(m);
    }
  }
  std::sort(chain.begin(), chain.end(),
            [](const Mode& a, const Mode& b) { return a.d != b.d ? a.d < b.d : a.w < b.w; });
  auto m = chain.begin();
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    int64_t w = 1;
    for (; m != chain.end() && m->d == d && m->w == w; ++m) w *= m->n;
    if (w != shape[d] || (m != chain.end() && m->d == d)) return ModeFault{Kind::no_chain, d, w};
  }
  return std::nullopt;
}

std::optional<Modes> cut(const Modes& modes, int d, const std::vector<int64_t>& cuts) {
  Modes out;
  out.reserve(modes.size() + cuts.size());
  for (Mode m : modes) {
    const size_t first = out.size();
    if (m.d == d) {
      for (const int64_t c : cuts) {
        if (c <= m.w || c >= m.w * m.n) continue;
        if (c % m.w || m.n % (c / m.w)) return std::nullopt;
        out.push_back({c / m.w, d, m.w});
        m = {m.n / (c / m.w), d, c};
      }
    }
    out.push_back(m);
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  }
  return out;
}

}  // namespace lathe
