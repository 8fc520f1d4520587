#pragma once
// Host tensors for the tests of the interpreter: made from numbers, compared as bits.
#include <doctest/doctest.h>

#include <initializer_list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "ir/tile_interp.h"

namespace lathe::tile {

using Tensors = std::map<std::string, HostTensor>;

inline int64_t count_of(const Coord& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return n;
}

/// Elements are the given numbers; missing ones are 0.
inline HostTensor tensor(lathe::Type elem, Coord shape, const std::vector<double>& numbers = {}) {
  HostTensor t{elem, std::move(shape), {}};
  t.raw.resize(static_cast<size_t>(count_of(t.shape)), encode(elem, 0));
  for (size_t i = 0; i < numbers.size(); i++) t.raw.at(i) = encode(elem, numbers[i]);
  return t;
}

inline std::vector<double> numbers(const HostTensor& t) {
  std::vector<double> out;
  for (size_t i = 0; i < t.raw.size(); i++) out.push_back(t.at(static_cast<int64_t>(i)));
  return out;
}

/// Whole numbers lo..hi, or any number between with `whole` false.
inline HostTensor random_tensor(std::mt19937& rng, lathe::Type elem, Coord shape, int lo, int hi, bool whole = true) {
  HostTensor t = tensor(elem, std::move(shape));
  std::uniform_int_distribution<int> integers(lo, hi);
  std::uniform_real_distribution<double> reals(lo, hi);
  for (uint64_t& raw : t.raw) raw = encode(elem, whole ? integers(rng) : reals(rng));
  return t;
}

/// The kernel, or a failed test.
inline Func finished(Builder& b) {
  auto f = b.finish();
  REQUIRE_MESSAGE(f, f.error().text);
  return std::move(*f);
}

inline void must_run(const Func& f, Tensors& tensors, const std::map<std::string, uint64_t>& scalars = {}) {
  const auto done = interpret(f, tensors, scalars);
  REQUIRE_MESSAGE(done, done.error().text);
}

inline std::vector<std::string> sizes_of(const Coord& shape) {
  std::vector<std::string> out;
  for (const int64_t extent : shape) out.push_back(std::to_string(extent));
  return out;
}

}  // namespace lathe::tile
