// From nested blocks to a flat list: rows for values, steps for instructions, jumps for control. Rows are given again
// once the last use of their value has passed.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "backends/sim/wave.h"

namespace lathe::sim {
namespace {

using thread::Func;
using thread::Op;
using Inst = Func::Inst;

enum class Form : uint8_t { none, lanes, step, source, control };
struct RowOf {
  Form form = Form::none;
  Class kind = Class::move;
  Action run = nullptr;
};

constexpr auto kRows = [] {
  std::array<RowOf, thread::kOpCount> rows{};
#define SIM_LANES(op, class) rows[static_cast<size_t>(Op::op)] = {Form::lanes, Class::class, actions::lanewise};
#define SIM_STEP(op, class, function) rows[static_cast<size_t>(Op::op)] = {Form::step, Class::class, actions::function};
#define SIM_SOURCE(op) rows[static_cast<size_t>(Op::op)] = {Form::source, Class::move, nullptr};
#define SIM_CONTROL(op) rows[static_cast<size_t>(Op::op)] = {Form::control, Class::control, nullptr};
#include "backends/sim/rows.def"
  return rows;
}();

constexpr int kMaxLanes = 64;

/// When a value is last needed, by position in the list of instructions.
class Lifetimes {
 public:
  explicit Lifetimes(const Func& f) : f_(f), born_(f.values.size(), 0), last_(f.values.size(), 0) { block(f.body); }
  uint32_t last(ValueId v) const { return last_[v]; }
  uint32_t begin(InstId i) const { return begin_.at(i); }

 private:
  struct Extent {
    uint32_t begin;
    std::vector<ValueId>* users;  ///< values from before the loop that it uses
  };

  void use(ValueId v) {
    last_[v] = std::max(last_[v], now_);
    for (const Extent& loop : loops_)  // outermost first: the next turn of it needs the value again
      if (born_[v] < loop.begin) return loop.users->push_back(v);
  }
  void born(ValueId v) { born_[v] = last_[v] = now_; }

  void block(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) {
      const Inst& i = f_.inst(id);
      begin_[id] = ++now_;
      for (const ValueId v : i.args) use(v);
      for (const ValueId v : i.results) born(v);
      if (i.op == Op::loop || i.op == Op::while_loop) {
        std::vector<ValueId> users(i.args.begin(), i.args.end());  // bound and step: each turn
        std::vector<ValueId> params;
        for (const BlockId nested : i.blocks)
          params.insert(params.end(), f_.blocks[nested].params.begin(), f_.blocks[nested].params.end());
        for (const ValueId v : params) born(v);
        now_++;
        loops_.push_back({now_, &users});
        for (const BlockId nested : i.blocks) block(nested);
        loops_.pop_back();
        users.insert(users.end(), params.begin(), params.end());
        users.insert(users.end(), i.results.begin(), i.results.end());
        for (const ValueId v : users) last_[v] = std::max(last_[v], now_);
      } else {
        for (const BlockId nested : i.blocks) block(nested);
        for (const ValueId v : i.results) last_[v] = std::max(last_[v], now_);
      }
      now_++;
    }
  }

  const Func& f_;
  std::vector<uint32_t> born_, last_;
  std::map<InstId, uint32_t> begin_;
  std::vector<Extent> loops_;
  uint32_t now_ = 0;
};

/// Values that may be what a global load brought, only moved since: through vectors, loops and branches.
std::vector<bool> loaded_values(const Func& f) {
  std::vector<bool> loaded(f.values.size());
  bool changed = true;
  const auto mark = [&](ValueId v, bool is) {
    if (!is || loaded[v]) return;
    loaded[v] = changed = true;
  };
  const auto visit = [&](BlockId, size_t, InstId id) {
    const Inst& i = f.inst(id);
    if (i.op == Op::load_global) mark(i.results[0], true);
    if (i.op == Op::vec || i.op == Op::get || i.op == Op::bitcast || i.op == Op::frag_make)
      for (const ValueId v : i.args) mark(i.results[0], loaded[v]);
    for (const BlockId b : i.blocks) {
      if (i.op == Op::while_loop && b == i.blocks[0]) continue;  // yields the condition
      const auto& next = f.inst(f.blocks[b].insts.back()).args;
      for (size_t r = 0; r < i.results.size(); r++) {
        const bool is_while = i.op == Op::while_loop;
        const bool comes =
            loaded[next[r]] || (i.op == Op::loop && loaded[i.args[r + 3]]) || (is_while && loaded[i.args[r]]);
        mark(i.results[r], comes);
        if (i.op == Op::loop) mark(f.blocks[b].params[r + 1], comes);
        for (size_t w = 0; is_while && w < 2; w++) mark(f.blocks[i.blocks[w]].params[r], comes);
      }
    }
  };
  while (changed) {
    changed = false;
    f.walk(f.body, visit);
  }
  return loaded;
}

class Decoder {
 public:
  Decoder(Code& p, const MatrixUnit& matrices)
      : p_(p), f_(p.func), matrices_(matrices), lives_(f_), loaded_(loaded_values(f_)), rows_(f_.values.size()) {}

