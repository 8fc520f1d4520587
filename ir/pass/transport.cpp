// How the tiles of tokens travel: see passes.h.
#include <map>
#include <set>

#include "ir/pass/passes.h"

namespace lathe::tile {
namespace {

constexpr int64_t kCopyBits = 128, kLeastCopyBytes = 4;

/// The tokens of one load: its issues, rooms, and every name a loop gives them.
struct Tokens {
  ValueId view = kNone;
  std::vector<InstId> issues;
  int64_t rooms = 0;
  std::vector<ValueId> values;
};

class Transport {
 public:
  Transport(Func& f, const Target& t, bool aligned, const std::set<std::string>& in_registers)
      : f_(f), t_(t), aligned_(aligned), kept_(in_registers) {}

  void run() {
    int64_t left = t_.shared_bytes * 3 / 4;  // the rest is for conversions and partial sums
    std::set<ValueId> in_registers;
    for (const Tokens& tokens : groups()) {
      view_of_[root(tokens.values[0])] = tokens.view;
      const Type& type = f_.type(tokens.values[0]);
      const int64_t bytes = elements(type) * type.elem.bits / 8 * tokens.rooms;
      const bool copied = t_.async_copy && bytes <= left && can_be_copied(tokens);
      if (copied) left -= bytes;
      if (!copied) in_registers.insert(tokens.values.begin(), tokens.values.end());
    }
    load_directly(f_.body, in_registers);
  }

 private:
  static int64_t elements(const Type& t) {
    int64_t n = 1;
    for (const int64_t extent : t.shape) n *= extent;
    return n;
  }
  ValueId root(ValueId v) {
    const auto it = parent_.find(v);
    return it == parent_.end() || it->second == v ? v : it->second = root(it->second);
  }
  void join(ValueId a, ValueId b) {
    if (f_.type(a).is_token() && root(a) != root(b)) parent_[root(a)] = root(b);
  }

  std::vector<Tokens> groups() {
    std::vector<ValueId> all;
    f_.walk(f_.body, [&](BlockId, size_t, InstId id) {
      const Func::Inst& inst = f_.inst(id);
      for (const ValueId r : inst.results)
        if (f_.type(r).is_token()) all.push_back(r);
      if (inst.op == Op::issue || inst.op == Op::release) join(inst.results[0], inst.args.back());
      for (const BlockId b : inst.blocks) {
        const Func::Block& block = f_.blocks[b];
        const Func::Inst& yield = f_.inst(block.insts.back());
        for (size_t i = 0; i < inst.results.size(); i++) {
          join(inst.results[i], yield.args[i]);
          if (inst.op != Op::loop) continue;
          if (f_.type(inst.results[i]).is_token()) all.push_back(block.params[i + 1]);
          join(block.params[i + 1], yield.args[i]);
          join(inst.args[i + 3], yield.args[i]);
        }
      }
    });
    std::vector<Tokens> out;
    std::map<ValueId, size_t> of_root;
    for (const ValueId v : all) {
      const auto [it, fresh] = of_root.try_emplace(root(v), out.size());
      if (fresh) out.emplace_back();
      Tokens& tokens = out[it->second];
      tokens.values.push_back(v);
      const InstId def = f_.values[v].def;
      if (def == kNone) continue;
      if (f_.inst(def).op == Op::room) tokens.view = f_.inst(def).args[0], tokens.rooms++;
      if (f_.inst(def).op == Op::issue) tokens.issues.push_back(def);
    }
    return out;
  }

  /// Whole 16-byte pieces. A packed tile's are those of its lanes: see copies_too_small.
  bool can_be_copied(const Tokens& tokens) const {
    if (kept_.contains(f_.values[tokens.view].name)) return false;
    const Type& type = f_.type(tokens.values[0]);
    if (f_.type(tokens.view).packed) return true;
    if (!aligned_ || type.elem.bits < 8 || type.shape.back() * type.elem.bits % kCopyBits) return false;
    for (const InstId issue : tokens.issues) {
      const auto& args = f_.inst(issue).args;
      if (known_multiple(f_, args[args.size() - 2]) * type.elem.bits % kCopyBits) return false;
    }
    return true;
  }

