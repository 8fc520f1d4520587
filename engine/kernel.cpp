#include "engine/kernel.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "backends/ptx/emit.h"
#include "backends/sim/serial.h"
#include "backends/spirv/emit.h"
#include "backends/spirv/target.h"
#include "build_id.h"
#include "ir/log.h"
#include "ir/tile_interp.h"

namespace lathe {
namespace {

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A kernel as the disk cache keeps it.
struct Built {
  Emitted emitted;
  std::map<std::string, PackedLayout> packed;
  std::string atoms;
  MapSource source = MapSource::fma;
};

nlohmann::json to_json(const runtime::BoxInfo& b) {
  return {b.address_slot, b.columns.slot, b.columns.value, b.rows.slot,
          b.rows.value,   b.pitch.slot,   b.pitch.value,   b.box_rows};
}
runtime::BoxInfo box_from(const nlohmann::json& j) {
  return {j.at(0), {j.at(1), j.at(2)}, {j.at(3), j.at(4)}, {j.at(5), j.at(6)}, j.at(7)};
}

/// What is known of the code as JSON, a 0, the code.
std::vector<std::byte> to_entry(const Built& b) {
  const runtime::ProgramInfo& info = b.emitted.info;
  nlohmann::json j{{"entry", info.entry},
                   {"threads", info.threads},
                   {"subgroup_size", info.subgroup_size},
                   {"shared_bytes", info.shared_bytes},
                   {"param_slots", info.param_slots},
                   {"push", info.params_in_push_constants},
                   {"overlaps", info.overlaps},
                   {"atoms", b.atoms},
                   {"source", to_string(b.source)}};
  for (const auto& [name, p] : b.packed) j["packed"][name] = {{"elem", to_string(p.elem)}, {"unit", to_string(p.unit)}};
  for (const runtime::BoxInfo& box : info.boxes) j["boxes"].push_back(to_json(box));
  const std::string head = j.dump();
  std::vector<std::byte> entry(head.size() + 1 + b.emitted.code.size());
  std::memcpy(entry.data(), head.data(), head.size());
  std::memcpy(entry.data() + head.size() + 1, b.emitted.code.data(), b.emitted.code.size());
  return entry;
}

std::optional<Built> from_entry(std::span<const std::byte> entry) {
  const std::string_view all(reinterpret_cast<const char*>(entry.data()), entry.size());
  const size_t end = all.find('\0');
  if (end == all.npos) return std::nullopt;
  const auto j = nlohmann::json::parse(all.substr(0, end), nullptr, false);
  Built b;
  runtime::ProgramInfo& info = b.emitted.info;
  try {
    info.entry = j.at("entry");
    info.threads = j.at("threads");
    info.subgroup_size = j.at("subgroup_size");
    info.shared_bytes = j.at("shared_bytes");
    info.param_slots = j.at("param_slots");
    info.params_in_push_constants = j.at("push");
    info.overlaps = j.at("overlaps");
    b.atoms = j.at("atoms");
    const auto source = std::find_if(std::begin(kMapSources), std::end(kMapSources),
                                     [&](MapSource s) { return j.at("source") == to_string(s); });
    if (source == std::end(kMapSources)) return std::nullopt;
    b.source = *source;
    if (j.contains("boxes"))
      for (const auto& box : j["boxes"]) info.boxes.push_back(box_from(box));
    if (j.contains("packed"))
      for (const auto& [name, p] : j["packed"].items()) {
        const auto elem = parse_type(p.at("elem").get<std::string>());
        auto unit = parse_layout(p.at("unit").get<std::string>());
        if (!elem || !unit) return std::nullopt;
        b.packed[name] = {*elem, *unit};
      }
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  b.emitted.code.assign(entry.begin() + static_cast<std::ptrdiff_t>(end) + 1, entry.end());
  return b;
}

/// The matrix instructions of a compiled kernel, by name and count.
std::string count_atoms(const thread::Func& f, const Target& t, MapSource& source) {
  std::map<std::string, int> counts;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op == thread::Op::mma || f.inst(id).op == thread::Op::mma_shared) counts[f.inst(id).attr.name]++;
  });
  std::string text;
  source = MapSource::fma;
  for (const auto& [name, n] : counts) {
    text += fmt::format("{}{} x{}", text.empty() ? "" : ", ", name, n);
    for (const Atom& a : t.atoms)
      if (a.name == name) source = a.source;
  }
  return text.empty() ? "fma" : text;
}