  Result<Unit> run() {
    p_.loops.push_back({});
    for (const thread::SharedArray& a : f_.shared) p_.cell_bytes.push_back(a.access_bytes);
    TRY(block(f_.body));
    for (size_t s = 0; s < p_.steps.size(); s++) p_.steps[s].args = p_.operands.data() + first_operand_[s];
    return Unit{};
  }

 private:
  size_t components(const thread::Type& t) const {
    const LaneMap* map = t.is_frag() ? matrices_.find(t) : nullptr;
    return map != nullptr ? static_cast<size_t>(map->slots) : t.lanes;
  }

  // ---- rows
  Rows give(size_t count) {
    auto& free = free_[count];
    if (!free.empty()) {
      const uint32_t first = free.back();
      free.pop_back();
      return {first, static_cast<uint16_t>(count)};
    }
    p_.rows += static_cast<uint32_t>(count);
    return {p_.rows - static_cast<uint32_t>(count), static_cast<uint16_t>(count)};
  }
  void define(ValueId v) {
    rows_[v] = give(components(f_.type(v)));
    rows_[v].loaded = loaded_[v];
    ends_[lives_.last(v)].push_back(rows_[v]);
  }
  /// Two names of one value's rows: they end with the later one.
  void define_both(ValueId v, ValueId also) {
    rows_[v] = give(components(f_.type(v)));
    rows_[v].loaded = loaded_[v];
    rows_[also] = rows_[v];
    ends_[std::max(lives_.last(v), lives_.last(also))].push_back(rows_[v]);
  }
  /// Rows whose last use lies before `now` are free.
  void release(uint32_t now) {
    while (!ends_.empty() && ends_.begin()->first < now) {
      for (const Rows& r : ends_.begin()->second) free_[r.count].push_back(r.first);
      ends_.erase(ends_.begin());
    }
  }

  // ---- steps
  Step& append(Action action, Class kind, const Inst& i, const std::vector<Rows>& args) {
    first_operand_.push_back(p_.operands.size());
    p_.operands.insert(p_.operands.end(), args.begin(), args.end());
    Step s;
    s.run = action;
    s.op = i.op;
    s.kind = kind;
    s.args_count = static_cast<uint32_t>(args.size());
    s.loop = loop_;
    s.loc = i.loc;
    const auto loaded = [](const Rows& r) { return r.loaded; };
    if (std::any_of(args.begin(), args.end(), loaded)) s.watch = kind == Class::move ? Watch::hands_on : Watch::uses;
    p_.steps.push_back(s);
    return p_.steps.back();
  }
  std::vector<Rows> rows_of(const std::vector<ValueId>& values) const {
    std::vector<Rows> out;
    for (const ValueId v : values) out.push_back(rows_[v]);
    return out;
  }
  void move(const Inst& i, const std::vector<Rows>& from, const std::vector<Rows>& to) {
    if (from.empty()) return;
    std::vector<Rows> args = from;
    args.insert(args.end(), to.begin(), to.end());
    Step& s = append(actions::move, Class::move, i, args);
    for (const Rows& x : from)
      for (const Rows& y : to)
        if (x.first == y.first) s.apart = false;
  }

