#include "fuzz/error_bound.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "ir/tile_interp_ops.h"

namespace lathe::fuzz {
namespace {

using tile::Op;
using Raw = std::vector<uint64_t>;

void set_note(uint64_t& raw, double error) {
  auto e = static_cast<float>(error);
  if (static_cast<double>(e) < error) e = std::nextafter(e, kUnknown);
  if (std::isnan(error)) e = kUnknown;
  raw = (raw & 0xffffffff) | static_cast<uint64_t>(std::bit_cast<uint32_t>(e)) << 32;
}

double unit(Type t) { return std::ldexp(1.0, -t.man - 1); }  ///< relative error of one rounding
double least_normal(Type t) { return std::ldexp(1.0, 2 - (1 << (t.exp - 1))); }
double largest(Type t) { return std::ldexp(2 - std::ldexp(1.0, -t.man), (1 << (t.exp - 1)) - 1); }
/// A step of the type at v, and what flushing subnormals may change.
double step(Type t, double v) {
  const double a = std::abs(v);
  return a < least_normal(t) ? least_normal(t) : 2 * unit(t) * a;
}
bool is_representable(Type t, double v) { return decode(t, encode(t, v)) == v; }

/// An element as a number with an error.
struct Number {
  double v = 0, e = 0;
};
Number number(Type t, uint64_t raw) {
  return {t.is_float() ? decode(t, raw) : static_cast<double>(decode_int(t, raw)), t.bits > 32 ? 0 : note_of(raw)};
}

double apply(Op op, const double* x) {
  switch (op) {
    case Op::add:
      return x[0] + x[1];
    case Op::sub:
      return x[0] - x[1];
    case Op::mul:
      return x[0] * x[1];
    case Op::div:
      return x[0] / x[1];
    case Op::fma:
      return x[0] * x[1] + x[2];
    case Op::min:
      return std::fmin(x[0], x[1]);
    case Op::max:
      return std::fmax(x[0], x[1]);
    case Op::neg:
      return -x[0];
    case Op::abs:
      return std::abs(x[0]);
    case Op::exp:
      return std::exp(x[0]);
    case Op::exp2:
      return std::exp2(x[0]);
    case Op::log2:
      return std::log2(x[0]);
    case Op::sqrt:
      return std::sqrt(x[0]);
    case Op::rsqrt:
      return 1 / std::sqrt(x[0]);
    case Op::cast:
      return x[0];
    default:
      return std::nan("");
  }
}

/// The largest change of op over the box of the errors; infinite where it has a pole there.
double corner_change(Op op, const Number* x, size_t n) {
  double center[3], worst = 0;
  for (size_t i = 0; i < n; i++) {
    if (std::isinf(x[i].e) || !std::isfinite(x[i].v)) return kUnknown;
    center[i] = x[i].v;
  }
  if (op == Op::div && std::abs(x[1].v) <= x[1].e) return kUnknown;
  if ((op == Op::log2 || op == Op::rsqrt || op == Op::sqrt) && x[0].v <= x[0].e) return kUnknown;
  const double middle = apply(op, center);
  for (unsigned corner = 0; corner < 1U << n; corner++) {
    double at[3];
    for (size_t i = 0; i < n; i++) at[i] = x[i].v + (corner >> i & 1 ? x[i].e : -x[i].e);
    worst = std::max(worst, std::abs(apply(op, at) - middle));
  }
  return worst * (1 + 1e-9);
}

/// Error of an f32 function "within a few ulp" by itself: what Vulkan promises of each, the weakest of our targets.
double function_error(Op op, const double* x, double y) {
  const double ulp = 0x1p-23 * std::abs(y);
  switch (op) {
    case Op::div:
      return 3 * ulp;
    case Op::exp:
    case Op::exp2:
      return (4 + 4 * std::abs(x[0])) * ulp;
    case Op::log2:
      return 4 * ulp + 0x1p-21;
    case Op::sqrt:
    case Op::rsqrt:
      return 4 * ulp;
    default:
      return kUnknown;
  }
}

/// The note of a float result of a monotone function of numbers.
double monotone_error(Op op, Type to, const Number* x, size_t n, double result) {
  bool errors = false, finite = std::isfinite(result), tiny = false;
  double at[3] = {}, flushed = 0;
  for (size_t i = 0; i < n; i++) {
    errors = errors || x[i].e > kSameValue;
    finite = finite && std::isfinite(x[i].v);
    if (x[i].v != 0 && std::abs(x[i].v) < least_normal(to)) tiny = true, flushed += std::abs(x[i].v);
    at[i] = x[i].v;
  }
  if (errors && !finite) return kUnknown;
  const bool selects = op == Op::min || op == Op::max || op == Op::neg || op == Op::abs;
  double error = errors ? corner_change(op, x, n) : 0;
  if (tile::info(op).rounding == tile::Rounding::approx) {
    if (!finite) return kUnknown;
    error += function_error(op, at, apply(op, at)) + step(to, result);
  } else if (errors && !selects) {
    error += step(to, result);
  } else if (op == Op::fma && finite &&
             (!is_representable(to, at[0] * at[1]) || !is_representable(to, apply(op, at)))) {
    error += step(to, at[0] * at[1]) + step(to, result);  // a software driver may round twice
  }
  if (finite && !selects && (tiny || (result != 0 && std::abs(result) < least_normal(to)))) error += least_normal(to);
  if (selects && std::abs(result) < least_normal(to)) error += flushed;
  if (error > 0 && std::abs(result) + error >= largest(to)) return kUnknown;
  if (error == 0 && (result == 0 || std::isnan(result))) return kSameValue;
  return error;
}

/// The note of a sum in any order of terms of magnitude `total`, all multiples of `grain` (0: of nothing in common),
/// each step rounded to `sum`; the terms' own errors are `error`.
double sum_error(Type sum, double result, double total, double grain, int64_t terms, double error) {
  if (!std::isfinite(result) || !std::isfinite(total) || std::isinf(error)) return kUnknown;
  const bool exact =
      grain > 0 && total <= grain * std::ldexp(1.0, sum.man + 1) && total < largest(sum) && grain >= least_normal(sum);
  if (exact && error == 0) return result == 0 ? kSameValue : 0;
  if (total + error >= largest(sum)) return kUnknown;
  // Matrix units may cut off where others round: two units a step.
  return error + static_cast<double>(terms + 1) * (2 * unit(sum) * (total + error) + least_normal(sum));
}

/// The largest power of two that divides v; infinite for 0.
double grain_of(double v) {
  if (v == 0) return kUnknown;
  int exponent = 0;
  const double mantissa = std::frexp(v, &exponent);
  const auto whole = static_cast<int64_t>(std::ldexp(mantissa, 53));
  return std::ldexp(1.0, exponent - 53 + std::countr_zero(static_cast<uint64_t>(whole)));
}

class Step {
 public:
  Step(const tile::Func& f, const tile::Func::Inst& inst, std::vector<Raw>& values)
      : f_(f), inst_(inst), values_(values), result_(values[inst.results[0]]), type_(f.type(inst.results[0])) {}

