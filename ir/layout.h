#pragma once
// The layout algebra: where each element of a tile lives. Definitions, laws and the price of each operation are those
// of the mode-list algebra (a generalisation of the layouts of Tilus): two lists of digits, one of the thread number,
// one of the slot number, each digit adding digit * weight to one coordinate.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/result.h"

namespace lathe {

/// A digit of n values that adds digit * w to coordinate d. d = kReplicate: equal copies; d = kPartial: the copies are
/// addends of the element. Both have w = 0 and stand in the thread list only.
struct Mode {
  static constexpr int kReplicate = -1, kPartial = -2;
  int64_t n = 1;
  int d = 0;
  int64_t w = 1;
  bool operator==(const Mode&) const = default;
};

using Coord = std::vector<int64_t>;

/// A register layout. T: digits of the thread number, S: digits of the slot number, most significant first.
/// Valid: per dimension the modes of T and S, sorted by w, form the chain w0 = 1, w(i+1) = w(i) * n(i), ending at the
/// extent. Always canonical (no n = 1, neighbours that continue each other merged), so == is equality of functions
/// and of the R / P marks.
class Layout {
 public:
  Layout() = default;  ///< rank 0, one thread, one slot
  /// none when the modes do not form the chains above or S holds R or P.
  static std::optional<Layout> make(Coord shape, const std::vector<Mode>& T, const std::vector<Mode>& S);
  /// As make; the caller knows the modes are valid. Aborts with "internal error" otherwise.
  Layout(Coord shape, const std::vector<Mode>& T, const std::vector<Mode>& S);

