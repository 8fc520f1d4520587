#pragma once
// A matmul to measure: weights and tokens made up by a fixed rule, and exact values of some of its outputs.
#include <span>
#include <string>
#include <vector>

#include "bench/request.h"
#include "model/matmul.h"
#include "runtime/device.h"

namespace lathe::bench {

class Problem {
 public:
  Problem(const Format& format, Shape shape, int64_t most_tokens);
  const Format& format() const { return format_; }
  Shape shape() const { return shape_; }
  int64_t most_tokens() const { return most_tokens_; }
  PlainWeights weights() const { return {shape_.n, shape_.k, groups_, codes_, scales_, zeros_}; }
  /// most_tokens x k of format().activation; fewer tokens are its first rows.
  std::span<const uint16_t> x() const { return x_; }
  /// The weights rounded to f16, n x k.
  std::vector<uint16_t> f16_weights() const;

  /// An output, and how far a matmul with operands of the activation's type and f32 sums may be from it:
  /// (2 u16 + k u32) sum |x||w|, u16 of the activation's type.
  struct Sample {
    int64_t row, column;
    double exact, bound;
  };
  /// Of the outputs of the first m tokens, those in the corners among them.
  std::vector<Sample> samples(int64_t m) const;

 private:
  void make_weights();
  int64_t group_width() const;  ///< columns that share a scale
  /// Those of one row from `first` on, all in one group.
  void decode_group(int64_t row, int64_t first, std::span<float> into) const;
  std::vector<float> decode_row(int64_t row) const;

  Format format_;
  Shape shape_;
  int64_t most_tokens_, groups_ = 0;
  std::vector<std::byte> codes_;
  std::vector<uint16_t> scales_, zeros_, x_;
};

/// The largest error of the samples over its bound, infinity for what is no number. y: m x n of `type` on the device,
/// whose own rounding is allowed for.
Result<double> error_over_bound(runtime::Device& device, const runtime::Buffer& y, Type type, const Problem& problem,
                                int64_t m);

}  // namespace lathe::bench
