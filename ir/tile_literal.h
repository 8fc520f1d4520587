#pragma once
// Constants have no place of their own in the text: they are written where they are used, and so are tiles filled with
// one. Printer and `equal` therefore see them by value.
#include <string>

#include "ir/tile.h"

namespace lathe::tile {

/// The `constant` that defines v, or null.
const Func::Inst* constant_of(const Func& f, ValueId v);
/// The `constant` that fills tile v, or null.
const Func::Inst* fill_of_constant(const Func& f, ValueId v);
bool same_constant(const Attr& a, const Attr& b);

/// The literal where its type is known from beside it: 8, -0.5, true, inf.
std::string bare_literal(const Attr& constant);
/// The literal where it stands alone: 8 is i64, 8.0 is f32, others are typed: f16(8).
std::string standalone_literal(const Attr& constant);

}  // namespace lathe::tile
