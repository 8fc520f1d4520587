// lathe explain: what a kernel becomes on a target, why, and what limits it there.
#include <fmt/format.h>

#include <filesystem>

#include "explain/drawing.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/source.h"
#include "tools/target_option.h"

namespace lathe::tools {
namespace {

struct Options {
  std::string source, target, svg;
  std::vector<std::string> settings;
  bool json = false;
};

/// Sizes that the program leaves open, as far as they are set.
Result<explain::Sizes> take_sizes(const tile::Func& f, Settings& settings, explain::Sizes sizes) {
  constexpr int64_t kMostSize = int64_t{1} << 30;
  for (const ValueId s : f.symbols) {
    const std::string& name = f.values[s].name;
    int64_t size = 0;
    TRY(settings.take(name, size, 1, kMostSize));
    if (size) sizes[name] = size;
  }
  return sizes;
}

Result<Unit> write_drawings(const std::string& folder, const std::vector<explain::Drawing>& drawings) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return bad_input(fmt::format("--svg {}: {}", model::in_quotes(folder), failed.message()));
  for (const explain::Drawing& d : drawings)
    TRY(write_output((std::filesystem::path(folder) / d.file).string(), d.svg));
  return Unit{};
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(const Target target, read_target(o.target));
  TRY_ASSIGN(Settings settings, Settings::parse(o.settings));
  CompileOptions options;
  TRY_ASSIGN(const tile::Func f, read_source(o.source, target, settings, options));
  TRY_ASSIGN(const explain::Sizes sizes, take_sizes(f, settings, named_sizes(o.source, settings)));
  TRY(settings.finish());
  options.lower.aligned = options.lower.aligned && explain::rows_aligned(f, explain::sizes_of_problem(f, sizes));
  TRY_ASSIGN(const explain::Subject subject, explain::compile_subject(f, target, options));
  TRY_ASSIGN(const explain::Explanation e, explain::explain(subject, sizes));
  if (!o.svg.empty()) TRY(write_drawings(o.svg, explain::drawings(e, target.subgroup_size)));
  TRY(write_output("", o.json ? explain::to_json(subject, e) : explain::to_text(subject, e)));
  return 0;
}

}  // namespace

Command explain_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("explain", "what a kernel becomes on a target, why, and what limits it there");
  auto o = std::make_shared<Options>();
  app->add_option("source", o->source, source_help())->required();
  app->add_option("--target", o->target, target_help())->required();
  app->add_option("--set", o->settings, std::string(kSettingsHelp) + ", or a size of the problem");
  app->add_option("--svg", o->svg, "a folder for drawings of the layouts");
  app->add_flag("--json", o->json, "as JSON");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
