#include "fuzz/judge.h"

#include <fmt/format.h>

#include "engine/tile_run.h"
#include "fuzz/error_bound.h"

namespace lathe::fuzz {
namespace {

constexpr int64_t kMostSteps = 1 << 20;
constexpr const char* kNames[] = {"agrees", "refused", "invalid", "internal", "device", "differs", "crashed", "hangs"};

}  // namespace

const char* to_string(Outcome o) { return kNames[static_cast<size_t>(o)]; }

Verdict judge(runtime::Device& device, const Target& target, const Program& p) {
  Verdict v;
  const HostTensors start = p.tensors();
  HostTensors want = start, got = start;
  ErrorBound bound;
  if (const auto done = tile::interpret(p.func, want, p.scalars, kMostSteps, &bound); !done) {
    v.outcome = done.error().code == Error::Code::internal ? Outcome::internal : Outcome::invalid;
    v.text = done.error().text;
    return v;
  }
  v.masked = bound.masked();
  CompileOptions options;
  if (p.accumulator) options.factor = tile::Factor::accumulator;
  auto run = TileRun::build(device, target, p.func, start, p.scalars, options);
  Result<Unit> done = Unit{};
  if (!run) {
    const Error::Code code = run.error().code;
    v.outcome = code == Error::Code::unsupported ? Outcome::refused
                : code == Error::Code::internal  ? Outcome::internal
                                                 : Outcome::device;
    v.text = run.error().text;
    return v;
  }
  done = run->upload(start);
  if (done) {
    const auto launch = run->launch();
    done = launch ? lift(device.run({&*launch, 1})) : tl::unexpected(launch.error());
  }
  if (done) done = run->download(got);
  if (!done) {
    v.outcome = done.error().code == Error::Code::unsupported ? Outcome::refused : Outcome::device;
    v.text = done.error().text;
    return v;
  }
  for (const auto& [name, tensor] : want) {
    const Difference d = difference(got.at(name), tensor);
    v.elements += d.elements;
    v.checked += bound.lost() ? 0 : d.checked;
    v.exact += bound.lost() ? 0 : d.exact;
    if (d.wrong == 0 || bound.lost() || v.outcome == Outcome::differs) continue;
    v.outcome = Outcome::differs;
    v.text = fmt::format("{}: {} of {} elements; {}", name, d.wrong, d.elements, d.first);
  }
  return v;
}

}  // namespace lathe::fuzz
