#pragma once
// A program through the compiler's own stages and the simulator, with one edit between two of them; judged as the
// fuzzer judges.
#include <doctest/doctest.h>

#include <variant>

#include "backends/sim/device.h"
#include "engine/host_memory.h"
#include "engine/kernel.h"
#include "engine/packer.h"
#include "engine/tile_run.h"
#include "fuzz/error_bound.h"
#include "fuzz/program.h"

namespace lathe::fuzz {

/// Changes what a stage gave, and says whether there was something to change: the target that the compiler is told of,
/// the prepared tile program, the thread program before its passes.
using Edit = std::variant<bool (*)(Target&), bool (*)(tile::Func&), bool (*)(thread::Func&)>;

enum class Check : uint8_t { none, compiler, simulator, interpreter };
inline const char* to_string(Check c) {
  constexpr const char* kNames[] = {"-", "compiler", "simulator", "interpreter"};
  return kNames[static_cast<size_t>(c)];
}

/// Who objected first, and what it said.
struct Finding {
  Check by = Check::none;
  std::string text;
};

/// A program and what the interpreter makes of it.
struct Judged {
  Program program;
  HostTensors start, want;
};

/// None where the interpreter refuses it, or where nothing can be compared.
inline std::optional<Judged> judged(const Program& p) {
  constexpr int64_t kMostSteps = 1 << 20;
  Judged j{p, p.tensors(), p.tensors()};
  ErrorBound bound;
  if (!tile::interpret(p.func, j.want, p.scalars, kMostSteps, &bound) || bound.lost()) return std::nullopt;
  return j;
}

class StagedRun {
 public:
  explicit StagedRun(std::string_view device) {
    auto opened = sim::open(device, {.timeout_s = 5, .cache = nullptr});
    REQUIRE_MESSAGE(opened, opened.error().text);
    device_ = std::move(*opened);
    REQUIRE(device_->target() != nullptr);
    target_ = *device_->target();
  }
  const Target& target() const { return target_; }

  /// Whether the compiler says that it has no way to compile it.
  bool refuses(const Judged& j) {
    const auto lowered = compile(j.program, nullptr);
    return !lowered && lowered.error().code == Error::Code::unsupported;
  }
  /// `edit` null: as it is. none where the edit found nothing to change, or the program needs what only the engine has:
  /// workspaces, a log.
  std::optional<Finding> run(const Judged& j, const Edit* edit) {
    edited_ = edit == nullptr;
    const auto lowered = compile(j.program, edit);
    if (!edited_) return std::nullopt;
    if (!lowered) return Finding{Check::compiler, lowered.error().text};
    const tile::Func& f = j.program.func;
    if (lowered->logs || std::any_of(f.params.begin(), f.params.end(), [](const auto& p) { return p.workspace; }))
      return std::nullopt;
    HostTensors got = j.start;
    if (const auto done = launch(*lowered, j.program, got); !done) return Finding{Check::simulator, done.error().text};
    for (const auto& [name, tensor] : j.want)
      if (const Difference d = difference(got.at(name), tensor); d.wrong != 0)
        return Finding{Check::interpreter,
                       fmt::format("{}: {} of {} elements; {}", name, d.wrong, d.elements, d.first)};
    return Finding{};
  }

 private:
  template <class T>
  void change(const Edit* edit, T& what) {
    if (edit == nullptr) return;
    if (const auto* apply = std::get_if<bool (*)(T&)>(edit)) edited_ = (*apply)(what);
  }

  /// What compile() of ir/compile.h does, with the edit.
  Result<Lowered> compile(const Program& p, const Edit* edit) {
    CompileOptions options;
    if (p.accumulator) options.factor = tile::Factor::accumulator;
    options.lower.aligned = is_aligned(p.func, arguments(p));
    Target told = target_;
    change(edit, told);
    TRY_ASSIGN(tile::Func f, tile::parse(tile::print(p.func), "program"));  // what is built has no lines
    TRY_ASSIGN(f, prepare(std::move(f), options));
    change(edit, f);
    TRY_ASSIGN(f, lay_out(f, told, options));
    TRY_ASSIGN(Lowered lowered, lower(f, told, options.lower));
    change(edit, lowered.func);
    TRY(thread::verify(lowered.func));
    thread::optimise(lowered.func);
    TRY(thread::verify(lowered.func));
    return lowered;
  }

