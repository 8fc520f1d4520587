#include "tools/low_bit.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>

#include "ir/tile_interp.h"
#include "model/half.h"
#include "tools/timing.h"

namespace lathe::tools {
namespace {

using Tensors = std::map<std::string, tile::HostTensor>;

int code_at(const HostWeights& w, size_t i) {
  const auto byte = static_cast<uint8_t>(w.codes[i]);
  return w.format.code.kind == Kind::sint ? static_cast<int8_t>(byte) : byte;
}

tile::HostTensor host_tensor(Type elem, Coord shape, std::span<const uint16_t> halves) {
  return {elem, std::move(shape), {halves.begin(), halves.end()}};
}

Tensors tensors_of(const LowBit& p) {
  const HostWeights& w = p.weights;
  Tensors t;
  t["x"] = host_tensor(types::f16, {p.m, w.k}, p.x);
  t["w"] = {w.format.code, {w.n, w.k}, std::vector<uint64_t>(static_cast<size_t>(w.n * w.k))};
  for (size_t i = 0; i < t["w"].raw.size(); i++) {
    uint16_t half = 0;
    if (!w.format.scaled()) std::memcpy(&half, &w.codes[2 * i], 2);
    t["w"].raw[i] = w.format.scaled() ? encode_int(w.format.code, code_at(w, i)) : half;
  }
  if (w.format.scaled()) t["s"] = host_tensor(types::f16, {w.n, w.groups}, w.scales);
  if (w.format.zeros) t["z"] = host_tensor(types::f16, {w.n, w.groups}, w.zeros);
  if (!p.bias.empty()) {
    t["bias"] = {types::f32, {w.n}, {}};
    for (const float b : p.bias) t["bias"].raw.push_back(std::bit_cast<uint32_t>(b));
  }
  t["y"] = {types::f32, {p.m, w.n}, std::vector<uint64_t>(static_cast<size_t>(p.m * w.n))};
  return t;
}

Result<Product> multiply_on_device(const Place& place, const LowBit& p, bool timed) {
  const HostWeights& w = p.weights;
  runtime::Device& device = *place.device;
  TRY_ASSIGN(const auto matmul, Matmul::create(device, place.target, w.format, types::f16, !p.bias.empty()));
  TRY(matmul->store(w.plain()));
  Product out;
  out.y.resize(static_cast<size_t>(p.m * w.n));
  const auto x = std::as_bytes(std::span(p.x)), bias = std::as_bytes(std::span(p.bias));
  TRY_ASSIGN(const auto dx, lift(device.alloc(x.size())));
  TRY_ASSIGN(const auto db, lift(device.alloc(bias.size())));
  TRY_ASSIGN(const auto dy, lift(device.alloc(out.y.size() * sizeof(float))));
  TRY(lift(device.upload(*dx, 0, x)));
  TRY(lift(device.upload(*db, 0, bias)));
  const Schedule schedule = choose_schedule(matmul->schedules(), p.m, w.n, w.k);
  TRY_ASSIGN(const auto launch, matmul->launch(schedule, p.m, dx->address(), dy->address(), db->address()));
  TRY(lift(device.run({&launch, 1})));
  TRY(lift(device.download(*dy, 0, std::as_writable_bytes(std::span(out.y)))));
  if (timed) {
    TRY_ASSIGN(out.us, median_us(device, launch));
  }
  for (const bool aligned : {false, true}) {
    const Kernel* kernel = matmul->kernel_of(schedule, aligned);
    if (kernel == nullptr || &kernel->program() != launch.program) continue;
    out.path = to_string(kernel->source());
    out.atoms = kernel->atoms();
    out.compile_ms = kernel->times().compile_ms;
    out.driver_ms = kernel->times().driver_ms;
  }
  out.schedule = to_string(Schedule{});
  out.pack_id = matmul->pack_id();
  out.distrusted = matmul->distrusted();
  out.weight_bytes = matmul->weight_bytes();
  return out;
}

/// y64 and sum |x||w| of one row of weights and kLanes tokens at a time.
constexpr int64_t kLanes = 8;
struct Sums {
  double value[kLanes] = {}, magnitude[kLanes] = {};
};

/// x as f64, kLanes tokens side by side, zeros past the last.
std::vector<double> interleaved(const LowBit& p) {
  const int64_t k = p.weights.k, blocks = (p.m + kLanes - 1) / kLanes;
  std::vector<double> out(static_cast<size_t>(blocks * k * kLanes));
  for (int64_t i = 0; i < p.m; i++)
    for (int64_t j = 0; j < k; j++)
      out[static_cast<size_t>((i / kLanes * k + j) * kLanes + i % kLanes)] =
          model::f32_from_f16(p.x[static_cast<size_t>(i * k + j)]);
  return out;
}

Sums dot(const double* x, const float* w, int64_t k) {
  Sums s;
  for (int64_t j = 0; j < k; j++, x += kLanes) {
    const double weight = w[j];
    for (int64_t l = 0; l < kLanes; l++) {
      const double product = x[l] * weight;
      s.value[l] += product;
      s.magnitude[l] += std::abs(product);
    }
  }
  return s;
}

void note(Deviation& d, double& largest, double y, double exact, double bound, int64_t i, int64_t n) {
  double share = 0;
  if (std::isfinite(exact)) {
    const double error = std::isfinite(y) ? std::abs(y - exact) : INFINITY;
    largest = std::max(largest, std::abs(exact));
    d.max_abs_err = std::max(d.max_abs_err, error);
    share = error == 0 ? 0 : error / bound;
  } else if (std::isfinite(y)) {
    share = INFINITY;
  }
  if (share <= d.of_bound) return;
  d.of_bound = share;
  d.worst = fmt::format("y[{}, {}] is {}, exact {}, {:.3g} of its bound", i, n, y, exact, share);
}

}  // namespace

HostWeights weights_of(const kernels::WeightFormat& format, int64_t n, int64_t k, std::vector<std::byte> codes,
                       std::vector<uint16_t> scales, std::vector<uint16_t> zeros) {
  const int64_t group = format.group == 0 ? std::max<int64_t>(k, 1) : format.group;
  HostWeights w{format,
                n,
                k,
                format.scaled() ? (k + group - 1) / group : 0,
                std::move(codes),
                std::move(scales),
                std::move(zeros),
                std::vector<float>(static_cast<size_t>(n * k))};
  for (int64_t i = 0; i < n * k; i++) {
    const auto at = static_cast<size_t>(i);
    if (format.scaled()) {
      const auto of = static_cast<size_t>(i / k * w.groups + i % k / group);
      const float zero = format.zeros ? model::f32_from_f16(w.zeros[of]) : static_cast<float>(format.constant_zero);
      w.values[at] = (static_cast<float>(code_at(w, at)) - zero) * model::f32_from_f16(w.scales[of]);
    } else {
      uint16_t half = 0;
      std::memcpy(&half, &w.codes[2 * at], 2);
      w.values[at] = model::f32_from_f16(half);
    }
  }
  return w;
}

HostWeights weights_of(const model::Quantised& q) {
  const kernels::WeightFormat format{.code = q.scheme.code, .group = q.scheme.group, .zeros = q.scheme.zero};
  const auto codes = std::as_bytes(std::span(q.codes));
  std::vector<uint16_t> zeros;
  for (const uint8_t z : q.zeros) zeros.push_back(model::f16_from_f32(z));
  return weights_of(format, q.n, q.k, {codes.begin(), codes.end()}, q.scales, std::move(zeros));
}

Result<HostWeights> f16_weights(std::span<const float> w, int64_t n, int64_t k) {
  std::vector<std::byte> bytes(w.size() * 2);
  for (size_t i = 0; i < w.size(); i++) {
    const uint16_t half = model::f16_from_f32(w[i]);
    if (!std::isfinite(model::f32_from_f16(half)))
      return bad_input(fmt::format("the weight at [{}, {}] is {}, no finite f16", static_cast<int64_t>(i) / k,
                                   static_cast<int64_t>(i) % k, w[i]));
    std::memcpy(&bytes[2 * i], &half, 2);
  }
  return weights_of({.code = types::f16, .group = 0}, n, k, std::move(bytes), {}, {});
}

Result<std::vector<float>> interpret(const LowBit& p, const Schedule& schedule) {
  TRY_ASSIGN(const tile::Func f, kernels::matmul(p.weights.format, types::f16, !p.bias.empty(), schedule));
  Tensors tensors = tensors_of(p);
  TRY(tile::interpret(f, tensors));
  std::vector<float> y;
  for (const uint64_t raw : tensors["y"].raw) y.push_back(std::bit_cast<float>(static_cast<uint32_t>(raw)));
  return y;
}

Result<Product> multiply(const Place& place, const LowBit& p, bool timed) {
  if (place.device) return multiply_on_device(place, p, timed);
  const auto start = std::chrono::steady_clock::now();
  Product out;
  TRY_ASSIGN(out.y, interpret(p, Schedule{}));
  if (timed) out.us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  out.path = out.atoms = kInterpreter;
  out.schedule = to_string(Schedule{});
  out.weight_bytes = p.weights.codes.size() + 2 * (p.weights.scales.size() + p.weights.zeros.size());
  return out;
}

Deviation deviation(const LowBit& p, std::span<const float> y) {
  constexpr double u16 = 0x1p-11, u32 = 0x1p-24;
  const HostWeights& w = p.weights;
  const double part = 2 * u16 + static_cast<double>(w.k) * u32;
  const std::vector<double> x = interleaved(p);
  Deviation d;
  double largest = 0;
  for (int64_t n = 0; n < w.n; n++) {
    const double bias = p.bias.empty() ? 0 : p.bias[static_cast<size_t>(n)];
    for (int64_t first = 0; first < p.m; first += kLanes) {
      const Sums s = dot(&x[static_cast<size_t>(first * w.k)], &w.values[static_cast<size_t>(n * w.k)], w.k);
      for (int64_t i = first; i < std::min(first + kLanes, p.m); i++) {
        const double have = y[static_cast<size_t>(i * w.n + n)];
        note(d, largest, have, s.value[i - first] + bias, part * s.magnitude[i - first] + u32 * std::abs(have), i, n);
      }
    }
  }
  d.max_rel_err = largest > 0 ? d.max_abs_err / largest : d.max_abs_err;
  return d;
}

}  // namespace lathe::tools
