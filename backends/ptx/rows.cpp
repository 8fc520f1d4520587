#include "backends/ptx/rows.h"

namespace lathe::ptx {
namespace {

using thread::Op;

struct When {
  Features has = 0, lacks = 0;
};
constexpr When any{};
constexpr When has(Features feature) { return {feature, 0}; }
constexpr When lacks(Features feature) { return {0, feature}; }

constexpr Parts b1 = bit(Part::b1), i8 = bit(Part::i8), i16 = bit(Part::i16), i32 = bit(Part::i32),
                i64 = bit(Part::i64);
constexpr Parts f16 = bit(Part::f16), bf16 = bit(Part::bf16), f32 = bit(Part::f32);
constexpr Parts i16x2 = bit(Part::i16x2), f16x2 = bit(Part::f16x2), bf16x2 = bit(Part::bf16x2);
constexpr Parts words = i16 | i32 | i64, ints = i8 | words, bitsets = ints | i16x2, i32f32i64 = i32 | f32 | i64;
constexpr Parts in_b32 = i8 | i32 | i16x2, i16i64 = i16 | i64;
constexpr Parts halves = f16 | bf16, pairs = f16x2 | bf16x2, in_32 = i32 | f32 | i16x2 | pairs;
constexpr Parts not_b1 = bitsets | halves | f32 | pairs;

constexpr Row row(Op op, Parts from, Parts to, When when, const char* text) {
  return {op, from, to, when.has, when.lacks, text};
}
constexpr Row kRows[] = {
#define PTX_ROW(op, part, when, text) row(Op::op, part, 0, when, text),
#define PTX_CVT(op, from, to, when, text) row(Op::op, from, to, when, text),
#include "backends/ptx/rows.def"
};

bool matches(const Row& r, const RowKey& key, Features features) {
  if (r.op != key.op || (r.from & bit(key.from)) == 0) return false;
  if ((features & r.has) != r.has || (features & r.lacks) != 0) return false;
  return r.to == 0 ? info(key.from).lanes == info(key.to).lanes : (r.to & bit(key.to)) != 0;
}

}  // namespace

const Row* find_row(const RowKey& key, Features features) {
  for (const Row& r : kRows)
    if (matches(r, key, features)) return &r;
  return nullptr;
}

int matching_rows(const RowKey& key, Features features) {
  int count = 0;
  for (const Row& r : kRows) count += matches(r, key, features);
  return count;
}

}  // namespace lathe::ptx
