// lathe selftest: every kernel at every kind of shape against the oracle, on every device.
#include "tools/selftest.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/file.h"
#include "tools/command.h"
#include "tools/output.h"

namespace lathe::tools {

bool Report::wants_any(const std::vector<std::string>& cases) const {
  return std::any_of(cases.begin(), cases.end(), [&](const std::string& name) { return wants(name); });
}

void Report::line(const char* verdict, const std::string& device, const std::string& name,
                  const std::string& text) const {
  fmt::print(to_, "{:<7} {:<10} {}{}{}\n", verdict, device, name, text.empty() ? "" : ": ", text);
  std::fflush(to_);
}

void Report::add(const std::string& device, const std::string& name, const Result<std::string>& result) {
  (result ? passed_ : failed_)++;
  const std::string& text = result ? *result : result.error().text;
  cases_.push_back({{"device", device}, {"name", name}, {"result", result ? "passed" : "failed"}, {"text", text}});
  if (!result)
    line("FAILED", device, name, text);
  else if (verbose_ || !text.empty())
    line("passed", device, name, text);
}

void Report::skip(const std::string& device, const std::string& name, const std::string& why) {
  skipped_++;
  cases_.push_back({{"device", device}, {"name", name}, {"result", "skipped"}, {"text", why}});
  line("skipped", device, name, why);
}

void Report::end_group(const std::string& device, const std::string& group) {
  const int passed = passed_ - passed_before_, failed = failed_ - failed_before_;
  passed_before_ = passed_, failed_before_ = failed_;
  if (passed + failed) line("", device, group, fmt::format("{} passed, {} failed", passed, failed));
}

namespace {

struct Options {
  std::string device = "all", filter;
  bool verbose = false, json = false, no_probe = false;
};

/// "all": the interpreter and every device found; what could be there and is not counts as skipped.
std::vector<std::string> device_ids(const std::string& chosen, Report& report) {
  if (chosen != "all") return {chosen};
  std::vector<std::string> ids{std::string(kInterpreter)}, absent;
  for (const auto& d : runtime::list_devices(&absent)) ids.push_back(d.id);
  for (const std::string& why : absent) report.skip("absent", "all of it", why);
  return ids;
}

Result<std::regex> filter_of(const std::string& text) {
  try {
    return std::regex(text);
  } catch (const std::regex_error&) {
    return bad_input(fmt::format("--filter {}: no regular expression", model::in_quotes(text)));
  }
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(std::regex filter, filter_of(o.filter));
  Report report(std::move(filter), o.verbose, o.json ? stderr : stdout);
  Oracle oracle;
  for (const std::string& id : device_ids(o.device, report)) {
    const auto place = open_place(id, !o.no_probe);
    if (!place && o.device != "all") return tl::unexpected(place.error());
    if (!place) {
      report.skip(id, "all of it", place.error().text);
      continue;
    }
    test_matmul(*place, report, oracle);
    test_rows(*place, report);
  }
  if (report.passed() + report.failed() == 0 && !o.filter.empty())
    return bad_input(fmt::format("--filter {}: no case has such a name", model::in_quotes(o.filter)));
  if (o.json) {
    const nlohmann::json all{{"passed", report.passed()},
                             {"failed", report.failed()},
                             {"skipped", report.skipped()},
                             {"cases", report.cases()}};
    TRY(write_output("", all.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  }
  fmt::print(o.json ? stderr : stdout, "{} passed, {} failed, {} skipped\n", report.passed(), report.failed(),
             report.skipped());
  return report.failed() ? kCheckFailed : 0;
}

}  // namespace

Command selftest_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("selftest", "every kernel at every kind of shape against the oracle");
  auto o = std::make_shared<Options>();
  app->add_option("--device", o->device,
                  "interp, an id of `lathe devices`, sim:NAME: a simulated device, or all: every one but those")
      ->capture_default_str();
  app->add_option("--filter", o->filter, "only the cases whose name this regular expression finds");
  app->add_flag("-v,--verbose", o->verbose, "a line a case");
  app->add_flag("--no-probe", o->no_probe, kNoProbeHelp);
  app->add_flag("--json", o->json, "all cases as JSON on stdout; lines go to stderr");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
