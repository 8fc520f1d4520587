// lathe compile: a tile program, or a kernel of ours, as text of any level.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <spirv-tools/libspirv.hpp>

#include "backends/ptx/emit.h"
#include "backends/spirv/emit.h"
#include "model/file.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/source.h"
#include "tools/target_option.h"

namespace lathe::tools {
namespace {

struct Options {
  std::string source, target, emit = "tile", after, output;
  std::vector<std::string> settings;
};

/// The program as it goes through the compiler, stopped after a pass.
struct Stage {
  tile::Func func;
  const Target& target;
  CompileOptions options;
};

Result<std::string> tile_text(Stage s, const std::string& after) {
  if (after == "parse") return tile::print(s.func);
  if (after == "linearity") {
    tile::linearity(s.func, s.options.factor);
    return tile::print(s.func);
  }
  TRY_ASSIGN(s.func, prepare(std::move(s.func), s.options));
  if (after == "layouts") {
    TRY_ASSIGN(s.func, lay_out(s.func, s.target, s.options));
  }
  return tile::print(s.func);
}

Result<std::string> thread_text(Stage s, const std::string& after) {
  if (after == "lower") {
    TRY_ASSIGN(s.func, prepare(std::move(s.func), s.options));
    TRY_ASSIGN(s.func, lay_out(s.func, s.target, s.options));
    TRY_ASSIGN(const Lowered lowered, lower(s.func, s.target, s.options.lower));
    return thread::print(lowered.func);
  }
  TRY_ASSIGN(const Compiled compiled, compile(std::move(s.func), s.target, s.options));
  return thread::print(compiled.func);
}

Result<std::string> ptx_text(Stage s, const std::string&) {
  if (s.target.backend != Backend::ptx) return unsupported(fmt::format("{} runs SPIR-V, no PTX", s.target.name));
  TRY_ASSIGN(const Compiled compiled, compile(std::move(s.func), s.target, s.options));
  return emit_ptx(compiled.func, s.target);
}

Result<std::string> spirv_binary(Stage s, const std::string&) {
  if (s.target.backend != Backend::spirv) return unsupported(fmt::format("{} runs PTX, no SPIR-V", s.target.name));
  TRY_ASSIGN(const Compiled compiled, compile(std::move(s.func), s.target, s.options));
  TRY_ASSIGN(const auto words, emit_spirv(compiled.func, s.target));
  return std::string(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint32_t));
}

Result<std::string> spirv_text(Stage s, const std::string& after) {
  TRY_ASSIGN(const std::string binary, spirv_binary(std::move(s), after));
  std::string text;
  const spvtools::SpirvTools tools(SPV_ENV_UNIVERSAL_1_6);
  const auto options = SPV_BINARY_TO_TEXT_OPTION_INDENT | SPV_BINARY_TO_TEXT_OPTION_FRIENDLY_NAMES;
  if (!tools.Disassemble(reinterpret_cast<const uint32_t*>(binary.data()), binary.size() / sizeof(uint32_t), &text,
                         options))
    return internal_error("SPIRV-Tools cannot disassemble the module");
  return text;
}

struct Form {
  const char* name;
  Result<std::string> (*text)(Stage, const std::string& after);
  std::vector<std::string> passes;  ///< that it can be shown after, the last by default
};
const std::vector<Form>& forms() {
  static const std::vector<Form> all{{"tile", tile_text, {"parse", "linearity", "layouts", "pipeline"}},
                                     {"thread", thread_text, {"lower", "optimise"}},
                                     {"ptx", ptx_text, {"optimise"}},
                                     {"spirv", spirv_binary, {"optimise"}},
                                     {"spvasm", spirv_text, {"optimise"}}};
  return all;
}

Result<const Form*> find_form(const Options& o) {
  for (const Form& form : forms()) {
    if (o.emit != form.name) continue;
    const auto& passes = form.passes;
    if (o.after.empty() || std::find(passes.begin(), passes.end(), o.after) != passes.end()) return &form;
    return bad_input(fmt::format("--after {}: --emit {} can be shown after {}", model::in_quotes(o.after), o.emit,
                                 fmt::join(passes, ", ")));
  }
  return bad_input(fmt::format("--emit {}: one of tile, thread, ptx, spirv, spvasm", model::in_quotes(o.emit)));
}

Result<int> run(const Options& o) {
  TRY_ASSIGN(const Form* form, find_form(o));
  TRY_ASSIGN(const Target target, read_target(o.target));
  TRY_ASSIGN(Settings settings, Settings::parse(o.settings));
  CompileOptions options;
  TRY_ASSIGN(tile::Func func, read_source(o.source, target, settings, options));
  TRY(settings.finish());
  TRY_ASSIGN(const std::string text, form->text({std::move(func), target, options}, o.after));
  TRY(write_output(o.output, text));
  return 0;
}

}  // namespace

Command compile_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("compile", "a tile program, or one of our kernels, as text of any level");
  auto o = std::make_shared<Options>();
  app->add_option("source", o->source, source_help())->required();
  app->add_option("--target", o->target, target_help())->required();
  app->add_option("--emit", o->emit, "tile, thread, ptx, spirv (binary) or spvasm")->capture_default_str();
  app->add_option(
      "--after", o->after,
      "the pass to stop after. tile: parse, linearity, pipeline (default), layouts; thread: lower, optimise "
      "(default)");
  app->add_option("--set", o->settings, kSettingsHelp);
  app->add_option("-o", o->output, "file to write instead of stdout");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
