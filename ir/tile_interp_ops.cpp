// The meaning of each pure row of tile.def: decode the operands once, one plain loop, encode once.
#include "ir/tile_interp_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

namespace lathe::tile {
namespace {

using Operands = std::vector<Operand>;
using Doubles = std::vector<double>;
using Ints = std::vector<int64_t>;

// ---- raw bits to numbers and back

Doubles to_doubles(const Operand& x) {
  const lathe::Type elem = x.type.elem;
  Doubles out(x.raw.size());
  if (elem == types::f32) {
    for (size_t i = 0; i < out.size(); i++) out[i] = std::bit_cast<float>(static_cast<uint32_t>(x.raw[i]));
  } else {
    for (size_t i = 0; i < out.size(); i++) out[i] = decode(elem, x.raw[i]);
  }
  return out;
}

Ints to_ints(const Operand& x) {
  Ints out(x.raw.size());
  for (size_t i = 0; i < out.size(); i++) out[i] = decode_int(x.type.elem, x.raw[i]);
  return out;
}

Raw from_doubles(lathe::Type elem, const Doubles& values) {
  Raw out(values.size());
  if (elem == types::f32) {
    for (size_t i = 0; i < out.size(); i++)
      out[i] = std::isnan(values[i]) ? encode(elem, values[i]) : std::bit_cast<uint32_t>(static_cast<float>(values[i]));
  } else {
    for (size_t i = 0; i < out.size(); i++) out[i] = encode(elem, values[i]);
  }
  return out;
}

Raw from_ints(lathe::Type elem, const Ints& values) {
  Raw out(values.size());
  for (size_t i = 0; i < out.size(); i++) out[i] = encode_int(elem, values[i]);
  return out;
}

/// out[i] = f(args[0][i], ..), f taking one, two or three values.
template <class Value, class F>
std::vector<Value> map(const std::vector<std::vector<Value>>& x, F f) {
  std::vector<Value> out(x[0].size());
  for (size_t i = 0; i < out.size(); i++) {
    if constexpr (std::is_invocable_v<F, Value>) {
      out[i] = f(x[0][i]);
    } else if constexpr (std::is_invocable_v<F, Value, Value>) {
      out[i] = f(x[0][i], x[1][i]);
    } else {
      out[i] = f(x[0][i], x[1][i], x[2][i]);
    }
  }
  return out;
}

tl::unexpected<Error> no_meaning(Op op, lathe::Type elem) {
  return internal_error(fmt::format("operation {} has no meaning on {}", info(op).name, to_string(elem)));
}

// ---- floats: f64, which is wide enough that rounding its +, -, *, / and square root once more is rounding once

double smaller(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? b : a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
double larger(double a, double b) { return -smaller(-a, -b); }

/// a * b + c rounded to odd: a * b of two elements is exact in f64, and one more rounding, to 51 bits or fewer, then
/// gives the exact result rounded once. Rounding to nearest here would round twice: bf16 (1 + 2^-4)^2 + 2^-100.
double fused(double a, double b, double c) {
  const double product = a * b, sum = product + c;
  if (!std::isfinite(sum)) return sum;
  const double c_part = sum - product;
  const double lost = (product - (sum - c_part)) + (c - c_part);
  if (lost == 0 || (std::bit_cast<uint64_t>(sum) & 1) != 0) return sum;
  return std::nextafter(sum, lost > 0 ? HUGE_VAL : -HUGE_VAL);
}

Result<Raw> float_op(Op op, const Operands& args, lathe::Type elem) {
  std::vector<Doubles> x;
  for (const Operand& a : args) x.push_back(to_doubles(a));
  const auto each = [&](auto f) { return from_doubles(elem, map(x, f)); };
  switch (op) {
    case Op::add:
      return each([](double a, double b) { return a + b; });
    case Op::sub:
      return each([](double a, double b) { return a - b; });
    case Op::mul:
      return each([](double a, double b) { return a * b; });
    case Op::div:
      return each([](double a, double b) { return a / b; });
    case Op::min:
      return each(smaller);
    case Op::max:
      return each(larger);
    case Op::fma:
      return each(fused);
    case Op::neg:
      return each([](double a) { return -a; });
    case Op::abs:
      return each([](double a) { return std::fabs(a); });
    case Op::exp:
      return each([](double a) { return std::exp(a); });
    case Op::exp2:
      return each([](double a) { return std::exp2(a); });
    case Op::log2:
      return each([](double a) { return std::log2(a); });
    case Op::sqrt:
      return each([](double a) { return std::sqrt(a); });
    case Op::rsqrt:
      return each([](double a) { return 1 / std::sqrt(a); });
    default:
      return no_meaning(op, elem);
  }
}

// ---- integers: int64 that wraps, then the low bits

int64_t wrapping(uint64_t v) { return static_cast<int64_t>(v); }
int64_t add_wrap(int64_t a, int64_t b) { return wrapping(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
int64_t sub_wrap(int64_t a, int64_t b) { return wrapping(static_cast<uint64_t>(a) - static_cast<uint64_t>(b)); }
int64_t mul_wrap(int64_t a, int64_t b) { return wrapping(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); }

int64_t quotient(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? sub_wrap(0, a) : a / b;
}
int64_t remainder_of(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

Result<Raw> int_op(Op op, const Operands& args, lathe::Type elem) {
  std::vector<Ints> x;
  for (const Operand& a : args) x.push_back(to_ints(a));
  const auto each = [&](auto f) { return from_ints(elem, map(x, f)); };
  // A count of the width or more is outside the definition; here it shifts every bit out.
  const auto in_width = [&](int64_t count) { return count >= 0 && count < elem.bits; };
  switch (op) {
    case Op::add:
      return each(add_wrap);
    case Op::sub:
      return each(sub_wrap);
    case Op::mul:
      return each(mul_wrap);
    case Op::div:
      return each(quotient);
    case Op::rem:
      return each(remainder_of);
    case Op::min:
      return each([](int64_t a, int64_t b) { return a < b ? a : b; });
    case Op::max:
      return each([](int64_t a, int64_t b) { return a > b ? a : b; });
    case Op::band:
      return each([](int64_t a, int64_t b) { return a & b; });
    case Op::bor:
      return each([](int64_t a, int64_t b) { return a | b; });
    case Op::bxor:
      return each([](int64_t a, int64_t b) { return a ^ b; });
    case Op::shl:
      return each([&](int64_t a, int64_t n) { return in_width(n) ? wrapping(static_cast<uint64_t>(a) << n) : 0; });
    case Op::shr:
      return each([&](int64_t a, int64_t n) { return a >> (in_width(n) ? n : 63); });
    case Op::neg:
      return each([](int64_t a) { return sub_wrap(0, a); });
    case Op::abs:
      return each([](int64_t a) { return a < 0 ? sub_wrap(0, a) : a; });
    case Op::bnot:
      return each([](int64_t a) { return ~a; });
    default:
      return no_meaning(op, elem);
  }
}

Result<Raw> ceildiv(const Operands& args) {
  const int64_t a = to_ints(args[0])[0], b = to_ints(args[1])[0];
  if (b == 0) return bad_input(fmt::format("{} is divided by 0", a));
  if (a < 0 || b < 0) return bad_input(fmt::format("the operands {} and {} must be positive", a, b));
  return Raw{encode_int(types::i64, a / b + (a % b != 0))};
}

// ---- comparisons

template <class Value>
Result<Raw> compare_as(Op op, const std::vector<std::vector<Value>>& x) {
  const auto each = [&](auto holds) {
    Raw out(x[0].size());
    for (size_t i = 0; i < out.size(); i++) out[i] = holds(x[0][i], x[1][i]);
    return out;
  };
  switch (op) {
    case Op::lt:
      return each([](Value a, Value b) { return a < b; });
    case Op::le:
      return each([](Value a, Value b) { return a <= b; });
    case Op::eq:
      return each([](Value a, Value b) { return a == b; });
    default:
      return each([](Value a, Value b) { return a != b; });
  }
}

Result<Raw> compare(Op op, const Operands& x) {
  if (x[0].type.elem.is_float()) return compare_as<double>(op, {to_doubles(x[0]), to_doubles(x[1])});
  return compare_as<int64_t>(op, {to_ints(x[0]), to_ints(x[1])});
}

Raw select(const Operands& x) {
  Raw out(x[1].raw.size());
  for (size_t i = 0; i < out.size(); i++) out[i] = (x[0].raw[i] & 1) != 0 ? x[1].raw[i] : x[2].raw[i];
  return out;
}

// ---- conversions

/// v rounded to odd to 53 bits, so that rounding to a float type rounds once.
double to_odd_double(int64_t v) {
  uint64_t magnitude = v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  const int drop = std::max(0, static_cast<int>(std::bit_width(magnitude)) - 53);
  const bool lost = (magnitude & ((uint64_t{1} << drop) - 1)) != 0;
  magnitude = (magnitude >> drop) | (lost ? 1 : 0);
  const double value = std::ldexp(static_cast<double>(magnitude), drop);
  return v < 0 ? -value : value;
}

Raw convert_ints(const Ints& values, lathe::Type to) {
  Raw out(values.size());
  for (size_t i = 0; i < out.size(); i++) {
    const int64_t v = values[i];
    if (to.is_float())
      out[i] = encode(to, to_odd_double(v));
    else if (to.kind == Kind::boolean)
      out[i] = v != 0;
    else
      out[i] = encode_int(to, v);
  }
  return out;
}

Raw cast(const Operand& x, lathe::Type to) {
  return x.type.elem.is_float() ? from_doubles(to, to_doubles(x)) : convert_ints(to_ints(x), to);
}

Raw cast_minus(const Operand& x, int64_t zero, lathe::Type to) {
  Ints values = to_ints(x);
  for (int64_t& v : values) v = sub_wrap(v, zero);
  return convert_ints(values, to);
}

// ---- shapes

/// Element i of the result is the element of x at offset i of `strides` over the result's shape.
Raw gather(const Operand& x, const Coord& shape, const Coord& strides) {
  const std::vector<int64_t> from = offsets(shape, strides);
  Raw out(from.size());
  for (size_t i = 0; i < out.size(); i++) out[i] = x.raw[static_cast<size_t>(from[i])];
  return out;
}

Raw broadcast(const Operand& x, const Coord& shape) {
  Coord strides = dense_strides(x.type.shape);
  for (size_t d = 0; d < strides.size(); d++)
    if (x.type.shape[d] == 1) strides[d] = 0;
  return gather(x, shape, strides);
}

Raw transpose(const Operand& x, const Coord& order, const Coord& shape) {
  const Coord from = dense_strides(x.type.shape);
  Coord strides;
  for (const int64_t d : order) strides.push_back(from[static_cast<size_t>(d)]);
  return gather(x, shape, strides);
}

/// Offsets in row-major `outer` of the box of `inner` at `offset`.
std::vector<int64_t> box(const Coord& inner, const Coord& outer, const Coord& offset) {
  const Coord strides = dense_strides(outer);
  std::vector<int64_t> at = offsets(inner, strides);
  for (size_t d = 0; d < outer.size(); d++)
    for (int64_t& a : at) a += offset[d] * strides[d];
  return at;
}

Raw slice(const Operand& x, const Coord& offset, const Coord& shape) {
  Raw out;
  for (const int64_t from : box(shape, x.type.shape, offset)) out.push_back(x.raw[static_cast<size_t>(from)]);
  return out;
}

Raw assign(const Operand& x, const Operand& part, const Coord& offset) {
  Raw out = x.raw;
  const std::vector<int64_t> to = box(part.type.shape, x.type.shape, offset);
  for (size_t i = 0; i < to.size(); i++) out[static_cast<size_t>(to[i])] = part.raw[i];
  return out;
}

Raw repeat(const Operand& x, int64_t dim, int64_t count) {
  const auto inner = static_cast<size_t>(dense_strides(x.type.shape)[static_cast<size_t>(dim)]);
  const auto times = static_cast<size_t>(count);
  Raw out(x.raw.size() * times);
  for (size_t i = 0; i < out.size(); i++) out[i] = x.raw[i / (inner * times) * inner + i % inner];
  return out;
}

Raw iota(const Coord& shape, int64_t dim) {
  Coord strides(shape.size(), 0);
  strides[static_cast<size_t>(dim)] = 1;
  const std::vector<int64_t> coordinates = offsets(shape, strides);
  return Raw(coordinates.begin(), coordinates.end());
}

/// Bit b of element i of a row is bit i * bits + b of the row, in both types; rows hold a whole number of both.
Raw reinterpret(const Operand& x, const Type& result) {
  const size_t from = x.type.elem.bits, to = result.elem.bits;
  Raw out(static_cast<size_t>(element_count(result.shape)), 0);
  for (size_t bit = 0; bit < x.raw.size() * from; bit++)
    out[bit / to] |= (x.raw[bit / from] >> (bit % from) & 1) << (bit % to);
  return out;
}

// ---- sums

/// Folds dimension `dim` of x, in order, starting from its first element.
template <class Value, class F>
std::vector<Value> fold(const std::vector<Value>& x, const Coord& shape, int64_t dim, F f) {
  const Coord strides = dense_strides(shape);
  const auto d = static_cast<size_t>(dim);
  const auto extent = static_cast<size_t>(shape[d]), inner = static_cast<size_t>(strides[d]);
  std::vector<Value> out(x.size() / extent);
  for (size_t i = 0; i < out.size(); i++) {
    const size_t first = i / inner * inner * extent + i % inner;
    Value value = x[first];
    for (size_t k = 1; k < extent; k++) value = f(value, x[first + k * inner]);
    out[i] = value;
  }
  return out;
}

/// Each element with those before it in dimension `dim`, in order.
template <class Value, class F>
std::vector<Value> running(std::vector<Value> x, const Coord& shape, int64_t dim, F f) {
  const auto d = static_cast<size_t>(dim);
  const auto extent = static_cast<size_t>(shape[d]), inner = static_cast<size_t>(dense_strides(shape)[d]);
  for (size_t i = 0; i < x.size(); i++)
    if (i / inner % extent != 0) x[i] = f(x[i - inner], x[i]);
  return x;
}

/// reduce, or scan.
Raw combined(Op op, const Operand& x, int64_t dim, ReduceKind kind) {
  const Coord& shape = x.type.shape;
  const lathe::Type elem = x.type.elem;
  const auto apply = [&](const auto& values, auto f) {
    return op == Op::scan ? running(values, shape, dim, f) : fold(values, shape, dim, f);
  };
  if (elem.is_float()) {
    const auto f = kind == ReduceKind::sum ? [](double a, double b) { return a + b; }
                                           : (kind == ReduceKind::max ? larger : smaller);
    return from_doubles(elem, apply(to_doubles(x), f));
  }
  const auto f = kind == ReduceKind::sum   ? add_wrap
                 : kind == ReduceKind::max ? [](int64_t a, int64_t b) { return std::max(a, b); }
                                           : [](int64_t a, int64_t b) { return std::min(a, b); };
  return from_ints(elem, apply(to_ints(x), f));
}

/// a (m x k) * b (k x n) + c, row by row so that the inner loop runs along rows of b and of the sums.
template <class Value>
std::vector<Value> matmul(const std::vector<Value>& a, const std::vector<Value>& b, const std::vector<Value>& c,
                          size_t m, size_t n, size_t k) {
  std::vector<Value> out(c.size(), 0);
  for (size_t i = 0; i < m; i++) {
    Value* sums = out.data() + i * n;
    for (size_t j = 0; j < k; j++) {
      const Value factor = a[i * k + j];
      const Value* row = b.data() + j * n;
      for (size_t l = 0; l < n; l++) sums[l] += factor * row[l];
    }
    for (size_t l = 0; l < n; l++) sums[l] += c[i * n + l];
  }
  return out;
}

/// Column j of a (m x k) times column j / (k / g) of s (m x g).
template <class Value>
void scale_columns(std::vector<Value>& a, const std::vector<Value>& s, size_t m, size_t k) {
  const size_t groups = s.size() / m;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < k; j++) a[i * k + j] *= s[i * groups + j / (k / groups)];
}

/// Operands a, b, c of mma or a, s, b, c of mma_scaled. Sums of integers wrap, so they are taken unsigned.
Raw multiply(const Operands& x, const Type& result) {
  const bool scaled = x.size() == 4;
  const auto m = static_cast<size_t>(result.shape[0]), n = static_cast<size_t>(result.shape[1]);
  const auto k = static_cast<size_t>(x[0].type.shape[1]);
  const auto compute = [&](auto numbers) {
    auto a = numbers(x[0]);
    if (scaled) scale_columns(a, numbers(x[1]), m, k);
    return matmul(a, numbers(x[x.size() - 2]), numbers(x.back()), m, n, k);
  };
  if (result.elem.is_float()) return from_doubles(result.elem, compute(to_doubles));
  const Raw sums = compute([](const Operand& o) {
    const Ints values = to_ints(o);
    return Raw(values.begin(), values.end());
  });
  return from_ints(result.elem, Ints(sums.begin(), sums.end()));
}

Raw constant(const Attr& attr) {
  return {attr.elem.is_float() ? encode(attr.elem, attr.num) : encode_int(attr.elem, attr.imm)};
}

}  // namespace

int64_t element_count(const Coord& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

Coord dense_strides(const Coord& shape) {
  Coord strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return strides;
}

std::vector<int64_t> offsets(const Coord& shape, const Coord& strides) {
  std::vector<int64_t> out(static_cast<size_t>(element_count(shape)), 0);
  size_t repeat = out.size();
  for (size_t d = 0; d < shape.size() && !out.empty(); d++) {
    const auto extent = static_cast<size_t>(shape[d]);
    repeat /= extent;
    for (size_t i = 0; i < out.size(); i++) out[i] += static_cast<int64_t>(i / repeat % extent) * strides[d];
  }
  return out;
}

Result<Raw> evaluate(Op op, const Attr& attr, const std::vector<Operand>& args, const Type& result) {
  switch (op) {
    case Op::constant:
      return constant(attr);
    case Op::ceildiv:
      return ceildiv(args);
    case Op::lt:
    case Op::le:
    case Op::eq:
    case Op::ne:
      return compare(op, args);
    case Op::select:
      return select(args);
    case Op::cast:
      return cast(args[0], result.elem);
    case Op::cast_minus:
      return cast_minus(args[0], attr.imm, result.elem);
    case Op::fill:
      return Raw(static_cast<size_t>(element_count(result.shape)), args[0].raw[0]);
    case Op::iota:
      return iota(result.shape, attr.imm);
    case Op::broadcast:
      return broadcast(args[0], result.shape);
    case Op::transpose:
      return transpose(args[0], attr.shape, result.shape);
    case Op::item:
    case Op::reshape:
    case Op::convert:
      return args[0].raw;
    case Op::view:
      return reinterpret(args[0], result);
    case Op::reduce:
    case Op::scan:
      return combined(op, args[0], attr.imm, static_cast<ReduceKind>(attr.kind));
    case Op::slice:
      return slice(args[0], attr.offset, result.shape);
    case Op::assign:
      return assign(args[0], args[1], attr.offset);
    case Op::repeat:
      return repeat(args[0], attr.imm, attr.count);
    case Op::mma:
    case Op::mma_scaled:
      return multiply(args, result);
    default:
      return result.elem.is_float() ? float_op(op, args, result.elem) : int_op(op, args, result.elem);
  }
}

}  // namespace lathe::tile
