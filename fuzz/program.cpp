#include "fuzz/program.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>

namespace lathe::fuzz {
namespace {

constexpr const char* kDataNames[] = {"exact", "real", "special"};
constexpr int64_t kMaxStorage = int64_t{1} << 24;
constexpr std::string_view kMark = "// launch ";

/// A stream of well-mixed words from a seed (splitmix64).
class Words {
 public:
  Words(uint32_t seed, const std::string& name) : state_(seed) {
    for (const char c : name) state_ = state_ * 0x100000001b3 ^ static_cast<unsigned char>(c);
  }
  uint32_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return static_cast<uint32_t>(z >> 32);
  }

 private:
  uint64_t state_;
};

double special_value(Type elem, uint32_t random) {
  const double least = std::ldexp(1.0, 2 - (1 << (elem.exp - 1))), most = std::ldexp(1.0, (1 << (elem.exp - 1)) - 1);
  const double values[] = {std::numeric_limits<double>::infinity(), std::nan(""), least / 4, most, -0.0, least};
  const double v = values[random / 2 % std::size(values)];
  return random % 2 ? -v : v;
}

template <class T>
bool read_number(std::string_view text, T& value) {
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc{} && read.ptr == end;
}

Result<Unit> read_launch(std::string_view line, Program& p) {
  std::istringstream words{std::string(line)};
  std::string word;
  while (words >> word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), value = equals == word.npos ? "" : word.substr(equals + 1);
    bool ok = !value.empty();
    if (name == "data") {
      const auto* found = std::find(std::begin(kDataNames), std::end(kDataNames), value);
      ok = found != std::end(kDataNames);
      p.data = static_cast<Data>(found - std::begin(kDataNames));
    } else if (name == "seed") {
      ok = ok && read_number(value, p.data_seed);
    } else if (name == "factor") {
      ok = value == "accumulator" || value == "operand";
      p.accumulator = value == "accumulator";
    } else if (!value.empty() && value[0] == '[') {
      TensorShape& t = p.shapes[name];
      const size_t close = value.find(']');
      std::istringstream extents(value.substr(1, close == value.npos ? close : close - 1));
      for (std::string extent; ok && std::getline(extents, extent, ',');)
        ok = read_number(extent, t.shape.emplace_back()) && t.shape.back() >= 0 && t.shape.back() <= kMaxStorage;
      ok = ok && close != value.npos && value[close + 1] == '@' && read_number(value.substr(close + 2), t.storage) &&
           t.storage >= 0 && t.storage <= kMaxStorage;
    } else {
      ok = ok && read_number(value, p.scalars[name]);
    }
    if (!ok) return bad_input(fmt::format("the launch line: '{}'", word));
  }
  return Unit{};
}

}  // namespace

const char* to_string(Data d) { return kDataNames[static_cast<size_t>(d)]; }

uint64_t Program::element(Data data, Type elem, uint32_t random) {
  if (elem.kind == Kind::boolean) return random & 1;
  const int small = static_cast<int>(random % 5) - 2;
  if (data == Data::exact) return elem.kind == Kind::uint ? encode_int(elem, std::abs(small)) : encode(elem, small);
  if (!elem.is_float()) return encode_int(elem, random % 7 == 0 ? int64_t{random} << 31 : static_cast<int32_t>(random));
  if (data == Data::special && random % 8 == 0) return encode(elem, special_value(elem, random / 8));
  return encode(elem, (static_cast<double>(random) - 0x1p31) * 0x1p-29);
}

std::map<std::string, tile::HostTensor> Program::tensors() const {
  std::map<std::string, tile::HostTensor> out;
  for (const tile::Param& p : func.params) {
    if (func.type(p.value).is_scalar() || p.workspace) continue;
    const std::string& name = func.values[p.value].name;
    const TensorShape& t = shapes.at(name);
    tile::HostTensor tensor{func.type(p.value).elem, t.shape, {}};
    Words words(data_seed, name);
    for (int64_t i = 0; i < t.storage; i++) tensor.raw.push_back(element(data, tensor.elem, words.next()));
    out.emplace(name, std::move(tensor));
  }
  return out;
}

std::string to_text(const Program& p, const std::string& about) {
  std::string text;
  std::istringstream lines(about);
  for (std::string line; std::getline(lines, line);) text += "// " + line + "\n";
  text += fmt::format("{}data={} seed={} factor={}", kMark, to_string(p.data), p.data_seed,
                      p.accumulator ? "accumulator" : "operand");
  for (const tile::Param& param : p.func.params)
    if (const auto t = p.shapes.find(p.func.values[param.value].name); t != p.shapes.end())
      text += fmt::format(" {}=[{}]@{}", t->first, fmt::join(t->second.shape, ","), t->second.storage);
  for (const auto& [name, raw] : p.scalars) text += fmt::format(" {}={}", name, raw);
  return text + "\n" + tile::print(p.func);
}

Result<Program> program_from_text(std::string_view text, std::string_view file_name) {
  Program p;
  TRY_ASSIGN(p.func, tile::parse(text, file_name));
  const size_t at = text.find(kMark);
  if (at == text.npos) return bad_input(fmt::format("{}: no line '{}..'", file_name, kMark));
  const size_t from = at + kMark.size();
  const auto read = read_launch(text.substr(from, text.find('\n', from) - from), p);
  if (!read) return bad_input(fmt::format("{}: {}", file_name, read.error().text));
  for (const tile::Param& param : p.func.params) {
    if (param.workspace) continue;
    const std::string& name = p.func.values[param.value].name;
    const bool is_view = !p.func.type(param.value).is_scalar();
    if (is_view ? !p.shapes.contains(name) : !p.scalars.contains(name))
      return bad_input(fmt::format("{}: the launch line says nothing of '{}'", file_name, name));
    if (is_view && p.shapes.at(name).shape.size() != param.sizes.size())
      return bad_input(fmt::format("{}: '{}' has {} dimensions", file_name, name, param.sizes.size()));
  }
  return p;
}

}  // namespace lathe::fuzz
