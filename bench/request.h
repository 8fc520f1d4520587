#pragma once
// What a user asks to be measured, from the words of a command line: shapes, numbers of tokens, weight formats.
#include <string>
#include <vector>

#include "ir/result.h"
#include "shaders/kernels.h"

namespace lathe::bench {

/// Weights are n x k; k is what a product sums over.
struct Shape {
  int64_t k = 0, n = 0;
  bool operator==(const Shape&) const = default;
};
std::string to_string(Shape s);  ///< "KxN"

/// "KxN", both 1 .. 2^24 and at most 2^32 weights.
Result<Shape> read_shape(const std::string& text);
/// The products of one block of the model. bad_input names the models there are.
Result<std::vector<Shape>> shapes_of_model(const std::string& name);
std::string model_names();

/// "1,8,32..64,128..512:64": numbers, and ranges with a step; in rising order, each once, 1 .. 2^20, at most 4096.
Result<std::vector<int64_t>> read_tokens(const std::string& text);

/// What weights are made of, and the type of x.
struct Format {
  std::string name;  ///< "u4b8 g128"
  kernels::WeightFormat weights;
  Type activation = types::f16;
  bool operator==(const Format&) const = default;
};
/// `type`: a name of formats.def. group 0: a row is one group.
Result<Format> format_of(const std::string& type, int64_t group, Type activation);
std::vector<std::string> format_names();
std::string format_help();

}  // namespace lathe::bench