  /// Whether every note found a place.
  bool run() {
    const Knowledge known = knowledge_of(inst_.op);
    const bool any = noted();
    if (inst_.op == Op::shared) {
      for (uint64_t& raw : result_) note(raw, kUnknown);  // contents are undefined
    } else if (inst_.op == Op::select) {
      unless_certain_condition();
    } else if (known.spread == Spread::moves) {
      return true;
    } else if (known.spread == Spread::sums) {
      inst_.op == Op::reduce || inst_.op == Op::scan ? reduce(any) : multiply(any);
    } else if (known.spread == Spread::compares) {
      compare();
    } else if (inst_.op == Op::view) {
      if (any) reinterpret();
    } else if (known.spread == Spread::monotone && (type_.elem.is_float() || inst_.op == Op::cast)) {
      monotone();
    } else if (any) {
      all_unknown();
    }
    return placed_;
  }

 private:
  Type elem(size_t i) const { return f_.type(inst_.args[i]).elem; }
  const Raw& raw(size_t i) const { return values_[inst_.args[i]]; }
  bool is_number(size_t i) const {
    const tile::Form form = f_.type(inst_.args[i]).form;
    return form == tile::Form::tile || form == tile::Form::scalar;
  }
  void note(uint64_t& to, double error) {
    if (type_.elem.bits > 32)
      placed_ = placed_ && error == 0;
    else
      set_note(to, error);
  }
  bool noted() const {
    for (size_t i = 0; i < inst_.args.size(); i++)
      if (is_number(i) && elem(i).bits <= 32)
        for (const uint64_t r : raw(i))
          if (r >> 32) return true;
    return false;
  }
  bool noted(size_t i, size_t at) const { return elem(i).bits <= 32 && raw(i)[at] >> 32; }

