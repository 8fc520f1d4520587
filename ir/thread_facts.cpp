#include "ir/thread_facts.h"

#include <algorithm>
#include <bit>

namespace lathe::thread {
namespace {

constexpr int64_t kZeroMultiple = int64_t{1} << 62;

bool tracked(const Type& t) { return t.lanes == 1 && !t.is_frag() && !is_float(t.scalar) && t.scalar != Scalar::b1; }

Range whole_range(Scalar s) {
  const int64_t hi = static_cast<int64_t>(~uint64_t{0} >> (65 - bits(s)));
  return {-hi - 1, hi};
}

int64_t multiple_of_constant(int64_t c) { return c == 0 ? kZeroMultiple : std::min(kZeroMultiple, c & -c); }

/// The range of exact results lo .. hi in type s: none when it may wrap, cut off when `index` says that it does not.
std::optional<Range> fitted(Scalar s, __int128 lo, __int128 hi, bool index) {
  const Range all = whole_range(s);
  const bool fits = lo >= all.lo && hi <= all.hi;
  const bool may_wrap = !index || lo < 0 || bits(s) < 32;
  if (!fits && may_wrap) return std::nullopt;
  return Range{static_cast<int64_t>(std::min<__int128>(lo, all.hi)), static_cast<int64_t>(std::min<__int128>(hi, all.hi)), index};
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
    case Op::ne: return true;
    default: return false;
  }
}

std::optional<int64_t> integer_constant(const Func& f, ValueId v) {
  const Func::Inst* def = f.def(v);
  if (def == nullptr || def->op != Op::constant || is_float(def->attr.type.scalar)) return std::nullopt;
  return canonical_bits(def->attr.type.scalar, def->attr.imm);
}

std::optional<int64_t> trip_count(const Func& f, const Func::Inst& loop) {
  const auto lo = integer_constant(f, loop.args[0]), hi = integer_constant(f, loop.args[1]), step = integer_constant(f, loop.args[2]);
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
  const auto arg = [&](size_t a) { return range(i.args[a]); };
  const auto both_index = [&] { return arg(0).index && arg(1).index; };
  const auto constant = [&] { return integer_constant(f_, i.args[1]); };
  switch (i.op) {
    case Op::constant: return Range{integer_constant(f_, i.results[0]).value(), integer_constant(f_, i.results[0]).value(), true};
    case Op::thread_id: return Range{0, int64_t{f_.subgroups} * f_.subgroup_size - 1, true};
    case Op::lane_id: return Range{0, f_.subgroup_size - 1, true};
    case Op::subgroup_id: return Range{0, f_.subgroups - 1, true};
    case Op::group_id: return Range{0, whole_range(s).hi, true};
    case Op::add: return fitted(s, __int128{arg(0).lo} + arg(1).lo, __int128{arg(0).hi} + arg(1).hi, both_index());
    case Op::sub: return fitted(s, __int128{arg(0).lo} - arg(1).hi, __int128{arg(0).hi} - arg(1).lo, both_index());
    case Op::mul: {
      if (arg(0).lo < 0 || arg(1).lo < 0) return std::nullopt;
      return fitted(s, __int128{arg(0).lo} * arg(1).lo, __int128{arg(0).hi} * arg(1).hi, both_index());
    }
    case Op::shl: {
      const auto k = constant();
      if (!k || *k < 0 || *k >= bits(s) || arg(0).lo < 0) return std::nullopt;
      return fitted(s, __int128{arg(0).lo} << *k, __int128{arg(0).hi} << *k, arg(0).index);
    }
    case Op::div_u:
    case Op::div_s: {
      if (arg(0).lo < 0 || arg(1).lo <= 0) return std::nullopt;
      return Range{arg(0).lo / arg(1).hi, arg(0).hi / arg(1).lo, both_index()};
    }
    case Op::rem_u:
    case Op::rem_s: {
      if (arg(1).lo <= 0 || (arg(0).lo < 0 && i.op == Op::rem_s)) return std::nullopt;
      return Range{0, arg(0).lo < 0 ? arg(1).hi - 1 : std::min(arg(0).hi, arg(1).hi - 1), both_index()};
    }
    case Op::shr_u: {
      const auto k = constant();
      if (!k || *k < 0 || *k >= bits(s)) return std::nullopt;
      if (arg(0).lo >= 0) return Range{arg(0).lo >> *k, arg(0).hi >> *k, arg(0).index};
      if (*k == 0) return std::nullopt;
      return Range{0, static_cast<int64_t>(~uint64_t{0} >> (64 - bits(s) + *k)), false};
    }
    case Op::shr_s: {
      const auto k = constant();
      if (!k || *k < 0 || *k >= bits(s)) return std::nullopt;
      return Range{arg(0).lo >> *k, arg(0).hi >> *k, arg(0).index};
    }
    case Op::band: {
      const Range a = arg(0), b = arg(1);
      if (a.lo < 0 && b.lo < 0) return std::nullopt;
      return Range{0, a.lo < 0 ? b.hi : b.lo < 0 ? a.hi : std::min(a.hi, b.hi), both_index()};
    }
    case Op::bor:
    case Op::bxor: {
      if (arg(0).lo < 0 || arg(1).lo < 0) return std::nullopt;
      const auto most = static_cast<uint64_t>(arg(0).hi | arg(1).hi);
      return Range{0, static_cast<int64_t>(std::bit_ceil(most + 1) - 1), both_index()};
    }
    case Op::min_s: return Range{std::min(arg(0).lo, arg(1).lo), std::min(arg(0).hi, arg(1).hi), both_index()};
    case Op::max_s: return Range{std::max(arg(0).lo, arg(1).lo), std::max(arg(0).hi, arg(1).hi), both_index()};
    case Op::select: return Range{std::min(arg(1).lo, arg(2).lo), std::max(arg(1).hi, arg(2).hi), arg(1).index && arg(2).index};
    case Op::zext: {
      if (f_.type(i.args[0]) == kBool) return Range{0, 1, false};
      if (arg(0).lo >= 0) return arg(0);
      return Range{0, static_cast<int64_t>(~uint64_t{0} >> (64 - bits(f_.type(i.args[0]).scalar))), false};
    }
    case Op::sext: return f_.type(i.args[0]) == kBool ? Range{-1, 0, false} : arg(0);
    case Op::trunc: return fitted(s, arg(0).lo, arg(0).hi, arg(0).index);
    default: return std::nullopt;
  }
}

int64_t Facts::divisor(const Func::Inst& i) const {
  const auto of = [&](size_t a) { return multiple(i.args[a]); };
  const auto least = [&](size_t a, size_t b) { return std::min(of(a), of(b)); };
  switch (i.op) {
    case Op::constant: return multiple_of_constant(integer_constant(f_, i.results[0]).value());
    case Op::mul: return of(0) > kZeroMultiple / of(1) ? kZeroMultiple : of(0) * of(1);
    case Op::shl: {
      const int64_t k = integer_constant(f_, i.args[1]).value_or(0);
      return k < 0 || k > 62 || of(0) > (kZeroMultiple >> k) ? kZeroMultiple : of(0) << k;
    }
    case Op::band: return std::max(of(0), of(1));
    case Op::add:
    case Op::sub:
    case Op::bor:
    case Op::bxor:
    case Op::min_s:
    case Op::max_s:
    case Op::min_u:
    case Op::max_u: return least(0, 1);
    case Op::select: return least(1, 2);
    case Op::zext:
    case Op::sext: return f_.type(i.args[0]) == kBool ? 1 : of(0);
    case Op::trunc:
    case Op::neg: return of(0);
    default: return 1;
  }
}

}  // namespace lathe::thread
