// The text of layouts: printing, parsing, one clear line for every malformed text.
#include <doctest/doctest.h>
#include <random>

#include "ir/layout.h"
#include "small_layouts.h"

using namespace lathe;
using namespace std::literals;

namespace {

std::string error_of(std::string_view text) {
  const Result<Layout> l = parse_layout(text);
  return l ? "no error" : l.error().text;
}

}  // namespace

TEST_CASE("print and parse are inverse") {
  int wrong = 0;
  for (const int rank : {0, 1, 2, 4}) {
    for (const Layout& l : all_layouts(rank, rank == 4 ? 8 : 24)) {
      const Result<Layout> back = parse_layout(to_string(l));
      wrong += !back || *back != l;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("the text of a layout") {
  const Layout r({16, 64}, {{8, 0, 1}, {4, 1, 16}}, {{8, 1, 2}, {2, 0, 8}, {2, 1, 1}});
  CHECK(to_string(r) == "16x64 T[8:m1 4:k16] S[8:k2 2:m8 2:k1]");
  CHECK(to_string(Layout()) == "() T[] S[]");
  CHECK(to_string(replicate(2, 1) * partial(3, 1)) == "1 T[2:R 3:P] S[]");
  const Layout five = spatial({1, 1, 2, 4, 1}) * local({1, 1, 1, 16, 3});
  CHECK(to_string(five) == "1x1x2x64x3 T[2:n1 4:d3.16] S[16:d3.1 3:d4.1]");
  CHECK(*parse_layout(to_string(five)) == five);
  CHECK(*parse_layout("  8x4  T[ 2:m4   4:m1  ]   S[4:k1 1:k7] ") == spatial({8, 1}) * local({1, 4}));
}

TEST_CASE("drawing: thread/slot of every element") {
  CHECK(draw(column_local({2, 1}) * spatial({2, 2}) * local({1, 2})) ==
        "0/0 0/1 1/0 1/1\n"
        "2/0 2/1 3/0 3/1\n"
        "0/2 0/3 1/2 1/3\n"
        "2/2 2/3 3/2 3/3\n");
  CHECK(draw(spatial({1, 11})) == " 0/0  1/0  2/0  3/0  4/0  5/0  6/0  7/0  8/0  9/0 10/0\n");
  CHECK(draw(replicate(2, 2) * spatial({2, 1})) == "0/0\n1/0\n");
  CHECK(draw(local({3})) == "3 T[] S[3:m1]\n");
}

TEST_CASE("malformed text: the column and what was expected") {
  CHECK(error_of("") == "layout, column 1: expected an extent of the shape, as in 16x64");
  CHECK(error_of("16x") == "layout, column 4: expected an extent of the shape, as in 16x64");
  CHECK(error_of("(") == "layout, column 2: expected ')'");
  CHECK(error_of("16x64") == "layout, column 6: expected T[thread digits]");
  CHECK(error_of("16x64 S[]") == "layout, column 7: expected T[thread digits]");
  CHECK(error_of("4 T[4:m1]") == "layout, column 10: expected S[slot digits]");
  CHECK(error_of("4 T[4:m1] S[] x") == "layout, column 15: expected nothing after S[..]");
  CHECK(error_of("4 T[4:q1] S[]") == "layout, column 7: expected a dimension (m, k, n, d3, d4, ..), R or P");
  CHECK(error_of("4 T[4m1] S[]") == "layout, column 6: expected ':' after the size of a digit");
  CHECK(error_of("4 T[4:m] S[]") == "layout, column 8: expected the weight of a digit");
  CHECK(error_of("4 T[4:m1") == "layout, column 9: expected a digit, as in 8:m1, or ']'");
  CHECK(error_of("4 T[-4:m1] S[]") == "layout, column 5: expected a digit, as in 8:m1, or ']'");
  CHECK(error_of("4 T[4:d31] S[]") == "layout, column 10: expected '.' and a weight, as in d3.16");
}

TEST_CASE("well-formed text of what is no layout") {
  CHECK(error_of("8x4 T[8:m1] S[2:k1]") ==
        "layout: the digits of dimension k cover 2 of its 4 elements without gap or overlap");
  CHECK(error_of("8 T[4:m1] S[2:m2]") ==
        "layout: the digits of dimension m cover 4 of its 8 elements without gap or overlap");
  CHECK(error_of("2x2x2x8 T[2:m1 2:k1 2:n1] S[2:d3.1]") ==
        "layout: the digits of dimension d3 cover 2 of its 8 elements without gap or overlap");
  CHECK(error_of("8 T[8:m1] S[2:R]") == "layout: R and P stand among the thread digits T only");
  CHECK(error_of("8 T[8:k1] S[]") == "layout: a digit has size or weight 0, or a dimension that the shape lacks");
  CHECK(error_of("8 T[8:m0] S[]") == "layout: a digit has size or weight 0, or a dimension that the shape lacks");
  CHECK(error_of("0 T[0:m1] S[]") == "layout: a digit has size or weight 0, or a dimension that the shape lacks");
}

TEST_CASE("hostile text: an error of one line, whatever the numbers") {
  CHECK(error_of("99999999999999999999 T[] S[]") == "layout, column 1: expected a smaller number");
  CHECK(error_of("4 T[9223372036854775807:m1] S[]") == "layout, column 5: expected a smaller number");
  CHECK(error_of("4 T[4:d99999999.1] S[]") == "layout, column 16: expected a smaller dimension");
  const std::string big = std::to_string(int64_t{1} << 40);
  CHECK(error_of(big + "x" + big + " T[" + big + ":m1] S[" + big + ":k1]") == "layout: too many threads and slots");
  CHECK(error_of("4 T[4:m1 " + big + ":R " + big + ":R] S[]") == "layout: too many threads and slots");

  std::string marks = "1 T[", extents = "1";
  for (int i = 0; i < 20000; ++i) marks += "2:R ";
  for (int i = 0; i < 20000; ++i) extents += "x1";
  CHECK(error_of(marks + "] S[]") == "layout: too many threads and slots");
  CHECK(parse_layout(extents + " T[] S[]"));

  // A good text with some characters replaced: a layout or one line.
  std::mt19937 random(3);
  const std::string good = "16x64x2x8 T[8:m1 4:k16 2:R] S[8:k2 2:m8 2:k1 8:d3.1 2:n1]";
  const std::string_view letters = "0123456789:mknd.RPxTS[]() \n\0\xff-+"sv;
  int layouts = 0, multiline = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string text = good;
    for (int j = 0; j <= i % 3; ++j) text[random() % text.size()] = letters[random() % letters.size()];
    if (i % 5 == 0) text.resize(random() % text.size());
    const Result<Layout> l = parse_layout(text);
    layouts += l.has_value();
    if (!l) multiline += l.error().text.find('\n') != std::string::npos || l.error().code != Error::Code::bad_input;
  }
  CHECK(multiline == 0);
  CHECK(layouts > 0);
}
