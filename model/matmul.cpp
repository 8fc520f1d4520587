#include "model/matmul.h"

#include <fmt/format.h>
#include <atomic>
#include <cstring>
#include <thread>

#include "ir/tile_interp.h"

namespace lathe {
namespace {

/// Small integers for which every product and sum is exact in the matmul of any device.
tile::HostTensor integer_tensor(Type elem, const Coord& shape, int low, int high, uint32_t seed) {
  tile::HostTensor t{elem, shape, {}};
  int64_t count = 1;
  for (int64_t s : shape) count *= s;
  for (int64_t i = 0; i < count; i++) {
    seed = seed * 1664525 + 1013904223;
    t.raw.push_back(encode(elem, low + static_cast<int>((seed >> 16) % static_cast<uint32_t>(high - low + 1))));
  }
  return t;
}

std::vector<std::byte> bytes_of(const tile::HostTensor& t) {
  const size_t width = static_cast<size_t>(std::max(8, int{t.elem.bits})) / 8;
  std::vector<std::byte> out(t.raw.size() * width);
  for (size_t i = 0; i < t.raw.size(); i++) std::memcpy(out.data() + i * width, &t.raw[i], width);
  return out;
}

/// The target without trust in its lane maps: they stay as nominal layouts, so that stored weights fit.
Target distrusting(Target t) {
  for (Atom& atom : t.atoms)
    if (atom.source == MapSource::probed) atom.source = MapSource::opaque;
  return t;
}

}  // namespace

Result<std::unique_ptr<Matmul>> Matmul::create(runtime::Device& device, const Target& target,
                                               const kernels::WeightFormat& format, Type activation, bool biased) {
  auto m = std::make_unique<Matmul>();
  m->device_ = &device;
  m->target_ = target;
  m->format_ = format;
  m->activation_ = activation;
  m->biased_ = biased;
  m->packer_ = std::make_shared<Packer>(device, target);
  TRY_ASSIGN(m->schedules_, schedules_of(target, format, activation, choices_for(device.info(), format, activation)));
  return m;
}

std::unique_ptr<Matmul> Matmul::another() const {
  auto m = std::make_unique<Matmul>();
  m->device_ = device_, m->target_ = target_, m->format_ = format_, m->activation_ = activation_, m->biased_ = biased_;
  m->schedules_ = schedules_, m->packer_ = packer_, m->kernels_ = kernels_;
  return m;
}

Result<Unit> Matmul::reserve(int64_t n, int64_t k, int64_t groups) {
  n_ = n, k_ = k, groups_ = groups;
  for (const auto& [name, p] : schedules_.packed) {
    TRY_ASSIGN(buffers_[name], lift(device_->alloc(static_cast<uint64_t>(p.bytes(n, name == "w" ? k : groups)))));
  }
  return Unit{};
}

Result<Unit> Matmul::store(const PlainWeights& w) {
  if (w.n < 1 || w.k < 1) return bad_input(fmt::format("weights: {} x {}", w.n, w.k));
  if (format_.scaled()) {
    const int64_t groups = format_.group == 0 ? 1 : (w.k + format_.group - 1) / format_.group;
    if (w.groups != groups) return bad_input(fmt::format("weights: {} groups, {} are needed", w.groups, groups));
  }
  TRY(reserve(w.n, w.k, w.groups));
  const auto pack = [&](const char* name, std::span<const std::byte> bytes, int64_t columns) {
    return packer_->pack(schedules_.packed.at(name), n_, columns, bytes, *buffers_.at(name));
  };
  TRY(pack("w", w.codes, k_));
  if (format_.scaled()) TRY(pack("s", std::as_bytes(w.scales), groups_));
  if (format_.zeros) TRY(pack("z", std::as_bytes(w.zeros), groups_));
  return Unit{};
}

/// What two threads build at once one of them builds in vain.
Result<std::shared_ptr<Kernel>> Matmul::kernel(const Schedule& s, bool aligned) {
  const std::string key = fmt::format("{} {}", to_string(s), aligned);
  const auto built = [&]() -> std::shared_ptr<Kernel> {
    const auto it = kernels_->built.find(key);
    return it == kernels_->built.end() ? nullptr : it->second;
  };
  {
    const std::lock_guard guard(kernels_->lock);
    if (auto k = built()) return k;
  }
  TRY_ASSIGN(const tile::Func f, kernels::matmul(format_, activation_, biased_, for_rows(s, aligned, target_)));
  CompileOptions options;
  options.factor = s.factor_on_accumulator ? tile::Factor::accumulator : tile::Factor::operand;
  options.lower.aligned = aligned;
  TRY_ASSIGN(auto k, Kernel::build(*device_, target_, f, options));
  for (const auto& [name, p] : k->packed())
    if (schedules_.packed.at(name) != p)
      return internal_error(
          fmt::format("schedule {} reads '{}' in another order than it is stored", to_string(s), name));
  const std::lock_guard guard(kernels_->lock);
  if (auto other = built()) return other;
  if (k->source() == MapSource::probed) {
    TRY_ASSIGN(const std::string wrong, disprove(*k, f, s));
    if (!wrong.empty()) {
      TRY_ASSIGN(k, Kernel::build(*device_, distrusting(target_), f, options));
      TRY_ASSIGN(const std::string still_wrong, disprove(*k, f, s));
      if (!still_wrong.empty()) return unsupported(still_wrong);
      kernels_->distrusted.push_back(wrong + "; its fragments go through shared memory");
    }
  }
  kernels_->built[key] = k;
  return k;
}

void Matmul::prepare(std::span<const Schedule> rows, bool aligned) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t at = next++; at < rows.size(); at = next++) static_cast<void>(kernel(rows[at], aligned));
  };
  const size_t threads = std::min<size_t>(rows.size(), std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::jthread> workers;
  for (size_t t = 1; t < threads; t++) workers.emplace_back(work);
  work();
}

