// lathe demo: a real layer of a trained model, its weights in 4 bits, on every device found.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "model/npy.h"
#include "model/safetensors.h"
#include "tools/command.h"
#include "tools/low_bit.h"
#include "tools/output.h"

namespace lathe::tools {
namespace {

constexpr const char* kWeights = "down_proj.safetensors";
constexpr const char* kInputs = "down_proj_x.npy";
constexpr const char* kTensor = "model.layers.3.mlp.down_proj.weight";
constexpr int64_t kGroup = 128;
constexpr int64_t kFewTokens = 16;  ///< up to here what counts is how fast weights are read

/// Where the build says, or the folder "example" beside the program.
Result<std::filesystem::path> example_folder() {
  std::error_code ignored;
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "example";
  for (const std::filesystem::path& folder : {std::filesystem::path(LATHE_EXAMPLE_DIR), beside})
    if (std::filesystem::exists(folder / kWeights, ignored)) return folder;
  return bad_input(fmt::format("the example layer is neither in {} nor in {}", LATHE_EXAMPLE_DIR, beside.string()));
}

/// The layer and every token's inputs.
Result<LowBit> read_layer() {
  TRY_ASSIGN(const auto folder, example_folder());
  TRY_ASSIGN(model::Safetensors file, model::Safetensors::open((folder / kWeights).string()));
  TRY_ASSIGN(const model::Tensor w, file.read(kTensor));
  TRY_ASSIGN(const model::Tensor stored_x, model::read_npy((folder / kInputs).string()));
  TRY_ASSIGN(const model::Tensor x, model::convert(stored_x, types::f16));
  if (w.shape.size() != 2 || x.shape.size() != 2 || w.shape[1] != x.shape[1])
    return bad_input(fmt::format("{}: weights and inputs do not match", folder.string()));
  TRY_ASSIGN(const std::vector<float> values, file.read_f32(kTensor));
  TRY_ASSIGN(const auto q, model::quantise(values.data(), w.shape[0], w.shape[1], {types::i4, kGroup, false}));
  LowBit p{weights_of(q), x.shape[0], std::vector<uint16_t>(x.data.size() / 2), {}};
  std::memcpy(p.x.data(), x.data.data(), x.data.size());
  return p;
}

LowBit first_tokens(const LowBit& p, int64_t m) {
  LowBit part = p;
  part.m = m;
  part.x.resize(static_cast<size_t>(m * p.weights.k));
  return part;
}

std::string rate(const LowBit& p, const Product& y) {
  const HostWeights& w = p.weights;
  if (p.m <= kFewTokens) return fmt::format("{:.2f} GB/s", static_cast<double>(y.weight_bytes) / y.us / 1e3);
  return fmt::format("{:.3f} TFLOPS", 2e-6 * static_cast<double>(p.m * w.n * w.k) / y.us);
}

constexpr const char* kRow = "{:<10} {:<34} {:>16} {:>12} {:>14} {:>10} {:>9}\n";

/// One line of the table; whether the bound holds.
Result<bool> show(const Place& place, const LowBit& p, std::span<const float> oracle) {
  TRY_ASSIGN(const Product y, multiply(place, p, true));
  double error = 0;
  for (size_t i = 0; i < y.y.size(); i++) error = std::max(error, std::abs(double{y.y[i]} - oracle[i]));
  const Deviation d = deviation(p, y.y);
  fmt::print(kRow, place.id, y.path == y.atoms ? y.path : fmt::format("{}: {}", y.path, y.atoms),
             fmt::format("{} x {} x {}", p.m, p.weights.n, p.weights.k), fmt::format("{:.1f}", y.us), rate(p, y),
             fmt::format("{:.2g}", error), fmt::format("{:.3f}{}", d.of_bound, d.holds() ? "" : " !"));
  std::fflush(stdout);
  return d.holds();
}

Result<int> run(const std::string& device) {
  TRY_ASSIGN(const LowBit p, read_layer());
  fmt::print("{}: {} x {} weights as i4 in groups of {}, f16 scales; the inputs of {} tokens.\n\n", kTensor,
             p.weights.n, p.weights.k, kGroup, p.m);
  TRY_ASSIGN(const std::vector<float> oracle, interpret(p, Schedule{}));
  std::vector<std::string> ids{device};
  if (device == "all") {
    ids.clear();
    for (const auto& d : runtime::list_devices()) ids.push_back(d.id);
  }
  if (ids.empty()) return bad_input("no CUDA and no Vulkan device is here; `lathe devices` says why");
  fmt::print(kRow, "device", "path and atoms", "M x N x K", "us", "rate", "error", "of bound");
  bool all_hold = true;
  int shown = 0;
  for (const std::string& id : ids) {
    const auto place = open_place(id);
    if (!place) {
      fmt::print("{:<10} skipped: {}\n", id, place.error().text);
      continue;
    }
    for (const int64_t m : {int64_t{1}, std::min(kFewTokens, p.m), p.m}) {
      TRY_ASSIGN(const bool holds, show(*place, first_tokens(p, m), oracle));
      all_hold = all_hold && holds;
      shown++;
    }
  }
  if (shown == 0) return bad_input("no device could be used");
  fmt::print(
      "\nerror: the largest difference from the tile interpreter. of bound: the largest share that any error\n"
      "takes of what rounding allows, (2 * 2^-11 + K * 2^-24) sum |x||w|, against f64; above 1 is wrong.\n");
  return all_hold ? 0 : kCheckFailed;
}

}  // namespace

Command demo_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("demo", "a real layer with 4-bit weights on every device found");
  auto device = std::make_shared<std::string>("all");
  app->add_option("--device", *device, "interp, an id of `lathe devices`, or all")->capture_default_str();
  return {app, [device] { return run(*device); }};
}

}  // namespace lathe::tools
