#include "ir/thread_facts.h"

#include <algorithm>
#include <bit>

namespace lathe::thread {
namespace {

constexpr int64_t kZeroMultiple = int64_t{1} << 62;

bool tracked(const Type& t) { return t.lanes == 1 && !t.is_frag() && !is_float(t.scalar) && t.scalar != Scalar::b1; }

Range whole_range(Scalar s) {
  if (s == Scalar::b1) return {0, 1};
  const int64_t hi = static_cast<int64_t>(~uint64_t{0} >> (65 - bits(s)));
  return {-hi - 1, hi};
}

int64_t multiple_of_constant(int64_t c) {
  return int64_t{1} << std::min(62, std::countr_zero(static_cast<uint64_t>(c)));
}

/// The range of exact results lo .. hi in type s: none when it may wrap, cut off when `index` says that it does not.
std::optional<Range> fitted(Scalar s, __int128 lo, __int128 hi, bool index) {
  const Range all = whole_range(s);
  const bool fits = lo >= all.lo && hi <= all.hi;
  const bool may_wrap = !index || lo < 0 || bits(s) < 32;
  if (!fits && may_wrap) return std::nullopt;
  return Range{static_cast<int64_t>(std::min<__int128>(lo, all.hi)),
               static_cast<int64_t>(std::min<__int128>(hi, all.hi)), index};
}

/// Coordinates are numbers of a tile program too (iota), which it may multiply until they wrap, and sign extension
/// shifts to the top: a factor this large is no stride.
constexpr int kStrideBits = 16;

/// The largest number of s without its sign, in a wider type.
int64_t most_unsigned(Scalar s) { return static_cast<int64_t>(~uint64_t{0} >> (64 - bits(s))); }

std::optional<Range> shifted(Op op, Scalar s, Range x, std::optional<int64_t> k) {
  if (!k || *k < 0 || *k >= bits(s)) return std::nullopt;
  if (op == Op::shl) {
    if (x.lo < 0) return std::nullopt;
    return fitted(s, __int128{x.lo} << *k, __int128{x.hi} << *k, x.index && *k < kStrideBits);
  }
  if (op == Op::shr_s || x.lo >= 0) return Range{x.lo >> *k, x.hi >> *k, x.index};
  if (*k == 0) return std::nullopt;
  return Range{0, static_cast<int64_t>(~uint64_t{0} >> (64 - bits(s) + *k)), false};
}

std::optional<Range> combined(Op op, Scalar s, Range x, Range y) {
  const bool index = x.index && y.index, nonnegative = x.lo >= 0 && y.lo >= 0;
  switch (op) {
    case Op::add:
      return fitted(s, __int128{x.lo} + y.lo, __int128{x.hi} + y.hi, index);
    case Op::sub:
      return fitted(s, __int128{x.lo} - y.hi, __int128{x.hi} - y.lo, index);
    case Op::mul:
      if (!nonnegative) return std::nullopt;
      return fitted(s, __int128{x.lo} * y.lo, __int128{x.hi} * y.hi, index && std::min(x.hi, y.hi) >> kStrideBits == 0);
    case Op::div_u:
    case Op::div_s:
      if (!nonnegative || y.lo == 0) return std::nullopt;
      return Range{x.lo / y.hi, x.hi / y.lo, index};
    case Op::rem_u:
    case Op::rem_s:
      if (y.lo <= 0 || (x.lo < 0 && op == Op::rem_s)) return std::nullopt;
      return Range{0, x.lo < 0 ? y.hi - 1 : std::min(x.hi, y.hi - 1), index};
    case Op::band:
      if (x.lo < 0 && y.lo < 0) return std::nullopt;
      return Range{0, x.lo < 0 ? y.hi : y.lo < 0 ? x.hi : std::min(x.hi, y.hi), index};
    case Op::bor:
    case Op::bxor:
      if (!nonnegative) return std::nullopt;
      // What is put together bit by bit is a word of codes, whose shifts drop some of them.
      return Range{0, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(x.hi | y.hi) + 1) - 1),
                   index && op == Op::bxor};
    case Op::min_s:
      return Range{std::min(x.lo, y.lo), std::min(x.hi, y.hi), index};
    case Op::max_s:
      return Range{std::max(x.lo, y.lo), std::max(x.hi, y.hi), index};
    default:
      return std::nullopt;
  }
}

}  // namespace

bool commutes(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::min_s:
    case Op::max_s:
    case Op::min_u:
    case Op::max_u:
    case Op::fmin:
    case Op::fmax:
    case Op::band:
    case Op::bor:
    case Op::bxor:
    case Op::eq:
    case Op::ne:
      return true;
    default:
      return false;
  }
}

std::optional<int64_t> integer_constant(const Func& f, ValueId v) {
  const Func::Inst* def = f.def(v);
  if (def == nullptr || def->op != Op::constant || is_float(def->attr.type.scalar)) return std::nullopt;
  return canonical_bits(def->attr.type.scalar, def->attr.imm);
}

