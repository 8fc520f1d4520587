#pragma once
// Words of the Tile IR text.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/result.h"
#include "ir/ssa.h"

namespace lathe::tile {

struct Token {
  enum class Kind : uint8_t { name, integer, number, string, symbol, end };
  Kind kind = Kind::end;
  std::string_view text;  ///< as written; a string without its quotes
  Loc loc;
  uint64_t integer = 0;  ///< integer: its value
  double number = 0;     ///< integer and number: its value
};

/// Splits a program; the last token is `end`. An error is complete: place, line and caret.
Result<std::vector<Token>> lex(std::string_view text, std::string_view file_name);
/// "file:line:col: error: message\n  source line\n  ^".
Error text_error(std::string_view text, std::string_view file_name, Loc loc, std::string_view message);

bool is_identifier(std::string_view s);
/// Words that cannot name a value: the grammar's own and the element types.
bool is_reserved(std::string_view s);

}  // namespace lathe::tile
