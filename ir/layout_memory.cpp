// Memory layouts, and how wide one access of a thread may be.
#include <algorithm>
#include <bit>
#include <numeric>

#include "ir/layout_modes.h"

namespace lathe {

int64_t MemoryLayout::linear(const Coord& e) const {
  int64_t a = base;
  for (const MemoryMode& m : modes) a += e[m.d] / m.w % m.n * m.stride;
  return a;
}
int64_t MemoryLayout::address(const Coord& e) const { return swizzle.apply(linear(e)); }

namespace {

int64_t reach(const MemoryMode& m) { return (m.n - 1) * m.stride; }

/// Largest swizzled address with digits i.. still to choose; only those that stay at or above `floor` matter.
int64_t largest(const std::vector<MemoryMode>& modes, size_t i, int64_t address, int64_t left, int64_t floor,
                const Swizzle& swizzle) {
  if (address + left < floor) return -1;
  if (i == modes.size()) return swizzle.apply(address);
  const int64_t rest = left - reach(modes[i]);
  int64_t best = -1;
  for (int64_t x = modes[i].stride ? modes[i].n : 1; x-- > 0;) {
    const int64_t here = address + x * modes[i].stride;
    if (here + rest < floor) break;
    best = std::max(best, largest(modes, i + 1, here, rest, floor, swizzle));
  }
  return best;
}

}  // namespace

int64_t MemoryLayout::span() const {
  int64_t left = 0;
  for (const MemoryMode& m : modes) left += reach(m);
  if (swizzle.bits == 0) return base + left + 1;
  // A swizzle moves addresses inside aligned blocks, so the largest lies in the last block that is used.
  const int64_t block = int64_t{1} << (swizzle.to + swizzle.bits);
  return largest(modes, 0, base, left, (base + left) / block * block, swizzle) + 1;
}

MemoryLayout row_major(const Coord& shape, int64_t pitch) {
  MemoryLayout m{.shape = shape, .modes = {}, .base = 0, .swizzle = {}};
  int64_t stride = 1;
  for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) {
    m.modes.insert(m.modes.begin(), {shape[d], d, 1, stride});
    stride = d + 1 == static_cast<int>(shape.size()) ? pitch : stride * shape[d];
  }
  return m;
}

namespace {

/// A digit of the layout that lies inside one digit of the memory layout, so that it has one stride.
struct Piece {
  Mode mode;
  int64_t stride = 0;
  int slot = -1;  ///< index into S; -1: a thread digit
};

struct Pieces {
  std::vector<Piece> list;
  int64_t unmatched = 0;     ///< gcd of the strides of memory digits that share no border with the layout's
  std::vector<Piece> whole;  ///< slot digits over those: they have no stride
};

/// Walks the digits of one dimension in both chains at once, from weight 1 up, cutting where both can be cut.
void match_dimension(const Layout& l, const MemoryLayout& m, int d, Pieces& out) {
  std::vector<Piece> mine;
  for (const Mode& t : l.T()) {
    if (t.d == d) mine.push_back({t, 0, -1});
  }
  for (int i = 0; i < static_cast<int>(l.S().size()); ++i) {
    if (l.S()[i].d == d) mine.push_back({l.S()[i], 0, i});
  }
  std::vector<MemoryMode> theirs;
  std::copy_if(m.modes.begin(), m.modes.end(), std::back_inserter(theirs),
               [d](const MemoryMode& x) { return x.d == d && x.n > 1; });
  std::sort(mine.begin(), mine.end(), [](const Piece& a, const Piece& b) { return a.mode.w < b.mode.w; });
  std::sort(theirs.begin(), theirs.end(), [](const MemoryMode& a, const MemoryMode& b) { return a.w < b.w; });

  size_t i = 0, j = 0;
  while (i < mine.size() && j < theirs.size()) {
    Mode& a = mine[i].mode;
    MemoryMode& b = theirs[j];
    const int64_t n = std::gcd(a.n, b.n);
    if (n == 1) break;
    out.list.push_back({{n, d, a.w}, b.stride, mine[i].slot});
    a = {a.n / n, d, a.w * n};
    b = {b.n / n, d, b.w * n, b.stride * n};
    i += a.n == 1;
    j += b.n == 1;
  }
  for (; i < mine.size(); ++i) {
    if (mine[i].slot >= 0) out.whole.push_back(mine[i]);
  }
  for (; j < theirs.size(); ++j) out.unmatched = std::gcd(out.unmatched, theirs[j].stride);
}

int64_t power_of_two_in(int64_t n) { return n & -n; }

/// The piece that continues a run of `elems` elements, or none.
Piece* next_of_run(std::vector<Piece>& pieces, int64_t elems) {
  const auto continues = [&](const Piece& p) { return p.slot >= 0 && p.stride == elems && p.mode.n % 2 == 0; };
  const auto found = std::find_if(pieces.begin(), pieces.end(), continues);
  return found == pieces.end() ? nullptr : &*found;
}

/// Moves the low part of slot pieces with strides 1, n0, n0*n1, .. into the run, up to `limit` elements.
void take_run(std::vector<Piece>& pieces, int64_t limit, WideAccess& out) {
  while (out.elems < limit) {
    Piece* p = next_of_run(pieces, out.elems);
    if (!p) return;
    const int64_t n = std::min(power_of_two_in(p->mode.n), limit / out.elems);
    out.run.push_back({n, p->mode.d, p->mode.w});
    out.elems *= n;
    p->mode = {p->mode.n / n, p->mode.d, p->mode.w * n};
    p->stride *= n;
  }
}

/// The largest power of two that divides `base` and every stride that is not in the run.
int64_t alignment(const std::vector<Piece>& pieces, int64_t unmatched, int64_t base, int64_t ceiling) {
  int64_t all = std::gcd(unmatched, base);
  for (const Piece& p : pieces) all = std::gcd(all, p.mode.n > 1 ? p.stride : 0);
  return all == 0 ? ceiling : std::min(ceiling, power_of_two_in(all));
}

/// Elements below the lowest bit that the swizzle can change.
int64_t below_swizzle(const MemoryLayout& m, int64_t ceiling) {
  int64_t last = m.base;
  for (const MemoryMode& x : m.modes) last += reach(x);
  if (m.swizzle.bits == 0 || last >> m.swizzle.from == 0) return ceiling;
  return std::min(ceiling, int64_t{1} << m.swizzle.to);
}

}  // namespace

WideAccess wide_access(const Layout& l, const MemoryLayout& m, int64_t max_elems) {
  if (m.shape != l.shape()) internal_abort("wide_access: a layout and a memory layout of different shapes");
  Pieces pieces;
  for (int d = 0; d < l.rank(); ++d) match_dimension(l, m, d, pieces);
  const int64_t ceiling = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(max_elems, 1))));

  // The longest run first; what it leaves limits the alignment, and so the run that is taken.
  std::vector<Piece> left = pieces.list;
  WideAccess longest;
  take_run(left, below_swizzle(m, ceiling), longest);
  WideAccess out;
  take_run(pieces.list, alignment(left, pieces.unmatched, m.base, longest.elems), out);

  pieces.list.insert(pieces.list.end(), pieces.whole.begin(), pieces.whole.end());
  std::erase_if(pieces.list, [](const Piece& p) { return p.slot < 0 || p.mode.n == 1; });
  std::sort(pieces.list.begin(), pieces.list.end(),
            [](const Piece& a, const Piece& b) { return a.slot != b.slot ? a.slot < b.slot : a.mode.w > b.mode.w; });
  for (const Piece& p : pieces.list) out.rest.push_back(p.mode);
  return out;
}

}  // namespace lathe