std::optional<int64_t> trip_count(const Func& f, const Func::Inst& loop) {
  const auto lo = integer_constant(f, loop.args[0]), hi = integer_constant(f, loop.args[1]),
             step = integer_constant(f, loop.args[2]);
  if (!lo || !hi || !step || *step <= 0) return std::nullopt;
  return *lo >= *hi ? 0 : (*hi - *lo + *step - 1) / *step;
}

Range Facts::range(ValueId v) const {
  if (v < facts_.size() && facts_[v]) return facts_[v]->range;
  return whole_range(f_.type(v).scalar);
}

int64_t Facts::multiple(ValueId v) const { return v < facts_.size() && facts_[v] ? facts_[v]->multiple : 1; }

void Facts::set(ValueId v, Fact fact) {
  if (facts_.size() <= v) facts_.resize(f_.values.size());
  facts_[v] = fact;
}

void Facts::note(InstId id) {
  const Func::Inst& i = f_.inst(id);
  if (i.results.size() != 1 || !i.blocks.empty() || !tracked(f_.type(i.results[0]))) return;
  for (const ValueId a : i.args)
    if (!tracked(f_.type(a)) && f_.type(a) != kBool) return;
  const Range known = bounds(i).value_or(whole_range(f_.type(i.results[0]).scalar));
  set(i.results[0], {known, divisor(i)});
}

void Facts::note_index(const Func::Inst& loop) {
  const Range lo = range(loop.args[0]), hi = range(loop.args[1]);
  const auto step = integer_constant(f_, loop.args[2]);
  Range r = whole_range(Scalar::i32);
  if (step && *step > 0) r = {lo.lo, std::max(lo.lo, hi.hi - 1)};
  r.index = true;
  set(f_.blocks[loop.blocks[0]].params[0], {r, std::min(multiple(loop.args[0]), multiple(loop.args[2]))});
}

std::optional<Range> Facts::bounds(const Func::Inst& i) const {
  const Scalar s = f_.type(i.results[0]).scalar;
  const auto hull = [](Range a, Range b) {
    return Range{std::min(a.lo, b.lo), std::max(a.hi, b.hi), false};  // a choice of constants is data, no coordinate
  };
  switch (i.op) {
    case Op::constant: {
      const int64_t c = integer_constant(f_, i.results[0]).value();
      return Range{c, c, true};
    }
    case Op::thread_id:
      return Range{0, int64_t{f_.subgroups} * f_.subgroup_size - 1, true};
    case Op::lane_id:
      return Range{0, f_.subgroup_size - 1, true};
    case Op::subgroup_id:
      return Range{0, f_.subgroups - 1, true};
    case Op::group_id:
      return Range{0, whole_range(s).hi, true};
    case Op::select:
      return hull(range(i.args[1]), range(i.args[2]));
    case Op::sext:
      return f_.type(i.args[0]) == kBool ? Range{-1, 0, false} : range(i.args[0]);
    case Op::zext: {
      if (f_.type(i.args[0]) == kBool) return Range{0, 1, false};
      const Range r = range(i.args[0]);
      return r.lo >= 0 ? r : Range{0, most_unsigned(f_.type(i.args[0]).scalar), false};
    }
    case Op::trunc: {
      const Range r = range(i.args[0]);
      return fitted(s, r.lo, r.hi, r.index);
    }
    default:
      break;
  }
  if (i.args.size() != 2) return std::nullopt;
  const Range x = range(i.args[0]), y = range(i.args[1]);
  if (i.op == Op::shl || i.op == Op::shr_u || i.op == Op::shr_s)
    return shifted(i.op, s, x, integer_constant(f_, i.args[1]));
  return combined(i.op, s, x, y);
}

int64_t Facts::divisor(const Func::Inst& i) const {
  const auto of = [&](size_t a) { return multiple(i.args[a]); };
  const auto least = [&](size_t a, size_t b) { return std::min(of(a), of(b)); };
  switch (i.op) {
    case Op::constant:
      return multiple_of_constant(integer_constant(f_, i.results[0]).value());
    case Op::mul:
      return of(0) > kZeroMultiple / of(1) ? kZeroMultiple : of(0) * of(1);
    case Op::shl: {
      const int64_t k = integer_constant(f_, i.args[1]).value_or(0);
      return k < 0 || k > 62 || of(0) > (kZeroMultiple >> k) ? kZeroMultiple : of(0) << k;
    }
    case Op::band:
      return std::max(of(0), of(1));
    case Op::add:
    case Op::sub:
    case Op::bor:
    case Op::bxor:
    case Op::min_s:
    case Op::max_s:
    case Op::min_u:
    case Op::max_u:
      return least(0, 1);
    case Op::select:
      return least(1, 2);
    case Op::zext:
    case Op::sext:
      return f_.type(i.args[0]) == kBool ? 1 : of(0);
    case Op::trunc:
    case Op::neg:
      return of(0);
    default:
      return 1;
  }
}

}  // namespace lathe::thread
