// lathe tune: schedules found by measuring, kept for every program of this user.
#include <fmt/format.h>

#include "bench/tuning.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/request_options.h"

namespace lathe::tools {
namespace {

struct Options {
  RequestOptions request;
  bench::TuningOptions tuning;
  std::string rows;
  bool keep = true;
};

constexpr const char* kLine = "{:<9} {:<12} {:>12} {:>5} {:>9} {:>9} {:>6}  {:<46} {}\n";

std::string line_of(const bench::TunedCase& t) {
  return fmt::format(kLine, t.best.device, t.best.type, bench::to_string(t.best.shape), t.best.m,
                     fmt::format("{:.4g}", t.chosen.us.median), fmt::format("{:.4g}", t.best.us.median),
                     fmt::format("{:.2f}", t.chosen.us.median / t.best.us.median), t.best.schedule,
                     fmt::format("{} of {} run, {} measured, {:.0f} % of pairs as estimated", t.simulated, t.space,
                                 t.measured, 100 * t.agreement));
}

std::string row_of(const Choice& c) {
  return fmt::format("CHOICE(\"{}\", \"{}\", \"{}\", {}, {}, {}, \"{}\")\n", c.api, c.device, c.weights, c.k, c.n, c.m,
                     c.schedule);
}

Result<Unit> tune_device(const Request& request, const std::string& device, const Options& o, std::string& rows) {
  TRY_ASSIGN(const auto bench, bench::MatmulBench::open(device, !request.no_probe, request.rotation));
  bench::Tuner tuner(*bench, o.tuning);
  for (const bench::Format& format : request.formats)
    for (const bench::Shape shape : request.shapes) {
      const bench::Problem problem(format, shape, request.tokens.back());
      TRY(bench->set(problem));
      for (const int64_t m : request.tokens) {
        const auto t = tuner.tune(problem, m);
        if (!t)
          return bad_input(fmt::format("{} {}, {} tokens: {}", device, bench::to_string(shape), m, t.error().text));
        TRY(write_output("", line_of(*t)));
        if (t->best.schedule == t->chosen.schedule) continue;
        rows += row_of(t->choice());
        if (o.keep) TRY(keep_choices({{t->choice()}}));
      }
    }
  return Unit{};
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(const Request request, read_request(o.request));
  if (o.tuning.simulated < 1 || o.tuning.measured < 1) return bad_input("--simulate and --measure: at least 1");
  TRY(write_output("", fmt::format(kLine, "device", "type", "K x N", "M", "chosen us", "best us", "ratio", "schedule",
                                   "candidates")));
  std::string rows;
  for (const std::string& device : request.devices) TRY(tune_device(request, device, o, rows));
  if (!o.rows.empty()) TRY(write_output(o.rows, rows));
  return 0;
}

}  // namespace

Command tune_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("tune", "find the fastest schedules here and keep them");
  app->require_subcommand(1);
  CLI::App* matmul = app->add_subcommand("matmul", "of Y = X . W^T, for shapes and numbers of tokens");
  auto o = std::make_shared<Options>();
  add_request_options(matmul, o->request);
  matmul->add_option("--simulate", o->tuning.simulated, "candidates that the simulator counts")->capture_default_str();
  matmul->add_option("--measure", o->tuning.measured, "candidates that the device runs")->capture_default_str();
  matmul->add_option("--rows", o->rows, "FILE: what was found, as rows of model/choices.def");
  matmul->add_flag("!--no-keep", o->keep, "do not keep what was found for this user's programs");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
