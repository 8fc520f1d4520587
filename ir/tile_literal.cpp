#include "ir/tile_literal.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

namespace lathe::tile {

const Func::Inst* constant_of(const Func& f, ValueId v) {
  const Func::Inst* def = f.def(v);
  return def && def->op == Op::constant ? def : nullptr;
}

const Func::Inst* fill_of_constant(const Func& f, ValueId v) {
  const Func::Inst* def = f.def(v);
  return def && def->op == Op::fill ? constant_of(f, def->args[0]) : nullptr;
}

bool same_constant(const Attr& a, const Attr& b) {
  if (a.elem != b.elem) return false;
  if (!a.elem.is_float()) return a.imm == b.imm;
  return std::bit_cast<uint64_t>(a.num) == std::bit_cast<uint64_t>(b.num) ||
         (std::isnan(a.num) && std::isnan(b.num) && std::signbit(a.num) == std::signbit(b.num));
}

std::string bare_literal(const Attr& c) {
  if (c.elem.kind == Kind::boolean) return c.imm ? "true" : "false";
  return c.elem.is_float() ? fmt::format("{}", c.num) : fmt::format("{}", c.imm);
}

std::string standalone_literal(const Attr& c) {
  std::string bare = bare_literal(c);
  if (c.elem.kind == Kind::boolean || c.elem == types::i64) return bare;
  if (c.elem != types::f32) return fmt::format("{}({})", to_string(c.elem), bare);
  return std::isfinite(c.num) && bare.find_first_of(".e") == bare.npos ? bare + ".0" : bare;
}

}  // namespace lathe::tile
