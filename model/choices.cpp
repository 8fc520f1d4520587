#include "model/choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/file.h"

namespace lathe {
namespace {

using Json = nlohmann::json;

/// What is no choice is passed over, as everywhere in a cache.
std::vector<Choice> read_user_choices() {
  constexpr uint64_t kMostBytes = 16 << 20;
  std::vector<Choice> out;
  auto file = model::InputFile::open(user_choices_file().string());
  if (!file || file->size() > kMostBytes) return out;
  const auto bytes = file->read(0, file->size());
  if (!bytes) return out;
  std::string_view text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 1; };
    const Json j = Json::parse(text.substr(0, end), shallow, false);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto word = [&](const char* name) {
      return j.is_object() && j.contains(name) && j[name].is_string() ? j[name].get<std::string>() : std::string();
    };
    const auto count = [&](const char* name) {
      return j.is_object() && j.contains(name) && j[name].is_number_integer() ? j[name].get<int64_t>() : 0;
    };
    Choice c{word("api"), word("device"), word("weights"), count("k"), count("n"), count("m"), word("schedule")};
    if (!c.schedule.empty()) out.push_back(std::move(c));
  }
  return out;
}

std::string to_line(const Choice& c) {
  return Json{{"api", c.api}, {"device", c.device}, {"weights", c.weights},  {"k", c.k},
              {"n", c.n},     {"m", c.m},           {"schedule", c.schedule}}
             .dump(-1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

/// In place of what is said of the same case.
void put(std::vector<Choice>& all, const Choice& c) {
  std::erase_if(all, [&](const Choice& old) { return old.same_case(c); });
  all.push_back(c);
}

}  // namespace

std::string weights_name(const kernels::WeightFormat& f, Type activation) {
  std::string name = to_string(f.code);
  if (f.scaled()) name += f.group ? fmt::format(" g{}", f.group) : " one group";
  if (f.zeros) name += " zeros";
  if (f.constant_zero) name += fmt::format(" zero{}", f.constant_zero);
  if (activation != types::f16) name += " x " + to_string(activation);
  return name;
}

std::filesystem::path user_choices_file() {
  const auto cache = runtime::DiskCache::standard();
  return cache ? cache->folder().parent_path() / "choices.json" : std::filesystem::path();
}

std::vector<Choice> choices_for(const runtime::DeviceInfo& device, const kernels::WeightFormat& format,
                                Type activation) {
  static const std::vector<Choice> shipped{
#define CHOICE(api, device, weights, k, n, m, schedule) {api, device, weights, k, n, m, schedule},
#include "model/choices.def"
  };
  std::vector<Choice> out;
  const std::string weights = weights_name(format, activation);
  for (const auto& all : {shipped, read_user_choices()})
    for (const Choice& c : all)
      if (c.api == device.api && c.device == device.name && c.weights == weights) put(out, c);
  return out;
}

Result<Unit> keep_choices(std::span<const Choice> choices) {
  const std::filesystem::path file = user_choices_file();
  if (file.empty()) return bad_input("there is no folder to keep choices in (LATHE_CACHE_DIR)");
  std::vector<Choice> all = read_user_choices();
  for (const Choice& c : choices) put(all, c);
  std::string text;
  for (const Choice& c : all) text += to_line(c);
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  const auto part = std::as_bytes(std::span(text.data(), text.size()));
  return model::write_file(file.string(), {&part, 1});
}

}  // namespace lathe