runtime::BoxInfo info_of(const thread::Box& b) {
  const auto number = [](const thread::Box::Number& n) { return runtime::BoxInfo::Number{n.slot, n.value}; };
  return {static_cast<uint32_t>(b.address), number(b.columns), number(b.rows), number(b.pitch),
          static_cast<uint32_t>(b.box_rows)};
}

Result<std::unique_ptr<runtime::Buffer>> zeroed(runtime::Device& device, uint64_t bytes) {
  TRY_ASSIGN(auto buffer, lift(device.alloc(bytes)));
  TRY(lift(device.upload(*buffer, 0, std::vector<std::byte>(bytes))));
  return buffer;
}

/// A program made by a builder has no lines; what the simulator reports names those of its text.
tile::Func with_lines(const tile::Func& f) {
  for (const auto& inst : f.insts)
    if (inst.loc.line != 0) return f;
  auto parsed = tile::parse(tile::print(f), f.name);
  if (!parsed) return f;
  return std::move(*parsed);
}

/// The simulator's code holds the lines of the program.
std::string lines_of(const tile::Func& f, const std::string& api) {
  std::string lines;
  if (api == "sim")
    for (const auto& inst : f.insts) lines += fmt::format("{} ", inst.loc.line);
  return lines;
}

std::string cache_key(const tile::Func& f, const Target& t, const CompileOptions& o, const std::string& api) {
  return runtime::hash_key({"kernel 1", kBuildId, api, lines_of(f, api), tile::print(f), to_json(t),
                            fmt::format("{} {}", static_cast<int>(o.factor), o.lower.aligned)});
}

}  // namespace

Result<Emitted> emit(const thread::Func& f, const Target& t, std::string_view api) {
  Emitted e;
  e.info.threads = static_cast<uint32_t>(f.subgroups * f.subgroup_size);
  e.info.param_slots = static_cast<uint32_t>(f.param_slots);
  if (api == "sim") {
    e.info.entry = f.name;
    e.code = sim::serialise(f);
    return e;
  }
  if (t.backend == Backend::ptx) {
    TRY_ASSIGN(const std::string text, emit_ptx(f, t));
    e.info.entry = f.name;
    f.walk(f.body, [&](BlockId, size_t, InstId id) { e.info.overlaps |= f.inst(id).op == thread::Op::launch_wait; });
    const int64_t shared = shared_bytes(f);
    for (const thread::Box& box : f.boxes) e.info.boxes.push_back(info_of(box));
    e.info.shared_bytes = shared > kStaticSharedBytes ? static_cast<uint32_t>(shared) : 0;
    e.code.resize(text.size() + 1);  // the driver wants a final 0
    std::memcpy(e.code.data(), text.data(), text.size());
    return e;
  }
  TRY_ASSIGN(const auto words, emit_spirv(f, t));
  e.info.subgroup_size = t.fixed_subgroup_size ? static_cast<uint32_t>(t.subgroup_size) : 0;
  e.info.params_in_push_constants = params_in_push_constants(f);
  e.code.resize(words.size() * 4);
  std::memcpy(e.code.data(), words.data(), e.code.size());
  return e;
}

Result<std::unique_ptr<runtime::Program>> load(runtime::Device& device, const Emitted& e) {
  runtime::ProgramInfo info = e.info;
  if (!device.info().facts.vulkan.can_require_subgroup_size) info.subgroup_size = 0;
  return lift(device.load(e.code, info));
}

