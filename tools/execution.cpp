#include "tools/execution.h"

#include <fmt/format.h>

#include <chrono>

#include "engine/tile_run.h"
#include "tools/timing.h"

namespace lathe::tools {
namespace {

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Result<Execution> on_device(const Place& place, const tile::Func& f, Binding& b, bool timed) {
  const double start = now_us();
  TRY_ASSIGN(TileRun run, TileRun::build(*place.device, place.target, f, b.tensors, b.scalars));
  Execution e;
  e.ready_ms = (now_us() - start) / 1000;
  TRY(run.upload(b.tensors));
  TRY_ASSIGN(const runtime::LaunchRecord launch, run.launch());
  TRY(lift(place.device->run({&launch, 1})));
  TRY_ASSIGN(e.printed, run.kernel().take_log());
  TRY(run.download(b.tensors));
  if (timed) {
    TRY_ASSIGN(e.us, median_us(*place.device, launch));
  }
  const Kernel& kernel = run.kernel();
  e.path = to_string(kernel.source());
  e.atoms = kernel.atoms();
  e.compile_ms = kernel.times().compile_ms;
  e.driver_ms = kernel.times().driver_ms;
  e.from_cache = kernel.times().from_cache;
  return e;
}

/// Ends the interpreter in time.
class Deadline final : public tile::Witness {
 public:
  explicit Deadline(double seconds) : end_us_(now_us() + seconds * 1e6) {}
  void ran(const tile::Func&, const tile::Func::Inst&, std::vector<std::vector<uint64_t>>&) override {}
  bool goes_on() override { return now_us() < end_us_; }

 private:
  double end_us_;
};

}  // namespace

Result<Execution> execute(const Place& place, const tile::Func& f, Binding& b, bool timed) {
  if (place.device) return on_device(place, f, b, timed);
  const double start = now_us();
  Execution e;
  Deadline deadline(place.timeout_s);
  const auto done = tile::interpret(f, b.tensors, b.scalars, int64_t{1} << 40, &deadline, &e.printed);
  if (!done && !deadline.goes_on())
    return bad_input(fmt::format("{}: {} did not end within {} s", kInterpreter, f.name, place.timeout_s));
  TRY(done);
  e.path = e.atoms = kInterpreter;
  if (timed) e.us = now_us() - start;
  return e;
}

}  // namespace lathe::tools
