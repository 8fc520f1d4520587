// lathe run: any tile program, its tensors from and to .npy files.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "model/npy.h"
#include "tools/agreement.h"
#include "tools/command.h"
#include "tools/execution.h"
#include "tools/host_tensor.h"
#include "tools/output.h"
#include "tools/tile_file.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;

struct Options {
  std::string source, device{kInterpreter};
  std::vector<std::string> in, out, set;
  double timeout_s = runtime::DeviceOptions{}.timeout_s;
  bool check = false, time = false, json = false, no_probe = false, counters = false;
};

struct Output {
  std::string name, file;
  tile::HostTensor tensor;
  Agreement agreement;
};

std::string report(const Options& o, const Place& place, const Execution& e, const std::vector<Output>& outputs,
                   const std::vector<sim::KernelCount>& counters) {
  if (o.json) {
    Json j{{"device", place.id}, {"path", e.path}, {"atoms", e.atoms}, {"outputs", Json::array()}};
    if (o.time)
      j.update({{"us", e.us},
                {"compile_ms", e.compile_ms},
                {"driver_ms", e.driver_ms},
                {"ready_ms", e.ready_ms},
                {"from_cache", e.from_cache}});
    if (!e.printed.empty()) j["printed"] = e.printed;
    for (const Output& out : outputs) {
      Json one{
          {"name", out.name}, {"file", out.file}, {"type", to_string(out.tensor.elem)}, {"shape", out.tensor.shape}};
      if (o.check)
        one.update({{"max_abs_err", out.agreement.max_abs_err},
                    {"max_rel_err", out.agreement.max_rel_err},
                    {"allowed", out.agreement.allowed},
                    {"agrees", out.agreement.holds}});
      j["outputs"].push_back(one);
    }
    if (o.counters) j["counters"] = Json::parse(sim::to_json(counters));
    return j.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::string text;
  for (const std::string& line : e.printed) text += line + "\n";
  text += fmt::format("{}: {} ({})\n", place.id, e.path, e.atoms);
  for (const Output& out : outputs) {
    text += fmt::format("{}: {}{} to {}", out.name, to_string(out.tensor.elem), model::to_string(out.tensor.shape),
                        out.file);
    if (o.check)
      text += fmt::format("; largest error {:.3g} of {:.3g} allowed", out.agreement.max_abs_err, out.agreement.allowed);
    text += "\n";
  }
  if (o.time)
    text += fmt::format("{:.2f} us a launch; ready in {:.2f} ms: compiler {:.2f} ms{}, driver {:.2f} ms\n", e.us,
                        e.ready_ms, e.compile_ms, e.from_cache ? " (from the cache)" : "", e.driver_ms);
  return text + sim::to_text(counters);
}

/// Compares every output with what the interpreter makes of the same arguments.
Result<Unit> check(const tile::Func& f, Binding start, std::vector<Output>& outputs) {
  TRY(tile::interpret(f, start.tensors, start.scalars));
  for (const tile::Param& p : f.params)
    for (Output& out : outputs)
      if (out.name == f.values[p.value].name) out.agreement = compare(out.tensor, dense(f, start, p), has_mma(f));
  return Unit{};
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(const tile::Func f, read_tile_file(o.source));
  TRY_ASSIGN(const auto in, split_pairs(o.in, "--in"));
  TRY_ASSIGN(const auto out, split_pairs(o.out, "--out"));
  TRY_ASSIGN(const auto set, split_pairs(o.set, "--set"));
  TRY_ASSIGN(Binding binding, bind(f, in, out, set));
  TRY_ASSIGN(const Place place, open_place(o.device, !o.no_probe, {.timeout_s = o.timeout_s}));
  const Binding start = o.check ? binding : Binding{};
  TRY_ASSIGN(const Execution e, execute(place, f, binding, o.time));
  std::vector<Output> outputs;
  for (const tile::Param& p : f.params)
    if (const auto it = out.find(f.values[p.value].name); it != out.end())
      outputs.push_back({it->first, it->second, dense(f, binding, p), {}});
  if (o.check) TRY(check(f, start, outputs));
  for (const Output& output : outputs) TRY(model::write_npy(output.file, to_file(output.tensor)));
  std::vector<sim::KernelCount> counters;
  if (o.counters) {
    TRY_ASSIGN(counters, counters_of(place));
  }
  TRY(write_output("", report(o, place, e, outputs, counters)));
  for (const Output& output : outputs)
    if (!output.agreement.holds) {
      fmt::print(stderr, "lathe: {} does not agree with the interpreter: {}\n", output.name, output.agreement.worst);
      return kCheckFailed;
    }
  return 0;
}

}  // namespace

Command run_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("run", "a tile program on tensors from .npy files");
  auto o = std::make_shared<Options>();
  app->add_option("source", o->source, "the tile program")->required();
  app->add_option("--device", o->device, "interp, an id of `lathe devices`, or sim:NAME: a simulated device")
      ->capture_default_str();
  app->add_flag("--no-probe", o->no_probe, kNoProbeHelp);
  app->add_option("--timeout", o->timeout_s, "seconds to wait for a device, or the interpreter, that does not answer")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str();
  app->add_option("--in", o->in, "NAME=FILE.npy: a tensor that is read; codes under 8 bits as bytes, bf16 as f32");
  app->add_option("--out", o->out, "NAME=FILE.npy: a tensor that is written; zeros at the start unless also --in");
  app->add_option("--set", o->set, "NAME=VALUE: a scalar, or a size that no file gives");
  app->add_flag(
      "--check", o->check,
      "compare with the interpreter; exit 1 beyond f32 1e-5, f16 1e-3, bf16 8e-3 (4e-3 with an mma) of the largest "
      "value, or for any other integer");
  app->add_flag("--time", o->time, "time one launch, and what getting ready took: our part and the driver's");
  app->add_flag("--counters", o->counters, kCountersHelp);
  app->add_flag("--json", o->json, "report as JSON");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