/// A lane map holds for the pipelines it was probed in; that it holds for this one too is shown once, on a known tile.
Result<std::string> Matmul::disprove(const Kernel& kernel, const tile::Func& f, const Schedule& s) {
  const int64_t n = s.tile_n, m = s.tile_m, k = 2 * s.tile_k;
  const int64_t groups = !format_.scaled() ? 0 : format_.group == 0 ? 1 : (k + format_.group - 1) / format_.group;
  const auto tiny = another();
  std::map<std::string, tile::HostTensor> t;
  t["x"] = integer_tensor(activation_, {m, k}, -2, 2, 1);
  const int zero = static_cast<int>(format_.constant_zero);
  const int reach = std::min(2, format_.code.bits >= 3 ? 2 : 1);
  t["w"] = integer_tensor(format_.code, {n, k}, std::max(zero - reach, format_.code.kind == Kind::uint ? 0 : -reach),
                          zero + reach - 1, 2);
  if (format_.scaled()) t["s"] = integer_tensor(activation_, {n, groups}, 1, 2, 3);
  if (format_.zeros) t["z"] = integer_tensor(types::f16, {n, groups}, 0, 2, 4);
  if (biased_) t["bias"] = integer_tensor(types::f32, {n}, -9, 9, 5);
  t["y"] = tile::HostTensor{types::f32, {m, n}, std::vector<uint64_t>(static_cast<size_t>(m * n))};
  auto halves = [](const tile::HostTensor& h) { return std::vector<uint16_t>(h.raw.begin(), h.raw.end()); };
  const auto codes = bytes_of(t["w"]);
  const auto scales = halves(t["s"]), zeros = halves(t["z"]);
  TRY(tiny->store({n, k, groups, codes, scales, zeros}));
  const auto x = bytes_of(t["x"]), bias = bytes_of(t["bias"]);
  TRY_ASSIGN(const auto dx, lift(device_->alloc(x.size())));
  TRY_ASSIGN(const auto dy, lift(device_->alloc(static_cast<uint64_t>(m * n) * 4)));
  TRY_ASSIGN(const auto db, lift(device_->alloc(std::max<size_t>(16, bias.size()))));
  TRY(lift(device_->upload(*dx, 0, x)));
  if (biased_) TRY(lift(device_->upload(*db, 0, bias)));
  TRY_ASSIGN(const auto launch, kernel.launch(tiny->arguments(m, dx->address(), dy->address(), db->address())));
  TRY(lift(device_->run({&launch, 1})));
  std::vector<uint32_t> y(static_cast<size_t>(m * n));
  TRY(lift(device_->download(*dy, 0, std::as_writable_bytes(std::span(y)))));
  TRY(tile::interpret(f, t));
  for (size_t i = 0; i < y.size(); i++)
    if (y[i] != t["y"].raw[i] && decode(types::f32, y[i]) != t["y"].at(static_cast<int64_t>(i)))
      return fmt::format(
          "{}: schedule {} gives a wrong result on a known tile (element {}: {} instead of {}) with {} lane "
          "maps",
          target_.name, to_string(s), i, decode(types::f32, y[i]), t["y"].at(static_cast<int64_t>(i)),
          to_string(kernel.source()));
  return std::string();
}

Kernel::Arguments Matmul::arguments(int64_t m, uint64_t x, uint64_t y, uint64_t bias) const {
  Kernel::Arguments args;
  args.values = {{"x", x}, {"y", y}, {"bias", bias}};
  for (const auto& [name, b] : buffers_) args.values[name] = b->address();
  args.sizes = {{"M", m}, {"N", n_}, {"K", k_}, {"G", groups_}};
  return args;
}

Result<runtime::LaunchRecord> Matmul::launch(const Schedule& s, int64_t m, uint64_t x, uint64_t y, uint64_t bias) {
  if (m < 1) return bad_input(fmt::format("{} tokens", m));
  const Kernel::Arguments args = arguments(m, x, y, bias);
  TRY_ASSIGN(const tile::Func f, kernels::matmul(format_, activation_, biased_, s));
  TRY_ASSIGN(const auto k, kernel(s, is_aligned(f, args)));
  return k->launch(args);
}

Result<runtime::LaunchRecord> Matmul::launch(int64_t m, uint64_t x, uint64_t y, uint64_t bias) {
  return launch(choose_schedule(schedules_, m, n_, k_), m, x, y, bias);
}

std::string Matmul::pack_id() const {
  std::string all;
  for (const char* name : {"w", "s", "z"})
    if (const auto it = schedules_.packed.find(name); it != schedules_.packed.end())
      all += (all.empty() ? "" : "+") + lathe::pack_id(it->second);
  return all;
}

const PackedLayout* Matmul::packed(const std::string& name) const {
  const auto it = schedules_.packed.find(name);
  return it == schedules_.packed.end() ? nullptr : &it->second;
}

uint64_t Matmul::weight_bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, b] : buffers_) sum += b->bytes();
  return sum;
}

const Kernel* Matmul::kernel_of(const Schedule& s, bool aligned) const {
  const auto it = kernels_->built.find(fmt::format("{} {}", to_string(s), aligned));
  return it == kernels_->built.end() ? nullptr : it->second.get();
}

runtime::Buffer* Matmul::buffer(const std::string& name) {
  const auto it = buffers_.find(name);
  return it == buffers_.end() ? nullptr : it->second.get();
}

}  // namespace lathe
