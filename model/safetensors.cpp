#include "model/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

namespace lathe::model {
namespace {

using Json = nlohmann::json;
using Entry = Safetensors::Entry;

constexpr uint64_t kLongestHeader = 100'000'000;  ///< the limit of the format's own reader

struct Row {
  std::string_view name;
  Type type;
};
constexpr Row kTypes[] = {
    {"F16", types::f16}, {"BF16", types::bf16}, {"F32", types::f32},
    {"F64", kF64},       {"I8", types::i8},     {"U8", types::u8},
    {"I32", types::i32}, {"I64", types::i64},   {"BOOL", types::boolean},
};

std::optional<Type> type_of(std::string_view dtype) {
  for (const Row& row : kTypes) {
    if (row.name == dtype) return row.type;
  }
  return std::nullopt;
}

/// JSON lets an object say a key twice and the library keeps one of them: here it is an error.
Result<Json> parse_header(std::string_view text) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::optional<std::string> twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second && !twice) {
      twice = value.get<std::string>();
    }
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    if (twice) return bad_input(fmt::format("its header names {} twice", in_quotes(*twice)));
    if (!header.is_object()) return bad_input("its header is not a JSON object");
    return header;
  } catch (const Json::parse_error& e) {
    return bad_input(fmt::format("its header is not JSON (at byte {} of it)", e.byte));
  } catch (const Json::out_of_range&) {
    return bad_input("a number in its header is too large");
  }
}

/// A list of whole numbers from 0 on.
std::optional<std::vector<int64_t>> whole_numbers(const Json& list) {
  if (!list.is_array()) return std::nullopt;
  std::vector<int64_t> out;
  for (const Json& number : list) {
    if (!number.is_number_unsigned()) return std::nullopt;
    const uint64_t value = number.get<uint64_t>();
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    out.push_back(static_cast<int64_t>(value));
  }
  return out;
}

/// One tensor of the header; offsets count from `data`, where `held` bytes follow.
Result<Entry> parse_entry(const std::string& name, const Json& json, uint64_t data, uint64_t held) {
  const auto fail = [&](std::string_view what) {
    return bad_input(fmt::format("tensor {}: {}", in_quotes(name), what));
  };
  if (!json.is_object()) return fail("its entry in the header is not an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!json.contains(key)) return fail(fmt::format("its entry in the header has no \"{}\"", key));
  }
  if (!json["dtype"].is_string()) return fail("its dtype is not a string");
  const auto shape = whole_numbers(json["shape"]), offsets = whole_numbers(json["data_offsets"]);
  if (!shape) return fail("its shape is not a list of whole numbers");
  if (shape->size() > kMaxRank) return fail(fmt::format("more than {} dimensions", kMaxRank));
  if (!offsets || offsets->size() != 2) return fail("its data_offsets are not two whole numbers");
  const uint64_t begin = static_cast<uint64_t>((*offsets)[0]), end = static_cast<uint64_t>((*offsets)[1]);
  if (begin > end || end > held) {
    return fail(fmt::format("its data_offsets {}..{} lie outside the {} bytes of data", begin, end, held));
  }
  const std::string dtype = json["dtype"].get<std::string>();
  const std::optional<Type> type = type_of(dtype);
  if (type) {
    const auto count = element_count(*shape, *type);
    if (!count || static_cast<uint64_t>(*count * element_bytes(*type)) != end - begin) {
      return fail(fmt::format("{} of {} do not fill its {} bytes", to_string(*shape), dtype, end - begin));
    }
  }
  return Entry{name, dtype, type, *shape, data + begin, end - begin};
}

Result<Unit> check_metadata(const Json& json) {
  const bool plain =
      json.is_object() && std::all_of(json.begin(), json.end(), [](const Json& v) { return v.is_string(); });
  if (!plain) return bad_input("its __metadata__ is not an object of strings");
  return Unit{};
}

/// The format allows neither gap nor overlap: what follows the header is the tensors, back to back.
Result<Unit> check_cover(const std::vector<Entry>& entries, uint64_t data, uint64_t size) {
  uint64_t at = data;
  const std::string* before = nullptr;
  for (const Entry& e : entries) {
    if (e.begin < at) {
      return bad_input(fmt::format("tensors {} and {} overlap", in_quotes(*before), in_quotes(e.name)));
    }
    if (e.begin > at)
      return bad_input(fmt::format("{} bytes before tensor {} belong to none", e.begin - at, in_quotes(e.name)));
    at = e.begin + e.bytes;
    before = &e.name;
  }
  if (at != size) return bad_input(fmt::format("{} bytes after the last tensor belong to none", size - at));
  return Unit{};
}

Result<std::vector<Entry>> parse_index(std::string_view text, uint64_t data, uint64_t size) {
  TRY_ASSIGN(const Json header, parse_header(text));
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") {
      TRY(check_metadata(json));
      continue;
    }
    TRY_ASSIGN(Entry entry, parse_entry(name, json, data, size - data));
    entries.push_back(std::move(entry));
  }
  // Empty tensors first among those that begin at one byte.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.bytes, a.name) < std::tie(b.begin, b.bytes, b.name);
  });
  TRY(check_cover(entries, data, size));
  return entries;
}

}  // namespace

Result<Safetensors> Safetensors::open(const std::string& path) {
  constexpr uint64_t kFixed = 8;
  TRY_ASSIGN(InputFile file, InputFile::open(path));
  if (file.size() < kFixed) return file.fail("not a .safetensors file: too short");
  TRY_ASSIGN(const std::vector<std::byte> fixed, file.read(0, kFixed));
  uint64_t length = 0;
  for (uint64_t i = kFixed; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(fixed[i]);
  if (length > kLongestHeader || length > file.size() - kFixed) {
    return file.fail(fmt::format(
        "not a .safetensors file, or cut short: it claims a header of {} bytes in a file of {}", length, file.size()));
  }
  TRY_ASSIGN(const std::vector<std::byte> text, file.read(kFixed, length));
  auto entries = parse_index({reinterpret_cast<const char*>(text.data()), text.size()}, kFixed + length, file.size());
  if (!entries) return file.fail(entries.error().text);
  return Safetensors(std::move(file), std::move(*entries));
}

const Safetensors::Entry* Safetensors::find(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

Result<Tensor> Safetensors::read(std::string_view name) {
  const Entry* e = find(name);
  if (!e) {
    constexpr size_t kShown = 3;
    std::string held;
    for (size_t i = 0; i < entries_.size() && i < kShown; i++) held += (i ? ", " : "") + in_quotes(entries_[i].name);
    if (entries_.size() > kShown) held += fmt::format(" and {} more", entries_.size() - kShown);
    return file_.fail(fmt::format("no tensor {}; it holds {}", in_quotes(name), held.empty() ? "none" : held));
  }
  if (!e->type) {
    return file_.fail(fmt::format("tensor {}: elements of type {} are not read", in_quotes(name), in_quotes(e->dtype)),
                      Error::Code::unsupported);
  }
  TRY_ASSIGN(std::vector<std::byte> data, file_.read(e->begin, e->bytes));
  return Tensor{*e->type, e->shape, std::move(data)};
}

Result<std::vector<float>> Safetensors::read_f32(std::string_view name) {
  TRY_ASSIGN(const Tensor stored, read(name));
  TRY_ASSIGN(const Tensor values, convert(stored, types::f32));
  return f32_values(values);
}

}  // namespace lathe::model
