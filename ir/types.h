#pragma once
// Element types: kind x bits, and the exact value of every bit pattern.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lathe {

enum class Kind : uint8_t { boolean, uint, sint, flt };

/// An element type. `exp` and `man` are 0 unless kind is flt; bits = 1 + exp + man then (sign, exponent, mantissa).
struct Type {
  Kind kind = Kind::flt;
  uint8_t bits = 32, exp = 0, man = 0;
  bool operator==(const Type&) const = default;
  bool is_float() const { return kind == Kind::flt; }
  bool is_int() const { return kind == Kind::uint || kind == Kind::sint; }
  bool is_signed() const { return kind == Kind::sint || kind == Kind::flt; }
};

namespace types {
#define LATHE_TYPE(id, name, kind, bits, exp, man) inline constexpr Type id{kind, bits, exp, man};
#include "ir/types.def"
/// Unsigned and signed integers of 1..8 bits: u4 is uint_of(4).
constexpr Type uint_of(int bits) { return {Kind::uint, static_cast<uint8_t>(bits), 0, 0}; }
constexpr Type sint_of(int bits) { return {Kind::sint, static_cast<uint8_t>(bits), 0, 0}; }
inline constexpr Type u4 = uint_of(4), i4 = sint_of(4), u8 = uint_of(8), i8 = sint_of(8);
}  // namespace types

std::string to_string(Type t);
/// The type named by `text` ("u1".."u8", "i2".."i8", or a row of types.def), or none.
std::optional<Type> parse_type(std::string_view text);

/// Value of the low t.bits bits of `raw`. Integers up to 32 bits, bool and every float are exact; i64 is rounded.
double decode(Type t, uint64_t raw);
/// Nearest bit pattern: floats round to nearest even, overflow to infinity, NaN stays NaN; integers take the value
/// rounded toward zero and clamped to the range (NaN gives 0); bool is value != 0.
uint64_t encode(Type t, double value);
/// Integer value of `raw`, sign-extended; t is an integer or bool.
int64_t decode_int(Type t, uint64_t raw);
/// Low t.bits bits of `value` (wraps).
uint64_t encode_int(Type t, int64_t value);

}  // namespace lathe
