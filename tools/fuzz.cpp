// lathe fuzz: random tile programs on a device against the interpreter.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "fuzz/child.h"
#include "fuzz/generate.h"
#include "fuzz/judge.h"
#include "fuzz/shrink.h"
#include "model/file.h"
#include "tools/command.h"
#include "tools/output.h"
#include "tools/place.h"

namespace lathe::tools {
namespace {

using Json = nlohmann::json;
using fuzz::Outcome;
using fuzz::Verdict;

constexpr uint64_t kBatch = 500;   ///< programs a process
constexpr double kPatience = 120;  ///< seconds of work a program may take, or of waiting
constexpr double kNever = 1e6;     ///< seconds; the parent says when a program hangs
constexpr int kMostFailures = 20;
constexpr int kSlowTries = 300;  ///< of shrinking, each in a process of its own

struct Options {
  std::string device, replay, folder = ".";
  uint64_t seed = 1, first = 0, count = 2000;
  bool minimize = false, json = false;
};

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Failure {
  uint64_t index = 0;
  Outcome outcome = Outcome::agrees;
  std::string text, file;
};

struct Sum {
  uint64_t programs = 0, agree = 0, refused = 0;
  int64_t elements = 0, checked = 0, exact = 0, masked = 0;
  std::map<std::string, int> reasons;
  std::vector<Failure> failures;
};

/// A reason without the numbers and layouts, which differ from program to program.
std::string kind_of(const std::string& reason) {
  static const std::regex layouts(" T\\[.*"), numbers("0x[0-9a-f]+|[0-9]+");
  return std::regex_replace(std::regex_replace(reason, layouts, ""), numbers, "#");
}

Json to_json(const Verdict& v, const std::string& program) {
  return {{"outcome", static_cast<int>(v.outcome)},
          {"text", v.text},
          {"elements", v.elements},
          {"checked", v.checked},
          {"exact", v.exact},
          {"masked", v.masked},
          {"program", program}};
}
Verdict from_json(const Json& j) {
  return {static_cast<Outcome>(j.at("outcome").get<int>()),
          j.at("text"),
          j.at("elements"),
          j.at("checked"),
          j.at("exact"),
          j.at("masked")};
}
std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// Opens the device in the child, or ends it with the reason.
Place child_place(const std::string& id, const fuzz::Child::Say& say) {
  auto place = open_place(id, true, {.timeout_s = kNever});
  if (place && place->device) return std::move(*place);
  say("E" +
      (place ? std::string("a device is needed: the interpreter is what it is compared with") : place.error().text));
  std::_Exit(0);
}

Verdict judge_apart(const std::string& device, const fuzz::Program& p) {
  Verdict v;
  auto child = fuzz::Child::start([&](const fuzz::Child::Say& say) {
    const Place place = child_place(device, say);
    say(dump(to_json(judge(*place.device, place.target, p), "")));
  });
  const auto line = child ? child->line(kPatience) : std::nullopt;
  if (line && line->starts_with("{")) return from_json(Json::parse(*line));
  v.outcome = child && child->hung() ? Outcome::hangs : Outcome::crashed;
  v.text = line ? line->substr(1) : child ? child->end() : child.error().text;
  return v;
}

class Session {
 public:
  explicit Session(const Options& o) : o_(o), started_(now_s()) {}

  Result<Sum> run() {
    for (uint64_t at = o_.first; at < o_.first + o_.count && sum_.failures.size() < kMostFailures;) {
      TRY_ASSIGN(at, batch(at, std::min(at + kBatch, o_.first + o_.count)));
    }
    return sum_;
  }
  double seconds() const { return now_s() - started_; }

 private:
  /// Programs from .. to in one process; returns the first that is still to be run.
  Result<uint64_t> batch(uint64_t from, uint64_t to) {
    TRY_ASSIGN(fuzz::Child child, fuzz::Child::start([&](const fuzz::Child::Say& say) {
                 const Place place = child_place(o_.device, say);
                 for (uint64_t i = from; i < to; i++) {
                   say(fmt::format("S{}", i));
                   say("R" + one(place, i));
                 }
               }));
    uint64_t current = from;
    bool running = false;
    while (const auto line = child.line(kPatience)) {
      if (line->starts_with("E")) return bad_input(fmt::format("{}: {}", o_.device, line->substr(1)));
      running = line->starts_with("S");
      if (running)
        current = std::stoull(line->substr(1));
      else
        TRY(take(current, Json::parse(line->substr(1))));
      if (sum_.failures.size() >= kMostFailures) return to;
    }
    const std::string end = child.end();
    if (!running && end.empty()) return to;
    sum_.programs++;
    TRY(fail(current, {child.hung() ? Outcome::hangs : Outcome::crashed, end, 0, 0, 0, false}, text_of(current)));
    return current + 1;
  }

  std::string one(const Place& place, uint64_t index) const {
    const auto p = fuzz::generate(o_.seed, index, place.target);
    if (!p) return dump(to_json({Outcome::invalid, p.error().text, 0, 0, 0, false}, ""));
    const Verdict v = judge(*place.device, place.target, *p);
    return dump(to_json(v, is_failure(v.outcome) ? to_text(*p, "") : ""));
  }

  /// The text of a program that killed its process.
  std::string text_of(uint64_t index) const {
    auto child = fuzz::Child::start([&](const fuzz::Child::Say& say) {
      const auto p = fuzz::generate(o_.seed, index, child_place(o_.device, say).target);
      say(dump({{"program", p ? to_text(*p, "") : ""}}));
    });
    const auto line = child ? child->line(kPatience) : std::nullopt;
    return line && line->starts_with("{") ? Json::parse(*line).at("program").get<std::string>() : "";
  }