  /// A matrix unit or a comparison may take a subnormal for 0.
  Number seen(size_t operand, size_t at) const {
    Number x = number(elem(operand), raw(operand)[at]);
    if (elem(operand).is_float() && x.v != 0 && std::abs(x.v) < least_normal(elem(operand))) x.e += std::abs(x.v);
    return x;
  }

  void unless_certain_condition() {
    for (size_t i = 0; i < result_.size(); i++)
      if (noted(0, i) && raw(1)[i] != raw(2)[i]) note(result_[i], kUnknown);
  }

  void all_unknown() {
    const bool by_element = tile::info(inst_.op).operands[0] == 'e';
    for (size_t i = 0; i < result_.size(); i++) {
      bool unknown = !by_element;
      for (size_t a = 0; by_element && a < inst_.args.size(); a++) unknown = unknown || noted(a, i);
      if (unknown) note(result_[i], kUnknown);
    }
  }

  void monotone() {
    const bool same = elem(0) == type_.elem;
    for (size_t i = 0; i < result_.size(); i++) {
      Number x[3];
      for (size_t a = 0; a < inst_.args.size(); a++) x[a] = number(elem(a), raw(a)[i]);
      if (type_.elem.is_float())
        note(result_[i], inst_.op == Op::cast && same ? x[0].e
                                                      : monotone_error(inst_.op, type_.elem, x, inst_.args.size(),
                                                                       decode(type_.elem, result_[i])));
      else
        note(result_[i], whole_error(x[0]));
    }
  }
  /// A cast to an integer: certain where the error reaches no other one.
  double whole_error(const Number& x) const {
    if (x.e == 0 || (x.e == kSameValue && !std::isnan(x.v))) return 0;
    if (!std::isfinite(x.v + x.e) || type_.elem.kind == Kind::boolean) return kUnknown;
    return encode(type_.elem, x.v - x.e) == encode(type_.elem, x.v + x.e) ? 0 : double{kUnknown};
  }

  void compare() {
    for (size_t i = 0; i < result_.size(); i++) {
      const Number a = seen(0, i), b = seen(1, i);
      const double errors = (a.e > kSameValue ? a.e : 0) + (b.e > kSameValue ? b.e : 0);
      if (errors > 0 && !(std::abs(a.v - b.v) > errors)) note(result_[i], kUnknown);
      if (!elem(0).is_float() && (noted(0, i) || noted(1, i))) note(result_[i], kUnknown);
    }
  }

  /// A result element is unknown where it holds a bit of an element that is not certain to the bit.
  void reinterpret() {
    const size_t from = elem(0).bits, to = type_.elem.bits;
    for (size_t i = 0; i < raw(0).size(); i++)
      if (noted(0, i))
        for (size_t at = i * from / to; at <= (i * from + from - 1) / to; at++) note(result_[at], kUnknown);
  }

