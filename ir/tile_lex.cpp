// Text into words; places and carets of errors.
#include "ir/tile_lex.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ir/types.h"

namespace lathe::tile {
namespace {

constexpr std::string_view kReserved[] = {"kernel",    "grid",  "subgroups", "for",    "in",     "step",  "stages",
                                          "if",        "while", "else",      "layout", "stride", "const", "packed",
                                          "workspace", "true",  "false",     "inf",    "nan"};
// Longest first.
constexpr std::string_view kSymbols[] = {"..", "==", "!=", "<=", ">=", "<<", ">>", "(", ")", "[", "]", "{", "}",
                                         ",",  ":",  "=",  "+",  "-",  "*",  "/",  "%", "&", "|", "^", "<", ">"};
constexpr size_t kMaxQuoted = 160;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    for (;;) {
      skip_blanks();
      start_ = at_;
      Token t;
      t.loc = {line_, static_cast<int>(at_ - line_start_) + 1};
      if (at_ == text_.size()) {
        tokens.push_back(t);
        return tokens;
      }
      TRY(scan(t));
      tokens.push_back(t);
    }
  }

 private:
  tl::unexpected<Error> fail(const Token& t, std::string_view message) const {
    return tl::unexpected(text_error(text_, file_, t.loc, message));
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '/' && peek(1) == '/') {
        while (at_ < text_.size() && text_[at_] != '\n') at_++;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        at_++;
        if (c == '\n') line_++, line_start_ = at_;
      } else {
        return;
      }
    }
  }

  Result<Unit> scan(Token& t) {
    if (is_letter(peek())) {
      while (is_letter(peek()) || is_digit(peek())) at_++;
      t.kind = Token::Kind::name;
      t.text = text_.substr(start_, at_ - start_);
      return Unit{};
    }
    if (is_digit(peek())) return number(t);
    if (peek() == '"') return string(t);
    for (std::string_view s : kSymbols)
      if (text_.substr(at_, s.size()) == s) {
        at_ += s.size();
        t.kind = Token::Kind::symbol;
        t.text = s;
        return Unit{};
      }
    const auto byte = static_cast<unsigned char>(peek());
    if (byte > 32 && byte < 127) return fail(t, fmt::format("unexpected '{}'", peek()));
    return fail(t, fmt::format("unexpected byte 0x{:02x}", byte));
  }

  void digits() {
    while (is_digit(peek())) at_++;
  }

  Result<Unit> number(Token& t) {
    t.kind = Token::Kind::integer;
    digits();
    if (peek() == '.' && is_digit(peek(1))) {
      t.kind = Token::Kind::number;
      at_++;
      digits();
    }
    const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
    if (peek() == 'e' && is_digit(peek(1 + sign))) {
      t.kind = Token::Kind::number;
      at_ += 1 + sign;
      digits();
    }
    t.text = text_.substr(start_, at_ - start_);
    if (is_letter(peek())) return fail(t, fmt::format("'{}' runs into a letter", t.text.substr(0, kMaxQuoted)));
    const char *first = t.text.data(), *last = first + t.text.size();
    const bool fits = std::from_chars(first, last, t.number).ec == std::errc{} &&
                      (t.kind == Token::Kind::number || std::from_chars(first, last, t.integer).ec == std::errc{});
    if (!fits) return fail(t, fmt::format("the number {} is out of range", t.text.substr(0, kMaxQuoted)));
    return Unit{};
  }

  Result<Unit> string(Token& t) {
    t.kind = Token::Kind::string;
    const size_t close = text_.find_first_of("\"\n", at_ + 1);
    if (close == text_.npos || text_[close] == '\n') return fail(t, "the string is not closed on its line");
    t.text = text_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    return Unit{};
  }

  std::string_view text_, file_;
  size_t at_ = 0, start_ = 0, line_start_ = 0;
  int line_ = 1;
};

}  // namespace

Result<std::vector<Token>> lex(std::string_view text, std::string_view file_name) {
  return Lexer(text, file_name).run();
}

Error text_error(std::string_view text, std::string_view file_name, Loc loc, std::string_view message) {
  size_t start = 0;
  for (int i = 1; i < loc.line && start < text.size(); i++)
    start = std::min(text.find('\n', start), text.size() - 1) + 1;
  std::string line, caret;
  // Tabs and bytes that are no text become one column each, so that the caret stands below the right one.
  const size_t from = loc.col > static_cast<int>(kMaxQuoted) ? static_cast<size_t>(loc.col) - kMaxQuoted / 2 : 0;
  for (size_t i = start + from; i < text.size() && text[i] != '\n' && line.size() < kMaxQuoted; i++) {
    const auto c = static_cast<unsigned char>(text[i]);
    line += c < 32 || c == 127 ? ' ' : text[i];
  }
  caret.assign(loc.col > 0 ? static_cast<size_t>(loc.col) - 1 - from : 0, ' ');
  return Error{Error::Code::bad_input,
               fmt::format("{}:{}:{}: error: {}\n  {}\n  {}^", file_name, loc.line, loc.col, message, line, caret)};
}

bool is_identifier(std::string_view s) {
  if (s.empty() || !is_letter(s[0])) return false;
  for (char c : s)
    if (!is_letter(c) && !is_digit(c)) return false;
  return true;
}

bool is_reserved(std::string_view s) {
  for (std::string_view word : kReserved)
    if (s == word) return true;
  return parse_type(s).has_value();
}

}  // namespace lathe::tile
