#include "tools/request_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/file.h"
#include "tools/place.h"

namespace lathe::tools {
namespace {

Result<std::vector<std::string>> devices_of(const RequestOptions& o) {
  std::vector<std::string> ids;
  for (const std::string& id : o.devices)
    if (id == "all")
      for (const auto& d : runtime::list_devices()) ids.push_back(d.id);
    else
      ids.push_back(id);
  if (o.devices.empty()) ids.push_back(best_device());
  if (ids.empty()) return bad_input("no CUDA and no Vulkan device is here; `lathe devices` says why");
  for (const std::string& id : ids)
    if (id == kInterpreter) return bad_input("the tile interpreter has no speed; --device names a device");
  return ids;
}

}  // namespace

void add_request_options(CLI::App* app, RequestOptions& o) {
  app->add_option("--device", o.devices, "ids of `lathe devices`, or all; default: the best one found");
  app->add_option("--shape", o.shapes, "K x N of the weights, such as 4096x28672");
  app->add_option("--model", o.models, "the shapes of " + bench::model_names());
  app->add_option("--m", o.tokens, "numbers of tokens, and ranges a..b or a..b:step")->capture_default_str();
  app->add_option("--type", o.types, bench::format_help());
  app->add_option("--group", o.group, "weights along K that share a scale; 0: the whole row")->capture_default_str();
  app->add_option("--x", o.x, "f16 or bf16: the type of the tokens")->capture_default_str();
  app->add_option("--rotate-mb", o.rotate_mb, "weights in turn, so that none is in a cache")->capture_default_str();
  app->add_flag("--no-probe", o.no_probe, kNoProbeHelp);
}

Result<std::vector<bench::Format>> read_formats(const RequestOptions& o) {
  if (o.x != "f16" && o.x != "bf16") return bad_input(fmt::format("--x {}: f16 or bf16", model::in_quotes(o.x)));
  if (o.group < 0 || o.group > int64_t{1} << 24) return bad_input("--group: 0 .. 2^24");
  std::vector<bench::Format> formats;
  for (const std::string& type : o.types.empty() ? std::vector{bench::format_names().front()} : o.types) {
    TRY_ASSIGN(bench::Format f, bench::format_of(type, o.group, o.x == "f16" ? types::f16 : types::bf16));
    formats.push_back(std::move(f));
  }
  return formats;
}

bench::Rotation rotation_of(const RequestOptions& o) {
  constexpr double kMost = 1e6;
  return {static_cast<uint64_t>(std::clamp(o.rotate_mb, 0.0, kMost) * 1e6)};
}

Result<Request> read_request(const RequestOptions& o) {
  Request r{.rotation = rotation_of(o), .no_probe = o.no_probe};
  TRY_ASSIGN(r.formats, read_formats(o));
  for (const std::string& text : o.shapes) {
    TRY_ASSIGN(const bench::Shape s, bench::read_shape(text));
    r.shapes.push_back(s);
  }
  for (const std::string& name : o.models) {
    TRY_ASSIGN(const auto of_model, bench::shapes_of_model(name));
    r.shapes.insert(r.shapes.end(), of_model.begin(), of_model.end());
  }
  if (r.shapes.empty()) return bad_input("say --shape KxN or --model NAME");
  TRY_ASSIGN(r.tokens, bench::read_tokens(o.tokens));
  TRY_ASSIGN(r.devices, devices_of(o));
  return r;
}

}  // namespace lathe::tools
