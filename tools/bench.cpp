// lathe bench: how fast our kernels are on the devices here, beside their peers.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bench/html.h"
#include "bench/session.h"
#include "bench/table.h"
#include "model/file.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/request_options.h"

namespace lathe::tools {
namespace {

struct Output {
  bool json = false;
  std::string html;
};

struct Options {
  RequestOptions request;
  std::vector<std::string> peers;
  std::string sweep, cublas;
  bool no_cublas = false;
  Output output;
};

Result<bench::Report> read_report(const std::string& file) {
  TRY_ASSIGN(model::InputFile in, model::InputFile::open(file));
  TRY_ASSIGN(const auto bytes, in.read(0, in.size()));
  return bench::read_report(file, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Result<std::vector<bench::Case>> cases_of(const Options& o) {
  if (!o.sweep.empty()) {
    TRY_ASSIGN(const auto formats, read_formats(o.request));
    return bench::read_sweep(o.sweep, formats.front());
  }
  TRY_ASSIGN(const Request r, read_request(o.request));
  return bench::cases_of(r.devices, r.formats, r.shapes, r.tokens);
}

/// Prints a report as it grows; with --json the table goes to stderr, as progress.
class Printer {
 public:
  explicit Printer(const Output& output) : output_(output) {}
  bench::Report report;

  Result<Unit> begin(const std::string& command) {
    report.command = command;
    return print(output_.json ? bench::command_json(command) + "\n" : "");
  }
  Result<Unit> device(const bench::DeviceRow& d) {
    report.add(d);
    return print(output_.json ? bench::to_json(d) + "\n" : fmt::format("{}: {}, {}\n", d.id, d.name, d.driver));
  }
  Result<Unit> note(const std::string& text) {
    report.notes.push_back(text);
    return print(output_.json ? bench::note_json(text) + "\n" : text + "\n");
  }
  Result<Unit> row(const bench::Row& r) {
    report.rows.push_back(r);
    const std::string line = (headed_ ? "" : bench::table_head()) + bench::table_line(r, report);
    headed_ = true;
    if (!output_.json) return print(line);
    fmt::print(stderr, "{}", line);
    return print(bench::to_json(r, report) + "\n");
  }
  /// A report that is there already.
  Result<Unit> all(const bench::Report& other) {
    for (const auto& d : other.devices) TRY(device(d));
    for (const auto& text : other.notes) TRY(note(text));
    for (const auto& r : other.rows) TRY(row(r));
    return Unit{};
  }
  Result<int> end() {
    if (!output_.json) TRY(print(bench::table_end(report)));
    if (!output_.html.empty()) TRY(write_output(output_.html, bench::html(report)));
    for (const bench::Row& r : report.rows)
      if (r.wrong) return kCheckFailed;
    return 0;
  }

 private:
  static Result<Unit> print(const std::string& text) { return write_output("", text); }
  const Output& output_;
  bool headed_ = false;
};

Result<int> run_matmul(const Options& o, const std::string& command) {
  TRY_ASSIGN(const auto cases, cases_of(o));
  Printer printer(o.output);
  bench::Report peers;
  for (const std::string& file : o.peers) {
    TRY_ASSIGN(bench::Report peer, read_report(file));
    peers.add(std::move(peer));
  }
  TRY(printer.begin(command));
  TRY(printer.all(peers));
  Result<Unit> printed = Unit{};
  const auto keep = [&](Result<Unit> done) {
    if (!done && printed) printed = std::move(done);
  };
  const bench::SessionOptions options{!o.request.no_probe, rotation_of(o.request), !o.no_cublas, o.cublas};
  const Result<Unit> measured =
      bench::measure(cases, options,
                     {.device = [&](const bench::DeviceRow& d) { keep(printer.device(d)); },
                      .progress = [&](const std::string& text) { fmt::print(stderr, "lathe: {}\n", text); },
                      .note = [&](const std::string& text) { keep(printer.note(text)); },
                      .row = [&](const bench::Row& r) { keep(printer.row(r)); }});
  TRY(printed);
  if (printer.report.rows.empty()) TRY(measured);
  TRY_ASSIGN(const int code, printer.end());
  TRY(measured);
  const auto& rows = printer.report.rows;
  const bool refused = o.sweep.empty() && std::any_of(rows.begin(), rows.end(),
                                                      [](const bench::Row& r) { return !r.measured() && !r.wrong; });
  if (code == 0 && refused) return bad_input("some cases could not be measured");
  return code;
}

Result<int> run_report(const std::vector<std::string>& files, const Output& output) {
  bench::Report report;
  for (const std::string& file : files) {
    TRY_ASSIGN(bench::Report one, read_report(file));
    report.add(std::move(one));
  }
  Printer printer(output);
  TRY(printer.begin(report.command));
  TRY(printer.all(report));
  return printer.end();
}

/// The options as they were given.
std::string said(const CLI::App& app) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() == 0) continue;
    text += " " + option->get_name();
    if (option->get_expected_max() > 0) text += fmt::format(" {}", fmt::join(option->results(), " "));
  }
  return text;
}

void add_output(CLI::App* app, Output& output) {
  app->add_flag("--json", output.json, "a JSON object a line instead of the table");
  app->add_option("--html", output.html, "also a page with plots that needs no network");
}

}  // namespace

Command bench_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("bench", "how fast our kernels are here, beside their peers");
  app->require_subcommand(1);
  auto o = std::make_shared<Options>();
  CLI::App* matmul = app->add_subcommand("matmul", "time Y = X . W^T; outputs are checked before any time is printed");
  add_request_options(matmul, o->request);
  matmul->add_option("--peer", o->peers, "FILE.json: what a program of bench/peers, or this one, printed");
  matmul->add_option("--cublas", o->cublas, "FILE: libcublas, where it is not found by name");
  matmul->add_flag("--no-cublas", o->no_cublas, "do not measure it");
  matmul->add_option("--sweep", o->sweep,
                     "FILE of lines 'device K N M tile_n tile_m tile_k subgroups_n subgroups_m subgroups_k stages acc "
                     "[k_groups]'; tile_n 0: the chosen schedule");
  add_output(matmul, o->output);
  auto files = std::make_shared<std::vector<std::string>>();
  auto output = std::make_shared<Output>();
  CLI::App* report = app->add_subcommand("report", "one report of what earlier runs printed with --json");
  report->add_option("files", *files, "FILE.json")->required();
  add_output(report, *output);
  return {app, [=] {
            if (report->parsed()) return run_report(*files, *output);
            return run_matmul(*o, "lathe bench matmul" + said(*matmul));
          }};
}

}  // namespace lathe::tools