  /// The numbers of dimension d, row by row of the others, of scan up to each one: calls visit(place in the result,
  /// numbers).
  template <class Visit>
  void each_row(size_t d, const Visit& visit) {
    const Coord& shape = f_.type(inst_.args[0]).shape;
    size_t inner = 1;
    for (size_t i = d + 1; i < shape.size(); i++) inner *= static_cast<size_t>(shape[i]);
    const auto extent = static_cast<size_t>(shape[d]);
    std::vector<Number> row;
    const bool is_scan = inst_.op == Op::scan;
    for (size_t i = 0; i < result_.size(); i++) {
      const size_t outer = i / inner / (is_scan ? extent : 1), first = outer * inner * extent + i % inner;
      row.resize(is_scan ? i / inner % extent + 1 : extent);
      for (size_t k = 0; k < row.size(); k++) row[k] = number(elem(0), raw(0)[first + k * inner]);
      visit(i, row);
    }
  }

  void reduce(bool any) {
    if (!type_.elem.is_float()) return any ? all_unknown() : void();
    const bool is_sum = inst_.attr.kind == static_cast<int64_t>(tile::ReduceKind::sum);
    each_row(static_cast<size_t>(inst_.attr.imm), [&](size_t i, const std::vector<Number>& row) {
      double total = 0, grain = kUnknown, error = 0, most = 0, tiny = 0;
      bool nan = false;
      for (const Number& x : row) {
        total += std::abs(x.v);
        grain = std::min(grain, grain_of(x.v));
        if (x.e > kSameValue) error += x.e;
        most = std::max(most, x.e);
        if (std::abs(x.v) < least_normal(elem(0))) tiny = std::max(tiny, std::abs(x.v));
        nan = nan || std::isnan(x.v);
      }
      const double result = decode(type_.elem, result_[i]);
      if (std::abs(result) < least_normal(type_.elem)) most = std::max(most, 2 * tiny);  // any of them may be a 0
      if (is_sum)
        note(result_[i], sum_error(type_.elem, result, total, std::isinf(grain) ? 1 : grain,
                                   static_cast<int64_t>(row.size()), error));
      else
        note(result_[i], nan && most > kSameValue ? double{kUnknown}
                         : result == 0            ? std::max<double>(most, kSameValue)
                                                  : most);
    });
  }

  /// Where codes are multiplied as they are stored and their zero point apart: its magnitude, and what multiplies both.
  struct ZeroPoint {
    double magnitude = 0;
    const Raw* factor = nullptr;
    Type elem;
  };
  std::optional<double> zero_of(ValueId v) const {
    const tile::Func::Inst* made = f_.def(v);
    if (!made) return std::nullopt;
    if (made->op == Op::sub) {
      const auto inner = zero_of(made->args[0]);
      double most = 0;
      for (const uint64_t raw : values_[made->args[1]])
        most = std::max(most, std::abs(number(f_.type(made->args[1]).elem, raw).v));
      return inner ? std::optional(*inner + most) : std::nullopt;
    }
    if (made->op != Op::cast && made->op != Op::cast_minus) return std::nullopt;
    const Type code = f_.type(made->args[0]).elem;
    if (!code.is_int() || code.bits > 8) return std::nullopt;
    const double sign = code.kind == Kind::sint ? std::ldexp(1.0, code.bits - 1) : 0;       // stored as offset binary
    const double beside = f_.type(v).elem == types::bf16 ? std::exp2(types::bf16.man) : 0;  // in the same mantissa
    return beside + sign + (made->op == Op::cast_minus ? std::abs(static_cast<double>(made->attr.imm)) : 0);
  }
  ZeroPoint zero_point() const {
    if (const auto z = zero_of(inst_.args[0])) return {*z};
    const tile::Func::Inst* product = f_.def(inst_.args[0]);
    if (product && product->op == Op::mul)
      for (size_t i : {0, 1})
        if (const auto z = zero_of(product->args[i])) {
          const ValueId factor = product->args[1 - i];
          return {*z, &values_[factor], f_.type(factor).elem};
        }
    return {};
  }

