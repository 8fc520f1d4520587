#include "tools/execution.h"

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

}  // namespace

Result<Execution> execute(const Place& place, const tile::Func& f, Binding& b, bool timed) {
  if (place.device) return on_device(place, f, b, timed);
  const double start = now_us();
  Execution e;
  TRY(tile::interpret(f, b.tensors, b.scalars, int64_t{1} << 40, nullptr, &e.printed));
  e.path = e.atoms = kInterpreter;
  if (timed) e.us = now_us() - start;
  return e;
}

}  // namespace lathe::tools
