// Runs a kernel workgroup by workgroup: binding of tensors and sizes, control, memory. What a pure operation computes
// is in ir/tile_interp_ops.cpp.
#include "ir/tile_interp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "ir/tile_interp_ops.h"

namespace lathe::tile {
namespace {

using Tensors = std::map<std::string, HostTensor>;
using Scalars = std::map<std::string, uint64_t>;

uint64_t low_bits(lathe::Type elem, uint64_t raw) { return encode_int(elem, static_cast<int64_t>(raw)); }

/// Memory of a view or of a shared tile. Strides in elements.
struct Place {
  uint64_t* data = nullptr;
  Coord size, strides;
};

constexpr int64_t kAskedEvery = 256;  ///< operations

/// What a size is and which parameter said so first.
struct Size {
  int64_t value;
  std::string from;
};

class Execution {
 public:
  Execution(const Func& f, int64_t max_steps, Witness* witness = nullptr, std::vector<std::string>* printed = nullptr)
      : f_(f),
        steps_left_(max_steps),
        max_steps_(max_steps),
        witness_(witness),
        printed_(printed),
        env_(f.values.size()) {}

  Result<Unit> run_head() { return f_.head == kNone ? Unit{} : run(f_.head); }
  Result<Unit> bind(Tensors& tensors, const Scalars& scalars);
  Result<Unit> bind_symbols(const std::vector<int64_t>& symbols);
  void bind_scalars(const Scalars& scalars);
  Result<std::vector<int64_t>> grid();
  Result<Unit> bind_workspaces(int64_t workgroups);
  Result<Unit> run_workgroup(std::array<int64_t, 3> group);

 private:
  // Launch
  Result<Unit> bind_tensor(const Param& p, HostTensor& tensor);
  Result<Unit> bind_size(const Param& p, size_t dim, int64_t extent);
  Result<Unit> bind_symbols(const Scalars& scalars);
  Result<Unit> place(const Param& p, HostTensor& tensor);

  // Blocks
  Result<Unit> run(BlockId block);
  Result<Unit> step(const Func::Inst& inst);
  Result<Unit> loop(const Func::Inst& inst);
  Result<Unit> cond(const Func::Inst& inst);
  Result<Unit> while_loop(const Func::Inst& inst);
  Result<Unit> pure(const Func::Inst& inst);
  std::vector<Raw> yielded(BlockId block) const;
  void assign(const std::vector<ValueId>& to, std::vector<Raw> values);

  // Memory
  struct Box {
    std::vector<int64_t> in_tile, in_memory;  ///< offsets of the elements within the edges
  };
  Result<Box> inside(const Func::Inst& inst, const Coord& extent) const;
  void move_rows(const Func::Inst& inst, const Coord& extent, Box& box) const;
  Result<Unit> load(const Func::Inst& inst);
  Result<Unit> store(const Func::Inst& inst);
  void empty(const Func::Inst& inst);
  Result<Unit> atomic_add(const Func::Inst& inst);
  Result<Unit> arrive(const Func::Inst& inst);
  void shared(const Func::Inst& inst);

  bool is_set(ValueId v) const { return !env_[v].empty(); }
  int64_t integer(ValueId v) const { return decode_int(f_.type(v).elem, env_[v][0]); }
  const std::string& name(ValueId v) const { return f_.values[v].name; }
  Result<Unit> require_set(const Func::Inst& inst) const;
  tl::unexpected<Error> at(const Func::Inst& inst, Error e) const;
  tl::unexpected<Error> fail(const Func::Inst& inst, std::string text) const {
    return at(inst, {Error::Code::bad_input, std::move(text)});
  }

