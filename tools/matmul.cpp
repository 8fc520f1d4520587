// lathe matmul: Y = X . W^T with the weights quantised first.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "model/npy.h"
#include "model/safetensors.h"
#include "tools/command.h"
#include "tools/low_bit.h"
#include "tools/output.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string x, w, type, group = "128", zero, bias, device, out, w_out;
  bool check = false, json = false, no_probe = false, counters = false;
};

Result<model::Tensor> read_tensor(const std::string& what) {
  constexpr std::string_view kEnd = ".safetensors";
  const size_t mark = what.find(std::string(kEnd) + ":");
  if (mark == what.npos) {
    if (what.ends_with(kEnd)) return bad_input(fmt::format("{}: say FILE.safetensors:TENSOR", what));
    return model::read_npy(what);
  }
  TRY_ASSIGN(model::Safetensors file, model::Safetensors::open(what.substr(0, mark + kEnd.size())));
  return file.read(what.substr(mark + kEnd.size() + 1));
}

/// A tensor of floats with `rank` dimensions, none of them 0.
Result<model::Tensor> read_floats(const std::string& what, size_t rank) {
  TRY_ASSIGN(model::Tensor t, read_tensor(what));
  if (!t.type.is_float())
    return bad_input(fmt::format("{}: holds {}; f16 or f32 is needed", what, model::type_name(t.type)));
  if (t.shape.size() != rank)
    return bad_input(fmt::format("{}: shape {}; {} dimensions are needed", what, model::to_string(t.shape), rank));
  for (const int64_t extent : t.shape)
    if (extent == 0) return bad_input(fmt::format("{}: shape {} is empty", what, model::to_string(t.shape)));
  return t;
}

Result<std::vector<float>> as_f32(const model::Tensor& t) {
  TRY_ASSIGN(const model::Tensor wide, model::convert(t, types::f32));
  return model::f32_values(wide);
}

Result<int64_t> read_group(const std::string& text) {
  int64_t group = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), group);
  if (text == "none") return 0;
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size() || group < 1 || group > int64_t{1} << 31)
    return bad_input(fmt::format("--group {}: a positive number, or none", model::in_quotes(text)));
  return group;
}

Result<HostWeights> make_weights(const Options& o, std::span<const float> w, int64_t n, int64_t k) {
  if (!o.zero.empty() && o.zero != "int" && o.zero != "none")
    return bad_input(fmt::format("--zero {}: int or none", model::in_quotes(o.zero)));
  TRY_ASSIGN(const int64_t group, read_group(o.group));
  if (o.type == "f16") {
    if (o.zero == "int") return bad_input("--zero int: f16 weights have no zero points");
    return f16_weights(w, n, k);
  }
  if (o.type != "i4" && o.type != "u4")
    return bad_input(fmt::format("--type {}: one of i4, u4, f16", model::in_quotes(o.type)));
  const bool is_unsigned = o.type == "u4";
  const model::Scheme scheme{is_unsigned ? types::u4 : types::i4, group,
                             is_unsigned ? o.zero != "none" : o.zero == "int"};
  TRY_ASSIGN(const model::Quantised q, model::quantise(w.data(), n, k, scheme));
  return weights_of(q);
}

Result<LowBit> read_problem(const Options& o) {
  TRY_ASSIGN(const model::Tensor x, read_floats(o.x, 2));
  TRY_ASSIGN(const model::Tensor w, read_floats(o.w, 2));
  const int64_t n = w.shape[0], k = w.shape[1];
  if (x.shape[1] != k)
    return bad_input(fmt::format("X {} and W {} do not match: both need the same K, the second dimension",
                                 model::to_string(x.shape), model::to_string(w.shape)));
  LowBit p;
  p.m = x.shape[0];
  if (!o.bias.empty()) {
    TRY_ASSIGN(const model::Tensor bias, read_floats(o.bias, 1));
    if (bias.shape[0] != n)
      return bad_input(
          fmt::format("bias {} and W {} do not match", model::to_string(bias.shape), model::to_string(w.shape)));
    TRY_ASSIGN(p.bias, as_f32(bias));
  }
  TRY_ASSIGN(const std::vector<float> plain, as_f32(w));
  TRY_ASSIGN(p.weights, make_weights(o, plain, n, k));
  TRY_ASSIGN(const model::Tensor half, model::convert(x, types::f16));
  p.x.resize(half.data.size() / 2);
  std::memcpy(p.x.data(), half.data.data(), half.data.size());
  return p;
}

