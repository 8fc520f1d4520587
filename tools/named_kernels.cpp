#include "tools/named_kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "model/file.h"
#include "model/matmul.h"

namespace lathe::tools {
namespace {

/// What a schedule is chosen for: sizes that are set, else a projection of a model of 8 billion parameters.
std::map<std::string, int64_t> matmul_sizes(const Settings& settings) {
  constexpr int64_t kTokens = 16, kOutputs = 4096, kInputs = 4096;
  const auto set = [&](const char* name, int64_t otherwise) { return settings.value(name).value_or(otherwise); };
  return {{"M", set("M", set("tokens", kTokens))}, {"N", set("N", kOutputs)}, {"K", set("K", kInputs)}};
}

Result<Unit> take_schedule(Settings& settings, Schedule& s) {
  TRY(settings.take("tile_n", s.tile_n, 1, 4096));
  TRY(settings.take("tile_m", s.tile_m, 1, 4096));
  TRY(settings.take("tile_k", s.tile_k, 1, 1 << 16));
  const char* const names[] = {"split_n", "split_m", "split_k"};
  for (size_t i = 0; i < s.split.size(); i++) {
    int64_t value = s.split[i];
    TRY(settings.take(names[i], value, 1, 32));
    s.split[i] = static_cast<int>(value);
  }
  int64_t stages = s.stages, k_groups = s.k_groups, accumulator = s.factor_on_accumulator;
  TRY(settings.take("stages", stages, 1, 8));
  TRY(settings.take("k_groups", k_groups, 1, 64));
  TRY(settings.take("acc", accumulator, 0, 1));
  s.stages = static_cast<int>(stages);
  s.k_groups = static_cast<int>(k_groups);
  s.factor_on_accumulator = accumulator != 0;
  return Unit{};
}

Result<tile::Func> matmul(Type code, const Target& target, Settings& settings, tile::Factor& factor) {
  kernels::WeightFormat format{.code = code, .zeros = code == types::u4};
  int64_t zeros = format.zeros, bias = 0, tokens = 0;
  if (format.scaled()) TRY(settings.take("group", format.group, 0, 1 << 20));
  if (code == types::u4) TRY(settings.take("zeros", zeros, 0, 1));
  format.zeros = zeros != 0;
  TRY(settings.take("bias", bias, 0, 1));
  TRY(settings.take("tokens", tokens, 1, int64_t{1} << 31));
  TRY_ASSIGN(const ScheduleSet schedules, schedules_of(target, format));
  const auto sizes = matmul_sizes(settings);
  Schedule schedule = choose_schedule(schedules, sizes.at("M"), sizes.at("N"), sizes.at("K"));
  TRY(take_schedule(settings, schedule));
  factor = schedule.factor_on_accumulator ? tile::Factor::accumulator : tile::Factor::operand;
  return kernels::matmul(format, types::f16, bias != 0, schedule);
}

/// Row kernels: f32 or f16 elements by their bits.
struct RowSettings {
  Type type = types::f16;
  int64_t rows = 4, columns = 1024, tile = 32;
  int subgroups = 4;
};
Result<RowSettings> row_settings(Settings& settings, bool square) {
  RowSettings r;
  int64_t bits = 16, subgroups = r.subgroups;
  TRY(settings.take("bits", bits, 16, 32));
  if (bits != 16 && bits != 32) return bad_input("bits is 16 or 32");
  r.type = bits == 16 ? types::f16 : types::f32;
  TRY(settings.take("subgroups", subgroups, 1, 32));
  r.subgroups = static_cast<int>(subgroups);
  if (square) {
    TRY(settings.take("tile", r.tile, 1, 1024));
  } else {
    TRY(settings.take("rows", r.rows, 1, 1024));
    TRY(settings.take("columns", r.columns, 1, 1 << 16));
  }
  return r;
}

using Build = Result<tile::Func> (*)(const Target&, Settings&, tile::Factor&);
struct Row {
  const char* name;
  Build build;
  bool scheduled = false;  ///< by its sizes
};
template <class Kernel>
Result<tile::Func> row_kernel(Settings& settings, Kernel kernel) {
  TRY_ASSIGN(const RowSettings r, row_settings(settings, false));
  return kernel(r.type, r.rows, r.columns, r.subgroups);
}
const Row kRows[] = {
    {"matmul_u4", [](const Target& t, Settings& s, tile::Factor& f) { return matmul(types::u4, t, s, f); }, true},
    {"matmul_i4", [](const Target& t, Settings& s, tile::Factor& f) { return matmul(types::i4, t, s, f); }, true},
    {"matmul_f16", [](const Target& t, Settings& s, tile::Factor& f) { return matmul(types::f16, t, s, f); }, true},
    {"softmax", [](const Target&, Settings& s, tile::Factor&) { return row_kernel(s, kernels::softmax); }},
    {"rmsnorm", [](const Target&, Settings& s, tile::Factor&) { return row_kernel(s, kernels::rmsnorm); }},
    {"transpose",
     [](const Target&, Settings& s, tile::Factor&) -> Result<tile::Func> {
       TRY_ASSIGN(const RowSettings r, row_settings(s, true));
       return kernels::transpose(r.type, r.tile, r.subgroups);
     }},
};

const Row* find(const std::string& name) {
  for (const Row& row : kRows)
    if (name == row.name) return &row;
  return nullptr;
}

}  // namespace

Result<Settings> Settings::parse(const std::vector<std::string>& arguments) {
  Settings s;
  for (const std::string& text : arguments) {
    const size_t mark = text.find('=');
    int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto read = mark == text.npos ? std::from_chars_result{nullptr, std::errc::invalid_argument}
                                        : std::from_chars(text.data() + mark + 1, end, value);
    if (mark == 0 || read.ec != std::errc{} || read.ptr != end)
      return bad_input(fmt::format("--set {}: NAME=NUMBER is needed", model::in_quotes(text)));
    s.given_[text.substr(0, mark)] = value;
  }
  s.all_ = s.given_;
  return s;
}

Result<Unit> Settings::take(const std::string& name, int64_t& value, int64_t low, int64_t high) {
  known_.push_back(name);
  const auto it = given_.find(name);
  if (it == given_.end()) return Unit{};
  if (it->second < low || it->second > high)
    return bad_input(fmt::format("--set {}={}: outside {} .. {}", name, it->second, low, high));
  value = it->second;
  given_.erase(it);
  return Unit{};
}

Result<Unit> Settings::finish() const {
  if (given_.empty()) return Unit{};
  return bad_input(fmt::format("--set {}: no such setting; there are {}", model::in_quotes(given_.begin()->first),
                               fmt::join(known_, ", ")));
}

std::optional<int64_t> Settings::value(const std::string& name) const {
  const auto it = all_.find(name);
  return it == all_.end() ? std::nullopt : std::optional(it->second);
}

bool is_named_kernel(const std::string& name) { return find(name) != nullptr; }

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.push_back(row.name);
  return names;
}

Result<tile::Func> named_kernel(const std::string& name, const Target& target, Settings& settings,
                                tile::Factor& factor) {
  const Row* row = find(name);
  if (row == nullptr) return internal_error(fmt::format("no kernel {}", name));
  return row->build(target, settings, factor);
}

std::map<std::string, int64_t> named_sizes(const std::string& name, const Settings& settings) {
  const Row* row = find(name);
  return row && row->scheduled ? matmul_sizes(settings) : std::map<std::string, int64_t>{};
}

}  // namespace lathe::tools