  Result<Unit> take(uint64_t index, const Json& j) {
    const Verdict v = from_json(j);
    sum_.programs++;
    sum_.elements += v.elements;
    sum_.checked += v.checked;
    sum_.exact += v.exact;
    sum_.masked += v.masked;
    if (v.outcome == Outcome::agrees) sum_.agree++;
    if (v.outcome == Outcome::refused) {
      sum_.refused++;
      sum_.reasons[kind_of(v.text)]++;
    }
    progress();
    if (!is_failure(v.outcome)) return Unit{};
    return fail(index, v, j.at("program"));
  }

  Result<Unit> fail(uint64_t index, const Verdict& v, const std::string& program) {
    Failure f{index, v.outcome, v.text, ""};
    fmt::print(stderr, "FAILED program {}: {}: {}\n", index, to_string(v.outcome), v.text);
    if (!program.empty()) {
      TRY_ASSIGN(fuzz::Program p, fuzz::program_from_text(program, "program"));
      std::string about = v.text;
      if (o_.minimize) {
        const auto fails = [&](const fuzz::Program& q) {
          const Verdict again = judge_apart(o_.device, q);
          if (again.outcome == v.outcome) about = again.text;
          return again.outcome == v.outcome &&
                 (v.outcome == Outcome::differs || kind_of(again.text) == kind_of(v.text));
        };
        p = shrink(std::move(p), fails, kSlowTries);
      }
      f.file = fmt::format("{}/fuzz-{}-{}.tile", o_.folder, o_.seed, index);
      TRY(write_output(
          f.file, to_text(p, fmt::format("lathe fuzz --replay FILE --device {}\nseed {}, program {}: {}: {}", o_.device,
                                         o_.seed, index, to_string(v.outcome), about))));
      fmt::print(stderr, "  lathe fuzz --device {} --replay {}\n", o_.device, f.file);
    }
    sum_.failures.push_back(std::move(f));
    return Unit{};
  }

  void progress() {
    constexpr double kEvery = 10;
    if (now_s() - shown_ < kEvery) return;
    shown_ = now_s();
    fmt::print(stderr, "{} of {} programs: {} refused, {} failed, {:.0f} a second\n", sum_.programs, o_.count,
               sum_.refused, sum_.failures.size(), static_cast<double>(sum_.programs) / seconds());
  }

  const Options& o_;
  double started_, shown_ = now_s();
  Sum sum_;
};

std::string report(const Options& o, const Sum& sum, double seconds) {
  if (o.json) {
    Json j{{"device", o.device},       {"seed", o.seed},         {"first", o.first},       {"programs", sum.programs},
           {"agree", sum.agree},       {"refused", sum.refused}, {"reasons", sum.reasons}, {"elements", sum.elements},
           {"checked", sum.checked},   {"exact", sum.exact},     {"masked", sum.masked},   {"seconds", seconds},
           {"failures", Json::array()}};
    for (const Failure& f : sum.failures)
      j["failures"].push_back(
          {{"program", f.index}, {"outcome", to_string(f.outcome)}, {"text", f.text}, {"file", f.file}});
    return j.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  std::string text = fmt::format("{}, seed {}: {} programs in {:.1f} s: {} agree, {} refused, {} failed\n", o.device,
                                 o.seed, sum.programs, seconds, sum.agree, sum.refused, sum.failures.size());
  const auto share = [&](int64_t part) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, sum.elements));
  };
  text += fmt::format("{} elements: {:.1f}% compared, {:.1f}% to the bit; {} programs over an edge\n", sum.elements,
                      share(sum.checked), share(sum.exact), sum.masked);
  for (const auto& [reason, count] : sum.reasons) text += fmt::format("refused {:4}  {}\n", count, reason);
  return text;
}

Result<int> replay(const Options& o) {
  TRY_ASSIGN(model::InputFile file, model::InputFile::open(o.replay));
  TRY_ASSIGN(const auto bytes, file.read(0, file.size()));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  TRY_ASSIGN(const fuzz::Program p, fuzz::program_from_text(text, o.replay));
  const Verdict v = judge_apart(o.device, p);
  if (o.json)
    TRY(write_output("", dump(to_json(v, o.replay)) + "\n"));
  else
    fmt::print("{}{}{}\n", to_string(v.outcome), v.text.empty() ? "" : ": ", v.text);
  return is_failure(v.outcome) ? kCheckFailed : 0;
}

Result<int> run(const Options& o) {
  setenv("LATHE_CACHE_DIR", "off", 1);  // programs that are run once
  if (!o.replay.empty()) return replay(o);
  Session session(o);
  TRY_ASSIGN(const Sum sum, session.run());
  TRY(write_output("", report(o, sum, session.seconds())));
  return sum.failures.empty() ? 0 : kCheckFailed;
}

}  // namespace

Command fuzz_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("fuzz", "random tile programs on a device against the interpreter");
  auto o = std::make_shared<Options>();
  app->add_option("--device", o->device, "an id of `lathe devices`")->required();
  app->add_option("--seed", o->seed, "which programs")->capture_default_str();
  app->add_option("--first", o->first, "the number of the first program")->capture_default_str();
  app->add_option("--count", o->count, "how many programs")->capture_default_str();
  app->add_flag("--minimize", o->minimize, "make each failing program small before it is written");
  app->add_option("--folder", o->folder, "where failing programs are written, fuzz-SEED-NUMBER.tile")
      ->capture_default_str();
  app->add_option("--replay", o->replay, "run one program that was written, instead");
  app->add_flag("--json", o->json, "report as JSON on stdout");
  return {app, [o] { return run(*o); }};
}

}  // namespace lathe::tools