  Result<Unit> block(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) {
      const Inst& i = f_.inst(id);
      release(lives_.begin(id));
      const RowOf& row = kRows[static_cast<size_t>(i.op)];
      switch (row.form) {
        case Form::none:
          return unsupported(fmt::format("the simulator does not know {}", thread::info(i.op).name));
        case Form::source:
          source(i);
          break;
        case Form::control:
          TRY(control(i));
          break;
        default:
          TRY(plain(i, row));
      }
    }
    return Unit{};
  }

  void source(const Inst& i) {
    const auto key = std::make_tuple(i.op, i.attr.type.scalar, i.attr.type.lanes, i.attr.imm);
    const auto [it, fresh] = sources_.try_emplace(key);
    if (fresh) {
      it->second = {p_.rows, i.attr.type.lanes};  // kept for good
      p_.rows += i.attr.type.lanes;
      p_.sources.push_back({i.op, i.attr.type, i.attr.imm, it->second});
    }
    rows_[i.results[0]] = it->second;
  }

  Result<Unit> plain(const Inst& i, const RowOf& row) {
    const std::vector<Rows> args = rows_of(i.args);
    for (const ValueId v : i.results) define(v);
    Step& s = append(row.run, row.kind, i, args);
    if (!i.args.empty()) s.from = f_.type(i.args[i.op == Op::mma_shared ? 1 : 0]);
    const std::string_view operands = thread::info(i.op).operands;
    const bool stores = i.results.empty() && operands.size() > 1 && (operands[1] == 'v' || operands[1] == 'm');
    s.type = !i.results.empty() ? f_.type(i.results[0]) : stores ? f_.type(i.args[1]) : i.attr.type;
    if (!i.results.empty()) s.result = rows_[i.results[0]];
    s.imm = i.attr.imm;
    s.index = i.attr.index;
    s.name = &i.attr.name;
    if (row.form == Form::lanes) {
      s.lanes = thread::lane_row(i.op, s.from.scalar, s.type.scalar);
      if (s.lanes == nullptr)
        return unsupported(
            fmt::format("the simulator does not know {} of {}", thread::info(i.op).name, to_string(s.from)));
      if (s.kind == Class::integer && thread::is_float(s.from.scalar)) s.kind = Class::floating;
    }
    if (thread::info(i.op).operands[0] == 'o') {
      int& cell = p_.cell_bytes[s.index];
      const bool bulk = i.op == Op::bulk_copy || i.op == Op::bulk_box;
      const int part = s.type.is_frag() ? thread::bits(s.type.scalar) / 8 : thread::total_bits(s.type) / 8;
      cell = std::min(cell, bulk ? cell : part);
    }
    return Unit{};
  }

  Result<Unit> control(const Inst& i) {
    if (i.op == Op::loop) return loop(i);
    if (i.op == Op::cond) return cond(i);
    if (i.op == Op::while_loop) return while_loop(i);
    return Unit{};  // yield: the owner of its block moves the values
  }

  const Inst& yield_of(BlockId b) const { return f_.inst(f_.blocks[b].insts.back()); }
  uint32_t here() const { return static_cast<uint32_t>(p_.steps.size()); }

  /// Steps from here on are counted as the loop's; the loop around it.
  uint32_t enter_loop(const Inst& i) {
    append(actions::enter_loop, Class::move, i, {});
    p_.loops.push_back({i.loc, 0, 0});
    return std::exchange(loop_, static_cast<uint32_t>(p_.loops.size() - 1));
  }
  void leave_loop(uint32_t head, uint32_t outer) {
    p_.loops[loop_].first = head;
    p_.loops[loop_].end = here();
    loop_ = outer;
  }

  Result<Unit> loop(const Inst& i) {
    const auto& params = f_.blocks[i.blocks[0]].params;
    const Rows bound = rows_[i.args[1]], step = rows_[i.args[2]];
    std::vector<Rows> init{rows_[i.args[0]]};
    for (size_t a = 3; a < i.args.size(); a++) init.push_back(rows_[i.args[a]]);
    define(params[0]);
    for (size_t r = 0; r < i.results.size(); r++) define_both(params[r + 1], i.results[r]);
    const std::vector<Rows> carried = rows_of(params);
    move(i, init, carried);
    const uint32_t outer = enter_loop(i), head = here();
    append(actions::test_loop, Class::control, i, {carried[0], bound});
    TRY(block(i.blocks[0]));
    move(i, rows_of(yield_of(i.blocks[0]).args), {carried.begin() + 1, carried.end()});
    append(actions::next_turn, Class::control, i, {carried[0], step}).target = head;
    p_.steps[head].target = here();
    leave_loop(head, outer);
    return Unit{};
  }

