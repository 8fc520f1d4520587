// Text of a tile program: what parses is well-formed, and its printed form is the same kernel.
#include "ir/tile.h"

#include "tests/readers/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  using readers::require;
  const auto f = tile::parse(readers::as_text(data, size), "input");
  if (!f) {
    require(f.error().code != Error::Code::internal, "an error is not our fault", f.error().text);
    require(f.error().text.starts_with("input:"), "an error has its place", f.error().text);
    return 0;
  }
  require(tile::verify(*f).has_value(), "what parses is well-formed");
  const std::string text = tile::print(*f);
  const auto again = tile::parse(text, "printed");
  require(again.has_value(), "what is printed parses", again ? text : again.error().text + "\n" + text);
  require(tile::equal(*f, *again), "what is printed is the same kernel", text);
  require(tile::print(*again) == text, "it prints the same again", text);
  return 0;
}