  const Coord& shape() const { return shape_; }
  const std::vector<Mode>& T() const { return T_; }
  const std::vector<Mode>& S() const { return S_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t threads() const;
  int64_t slots() const;
  int64_t replicas() const;              ///< product of the R digits
  int64_t partials() const;              ///< product of the P digits
  int64_t elements() const;              ///< product of the shape
  Coord at(int64_t t, int64_t s) const;  ///< 0 <= t < threads(), 0 <= s < slots()
  bool operator==(const Layout&) const = default;

 private:
  Coord shape_;
  std::vector<Mode> T_, S_;
};

/// "16x64 T[8:m1 4:k16] S[8:k2 2:m8 2:k1]": dimensions are named m, k, n, then d3, d4, ...; R and P as "2:R", "2:P".
/// The weight of d3, d4, .. follows a dot: "4:d3.16". The shape of rank 0 is "()".
std::string to_string(const Layout& l);
Result<Layout> parse_layout(std::string_view text);
/// A table of the tile, rank 2 only: each cell "thread/slot" of replica 0.
std::string draw(const Layout& l);

// Shorthand. spatial(8, 4): thread digits row-major; local: slot digits; column_*: column-major.
Layout spatial(const Coord& extents);
Layout local(const Coord& extents);
Layout column_spatial(const Coord& extents);
Layout column_local(const Coord& extents);
Layout replicate(int64_t copies, int rank);
Layout partial(int64_t copies, int rank);

/// f * g: one copy of g for each element of f. post: h(t, s) = f(t / g.threads, s / g.slots) * g.shape + g(t % .., s %
/// ..)
Layout operator*(const Layout& f, const Layout& g);
/// The a with a * b == h, or none.  post: divide(a * b, b) == a
std::optional<Layout> divide(const Layout& h, const Layout& b);

/// A renumbering of one dimension: digit of n values, weight in the old and in the new numbering.
struct Renumber {
  int64_t n, from, to;
  bool operator==(const Renumber&) const = default;
};
struct Fit {
  Layout layout;                                   ///< divide(layout, atom) exists
  std::vector<std::vector<Renumber>> renumbering;  ///< per dimension; empty where not free
};
/// Whether `atom` applies to tile layout h when slots may be renamed and the dimensions in `free_dims` renumbered (the
/// other operand must follow by permute_dim). Greedy: may miss a match with odd radices.
std::optional<Fit> fit(const Layout& h, const Layout& atom, const std::vector<int>& free_dims);

/// New dimension i is old dimension order[i].
Layout transpose(const Layout& l, const std::vector<int>& order);
/// Renumbers dimension d; none when a border falls inside a prime digit.
std::optional<Layout> permute_dim(const Layout& l, int d, const std::vector<Renumber>& chain);
/// Inverse renumbering.
std::vector<Renumber> inverse(const std::vector<Renumber>& chain);
/// Same function up to the order of slots: S becomes `S` (a permutation of l.S() after cutting modes).
std::optional<Layout> permute_slots(const Layout& l, const std::vector<Mode>& S);
std::optional<Layout> permute_threads(const Layout& l, const std::vector<Mode>& T);
/// Row-major reshape: merges and splits of dimensions. none if a split falls inside a mode that it does not divide.
std::optional<Layout> reshape(const Layout& l, const Coord& shape);
/// Slot digit fixed: the sub-tile of dimension d of extent `extent` that starts at a multiple of it, when only slot
/// modes of d lie above `extent` (every thread then owns a part of each sub-tile). The layout of each such sub-tile.
std::optional<Layout> slice(const Layout& l, int d, int64_t extent);
/// Dimension d summed (mark kPartial) or dropped to one copy for each owner (mark kReplicate): slot modes of d vanish,
/// thread modes become `mark`; the extent becomes 1.
Layout reduce(const Layout& l, int d, int mark);
/// Every (thread, slot) that holds element e, replica 0 first.
std::vector<std::pair<int64_t, int64_t>> inverse(const Layout& l, const Coord& e);
/// The layout of a probed table[t][s] = coordinates, or none (xor, offset, gray code, no bijection).
std::optional<Layout> recover(const std::vector<std::vector<Coord>>& table);

/// A memory layout: element -> address in elements. Per dimension a chain of (n, w, stride); then the swizzle
/// addr ^= ((addr >> from) & (2^bits - 1)) << to, with to + bits <= from.
struct MemoryMode {
  int64_t n = 1;
  int d = 0;
  int64_t w = 1, stride = 1;
  bool operator==(const MemoryMode&) const = default;
};
struct Swizzle {
  int bits = 0, to = 0, from = 0;
  bool operator==(const Swizzle&) const = default;
  int64_t apply(int64_t address) const { return address ^ (((address >> from) & ((int64_t{1} << bits) - 1)) << to); }
};
struct MemoryLayout {
  Coord shape;
  std::vector<MemoryMode> modes;
  int64_t base = 0;
  Swizzle swizzle;
  int64_t linear(const Coord& e) const;  ///< without the swizzle
  int64_t address(const Coord& e) const;
  int64_t span() const;  ///< one past the largest address
};
/// Row-major with a row pitch in elements (rank >= 1; pitch >= last extent).
MemoryLayout row_major(const Coord& shape, int64_t pitch);
/// The most elements one access can move: the longest chain of slot modes of `l`, in any slot order, with memory
/// strides 1, n0, n0*n1, ... below the lowest swizzled bit, cut to `max_elems` and to the alignment of all other
/// strides.
struct WideAccess {
  int64_t elems = 1;       ///< elements in one access, a power of two
  std::vector<Mode> run;   ///< the slot modes inside one access, minor first (cut where needed)
  std::vector<Mode> rest;  ///< the other slot modes, major first
};
WideAccess wide_access(const Layout& l, const MemoryLayout& m, int64_t max_elems);

/// A word layout: (slot, bit of the code) -> bit address in a lane's packed words, a list of planes.
struct Plane {
  int low_bit = 0, bits = 0;                        ///< which bits of the code
  int64_t base = 0;                                 ///< bit address of slot 0
  std::vector<std::pair<int64_t, int64_t>> digits;  ///< (n, stride in bits) of the slot number, major first
  bool operator==(const Plane&) const = default;
};
struct WordLayout {
  int width = 0;  ///< bits of a code
  std::vector<Plane> planes;
  int64_t slots() const;
  int64_t at(int64_t slot, int bit) const;  ///< bit address; word = address / 32
  bool dense() const;                       ///< onto 0 .. width * slots - 1
  bool operator==(const WordLayout&) const = default;
};
std::string to_string(const WordLayout& w);

}  // namespace lathe
