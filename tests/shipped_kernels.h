#pragma once
// Every kernel we ship, as the tests of the compiler's promises build it: all formats, groups and row kernels, with the
// schedules a target has for them.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/packer.h"
#include "ir/compile.h"
#include "ir/pass/pack_program.h"
#include "model/matmul.h"
#include "tests/targets.h"

namespace lathe {

struct ShippedKernel {
  std::string name;  ///< "u4 g128 n32 m8 k512 s1x1x4 stages2"
  tile::Func func;
  tile::Factor factor = tile::Factor::operand;

  CompileOptions options(bool aligned) const { return {.factor = factor, .lower = {.aligned = aligned}}; }
};

struct NamedFormat {
  const char* name;
  kernels::WeightFormat format;
  Type activation = types::f16;
};
inline constexpr NamedFormat kFormats[] = {
    {"f16", {.code = types::f16, .group = 0}},
    {"u4 zero 8", {.code = types::u4, .constant_zero = 8}},
    {"i4", {.code = types::i4}},
    {"u4 zeros", {.code = types::u4, .zeros = true}},
};
inline constexpr int64_t kGroups[] = {0, 32, 128};

/// Each format with each group; f16 weights have none.
inline std::vector<NamedFormat> shipped_formats() {
  std::vector<NamedFormat> out;
  for (NamedFormat f : kFormats)
    for (const int64_t group : kGroups)
      if (f.format.scaled() || group == f.format.group) {
        f.format.group = group;
        out.push_back(f);
      }
  return out;
}

inline tile::Func built(Result<tile::Func> f) {
  REQUIRE_MESSAGE(f, f.error().text);
  return std::move(*f);
}

inline ShippedKernel shipped_matmul(const NamedFormat& f, const Schedule& s, bool biased) {
  return {fmt::format("{} g{} {}{}", f.name, f.format.group, to_string(s), biased ? " bias" : ""),
          built(kernels::matmul(f.format, f.activation, biased, s)),
          s.factor_on_accumulator ? tile::Factor::accumulator : tile::Factor::operand};
}

inline std::vector<Schedule> schedules(const Target& t, const NamedFormat& f) {
  const auto set = schedules_of(t, f.format, f.activation);
  REQUIRE_MESSAGE(set, set.error().text);
  std::vector<Schedule> out;
  for (const ScheduleRow& row : set->rows) out.push_back(row.schedule);
  return out;
}

inline std::vector<ShippedKernel> shipped_matmuls(const Target& t) {
  std::vector<ShippedKernel> out;
  for (const NamedFormat& f : shipped_formats())
    for (const Schedule& s : schedules(t, f)) out.push_back(shipped_matmul(f, s, out.size() % 2 == 0));
  return out;
}

inline std::vector<ShippedKernel> shipped_row_kernels() {
  std::vector<ShippedKernel> out;
  for (const Type t : {types::f16, types::f32}) {
    out.push_back({"softmax " + to_string(t), built(kernels::softmax(t, 2, 1024, 4))});
    out.push_back({"rmsnorm " + to_string(t), built(kernels::rmsnorm(t, 2, 1024, 4))});
    out.push_back({"transpose " + to_string(t), built(kernels::transpose(t, 32, 4))});
  }
  return out;
}

/// The stored orders of the target's matmuls, one of each.
inline std::vector<PackedLayout> stored_orders(const Target& t) {
  std::vector<PackedLayout> out;
  for (const NamedFormat& f : shipped_formats())
    for (const Schedule& s : schedules(t, f)) {
      tile::Func laid_out = built(prepare(shipped_matmul(f, s, false).func, {}));
      REQUIRE(tile::infer_layouts(laid_out, t));
      const auto packed = tile::packed_parameters(laid_out, t);
      REQUIRE_MESSAGE(packed, packed.error().text);
      for (const auto& [name, p] : *packed)
        if (std::find(out.begin(), out.end(), p) == out.end()) out.push_back(p);
    }
  return out;
}

inline std::vector<ShippedKernel> shipped_packers(const Target& t) {
  std::vector<ShippedKernel> out;
  for (const PackedLayout& p : stored_orders(t)) {
    out.push_back({"pack " + pack_id(p), built(pack_program(p, plain_type(p.elem)))});
    out.push_back({"unpack " + pack_id(p), built(unpack_program(p, plain_type(p.elem)))});
  }
  return out;
}

inline std::vector<ShippedKernel> shipped_kernels(const Target& t) {
  std::vector<ShippedKernel> out = shipped_matmuls(t);
  for (ShippedKernel& k : shipped_row_kernels()) out.push_back(std::move(k));
  for (ShippedKernel& k : shipped_packers(t)) out.push_back(std::move(k));
  return out;
}

/// Some of each kind, for compilers that take long: every schedule with plain and with quantised weights, one schedule
/// with every format and group, and the row kernels.
inline std::vector<ShippedKernel> kernels_of_each_kind(const Target& t) {
  std::vector<ShippedKernel> out;
  for (const NamedFormat& f : shipped_formats()) {
    const bool each = !f.format.scaled() || (f.format.zeros && f.format.group == 128);
    const std::vector<Schedule> rows = schedules(t, f);
    for (size_t i = 0; i < (each ? rows.size() : 1); i++)
      out.push_back(shipped_matmul(f, rows[i], out.size() % 2 == 0));
  }
  for (ShippedKernel& k : shipped_row_kernels()) out.push_back(std::move(k));
  return out;
}

}  // namespace lathe
