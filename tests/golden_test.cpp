// Golden files: tests/golden/<pass>/*.tile hold a kernel, the passes to run, and the whole expected text of each
// target.
//
//   // What the file shows; any number of lines.
//   // pass: layouts                          one line a pass, run in order
//   // pass: lower aligned=true
//   // target: sm_80 lavapipe            PTX targets and profiles, or `any` for passes that ask for none
//   kernel ...
//   // expect[sm_80]:
//   //   the text, each line behind two slashes and three spaces
//
// BLESS=1 rewrites the expect blocks.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>
#include <variant>

#include "ir/compile.h"
#include "tests/scratch_files.h"
#include "tests/targets.h"

namespace lathe {
namespace {

namespace fs = std::filesystem;

struct Pass {
  std::string name;
  std::vector<std::string> options;  ///< "factor=accumulator"
};
struct Golden {
  std::string input;  ///< the file up to its first expect
  std::vector<Pass> passes;
  std::vector<std::string> targets;
  std::vector<std::pair<std::string, std::string>> expects;
};

// ---- the passes

using Stage = std::variant<tile::Func, thread::Func>;

/// The value of an option that is one of two words; an error if anything else was given.
Result<bool> either(const Pass& p, const std::string& option, const std::string& no, const std::string& yes) {
  bool value = false;
  for (const std::string& given : p.options) {
    if (given != option + "=" + no && given != option + "=" + yes)
      return bad_input(fmt::format("pass {}: unknown option {}", p.name, given));
    value = given == option + "=" + yes;
  }
  return value;
}

Result<Stage> no_options(const Pass& p, Stage made) {
  if (!p.options.empty()) return bad_input(fmt::format("pass {}: unknown option {}", p.name, p.options[0]));
  return made;
}

struct PassRow {
  const char* name;
  bool asks_target, on_threads;
  Result<Stage> (*run)(const Pass&, Stage, const Target&);
};
const PassRow kPasses[] = {
    {"linearity", false, false,
     [](const Pass& p, Stage s, const Target&) -> Result<Stage> {
       TRY_ASSIGN(const bool accumulator, either(p, "factor", "operand", "accumulator"));
       tile::linearity(std::get<tile::Func>(s), accumulator ? tile::Factor::accumulator : tile::Factor::operand);
       return s;
     }},
    {"pipeline", false, false,
     [](const Pass& p, Stage s, const Target&) {
       tile::pipeline(std::get<tile::Func>(s));
       return no_options(p, std::move(s));
     }},
    {"transport", true, false,
     [](const Pass& p, Stage s, const Target& t) -> Result<Stage> {
       TRY_ASSIGN(const bool aligned, either(p, "aligned", "false", "true"));
       tile::choose_transport(std::get<tile::Func>(s), t, aligned);
       return s;
     }},
    {"drop_dead", false, false,
     [](const Pass& p, Stage s, const Target&) {
       tile::drop_dead(std::get<tile::Func>(s));
       return no_options(p, std::move(s));
     }},
    {"layouts", true, false,
     [](const Pass& p, Stage s, const Target& t) -> Result<Stage> {
       TRY(tile::infer_layouts(std::get<tile::Func>(s), t));
       return no_options(p, std::move(s));
     }},
    {"lower", true, false,
     [](const Pass& p, Stage s, const Target& t) -> Result<Stage> {
       LowerOptions options;
       TRY_ASSIGN(options.aligned, either(p, "aligned", "false", "true"));
       TRY_ASSIGN(Lowered lowered, lower(std::get<tile::Func>(s), t, options));
       return Stage(std::move(lowered.func));
     }},
    {"optimise", false, true,
     [](const Pass& p, Stage s, const Target&) {
       thread::optimise(std::get<thread::Func>(s));
       return no_options(p, std::move(s));
     }},
};
const PassRow* find_pass(const std::string& name) {
  for (const PassRow& row : kPasses)
    if (name == row.name) return &row;
  return nullptr;
}

Result<Unit> verify(const Stage& s) {
  if (const auto* f = std::get_if<tile::Func>(&s)) return tile::verify(*f);
  return thread::verify(std::get<thread::Func>(s));
}

/// The text after the passes. A tile text must parse back to itself.
Result<std::string> run_passes(const Golden& g, tile::Func f, const Target& target) {
  Stage stage = std::move(f);
  for (const Pass& p : g.passes) {
    const PassRow* row = find_pass(p.name);
    if (row->on_threads != std::holds_alternative<thread::Func>(stage))
      return bad_input(fmt::format("pass {}: not at this level", p.name));
    TRY_ASSIGN(stage, row->run(p, std::move(stage), target));
    TRY(verify(stage));
  }
  if (const auto* made = std::get_if<thread::Func>(&stage)) return thread::print(*made);
  std::string text = tile::print(std::get<tile::Func>(stage));
  TRY_ASSIGN(const tile::Func again, tile::parse(text, "printed"));
  if (tile::print(again) != text) return internal_error("the printed text parses to another");
  return text;
}

// ---- the files

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

/// "name" and the rest of a line "// name: rest"; none for a plain comment.
std::optional<std::pair<std::string, std::string>> directive(const std::string& line) {
  const size_t colon = line.find(':');
  if (!line.starts_with("// ") || colon == std::string::npos) return std::nullopt;
  const std::string name = line.substr(3, colon - 3);
  if (name.find(' ') != std::string::npos) return std::nullopt;
  return std::pair(name, line.substr(colon + 1));
}

Result<Unit> read_header(Golden& g, const std::string& line) {
  const auto d = directive(line);
  if (!d) return Unit{};
  const std::vector<std::string> words = words_of(d->second);
  if (d->first == "target") {
    g.targets.insert(g.targets.end(), words.begin(), words.end());
    return Unit{};
  }
  if (d->first != "pass") return bad_input(fmt::format("unknown directive {}", d->first));
  if (words.empty() || !find_pass(words[0])) return bad_input(fmt::format("unknown pass '{}'", d->second));
  g.passes.push_back({words[0], {words.begin() + 1, words.end()}});
  return Unit{};
}

Result<Unit> read_expect(Golden& g, const std::string& line) {
  if (const auto d = directive(line); d && d->first.starts_with("expect[") && d->first.ends_with("]")) {
    if (!words_of(d->second).empty()) return bad_input(fmt::format("text after '{}:'", d->first));
    g.expects.emplace_back(d->first.substr(7, d->first.size() - 8), "");
    return Unit{};
  }
  if (line != "//" && !line.starts_with("//   ")) return bad_input(fmt::format("not of an expect: {}", line));
  g.expects.back().second += (line == "//" ? "" : line.substr(5)) + "\n";
  return Unit{};
}

bool asks_nothing(const Golden& g) { return g.targets == std::vector<std::string>{"any"}; }

Result<Golden> read_golden(const std::string& text) {
  Golden g;
  std::istringstream lines(text);
  bool header = true;
  for (std::string line; std::getline(lines, line);) {
    header = header && line.starts_with("//");
    if (!g.expects.empty() || line.starts_with("// expect["))
      TRY(read_expect(g, line));
    else
      g.input += line + "\n";
    if (header && g.expects.empty()) TRY(read_header(g, line));
  }
  if (g.passes.empty()) return bad_input("no pass");
  if (g.targets.empty()) return bad_input("no target");
  for (const Pass& p : g.passes)
    if (asks_nothing(g) && find_pass(p.name)->asks_target)
      return bad_input(fmt::format("pass {} asks for a target", p.name));
  return g;
}

/// Every target has one expect that says something, and every expect a target.
Result<Unit> check_expects(const Golden& g) {
  std::set<std::string> seen;
  for (const auto& [target, text] : g.expects) {
    if (!seen.insert(target).second) return bad_input(fmt::format("two expects for {}", target));
    if (std::find(g.targets.begin(), g.targets.end(), target) == g.targets.end())
      return bad_input(fmt::format("an expect for {}, which is no target", target));
    if (words_of(text).empty()) return bad_input(fmt::format("the expect for {} is empty", target));
  }
  for (const std::string& target : g.targets)
    if (!seen.contains(target)) return bad_input(fmt::format("no expect for {}", target));
  return Unit{};
}

std::string write_golden(const Golden& g) {
  std::string text = g.input;
  for (const auto& [target, expect] : g.expects) {
    text += fmt::format("// expect[{}]:\n", target);
    std::istringstream lines(expect);
    for (std::string line; std::getline(lines, line);) text += line.empty() ? "//\n" : "//   " + line + "\n";
  }
  return text;
}

/// What the passes give for each target; a refusal is a text too: "error: ...".
Result<std::vector<std::pair<std::string, std::string>>> outcomes(const Golden& g, const std::string& file) {
  std::vector<std::pair<std::string, std::string>> out;
  TRY_ASSIGN(const tile::Func f, tile::parse(g.input, file));
  for (const std::string& name : g.targets) {
    Target target;
    if (!asks_nothing(g)) {
      TRY_ASSIGN(target, test_target(name));
    }
    const auto text = run_passes(g, f, target);
    if (!text && text.error().code == Error::Code::internal) return tl::unexpected(text.error());
    out.emplace_back(name, text ? *text : "error: " + text.error().text + "\n");
  }
  return out;
}

/// The first line that differs.
std::string difference(const std::string& got, const std::string& want) {
  std::istringstream a(got), b(want);
  std::string x, y;
  for (int line = 1;; line++) {
    const bool more_a = !!std::getline(a, x), more_b = !!std::getline(b, y);
    if (!more_a && !more_b) return "only the line ends differ";
    if (more_a != more_b || x != y)
      return fmt::format("line {}:\n  got  {}\n  want {}\n(BLESS=1 rewrites what is expected)", line,
                         more_a ? x : "(the end)", more_b ? y : "(the end)");
  }
}

Result<Unit> check_golden(const fs::path& path, bool bless) {
  TRY_ASSIGN(Golden g, read_golden(model::bytes_of(path)));
  TRY_ASSIGN(auto got, outcomes(g, path.filename().string()));
  if (bless) {
    g.expects = std::move(got);
    std::ofstream(path, std::ios::binary) << write_golden(g);
    return check_expects(g);
  }
  TRY(check_expects(g));
  for (const auto& [target, text] : got)
    for (const auto& [name, want] : g.expects)
      if (name == target && want != text) return bad_input(fmt::format("{}: {}", target, difference(text, want)));
  return Unit{};
}

/// What is wrong with a folder of goldens: "file: reason" each. Every file runs the pass the folder is named after.
std::vector<std::string> check_folder(const fs::path& folder, bool bless) {
  std::vector<std::string> faults;
  std::set<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.insert(entry.path());
  if (files.empty()) return {folder.filename().string() + ": empty"};
  for (const fs::path& path : files) {
    const std::string name = (folder.filename() / path.filename()).string();
    if (path.extension() != ".tile") faults.push_back(name + ": not a .tile file");
    if (const auto checked = check_golden(path, bless); !checked)
      faults.push_back(fmt::format("{}: {}", name, checked.error().text));
    if (const auto g = read_golden(model::bytes_of(path));
        g && std::none_of(g->passes.begin(), g->passes.end(),
                          [&](const Pass& p) { return p.name == folder.filename().string(); }))
      faults.push_back(fmt::format("{}: pass {} does not run", name, folder.filename().string()));
  }
  return faults;
}

}  // namespace

TEST_CASE("every golden file gives the text it expects") {
  for (const char* pass : {"linearity", "pipeline", "transport", "layouts", "drop_dead", "lower"}) {
    CAPTURE(pass);
    const auto faults =
        check_folder(fs::path(LATHE_SOURCE_DIR) / "tests/golden" / pass, std::getenv("BLESS") != nullptr);
    CHECK_MESSAGE(faults.empty(), fmt::format("\n{}", fmt::join(faults, "\n")));
  }
}

TEST_CASE("a golden file that says nothing, or too much, is a failure") {
  const std::string kernel =
      "kernel k(x: f32[8, 8]) grid [1] subgroups 1 {\n  a = load(x[0, 0], [8, 8])\n  store(x[0, 0], a)\n}\n";
  const std::string head = "// pass: drop_dead\n// target: any\n";
  const std::string right = head + kernel + "// expect[any]:\n" + [&] {
    std::istringstream lines(tile::print(*tile::parse(kernel, "k")));
    std::string all;
    for (std::string line; std::getline(lines, line);) all += "//   " + line + "\n";
    return all;
  }();
  const model::ScratchFolder scratch("lathe_golden_test");
  const auto verdict = [&](const std::string& text) {
    const fs::path folder = scratch.path("drop_dead");
    fs::create_directories(folder);
    std::ofstream(folder / "k.tile", std::ios::binary) << text;
    const auto faults = check_folder(folder, false);
    return faults.empty() ? std::string("good") : faults[0];
  };
  const auto with = [&](std::string_view from, const std::string& to) {
    std::string text = right;
    REQUIRE(text.find(from) != std::string::npos);
    return text.replace(text.find(from), from.size(), to);
  };
  const auto refuses = [&](const std::string& text, std::string_view reason) {
    CAPTURE(text);
    CHECK_MESSAGE(verdict(text).find(reason) != std::string::npos, verdict(text));
  };
  CHECK(verdict(right) == "good");
  CHECK(verdict("// A comment, with a colon: it is none of ours.\n" + right) == "good");
  refuses(with("// pass: drop_dead\n", ""), "no pass");
  refuses(with("// target: any\n", ""), "no target");
  refuses(with("drop_dead", "drop_everything"), "unknown pass");
  refuses(with("// pass", "// passes"), "unknown directive passes");
  refuses(with("drop_dead", "drop_dead quickly=true"), "unknown option");
  refuses(with("drop_dead", "pipeline"), "pass drop_dead does not run");
  refuses(with("target: any", "target: any sm_80"), "no profile 'any'");
  refuses(with("target: any", "target: sm_80"), "an expect for any, which is no target");
  refuses(with("target: any", "target: sm_80 sm_75"), "which is no target");
  refuses(with("target: any", "target: nowhere"), "no profile 'nowhere'");
  refuses(with("drop_dead\n", "drop_dead\n// pass: layouts\n"), "pass layouts asks for a target");
  refuses(with("drop_dead\n", "drop_dead\n// pass: optimise\n"), "error: pass optimise: not at this level");
  refuses(head + kernel, "no expect for any");
  refuses(head + kernel + "// expect[any]:\n", "the expect for any is empty");
  refuses(head + kernel + "// expect[any]:\n//   \n", "the expect for any is empty");
  refuses(right + right.substr(right.find("// expect")), "two expects");
  refuses(right + "store\n", "not of an expect");
  refuses(with("  store(x[0, 0], a)\n}\n// expect", "  store(x[8, 0], a)\n}\n// expect"), "line 4:");
  refuses(with("//   }\n", ""), "(the end)");
  refuses(with("kernel k", "kernel"), "k.tile:3:");
  fs::create_directories(scratch.path("linearity"));
  CHECK(check_folder(scratch.path("linearity"), false) == std::vector<std::string>{"linearity: empty"});
}

}  // namespace lathe