  /// Issues of `tokens` become loads, waits their tiles, given rooms new ones that nobody uses; what a loop carries is
  /// a tile where it starts as one. A commit goes where nothing is left to close.
  void load_directly(BlockId block, const std::set<ValueId>& tokens) {
    const std::vector<InstId> insts = std::move(f_.blocks[block].insts);
    std::vector<InstId> out;
    bool open = false;
    for (const InstId id : insts) {
      if (f_.inst(id).op == Op::commit && !std::exchange(open, false)) continue;
      if (f_.inst(id).op == Op::wait && tokens.contains(f_.inst(id).args[0])) {
        now_[f_.inst(id).results[0]] = f_.inst(id).args[0];
        f_.values[f_.inst(id).args[0]].name = f_.values[f_.inst(id).results[0]].name;
        continue;
      }
      out.push_back(id);
      for (ValueId& a : f_.inst(id).args)
        if (const auto it = now_.find(a); it != now_.end()) a = it->second;
      if (f_.inst(id).op == Op::issue) open = open || !tokens.contains(f_.inst(id).results[0]);
      enter(id, tokens);
      const auto nested = f_.inst(id).blocks;
      for (const BlockId b : nested) load_directly(b, tokens);
    }
    f_.blocks[block].insts = std::move(out);
  }

  void enter(InstId id, const std::set<ValueId>& tokens) {
    Func::Inst& inst = f_.inst(id);
    if (inst.op == Op::loop) {
      std::vector<ValueId> params = f_.blocks[inst.blocks[0]].params;
      params.erase(params.begin());
      follow(params, inst.args);
      follow(inst.results, inst.args);
      return;
    }
    if (inst.results.empty() || !tokens.contains(inst.results[0])) return;
    Type& type = f_.values[inst.results[0]].type;
    if (inst.op == Op::issue) {
      inst.op = Op::load;
      inst.args.pop_back();
      inst.attr.shape = type.shape;
      type.form = Form::tile;
    } else if (inst.op == Op::release) {
      inst.op = Op::room;
      inst.args = {view_of_.at(root(inst.results[0]))};
      inst.attr.shape = type.shape;
    }
  }
  /// `to` are names of what a loop with these operands carries.
  void follow(const std::vector<ValueId>& to, const std::vector<ValueId>& args) {
    for (size_t i = 0; i < to.size(); i++)
      if (f_.type(to[i]).is_token()) f_.values[to[i]].type.form = f_.type(args[i + 3]).form;
  }

  Func& f_;
  const Target& t_;
  bool aligned_;
  const std::set<std::string>& kept_;
  std::map<ValueId, ValueId> parent_;   ///< union of the names of one load's tokens
  std::map<ValueId, ValueId> view_of_;  ///< by root
  std::map<ValueId, ValueId> now_;      ///< tiles of waits that are gone
};

}  // namespace

void choose_transport(Func& f, const Target& t, bool aligned, const std::set<std::string>& in_registers) {
  Transport(f, t, aligned, in_registers).run();
}

Result<std::set<std::string>> copies_too_small(const Func& f, const Target& t) {
  std::set<std::string> copied, out;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    const Func::Inst& inst = f.inst(id);
    if (inst.op == Op::issue && f.type(inst.args[0]).packed) copied.insert(f.values[inst.args[0]].name);
  });
  if (copied.empty()) return out;
  TRY_ASSIGN(const auto packed, packed_parameters(f, t));
  for (const std::string& name : copied)
    if (packed.at(name).piece_bytes() < kLeastCopyBytes) out.insert(name);
  return out;
}

}  // namespace lathe::tile