Result<std::shared_ptr<Kernel>> Kernel::build(runtime::Device& device, const Target& target, const tile::Func& program,
                                              const CompileOptions& options) {
  const std::string& api = device.info().api;
  const tile::Func f = api == "sim" ? with_lines(program) : program;
  auto k = std::make_shared<Kernel>();
  k->func_ = f;
  k->device_ = &device;
  if (!log_sites(f).empty()) {
    TRY_ASSIGN(k->log_, zeroed(device, static_cast<uint64_t>(kLogBytes)));
  }
  const auto cache = runtime::DiskCache::standard();
  const std::string key = cache ? cache_key(f, target, options, api) : "";
  const auto load_timed = [&](const Emitted& e) {
    const double start = now_ms();
    auto loaded = load(device, e);
    k->times_.driver_ms = now_ms() - start;
    return loaded;
  };
  std::optional<Built> b;
  if (cache)
    if (const auto hit = cache->get(key)) b = from_entry(*hit);
  if (b)
    if (auto loaded = load_timed(b->emitted)) {
      k->program_ = std::move(*loaded);
      k->times_.from_cache = true;
    }
  if (!k->program_) {
    b.emplace();
    const double start = now_ms();
    TRY_ASSIGN(Compiled c, compile(f, target, options));
    TRY_ASSIGN(b->emitted, emit(c.func, target, api));
    b->packed = std::move(c.packed);
    b->atoms = count_atoms(c.func, target, b->source);
    k->times_.compile_ms = now_ms() - start;
    if (cache) cache->put(key, to_entry(*b));
    TRY_ASSIGN(k->program_, load_timed(b->emitted));
  }
  k->packed_ = std::move(b->packed);
  k->atoms_ = std::move(b->atoms);
  k->source_ = b->source;
  return k;
}

/// Memory of a workspace for this many workgroups; what a smaller one held is not carried over.
Result<uint64_t> Kernel::workspace(const tile::Param& p, int64_t workgroups) const {
  const tile::Type& t = func_.type(p.value);
  int64_t elements = workgroups;
  for (size_t d = 1; d < t.shape.size(); d++) elements *= t.shape[d];
  const auto bytes = static_cast<uint64_t>((elements * t.elem.bits + 7) / 8 + 15) / 16 * 16;
  const std::lock_guard lock(workspaces_lock_);
  auto& held = workspaces_[func_.values[p.value].name];
  if (held.empty() || held.back()->bytes() < bytes) {  // earlier ones may be in use by launches under way
    TRY_ASSIGN(auto fresh, zeroed(*device_, bytes));
    held.push_back(std::move(fresh));
  }
  return held.back()->address();
}

/// Promises about arguments and sizes; others are the kernel author's.
Result<Unit> Kernel::check_promises(const Arguments& args) const {
  for (const InstId id : func_.blocks[func_.body].insts) {
    const auto& inst = func_.inst(id);
    if (inst.op != tile::Op::assume_multiple && inst.op != tile::Op::assume_range) continue;
    const std::string& name = func_.values[inst.args[0]].name;
    if (func_.def(inst.args[0])) continue;
    if (const auto size = args.sizes.find(name); size != args.sizes.end())
      TRY(tile::check_promise(func_, inst, size->second));
    else if (const auto value = args.values.find(name); value != args.values.end())
      TRY(tile::check_promise(func_, inst, static_cast<int64_t>(value->second)));
  }
  return Unit{};
}

