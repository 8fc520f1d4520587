#include "bench/request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "model/file.h"

namespace lathe::bench {
namespace {

constexpr int64_t kMostSide = int64_t{1} << 24, kMostWeights = int64_t{1} << 32;
constexpr int64_t kMostTokens = int64_t{1} << 20;
constexpr size_t kMostCounts = 4096;

struct Model {
  const char* name;
  int64_t width, q, kv, gate;
};
constexpr Model kModels[] = {
#define MODEL(name, width, q, kv, gate) {name, width, q, kv, gate},
#include "bench/models.def"
};

struct Row {
  const char* name;
  kernels::WeightFormat weights;
  const char* doc;
};
const Row kFormats[] = {
#define FORMAT(name, code, zero, zeros, doc) {name, {types::code, 128, zero, zeros}, doc},
#include "bench/formats.def"
};

/// Takes a number from the front of `text`.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || value < 1) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(read.ptr - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

std::string to_string(Shape s) { return fmt::format("{}x{}", s.k, s.n); }

Result<Shape> read_shape(const std::string& text) {
  std::string_view rest = text;
  const auto k = take_number(rest);
  const bool between = take(rest, "x");
  const auto n = take_number(rest);
  if (!k || !between || !n || !rest.empty())
    return bad_input(fmt::format("--shape {}: K x N, such as 4096x28672", model::in_quotes(text)));
  if (*k > kMostSide || *n > kMostSide || *k * *n > kMostWeights)
    return bad_input(fmt::format("--shape {}: more than {} weights, or a side over {}", model::in_quotes(text),
                                 kMostWeights, kMostSide));
  return Shape{*k, *n};
}

Result<std::vector<Shape>> shapes_of_model(const std::string& name) {
  const auto m = std::find_if(std::begin(kModels), std::end(kModels), [&](const Model& x) { return x.name == name; });
  if (m == std::end(kModels))
    return bad_input(fmt::format("--model {}: one of {}", model::in_quotes(name), model_names()));
  return std::vector<Shape>{{m->width, m->q + m->kv}, {m->q, m->width}, {m->width, 2 * m->gate}, {m->gate, m->width}};
}

std::string model_names() {
  std::vector<std::string> names;
  for (const Model& m : kModels) names.push_back(m.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<std::vector<int64_t>> read_tokens(const std::string& text) {
  const auto refuse = [&](const char* why) {
    return bad_input(fmt::format("--m {}: {}", model::in_quotes(text), why));
  };
  std::vector<int64_t> all;
  for (std::string_view rest = text;;) {
    const auto first = take_number(rest);
    const auto last = first && take(rest, "..") ? take_number(rest) : first;
    const auto step = last && take(rest, ":") ? take_number(rest) : std::optional<int64_t>(1);
    if (!first || !last || !step) return refuse("numbers and ranges, such as 1,8,32..64,128..512:64");
    if (*last > kMostTokens) return refuse("at most 1048576 tokens");
    for (int64_t m = *first; m <= *last; m += *step) {
      if (all.size() == kMostCounts) return refuse("more than 4096 numbers");
      all.push_back(m);
    }
    if (rest.empty()) break;
    if (!take(rest, ",")) return refuse("numbers and ranges, such as 1,8,32..64,128..512:64");
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  if (all.empty()) return refuse("no number in it");
  return all;
}

Result<Format> format_of(const std::string& type, int64_t group, Type activation) {
  const auto row = std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Row& r) { return r.name == type; });
  if (row == std::end(kFormats))
    return bad_input(fmt::format("--type {}: one of {}", model::in_quotes(type), fmt::join(format_names(), ", ")));
  Format f{row->name, row->weights, activation};
  f.weights.group = f.weights.scaled() ? group : 0;
  if (f.weights.scaled()) f.name += group ? fmt::format(" g{}", group) : " one group";
  if (activation != types::f16) f.name += fmt::format(" x {}", lathe::to_string(activation));
  return f;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const Row& r : kFormats) names.push_back(r.name);
  return names;
}

std::string format_help() {
  std::vector<std::string> lines;
  for (const Row& r : kFormats) lines.push_back(fmt::format("{}: {}", r.name, r.doc));
  return fmt::format("{}", fmt::join(lines, "; "));
}

}  // namespace lathe::bench
