#include "bench/matmul.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/timing.h"
#include "engine/open.h"
#include "engine/target_of.h"

namespace lathe::bench {

int64_t copies_of(uint64_t weight_bytes, const Rotation& rotation, const runtime::Device& device) {
  constexpr uint64_t kMostCopies = 512;
  if (device.info().software) return 1;
  return static_cast<int64_t>(std::clamp<uint64_t>((rotation.bytes + weight_bytes - 1) / weight_bytes, 1, kMostCopies));
}

int launches_of(const Problem& problem, int64_t m, int64_t copies, const runtime::Device& device) {
  constexpr int kFew = 4, kMany = 24;
  constexpr double kHeavy = 1e11;
  const Shape s = problem.shape();
  const bool heavy = static_cast<double>(m) * static_cast<double>(s.n) * static_cast<double>(s.k) > kHeavy;
  if (device.info().software) return 1;
  return heavy ? kFew : std::max(kMany, static_cast<int>(copies));
}

Result<Unit> check_and_time(runtime::Device& device, runtime::Graph& graph, runtime::Buffer& y, Type type,
                            const Problem& problem, Row& row) {
  TRY(lift(device.fill(y, 0, static_cast<uint64_t>(row.m * problem.shape().n) * (type.bits / 8), std::byte{0xff})));
  TRY(lift(graph.replay()));
  TRY_ASSIGN(row.of_bound, error_over_bound(device, y, type, problem, row.m));
  if (!(row.of_bound <= 1)) {
    row.wrong = true;
    row.error = std::isfinite(row.of_bound)
                    ? fmt::format("wrong: an output is {:.3g} times as far off as rounding allows", row.of_bound)
                    : "wrong: an output is no number";
    return Unit{};
  }
  TRY_ASSIGN(std::vector<double> us, timed(graph));
  for (double& u : us) u /= row.launches;
  row.us = spread_of(us);
  row.replays = static_cast<int>(us.size());
  return Unit{};
}

Result<std::unique_ptr<MatmulBench>> MatmulBench::open(const std::string& id, bool probe, const Rotation& rotation) {
  auto bench = std::make_unique<MatmulBench>();
  TRY_ASSIGN(bench->device_, open_device(id));
  if (bench->device_->info().api == "sim")
    return unsupported(id + " is simulated and has no speed; `lathe matmul --counters` counts there");
  TRY_ASSIGN(bench->target_, target_of(*bench->device_, {.probe = probe}));
  bench->rotation_ = rotation;
  return bench;
}

Result<Unit> MatmulBench::set(const Problem& problem) {
  copies_.clear(), x_.reset(), y_.reset();
  problem_ = &problem;
  runtime::MemoryUse& use = device_->memory_use();
  use.restart();
  const uint64_t others = use.held();
  const uint64_t outputs = static_cast<uint64_t>(problem.most_tokens() * problem.shape().n);
  TRY_ASSIGN(x_, lift(device_->alloc(problem.x().size_bytes())));
  TRY_ASSIGN(y_, lift(device_->alloc(outputs * sizeof(float))));
  TRY(lift(device_->upload(*x_, 0, std::as_bytes(problem.x()))));
  TRY_ASSIGN(auto first,
             Matmul::create(*device_, target_, problem.format().weights, problem.format().activation, false));
  TRY(first->store(problem.weights()));
  copies_.push_back(std::move(first));
  while (static_cast<int64_t>(copies_.size()) < copies_of(copies_[0]->weight_bytes(), rotation_, *device_)) {
    copies_.push_back(copies_[0]->another());
    TRY(copies_.back()->store(problem.weights()));
  }
  held_bytes_ = use.held() - others, peak_bytes_ = use.peak() - others;
  return Unit{};
}

Schedule MatmulBench::untuned(int64_t m) const {
  ScheduleSet rows = copies_[0]->schedules();
  rows.tuned.clear();
  return choose_schedule(rows, m, problem_->shape().n, problem_->shape().k);
}

void MatmulBench::prepare(const std::vector<std::pair<int64_t, std::optional<Schedule>>>& cases) {
  std::vector<Schedule> rows;
  for (const auto& [m, schedule] : cases) rows.push_back(schedule ? *schedule : chosen_for(m));
  const auto columns = static_cast<size_t>(problem_->shape().k);
  copies_[0]->prepare(rows, columns * sizeof(uint16_t) % 16 == 0);
}

Schedule MatmulBench::chosen_for(int64_t m) const {
  return choose_schedule(copies_[0]->schedules(), m, problem_->shape().n, problem_->shape().k);
}

Row MatmulBench::run(int64_t m, const std::optional<Schedule>& schedule) {
  Row row{.by = std::string(kOurs),
          .device = device_->info().id,
          .type = problem_->format().name,
          .shape = problem_->shape()};
  const Schedule chosen = schedule ? *schedule : chosen_for(m);
  row.m = m, row.schedule = to_string(chosen);
  if (const auto done = measure(chosen, row); !done) row.error = done.error().text;
  return row;
}

Result<Unit> MatmulBench::measure(const Schedule& schedule, Row& row) {
  row.copies = static_cast<int64_t>(copies_.size());
  row.launches = launches_of(*problem_, row.m, row.copies, *device_);
  row.weight_bytes = copies_[0]->weight_bytes();
  runtime::MemoryUse& use = device_->memory_use();
  use.restart();
  const uint64_t before = use.held();
  std::vector<runtime::LaunchRecord> launches;
  for (int i = 0; i < row.launches; i++) {
    Matmul& copy = *copies_[static_cast<size_t>(i) % copies_.size()];
    TRY_ASSIGN(auto launch, copy.launch(schedule, row.m, x_->address(), y_->address()));
    launches.push_back(std::move(launch));
  }
  for (const bool aligned : {false, true}) {
    const Kernel* kernel = copies_[0]->kernel_of(schedule, aligned);
    if (!kernel || &kernel->program() != launches[0].program) continue;
    row.path = lathe::to_string(kernel->source()), row.atoms = kernel->atoms();
    row.registers = kernel->program().stats().registers, row.spills = kernel->program().stats().spills;
    row.compile_ms = kernel->times().compile_ms, row.driver_ms = kernel->times().driver_ms;
  }
  TRY_ASSIGN(const auto graph, lift(device_->record(launches)));
  TRY(check_and_time(*device_, *graph, *y_, types::f32, *problem_, row));
  row.peak_bytes = std::max(peak_bytes_, held_bytes_ + use.peak() - before);
  return Unit{};
}

}  // namespace lathe::bench