  const Func& f_;
  int64_t steps_left_, max_steps_;
  Witness* witness_;
  std::vector<std::string>* printed_;
  bool exited_ = false;  ///< the workgroup
  std::map<ValueId, HostTensor> workspaces_;
  std::vector<Raw> env_;  ///< by value: tiles, scalars, contents of shared tiles; empty: not set
  std::map<ValueId, Place> places_;
  std::map<std::string, Size> sizes_;  ///< by name of the symbol
  std::array<int64_t, 3> group_{};
};

// ---- launch

Result<Unit> Execution::bind(Tensors& tensors, const Scalars& scalars) {
  for (const Param& p : f_.params) {
    if (f_.type(p.value).form != Form::view) continue;
    if (p.workspace) {
      env_[p.sizes[0]] = {0};  // until the grid is known
      continue;
    }
    const auto tensor = tensors.find(name(p.value));
    if (tensor == tensors.end()) return bad_input(fmt::format("tensor {} is missing", name(p.value)));
    TRY(bind_tensor(p, tensor->second));
  }
  TRY(bind_symbols(scalars));
  bind_scalars(scalars);
  for (const Param& p : f_.params) {
    if (p.workspace) continue;
    if (f_.type(p.value).form == Form::view)
      TRY(place(p, tensors.at(name(p.value))));
    else if (!is_set(p.value))
      return bad_input(fmt::format("scalar {} is missing", name(p.value)));
  }
  return Unit{};
}

/// Checks the type, rank and constant sizes of a tensor and takes the other sizes from it.
Result<Unit> Execution::bind_tensor(const Param& p, HostTensor& tensor) {
  const Type& type = f_.type(p.value);
  if (tensor.elem != type.elem)
    return bad_input(fmt::format("{}: the tensor is {}, but the view is {}", name(p.value), to_string(tensor.elem),
                                 to_string(type.elem)));
  if (tensor.shape.size() != p.sizes.size())
    return bad_input(fmt::format("{}: the tensor has {} dimensions, but the view has {}", name(p.value),
                                 tensor.shape.size(), p.sizes.size()));
  for (size_t d = 0; d < p.sizes.size(); d++) TRY(bind_size(p, d, tensor.shape[d]));
  return Unit{};
}

Result<Unit> Execution::bind_size(const Param& p, size_t dim, int64_t extent) {
  const ValueId size = p.sizes[dim];
  if (extent < 0) return bad_input(fmt::format("{}: dimension {} is {}", name(p.value), dim, extent));
  if (is_set(size)) {
    if (extent == integer(size)) return Unit{};
    return bad_input(fmt::format("{}: dimension {} is {}, but must be {}", name(p.value), dim, extent, integer(size)));
  }
  const auto [known, is_new] = sizes_.try_emplace(name(size), Size{extent, name(p.value)});
  if (is_new || known->second.value == extent) return Unit{};
  return bad_input(fmt::format("{}: dimension {} is {}, but {} is {} (from {})", name(p.value), dim, extent, name(size),
                               known->second.value, known->second.from));
}

/// Sizes come from the tensors, the other symbols (strides) from the scalars.
Result<Unit> Execution::bind_symbols(const Scalars& scalars) {
  for (const ValueId symbol : f_.symbols) {
    const auto size = sizes_.find(name(symbol));
    const auto given = scalars.find(name(symbol));
    if (is_set(symbol)) continue;
    if (size == sizes_.end() && given == scalars.end())
      return bad_input(fmt::format("{} is not the size of a tensor and not among the scalars", name(symbol)));
    const int64_t value = size == sizes_.end() ? static_cast<int64_t>(given->second) : size->second.value;
    if (given != scalars.end() && static_cast<int64_t>(given->second) != value)
      return bad_input(fmt::format("scalar {} is {}, but {} is {} (from {})", name(symbol),
                                   static_cast<int64_t>(given->second), name(symbol), value, size->second.from));
    env_[symbol] = {static_cast<uint64_t>(value)};
  }
  return Unit{};
}

Result<Unit> Execution::bind_symbols(const std::vector<int64_t>& symbols) {
  if (symbols.size() != f_.symbols.size())
    return bad_input(
        fmt::format("{} symbol values given, kernel {} has {}", symbols.size(), f_.name, f_.symbols.size()));
  for (size_t i = 0; i < symbols.size(); i++) env_[f_.symbols[i]] = {static_cast<uint64_t>(symbols[i])};
  return Unit{};
}

void Execution::bind_scalars(const Scalars& scalars) {
  for (const Param& p : f_.params) {
    const auto given = scalars.find(name(p.value));
    if (f_.type(p.value).is_scalar() && given != scalars.end())
      env_[p.value] = {low_bits(f_.type(p.value).elem, given->second)};
  }
}

Result<Unit> Execution::bind_workspaces(int64_t workgroups) {
  for (const Param& p : f_.params) {
    if (!p.workspace) continue;
    HostTensor& t = workspaces_[p.value];
    t = {f_.type(p.value).elem, f_.type(p.value).shape, {}};
    t.shape[0] = workgroups;
    t.raw.assign(static_cast<size_t>(element_count(t.shape)), 0);
    env_[p.sizes[0]] = {static_cast<uint64_t>(workgroups)};
    TRY(place(p, t));
  }
  return Unit{};
}

Result<Unit> Execution::place(const Param& p, HostTensor& tensor) {
  Place place{tensor.raw.data(), tensor.shape, dense_strides(tensor.shape)};
  if (!p.strides.empty())
    std::transform(p.strides.begin(), p.strides.end(), place.strides.begin(), [&](ValueId v) { return integer(v); });
  const int64_t count = element_count(tensor.shape);
  int64_t needed = count == 0 ? 0 : 1;
  for (size_t d = 0; d < place.size.size() && count != 0; d++) {
    if (place.strides[d] < 0)
      return bad_input(fmt::format("{}: stride {} of dimension {} is below 0", name(p.value), place.strides[d], d));
    needed += (place.size[d] - 1) * place.strides[d];
  }
  const auto held = static_cast<int64_t>(tensor.raw.size());
  if (p.strides.empty() ? held != count : held < needed)
    return bad_input(fmt::format("{}: the tensor holds {} elements, but shape [{}] needs {}", name(p.value), held,
                                 fmt::join(tensor.shape, ", "), needed));
  places_[p.value] = std::move(place);
  return Unit{};
}

Result<std::vector<int64_t>> Execution::grid() {
  constexpr int64_t kMost = int64_t{1} << 31;
  TRY(run(f_.grid));
  std::vector<int64_t> axes;
  for (const Raw& axis : yielded(f_.grid)) axes.push_back(decode_int(types::i64, axis[0]));
  axes.resize(3, 1);
  int64_t total = 1;
  for (const int64_t axis : axes) {
    if (axis < 0) return bad_input(fmt::format("the grid {} is below 0", fmt::join(axes, " x ")));
    if (axis != 0 && total > kMost / axis)
      return bad_input(fmt::format("the grid {} is over 2^31 workgroups", fmt::join(axes, " x ")));
    total *= axis;
  }
  return axes;
}

// ---- blocks

Result<Unit> Execution::run_workgroup(std::array<int64_t, 3> group) {
  group_ = group;
  exited_ = false;
  return run(f_.body);
}

Result<Unit> Execution::run(BlockId block) {
  for (const InstId id : f_.blocks[block].insts) {
    const Func::Inst& inst = f_.inst(id);
    if (steps_left_-- <= 0) return fail(inst, fmt::format("more than {} operations", max_steps_));
    if (witness_ && steps_left_ % kAskedEvery == 0 && !witness_->goes_on()) return fail(inst, "stopped");
    TRY(require_set(inst));
    TRY(step(inst));
    if (exited_) break;
    if (witness_ && info(inst.op).effect != Effect::control) witness_->ran(f_, inst, env_);
  }
  return Unit{};
}

Result<Unit> Execution::step(const Func::Inst& inst) {
  switch (inst.op) {
    case Op::group_id:
      env_[inst.results[0]] = {static_cast<uint64_t>(group_[static_cast<size_t>(inst.attr.imm)])};
      return Unit{};
    case Op::load:
    case Op::gather:
      return load(inst);
    case Op::store:
    case Op::scatter:
      return store(inst);
    case Op::shared:
      shared(inst);
      return Unit{};
    case Op::issue:
      return load(inst);
    case Op::commit:
      return Unit{};
    case Op::room:
    case Op::release:
      empty(inst);
      return Unit{};
    case Op::wait:
      env_[inst.results[0]] = env_[inst.args[0]];
      return Unit{};
    case Op::loop:
      return loop(inst);
    case Op::cond:
      return cond(inst);
    case Op::while_loop:
      return while_loop(inst);
    case Op::atomic_add:
      return atomic_add(inst);
    case Op::arrive:
      return arrive(inst);
    case Op::exit_if:
      exited_ = integer(inst.args[0]) != 0;
      return Unit{};
    case Op::assume_multiple:
    case Op::assume_range:
      return check_promise(f_, inst, integer(inst.args[0]));
    case Op::assert:
      if (integer(inst.args[0]) == 0) return tl::unexpected(failed_assert(f_, inst, group_));
      return Unit{};
    case Op::print:
      if (printed_) printed_->push_back(printed_line(f_, inst, env_[inst.args[0]][0], group_));
      return Unit{};
    case Op::yield:
      return Unit{};
    default:
      return pure(inst);
  }
}

Result<Unit> Execution::pure(const Func::Inst& inst) {
  std::vector<Operand> args;
  for (const ValueId v : inst.args) args.push_back({f_.type(v), env_[v]});
  auto value = evaluate(inst.op, inst.attr, args, f_.type(inst.results[0]));
  if (!value) return at(inst, std::move(value).error());
  env_[inst.results[0]] = std::move(*value);
  return Unit{};
}

Result<Unit> Execution::loop(const Func::Inst& inst) {
  const int64_t hi = integer(inst.args[1]), by = integer(inst.args[2]);
  if (by <= 0) return fail(inst, fmt::format("step {} is not above 0", by));
  const BlockId body = inst.blocks[0];
  const ValueId index = f_.blocks[body].params[0];
  const std::vector<ValueId> carried(f_.blocks[body].params.begin() + 1, f_.blocks[body].params.end());
  std::vector<Raw> values;
  for (size_t i = 3; i < inst.args.size(); i++) values.push_back(env_[inst.args[i]]);
  const auto left = [&](int64_t i) { return static_cast<uint64_t>(hi) - static_cast<uint64_t>(i); };
  for (int64_t i = integer(inst.args[0]); i < hi; i += by) {
    env_[index] = {encode_int(f_.type(index).elem, i)};
    assign(carried, std::move(values));
    TRY(run(body));
    if (exited_) return Unit{};
    values = yielded(body);
    if (left(i) <= static_cast<uint64_t>(by)) break;  // i + by may be past the last i64
  }
  assign(inst.results, std::move(values));
  return Unit{};
}

Result<Unit> Execution::cond(const Func::Inst& inst) {
  const BlockId block = inst.blocks[integer(inst.args[0]) != 0 ? 0 : 1];
  TRY(run(block));
  if (!exited_) assign(inst.results, yielded(block));
  return Unit{};
}

Result<Unit> Execution::while_loop(const Func::Inst& inst) {
  std::vector<Raw> values;
  for (const ValueId v : inst.args) values.push_back(env_[v]);
  for (;;) {
    assign(f_.blocks[inst.blocks[0]].params, values);
    TRY(run(inst.blocks[0]));
    if (exited_) return Unit{};
    if (yielded(inst.blocks[0])[0][0] == 0) break;
    assign(f_.blocks[inst.blocks[1]].params, std::move(values));
    TRY(run(inst.blocks[1]));
    if (exited_) return Unit{};
    values = yielded(inst.blocks[1]);
  }
  assign(inst.results, std::move(values));
  return Unit{};
}

/// Operands of the yield that ended `block`.
std::vector<Raw> Execution::yielded(BlockId block) const {
  std::vector<Raw> values;
  for (const ValueId v : f_.inst(f_.blocks[block].insts.back()).args) values.push_back(env_[v]);
  return values;
}

void Execution::assign(const std::vector<ValueId>& to, std::vector<Raw> values) {
  for (size_t i = 0; i < to.size(); i++) env_[to[i]] = std::move(values[i]);
}

Result<Unit> Execution::require_set(const Func::Inst& inst) const {
  for (const ValueId v : inst.args) {
    if (is_set(v) || places_.contains(v)) continue;
    return fail(inst, fmt::format("scalar {} is missing", name(v)));
  }
  return Unit{};
}

tl::unexpected<Error> Execution::at(const Func::Inst& inst, Error e) const {
  const std::string line = inst.loc.line == 0 ? "" : fmt::format("{}:{}: ", inst.loc.line, inst.loc.col);
  e.text = fmt::format("kernel {}: {}{}: {}", f_.name, line, info(inst.op).name, e.text);
  return tl::unexpected(std::move(e));
}

// ---- memory

/// The elements of a tile of `extent`, at the index in args 1.., that lie within the edges of the memory in args[0].
Result<Execution::Box> Execution::inside(const Func::Inst& inst, const Coord& extent) const {
  const Place& place = places_.at(inst.args[0]);
  const bool by_row = inst.op == Op::gather || inst.op == Op::scatter;
  Coord kept = extent;
  int64_t base = 0;
  for (size_t d = 0; d < extent.size(); d++) {
    const int64_t index = integer(inst.args[1 + d]);
    if (index < 0)
      return fail(inst, fmt::format("index {} in dimension {} of {} is below 0", index, d, name(inst.args[0])));
    if (d > 0 || !by_row) kept[d] = std::clamp<int64_t>(place.size[d] - index, 0, extent[d]);
    base += kept[d] == 0 ? 0 : index * place.strides[d];
  }
  Box box{offsets(kept, dense_strides(extent)), offsets(kept, place.strides)};
  for (int64_t& address : box.in_memory) address += base;
  if (by_row) move_rows(inst, extent, box);
  return box;
}

/// Row i of the tile is row index + number[i] of the memory, or nowhere.
void Execution::move_rows(const Func::Inst& inst, const Coord& extent, Box& box) const {
  const Place& place = places_.at(inst.args[0]);
  const Raw& numbers = env_[inst.args[1 + extent.size()]];
  const int64_t row_elements = dense_strides(extent)[0];
  Box moved;
  for (size_t e = 0; e < box.in_tile.size(); e++) {
    const int64_t i = box.in_tile[e] / row_elements;
    const int64_t number = decode_int(types::i32, numbers[static_cast<size_t>(i)]);
    const int64_t row = integer(inst.args[1]) + number;
    if (row < 0 || row >= place.size[0]) continue;
    moved.in_tile.push_back(box.in_tile[e]);
    moved.in_memory.push_back(box.in_memory[e] + (number - i) * place.strides[0]);
  }
  box = std::move(moved);
}

Result<Unit> Execution::load(const Func::Inst& inst) {
  const Type& type = f_.type(inst.results[0]);
  TRY_ASSIGN(const Box box, inside(inst, type.shape));
  Raw tile(static_cast<size_t>(element_count(type.shape)), 0);
  const uint64_t* data = places_.at(inst.args[0]).data;
  for (size_t i = 0; i < box.in_tile.size(); i++)
    tile[static_cast<size_t>(box.in_tile[i])] =
        witness_ ? data[box.in_memory[i]] : low_bits(type.elem, data[box.in_memory[i]]);
  env_[inst.results[0]] = std::move(tile);
  return Unit{};
}

Result<Unit> Execution::store(const Func::Inst& inst) {
  const ValueId tile = inst.args.back();
  TRY_ASSIGN(const Box box, inside(inst, f_.type(tile).shape));
  uint64_t* data = places_.at(inst.args[0]).data;
  for (size_t i = 0; i < box.in_tile.size(); i++)
    data[box.in_memory[i]] = env_[tile][static_cast<size_t>(box.in_tile[i])];
  return Unit{};
}

Result<Unit> Execution::atomic_add(const Func::Inst& inst) {
  const ValueId tile = inst.args.back();
  TRY_ASSIGN(const Box box, inside(inst, f_.type(tile).shape));
  const Place& place = places_.at(inst.args[0]);
  for (size_t i = 0; i < box.in_tile.size(); i++) {
    uint64_t& at = place.data[box.in_memory[i]];
    at = low_bits(f_.type(tile).elem, at + env_[tile][static_cast<size_t>(box.in_tile[i])]);
  }
  return Unit{};
}

Result<Unit> Execution::arrive(const Func::Inst& inst) {
  const Place& place = places_.at(inst.args[0]);
  TRY_ASSIGN(const Box box, inside(inst, Coord(place.size.size(), 1)));
  uint64_t before = 0;
  for (const int64_t at : box.in_memory)
    before = std::exchange(place.data[at], low_bits(types::u32, place.data[at] + 1));
  env_[inst.results[0]] = {before};
  return Unit{};
}

/// New contents are all ones: NaN, -1 or the largest number, whichever hurts.
void Execution::empty(const Func::Inst& inst) {
  const Type& type = f_.type(inst.results[0]);
  env_[inst.results[0]].assign(static_cast<size_t>(element_count(type.shape)), low_bits(type.elem, ~uint64_t{0}));
}

void Execution::shared(const Func::Inst& inst) {
  const ValueId v = inst.results[0];
  empty(inst);
  places_[v] = {env_[v].data(), f_.type(v).shape, dense_strides(f_.type(v).shape)};
}

}  // namespace

namespace {
std::string place_of(const Func& f, const Func::Inst& inst) {
  return inst.loc.line == 0 ? fmt::format("kernel {}", f.name)
                            : fmt::format("kernel {}: {}:{}", f.name, inst.loc.line, inst.loc.col);
}
}  // namespace

std::string printed_line(const Func& f, const Func::Inst& print, uint64_t raw, const std::array<int64_t, 3>& group) {
  const lathe::Type elem = f.type(print.args[0]).elem;
  const std::string value =
      elem.is_float() ? fmt::format("{}", decode(elem, raw)) : fmt::format("{}", decode_int(elem, raw));
  return fmt::format("{}: {} (workgroup {})", print.attr.text, value, fmt::join(group, ", "));
}

Error failed_assert(const Func& f, const Func::Inst& assertion, const std::array<int64_t, 3>& group) {
  return {Error::Code::bad_input, fmt::format("{}: assert: {} (workgroup {})", place_of(f, assertion),
                                              assertion.attr.text, fmt::join(group, ", "))};
}

Result<Unit> check_promise(const Func& f, const Func::Inst& assume, int64_t value) {
  const auto broken = [&](std::string_view what) {
    return bad_input(fmt::format("{}: {} is not {}", place_of(f, assume), value, what));
  };
  if (assume.op == Op::assume_multiple)
    return value % assume.attr.imm == 0 ? Result<Unit>() : broken(fmt::format("a multiple of {}", assume.attr.imm));
  const int64_t least = assume.attr.shape[0], most = assume.attr.shape[1];
  return value >= least && value <= most ? Result<Unit>() : broken(fmt::format("{} to {}", least, most));
}

Result<Unit> interpret(const Func& f, std::map<std::string, HostTensor>& tensors,
                       const std::map<std::string, uint64_t>& scalars, int64_t max_steps, Witness* witness,
                       std::vector<std::string>* printed) {
  Execution run(f, max_steps, witness, printed);
  TRY(run.run_head());
  TRY(run.bind(tensors, scalars));
  TRY_ASSIGN(const std::vector<int64_t> grid, run.grid());
  TRY(run.bind_workspaces(grid[0] * grid[1] * grid[2]));
  for (int64_t z = 0; z < grid[2]; z++)
    for (int64_t y = 0; y < grid[1]; y++)
      for (int64_t x = 0; x < grid[0]; x++) TRY(run.run_workgroup({x, y, z}));
  return Unit{};
}

Result<std::vector<int64_t>> evaluate_grid(const Func& f, const std::vector<int64_t>& symbols,
                                           const std::map<std::string, uint64_t>& scalars) {
  Execution run(f, int64_t{1} << 20);
  TRY(run.run_head());
  TRY(run.bind_symbols(symbols));
  run.bind_scalars(scalars);
  return run.grid();
}

}  // namespace lathe::tile