Result<runtime::LaunchRecord> Kernel::launch(const Arguments& args) const {
  runtime::LaunchRecord r;
  r.program = program_.get();
  TRY(check_promises(args));
  std::map<std::string, uint64_t> scalars;
  std::vector<std::pair<size_t, const tile::Param*>> workspaces;  // and their place among the parameters
  std::map<ValueId, int64_t> known;                               // symbols no caller gives: the number of workgroups
  for (const tile::Param& p : func_.params) {
    const auto& name = func_.values[p.value].name;
    if (p.workspace) {
      workspaces.emplace_back(r.params.size(), &p);
      known[p.sizes[0]] = 0;
      r.params.push_back(0);
      continue;
    }
    const auto it = args.values.find(name);
    if (it == args.values.end()) return bad_input(fmt::format("{}: no argument for parameter '{}'", func_.name, name));
    r.params.push_back(it->second);
    if (func_.type(p.value).is_scalar()) scalars[name] = it->second;
  }
  const size_t first_symbol = r.params.size();
  std::vector<int64_t> symbols;
  for (ValueId s : func_.symbols) {
    const auto& name = func_.values[s].name;
    const auto it = args.sizes.find(name);
    const bool given = !known.contains(s);
    if (given && it == args.sizes.end()) return bad_input(fmt::format("{}: size '{}' is not known", func_.name, name));
    const int64_t size = given ? it->second : 0;
    if (size < 0 || size > int64_t{1} << 30) return bad_input(fmt::format("{}: size {} = {}", func_.name, name, size));
    symbols.push_back(size);
    r.params.push_back(static_cast<uint64_t>(size));
  }
  TRY_ASSIGN(const auto grid, tile::evaluate_grid(func_, symbols, scalars));
  for (int64_t g : grid)
    if (g < 1 || g > INT32_MAX)
      return bad_input(fmt::format("{}: a grid of {} x {} x {}", func_.name, grid[0], grid[1], grid[2]));
  r.grid = {static_cast<uint32_t>(grid[0]), static_cast<uint32_t>(grid[1]), static_cast<uint32_t>(grid[2])};
  const int64_t workgroups = grid[0] * grid[1] * grid[2];
  for (const auto& [at, p] : workspaces) {
    TRY_ASSIGN(r.params[at], workspace(*p, workgroups));
  }
  for (size_t s = 0; s < func_.symbols.size(); s++)
    if (known.contains(func_.symbols[s])) r.params[first_symbol + s] = static_cast<uint64_t>(workgroups);
  if (log_) r.params.push_back(log_->address());
  return r;
}

Result<std::vector<std::string>> Kernel::take_log() const {
  std::vector<std::string> lines;
  if (!log_) return lines;
  uint32_t count = 0;
  TRY(lift(device_->download(*log_, 0, std::as_writable_bytes(std::span(&count, 1)))));
  std::vector<LogRecord> records(std::min<size_t>(count, kRecords));
  if (!records.empty())
    TRY(lift(device_->download(*log_, static_cast<uint64_t>(kRecordsAt), std::as_writable_bytes(std::span(records)))));
  const uint32_t none = 0;
  TRY(lift(device_->upload(*log_, 0, std::as_bytes(std::span(&none, 1)))));
  std::stable_sort(records.begin(), records.end(), [](const LogRecord& a, const LogRecord& b) {
    return std::lexicographical_compare(std::rbegin(a.group), std::rend(a.group), std::rbegin(b.group),
                                        std::rend(b.group));
  });
  const auto sites = log_sites(func_);
  for (const LogRecord& r : records) {
    if (r.site >= sites.size()) return internal_error(fmt::format("{}: a log record of site {}", func_.name, r.site));
    const auto& inst = func_.inst(sites[r.site]);
    const std::array<int64_t, 3> group{r.group[0], r.group[1], r.group[2]};
    if (inst.op == tile::Op::assert) return tl::unexpected(tile::failed_assert(func_, inst, group));
    lines.push_back(tile::printed_line(func_, inst, r.raw, group));
  }
  if (count > records.size())
    return bad_input(fmt::format("{}: {} lines were printed, a launch has room for {}", func_.name, count, kRecords));
  return lines;
}

bool is_aligned(const tile::Func& f, const Kernel::Arguments& args) {
  auto value_of = [&](ValueId v) -> int64_t {
    if (const auto* constant = f.def(v)) return constant->attr.imm;
    const auto it = args.sizes.find(f.values[v].name);
    return it == args.sizes.end() ? 1 : it->second;
  };
  for (const tile::Param& p : f.params) {
    const tile::Type& t = f.type(p.value);
    if (t.form != tile::Form::view || t.packed || p.workspace) continue;
    const auto it = args.values.find(f.values[p.value].name);
    if (it == args.values.end() || it->second % 16) return false;
    for (const ValueId size : p.sizes)
      if (value_of(size) == 0) return false;  // no box can be cut of nothing
    if (value_of(p.sizes.back()) * t.elem.bits % 128) return false;
    for (size_t d = 0; d + 1 < p.strides.size(); d++)
      if (value_of(p.strides[d]) * t.elem.bits % 128) return false;
  }
  return true;
}

}  // namespace lathe