model::Tensor f32_tensor(std::vector<int64_t> shape, std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  return {types::f32, std::move(shape), {bytes.begin(), bytes.end()}};
}

std::string report(const Options& o, const Place& place, const LowBit& p, const Product& y, const Deviation& d,
                   const std::vector<sim::KernelCount>& counters) {
  const auto if_checked = [&](double v) { return o.check && std::isfinite(v) ? Json(v) : Json(); };
  if (o.json) {
    Json j{{"device", place.id},
           {"path", y.path},
           {"atoms", y.atoms},
           {"schedule", y.schedule},
           {"pack_id", y.pack_id},
           {"weight_bytes", y.weight_bytes},
           {"m", p.m},
           {"n", p.weights.n},
           {"k", p.weights.k},
           {"max_abs_err", if_checked(d.max_abs_err)},
           {"max_rel_err", if_checked(d.max_rel_err)},
           {"of_bound", if_checked(d.of_bound)},
           {"us", y.us},
           {"compile_ms", y.compile_ms},
           {"driver_ms", y.driver_ms}};
    if (o.counters) j["counters"] = Json::parse(sim::to_json(counters));
    return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::string text = fmt::format("{} x {} x {} on {}: {:.2f} us\n", p.m, p.weights.n, p.weights.k, place.id, y.us);
  text += fmt::format("path {} ({}), schedule {}\n", y.path, y.atoms, y.schedule);
  text += fmt::format("weights {} bytes{}{}\n", y.weight_bytes, y.pack_id.empty() ? "" : ", stored as ", y.pack_id);
  if (o.check)
    text += fmt::format("largest error {:.3g} ({:.3g} of the largest result), {:.3g} of its bound\n", d.max_abs_err,
                        d.max_rel_err, d.of_bound);
  return text + sim::to_text(counters);
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(const LowBit p, read_problem(o));
  TRY_ASSIGN(const Place place, open_place(o.device, !o.no_probe));
  TRY_ASSIGN(const Product y, multiply(place, p, true));
  const Deviation d = o.check ? deviation(p, y.y) : Deviation{};
  if (!o.out.empty()) TRY(model::write_npy(o.out, f32_tensor({p.m, p.weights.n}, y.y)));
  if (!o.w_out.empty()) TRY(model::write_npy(o.w_out, f32_tensor({p.weights.n, p.weights.k}, p.weights.values)));
  std::vector<sim::KernelCount> counters;
  if (o.counters) {
    TRY_ASSIGN(counters, counters_of(place));
  }
  TRY(write_output("", report(o, place, p, y, d, counters)));
  for (const std::string& line : y.distrusted) fmt::print(stderr, "lathe: {}\n", line);
  if (d.holds()) return 0;
  fmt::print(stderr, "lathe: the result is beyond the bound: {}\n", d.worst);
  return kCheckFailed;
}

}  // namespace

Command matmul_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("matmul", "Y = X . W^T with f16 or 4-bit weights");
  auto o = std::make_shared<Options>();
  app->add_option("--x", o->x, "X.npy: [M, K], f16 or f32 (rounded to f16)")->required();
  app->add_option("--w", o->w, "W.npy or FILE.safetensors:TENSOR: [N, K], f16 or f32")->required();
  app->add_option("--type", o->type, "i4 (symmetric), u4 or f16")->required();
  app->add_option("--group", o->group, "weights along K that share a scale, or none: the whole row")
      ->capture_default_str();
  app->add_option("--zero", o->zero, "int: a zero point a group (u4, its default), or none");
  app->add_option("--bias", o->bias, "B.npy: [N]");
  app->add_option("--device", o->device,
                  "interp, an id of `lathe devices`, or sim:NAME: a simulated device; default: the best one found");
  app->add_flag("--no-probe", o->no_probe, kNoProbeHelp);
  app->add_option("--out", o->out, "Y.npy: [M, N] f32");
  app->add_option("--w-out", o->w_out, "WD.npy: the weights that the codes stand for, f32");
  app->add_flag("--check", o->check,
                "compare with f64: |y - y64| <= (2 * 2^-11 + K * 2^-24) sum |x||w| + 2^-24 |y|, exit 1 beyond");
  app->add_flag("--counters", o->counters, kCountersHelp);
  app->add_flag("--json", o->json, "report as JSON; errors are null without --check");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