  void multiply(bool any) {
    if (!type_.elem.is_float()) return any ? all_unknown() : void();
    const bool scaled = inst_.args.size() == 4;
    const size_t ib = scaled ? 2 : 1, ic = scaled ? 3 : 2;
    const auto k = static_cast<size_t>(f_.type(inst_.args[0]).shape[1]), n = static_cast<size_t>(type_.shape[1]);
    const size_t groups = scaled ? static_cast<size_t>(f_.type(inst_.args[1]).shape[1]) : 1;
    const ZeroPoint zero = zero_point();
    for (size_t i = 0; i < result_.size(); i++) {
      const Number c = number(elem(ic), raw(ic)[i]);
      double total = std::abs(c.v), grain = grain_of(c.v), error = c.e > kSameValue ? c.e : 0;
      for (size_t j = 0; j < k; j++) {
        Number a = seen(0, i / n * k + j);
        const Number b = seen(ib, j * n + i % n);
        double apart = std::abs(b.v);
        if (zero.factor) apart *= std::abs(number(zero.elem, (*zero.factor)[i / n * k + j]).v);
        if (scaled) {
          const Number s = number(elem(1), raw(1)[i / n * groups + j / (k / groups)]);
          a = {a.v * s.v, a.e * (std::abs(s.v) + s.e) + std::abs(a.v) * s.e};
          apart *= std::abs(s.v);
        }
        total += std::abs(a.v * b.v) + 2 * zero.magnitude * apart;
        grain = std::min({grain, grain_of(a.v * b.v), zero.magnitude > 0 ? grain_of(apart) : kUnknown});
        if (a.e > kSameValue || b.e > kSameValue) error += a.e * (std::abs(b.v) + b.e) + std::abs(a.v) * b.e;
      }
      note(result_[i], sum_error(type_.elem, decode(type_.elem, result_[i]), total, std::isinf(grain) ? 1 : grain,
                                 static_cast<int64_t>(k) * (scaled ? 2 : 1), error));
    }
  }

  const tile::Func& f_;
  const tile::Func::Inst& inst_;
  std::vector<Raw>& values_;
  Raw& result_;
  const tile::Type& type_;
  bool placed_ = true;
};

/// Whether a load or store of a view reaches past one of its edges.
bool reaches_past(const tile::Func& f, const tile::Func::Inst& inst, const std::vector<Raw>& values) {
  if (inst.args.empty() || f.type(inst.args[0]).form != tile::Form::view) return false;
  const auto p = std::find_if(f.params.begin(), f.params.end(), [&](const auto& q) { return q.value == inst.args[0]; });
  const Coord& extent = inst.results.empty() ? f.type(inst.args.back()).shape : f.type(inst.results[0]).shape;
  for (size_t d = 0; p != f.params.end() && d < p->sizes.size() && d < extent.size(); d++)
    if (static_cast<int64_t>(values[inst.args[1 + d]][0]) + extent[d] > static_cast<int64_t>(values[p->sizes[d]][0]))
      return true;
  return false;
}

}  // namespace

float note_of(uint64_t raw) { return std::bit_cast<float>(static_cast<uint32_t>(raw >> 32)); }

void ErrorBound::ran(const tile::Func& f, const tile::Func::Inst& inst, std::vector<Raw>& values) {
  masked_ = masked_ || reaches_past(f, inst, values);
  if (inst.results.empty()) return;
  if (!Step(f, inst, values).run()) lost_ = true;
}

Difference difference(const tile::HostTensor& got, const tile::HostTensor& want) {
  Difference d;
  for (size_t i = 0; i < want.raw.size(); i++) {
    d.elements++;
    const double error = want.elem.bits > 32 ? 0 : note_of(want.raw[i]);
    if (std::isinf(error)) continue;
    d.checked++;
    d.exact += error <= kSameValue;
    const uint64_t bits = encode_int(want.elem, static_cast<int64_t>(want.raw[i]));
    if (got.raw[i] == bits) continue;
    const double g = decode(got.elem, got.raw[i]), w = decode(want.elem, bits);
    if (std::isnan(g) && std::isnan(w)) continue;
    if (error > 0 && (g == w || std::abs(g - w) <= error)) continue;
    if (d.wrong++ == 0)
      d.first = fmt::format("element {}: {} ({:x}), expected {} ({:x}) within {}", i, g, got.raw[i], w, bits, error);
  }
  return d;
}

}  // namespace lathe::fuzz
