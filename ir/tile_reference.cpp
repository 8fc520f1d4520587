// The reference page, from the tables alone.
#include <fmt/format.h>

#include "ir/tile.h"

namespace lathe::tile {
namespace {

constexpr const char* kEffects[] = {"pure", "reads", "writes", "control"};
constexpr const char* kRoundings[] = {"exact", "once", "approx", "sum", "none"};

const char* attribute_form(char letter) {
  switch (letter) {
    case 'T':
      return "type";
    case 'D':
      return "type[shape]";
    case 'S':
      return "[shape]";
    case 'p':
      return "[order]";
    case 'd':
      return "dim";
    case 'm':
      return "\"text\"";
    case 'r':
      return "[least, most]";
    case 'o':
      return "[offsets]";
    case 'c':
      return "count";
    case 'k':
      return "sum|max|min";
    default:
      return "number";
  }
}

std::string infix_form(Op op) {
  switch (op) {
#define TILE_INFIX(name, token, precedence) \
  case Op::name:                            \
    return "a " token " b";
#include "ir/tile_text.def"
    case Op::neg:
      return "-a";
    default:
      return "";
  }
}

/// A '|' would end the cell of a table.
std::string cell(std::string_view s) {
  std::string out;
  for (char c : s) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string precedences() {
  std::string out;
  int last = -1;
#define TILE_INFIX(name, token, precedence)                                                  \
  out += fmt::format("{}`{}`", precedence == last ? " " : last < 0 ? "" : ", then ", token); \
  last = precedence;
#include "ir/tile_text.def"
  return out;
}

}  // namespace

std::string usage(Op op) {
  if (op == Op::loop) return "for i in lo .. hi step s stages n { .. }";
  if (op == Op::while_loop) return "while condition { .. } or while { .. yield(condition) } do { .. }";
  if (op == Op::cond) return "if condition { .. } else { .. }";
  if (op == Op::yield) return "yield(a, ..) at the end of grid { .. }";
  const OpInfo& row = info(op);
  if (op == Op::constant) return "constant(type, number) or type(number)";
  std::string parts;
  const auto add = [&](std::string_view s) { parts += fmt::format("{}{}", parts.empty() ? "" : ", ", s); };
  if (row.attributes[0] == 'D') add(attribute_form('D'));
  char letter = 'a';
  for (const char* c = row.operands; *c; c++) add(*c == 'v' ? "view[i, ..]" : std::string(1, letter++));
  for (const char* c = row.attributes; *c; c++)
    if (*c != 'D') add(attribute_form(*c));
  return fmt::format("{}({})", row.name, parts);
}

std::string reference_markdown() {
  std::string out =
      "# Tile IR operations\n\n"
      "Made from ir/tile.def and ir/tile_text.def by `reference_markdown()`; `BLESS=1` on the test rewrites it.\n\n"
      "A scalar beside a tile in an element-wise operation is filled; a literal takes the type of what stands beside "
      "it.\n"
      "Rounding: *exact*; *once*: the exact value rounded once to the element type; *approx*: within a few ulp; *sum*: "
      "in any\n"
      "order, each step rounded to the accumulator type. What only moves elements keeps every bit, those of a NaN too; "
      "which NaN\narithmetic gives is not said.\n\n"
      "| Written | Meaning | Effect | Rounding |\n|---|---|---|---|\n";
  for (int i = 0; i < kOpCount; i++) {
    const Op op = static_cast<Op>(i);
    const OpInfo& row = info(op);
    const std::string infix = infix_form(op);
    out +=
        fmt::format("| `{}`{} | {} | {} | {} |\n", cell(usage(op)), infix.empty() ? "" : " or `" + cell(infix) + "`",
                    cell(row.doc), kEffects[static_cast<int>(row.effect)], kRoundings[static_cast<int>(row.rounding)]);
  }
  return out + "\nInfix operations from loosest to tightest: " + precedences() +
         ". `>` and `>=` are `<` and `<=` with the sides swapped.\n";
}

}  // namespace lathe::tile
