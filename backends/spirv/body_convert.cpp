// Conversions that are more than one instruction: 16-bit floats without a type, saturation.
#include <fmt/format.h>
#include <spirv/unified1/GLSL.std.450.h>
#include <bit>

#include "backends/spirv/body.h"

namespace lathe::spirv {

using thread::Scalar;

/// The same bits as another type.
Id Body::cast(Id value, const thread::Type& from, const thread::Type& to) {
  const Id target = type_id(to);
  return type_id(from) == target ? value : emit(spv::Op::OpBitcast, target, {value});
}

Result<Unit> Body::bitcast(const Inst& i) {
  define(i, cast(id(i.args[0]), type(i.args[0]), type(i.results[0])));
  return Unit{};
}

Result<Unit> Body::rem_s(const Inst& i) {
  const Id t = type_id(type(i.results[0])), a = id(i.args[0]), b = id(i.args[1]);
  const Id whole = emit(spv::Op::OpIMul, t, {emit(spv::Op::OpSDiv, t, {a, b}), b});
  define(i, emit(spv::Op::OpISub, t, {a, whole}));
  return Unit{};
}

Result<Unit> Body::and_xor(const Inst& i) {
  const Id t = type_id(type(i.results[0]));
  const Id field = emit(spv::Op::OpBitwiseAnd, t, {id(i.args[0]), id(i.args[1])});
  define(i, emit(spv::Op::OpBitwiseXor, t, {field, id(i.args[2])}));
  return Unit{};
}

Result<Unit> Body::bool_to_int(const Inst& i) {
  const thread::Type& to = type(i.results[0]);
  const Id yes = splat(to, i.op == thread::Op::sext ? ~uint64_t{0} : 1);
  define(i, emit(spv::Op::OpSelect, type_id(to), {id(i.args[0]), yes, splat(to, 0)}));
  return Unit{};
}

Id Body::each_lane(Id value, const thread::Type& from, const thread::Type& to, const std::function<Id(Id)>& convert) {
  if (from.lanes == 1) return convert(value);
  const Id scalar = type_id(from.with_lanes(1));
  Words lanes;
  for (uint32_t l = 0; l < from.lanes; l++)
    lanes.push_back(convert(emit(spv::Op::OpCompositeExtract, scalar, {value, l})));
  return emit(spv::Op::OpCompositeConstruct, type_id(to), lanes);
}

Id Body::widen(Id value, const thread::Type& from) {
  const thread::Type wide = from.with(Scalar::f32), bits = from.with(Scalar::i32);
  if (from.scalar == Scalar::f32) return value;
  if (thread::is_float(held(from.scalar))) return emit(spv::Op::OpFConvert, type_id(wide), {value});
  if (from.scalar == Scalar::bf16) {
    const Id word = emit(spv::Op::OpUConvert, type_id(bits), {value});
    const Id raw = emit(spv::Op::OpShiftLeftLogical, type_id(bits), {word, splat(bits, 16)});
    return emit(spv::Op::OpBitcast, type_id(wide), {raw});
  }
  return each_lane(value, from, wide, [&](Id half) {
    const Id word = emit(spv::Op::OpUConvert, m_.int_type(32), {half});
    const Id pair = glsl(GLSLstd450UnpackHalf2x16, m_.vector_type(m_.float_type(32), 2), {word});
    return emit(spv::Op::OpCompositeExtract, m_.float_type(32), {pair, 0});
  });
}

Id Body::narrow(Id value, const thread::Type& to) {
  if (to.scalar == Scalar::f32) return value;
  if (thread::is_float(held(to.scalar))) return emit(spv::Op::OpFConvert, type_id(to), {value});
  const thread::Type bits = to.with(Scalar::i32);
  if (to.scalar == Scalar::f16)
    return each_lane(value, to.with(Scalar::f32), to, [&](Id single) {
      const Id zero = splat(thread::kF32, 0);
      const Id pair = emit(spv::Op::OpCompositeConstruct, m_.vector_type(m_.float_type(32), 2), {single, zero});
      return emit(spv::Op::OpUConvert, m_.int_type(16), {glsl(GLSLstd450PackHalf2x16, m_.int_type(32), {pair})});
    });
  // bf16: add half a unit of the last place, less one bit when that makes it even; a NaN keeps its upper half, made
  // quiet.
  const Id u = type_id(bits), raw = emit(spv::Op::OpBitcast, u, {value});
  const Id upper = emit(spv::Op::OpShiftRightLogical, u, {raw, splat(bits, 16)});
  const Id odd = emit(spv::Op::OpBitwiseAnd, u, {upper, splat(bits, 1)});
  const Id half = emit(spv::Op::OpIAdd, u, {odd, splat(bits, 0x7fff)});
  const Id sum = emit(spv::Op::OpIAdd, u, {raw, half});
  const Id rounded = emit(spv::Op::OpShiftRightLogical, u, {sum, splat(bits, 16)});
  const Id quiet = emit(spv::Op::OpBitwiseOr, u, {upper, splat(bits, 0x40)});
  const Id word = emit(spv::Op::OpSelect, u, {is_nan(value, bits.lanes), quiet, rounded});
  return emit(spv::Op::OpUConvert, type_id(to), {word});
}

/// By the bits: a driver may take it that floats are never NaN.
Id Body::is_nan(Id single, int lanes) {
  const thread::Type bits = thread::kI32.with_lanes(lanes);
  const Id raw = emit(spv::Op::OpBitcast, type_id(bits), {single});
  const Id magnitude = emit(spv::Op::OpBitwiseAnd, type_id(bits), {raw, splat(bits, 0x7fffffff)});
  return emit(spv::Op::OpUGreaterThan, type_id(bits.with(Scalar::b1)), {magnitude, splat(bits, 0x7f800000)});
}

Result<Unit> Body::float_to_float(const Inst& i) {
  const thread::Type &from = type(i.args[0]), &to = type(i.results[0]);
  define(i, from == to ? id(i.args[0]) : narrow(widen(id(i.args[0]), from), to));
  return Unit{};
}

/// To an f16 without a type by way of f32, which is exact below 2^24 and gives infinity above as it should. A bf16
/// would be rounded twice.
Result<Unit> Body::int_to_float(const Inst& i) {
  const thread::Type& to = type(i.results[0]);
  if (to.scalar == Scalar::bf16)
    return unsupported(fmt::format("{}: {} has no conversion of integers to bf16", f_.name, target_.name));
  const spv::Op op = i.op == thread::Op::s2f ? spv::Op::OpConvertSToF : spv::Op::OpConvertUToF;
  const bool direct = thread::is_float(held(to.scalar));
  const Id value = emit(op, type_id(direct ? to : to.with(Scalar::f32)), {id(i.args[0])});
  define(i, direct ? value : narrow(value, to));
  return Unit{};
}

namespace {
struct Saturation {
  Scalar to;
  float low, high;  ///< the range that converts exactly
  float over;       ///< from here on the largest integer; 0: `high` is that integer
  uint64_t largest;
};
constexpr Saturation kSaturations[] = {
    {Scalar::i8, -128.0F, 127.0F, 0, 0},
    {Scalar::i16, -32768.0F, 32767.0F, 0, 0},
    {Scalar::i32, -0x1p31F, 0x1.fffffep30F, 0x1p31F, 0x7fffffff},
    {Scalar::i64, -0x1p63F, 0x1.fffffep62F, 0x1p63F, 0x7fffffffffffffff},
};
}  // namespace

Result<Unit> Body::float_to_int(const Inst& i) {
  const thread::Type& to = type(i.results[0]);
  const thread::Type wide = to.with(Scalar::f32), flag = to.with(Scalar::b1);
  for (const Saturation& s : kSaturations) {
    if (s.to != to.scalar) continue;
    auto number = [&](float v) { return splat(wide, std::bit_cast<uint32_t>(v)); };
    const Id x = widen(id(i.args[0]), type(i.args[0])), integer = type_id(to);
    const Id inside = glsl(GLSLstd450NClamp, type_id(wide), {x, number(s.low), number(s.high)});
    Id out = emit(spv::Op::OpConvertFToS, integer, {inside});
    if (s.over != 0) {
      const Id over = emit(spv::Op::OpFOrdGreaterThanEqual, type_id(flag), {x, number(s.over)});
      out = emit(spv::Op::OpSelect, integer, {over, splat(to, s.largest), out});
    }
    define(i, emit(spv::Op::OpSelect, integer, {is_nan(x, to.lanes), splat(to, 0), out}));
    return Unit{};
  }
  return internal_error("f2s to " + thread::to_string(to));
}

}  // namespace lathe::spirv