  Result<Unit> while_loop(const Inst& i) {
    const auto &seen = f_.blocks[i.blocks[0]].params, &params = f_.blocks[i.blocks[1]].params;
    const std::vector<Rows> init = rows_of(i.args);
    for (size_t r = 0; r < i.results.size(); r++) {
      define_both(seen[r], i.results[r]);
      rows_[params[r]] = rows_[seen[r]];
    }
    const std::vector<Rows> carried = rows_of(seen);
    move(i, init, carried);
    const uint32_t outer = enter_loop(i), head = here();
    TRY(block(i.blocks[0]));
    const uint32_t test = here();
    append(actions::test_while, Class::control, i, rows_of(yield_of(i.blocks[0]).args));
    TRY(block(i.blocks[1]));
    move(i, rows_of(yield_of(i.blocks[1]).args), carried);
    append(actions::again, Class::control, i, {}).target = head;
    p_.steps[test].target = here();
    leave_loop(head, outer);
    return Unit{};
  }

  Result<Unit> cond(const Inst& i) {
    const std::vector<Rows> condition{rows_[i.args[0]]};
    for (const ValueId r : i.results) define(r);
    const uint32_t enter = here();
    append(actions::enter_branch, Class::control, i, condition);
    TRY(block(i.blocks[0]));
    move(i, rows_of(yield_of(i.blocks[0]).args), rows_of(i.results));
    const uint32_t other = here();
    append(actions::other_branch, Class::move, i, {});
    p_.steps[enter].target = other;
    TRY(block(i.blocks[1]));
    move(i, rows_of(yield_of(i.blocks[1]).args), rows_of(i.results));
    p_.steps[other].target = here();
    append(actions::leave_branch, Class::move, i, {});
    return Unit{};
  }

  Code& p_;
  const Func& f_;
  const MatrixUnit& matrices_;
  Lifetimes lives_;
  std::vector<bool> loaded_;
  std::vector<Rows> rows_;
  std::vector<size_t> first_operand_;
  std::map<size_t, std::vector<uint32_t>> free_;  ///< by count
  std::map<uint32_t, std::vector<Rows>> ends_;    ///< by position of the last use
  std::map<std::tuple<Op, thread::Scalar, uint8_t, int64_t>, Rows> sources_;
  uint32_t loop_ = 0;
};

/// What a driver's compiler did to the operands of matrix instructions that it knew.
void lose_constant_signs(thread::Func& f) {
  std::set<InstId> operands;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const auto& inst = f.inst(id);
    for (size_t i = 0; inst.op == thread::Op::mma && i < 2; i++)
      if (f.def(inst.args[i]) != nullptr) operands.insert(f.values[inst.args[i]].def);
  });
  for (const InstId id : operands)
    for (size_t i = 0; i < f.inst(id).args.size(); i++) {
      const auto* made = f.def(f.inst(id).args[i]);
      if (made == nullptr || made->op != thread::Op::constant || !thread::is_float(made->attr.type.scalar)) continue;
      thread::Attr positive = made->attr;
      positive.imm &= (int64_t{1} << (thread::bits(positive.type.scalar) - 1)) - 1;
      const thread::Type type = positive.type;
      const InstId fresh = f.add_inst(thread::Op::constant, positive, {}, {type});
      f.inst(id).args[i] = f.inst(fresh).results[0];
      f.blocks[f.body].insts.insert(f.blocks[f.body].insts.begin(), fresh);
    }
}

}  // namespace

Result<std::unique_ptr<const Code>> decode(thread::Func f, const MatrixUnit& matrices) {
  if (f.subgroup_size > kMaxLanes)
    return unsupported(
        fmt::format("the simulator has subgroups of at most {} lanes, not {}", kMaxLanes, f.subgroup_size));
  if (matrices.loses_constant_signs) lose_constant_signs(f);
  auto p = std::make_unique<Code>();
  p->func = std::move(f);
  TRY(Decoder(*p, matrices).run());
  return p;
}

}  // namespace lathe::sim