  static Kernel::Arguments arguments(const Program& p) {
    Kernel::Arguments a;
    for (const auto& [name, value] : p.scalars) a.sizes[name] = static_cast<int64_t>(value);
    for (const tile::Param& param : p.func.params) {
      const std::string& name = p.func.values[param.value].name;
      if (const auto value = p.scalars.find(name); value != p.scalars.end()) a.values[name] = value->second;
      const auto tensor = p.shapes.find(name);
      if (tensor == p.shapes.end()) continue;
      a.values[name] = 0;  // buffers are aligned
      for (size_t d = 0; d < param.sizes.size(); d++)
        a.sizes[p.func.values[param.sizes[d]].name] = tensor->second.shape[d];
    }
    return a;
  }

  Result<Unit> launch(const Lowered& lowered, const Program& p, HostTensors& tensors) {
    TRY_ASSIGN(const Emitted code, emit(lowered.func, target_, "sim"));
    TRY_ASSIGN(const auto program, load(*device_, code));
    Kernel::Arguments args = arguments(p);
    std::map<std::string, std::unique_ptr<runtime::Buffer>> buffers;
    for (const auto& [name, tensor] : tensors) {
      TRY_ASSIGN(buffers[name], upload(lowered, name, tensor));
      args.values[name] = buffers[name]->address();
    }
    runtime::LaunchRecord record{program.get()};
    for (const tile::Param& param : p.func.params)
      record.params.push_back(args.values.at(p.func.values[param.value].name));
    std::vector<int64_t> symbols;
    for (const ValueId s : p.func.symbols) symbols.push_back(args.sizes.at(p.func.values[s].name));
    record.params.insert(record.params.end(), symbols.begin(), symbols.end());
    TRY_ASSIGN(const auto grid, tile::evaluate_grid(p.func, symbols, p.scalars));
    record.grid = {static_cast<uint32_t>(grid[0]), static_cast<uint32_t>(grid[1]), static_cast<uint32_t>(grid[2])};
    TRY(lift(device_->run({&record, 1})));
    for (auto& [name, tensor] : tensors)
      if (!lowered.packed.contains(name)) TRY(download(*buffers[name], tensor));
    return Unit{};
  }

  /// As the tensor's whole storage, one element after another; packed by the engine where the order is the compiler's.
  Result<std::unique_ptr<runtime::Buffer>> upload(const Lowered& lowered, const std::string& name,
                                                  const tile::HostTensor& t) {
    const auto order = lowered.packed.find(name);
    if (order == lowered.packed.end()) {
      const auto bytes = to_bytes(stored(t));
      TRY_ASSIGN(auto buffer, lift(device_->alloc(bytes.size())));
      TRY(lift(device_->upload(*buffer, 0, bytes)));
      return buffer;
    }
    tile::HostTensor plain{plain_type(t.elem), t.shape, {}};
    for (const uint64_t raw : t.raw)
      plain.raw.push_back(t.elem == plain.elem ? raw : encode_int(plain.elem, decode_int(t.elem, raw)));
    const int64_t rows = t.shape[0], columns = t.shape[1];
    TRY_ASSIGN(auto buffer, lift(device_->alloc(static_cast<uint64_t>(order->second.bytes(rows, columns)))));
    Packer packer(*device_, target_);
    TRY(packer.pack(order->second, rows, columns, to_bytes(plain), *buffer));
    return buffer;
  }

  Result<Unit> download(const runtime::Buffer& from, tile::HostTensor& t) {
    std::vector<std::byte> bytes(from.bytes());
    TRY(lift(device_->download(from, 0, bytes)));
    tile::HostTensor all = stored(t);
    take_bytes(all, bytes);
    t.raw = std::move(all.raw);
    return Unit{};
  }

  /// What strides leave between elements counts as elements.
  static tile::HostTensor stored(const tile::HostTensor& t) {
    int64_t count = 1;
    for (const int64_t extent : t.shape) count *= extent;
    const auto elements = static_cast<int64_t>(t.raw.size());
    return {t.elem, count == elements ? t.shape : Coord{elements}, t.raw};
  }

  std::unique_ptr<sim::Device> device_;
  Target target_;
  bool edited_ = false;
};

}  // namespace lathe::fuzz
