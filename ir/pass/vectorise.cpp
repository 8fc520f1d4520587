// Neighbouring i32 accesses of one block become one access of 2 or 4 lanes, where the address is known to be aligned.
#include <algorithm>
#include <map>

#include "ir/thread_facts.h"

namespace lathe::thread {
namespace {

constexpr int64_t kPointerAlignment = 16;  ///< of every buffer that is passed
constexpr int64_t kWord = 4;

enum Space : unsigned { kNowhere = 0, kGlobal = 1, kShared = 2, kEverywhere = 3 };

/// The memory that an instruction reads or writes.
Space space_of(Op op) {
  switch (op) {
    case Op::load_global:
    case Op::store_global:
    case Op::frag_load:
    case Op::frag_store:
      return kGlobal;
    case Op::load_shared:
    case Op::load_matrix:
    case Op::store_shared:
    case Op::frag_load_shared:
    case Op::frag_store_shared:
    case Op::mma_shared:
      return kShared;
    case Op::async_copy:
    case Op::async_commit:
    case Op::async_wait:
    case Op::bulk_expect:
    case Op::bulk_copy:
    case Op::bulk_box:
    case Op::bulk_wait:
    case Op::launch_wait:
    case Op::matrix_publish:
    case Op::matrix_begin:
    case Op::matrix_commit:
    case Op::matrix_wait:
    case Op::barrier:
    case Op::barrier_subgroup:
    case Op::atomic_add:
    case Op::atomic_and:
    case Op::atomic_or:
    case Op::fence:
    case Op::exit_if:
    case Op::loop:
    case Op::while_loop:
    case Op::cond:
      return kEverywhere;
    default:
      return kNowhere;
  }
}

bool is_store(Op op) { return op == Op::store_global || op == Op::store_shared; }

bool is_word_access(const Func& f, const Func::Inst& i) {
  if (i.op == Op::load_global || i.op == Op::load_shared) return i.attr.type == kI32;
  return is_store(i.op) && f.type(i.args[1]) == kI32;
}

class Vectorise {
 public:
  explicit Vectorise(Func& f) : f_(f), facts_(f), now_(f.values.size(), kNone) {}

  void block(BlockId b) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    const Plan plan = plan_of(insts);
    std::vector<InstId> out;
    for (size_t at = 0; at < insts.size(); at++) {
      const InstId id = insts[at];
      for (ValueId& a : f_.inst(id).args) a = now(a);
      if (const auto merged = plan.at.find(at); merged != plan.at.end()) merge(merged->second, out);
      if (plan.replaced[at]) continue;
      out.push_back(id);
      if (f_.inst(id).op == Op::loop) facts_.note_index(f_.inst(id));
      const std::vector<BlockId> nested = f_.inst(id).blocks;
      for (const BlockId n : nested) block(n);
    }
    f_.blocks[b].insts = std::move(out);
  }

 private:
  struct Access {
    InstId inst;
    size_t at;  ///< position in the block
    int64_t imm;
  };
  /// Accesses with one meaning but for the immediate, with nothing between them that they may not pass.
  struct Key {
    Op op;
    ValueId base, predicate;
    uint32_t index;
    auto operator<=>(const Key&) const = default;
  };
  struct Plan {
    std::map<size_t, std::vector<InstId>> at;  ///< merged accesses, by where: first load, last store
    std::vector<bool> replaced;                ///< by position
  };
  using Groups = std::map<Key, std::vector<Access>>;

  ValueId now(ValueId v) const { return v < now_.size() && now_[v] != kNone ? now_[v] : v; }

  Plan plan_of(const std::vector<InstId>& insts) {
    Plan plan{{}, std::vector<bool>(insts.size(), false)};
    Groups loads[2], stores[2];  // global, shared
    const auto finish = [&](Groups& groups) {
      for (auto& [key, accesses] : groups) cut(key, std::move(accesses), plan);
      groups.clear();
    };
    for (size_t at = 0; at < insts.size(); at++) {
      const Func::Inst& i = f_.inst(insts[at]);
      facts_.note(insts[at]);
      const Space touched = space_of(i.op);
      const bool word = is_word_access(f_, i), reads = info(i.op).effect == Effect::reads;
      for (const size_t s : {0, 1}) {
        if (!(touched & (s == 0 ? kGlobal : kShared))) continue;
        // Loads pass each other; a store passes only its neighbours, which makes at most one group of stores.
        const auto same = word ? stores[s].find(key_of(i)) : stores[s].end();
        if (same == stores[s].end() || has_imm(same->second, i.attr.imm)) finish(stores[s]);
        if (!reads) finish(loads[s]);
        if (word) (reads ? loads : stores)[s][key_of(i)].push_back({insts[at], at, i.attr.imm});
      }
    }
    for (Groups* groups : {&loads[0], &loads[1], &stores[0], &stores[1]}) finish(*groups);
    return plan;
  }

  static bool has_imm(const std::vector<Access>& accesses, int64_t imm) {
    return std::any_of(accesses.begin(), accesses.end(), [&](const Access& a) { return a.imm == imm; });
  }

  Key key_of(const Func::Inst& i) const {
    const size_t predicate = is_store(i.op) ? 2 : 1;
    return {i.op, i.args[0], i.args.size() > predicate ? i.args[predicate] : kNone, i.attr.index};
  }

  /// Runs of 4, then 2 neighbours, each aligned to its width.
  void cut(const Key& key, std::vector<Access> accesses, Plan& plan) const {
    std::stable_sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) { return a.imm < b.imm; });
    const int64_t aligned = alignment(key);
    for (size_t first = 0; first < accesses.size();) {
      size_t count = 4;
      while (count > 1 && !is_run(accesses, first, count, aligned)) count /= 2;
      if (count > 1) add_run(key, accesses, first, count, plan);
      first += count;
    }
  }

  static bool is_run(const std::vector<Access>& accesses, size_t first, size_t count, int64_t aligned) {
    if (first + count > accesses.size()) return false;
    const auto bytes = static_cast<int64_t>(count) * kWord;
    if (aligned < bytes || accesses[first].imm % bytes) return false;
    for (size_t i = 1; i < count; i++)
      if (accesses[first + i].imm != accesses[first].imm + static_cast<int64_t>(i) * kWord) return false;
    return true;
  }

  static void add_run(const Key& key, const std::vector<Access>& accesses, size_t first, size_t count, Plan& plan) {
    size_t at = accesses[first].at;
    std::vector<InstId> members;
    for (size_t i = first; i < first + count; i++) {
      at = is_store(key.op) ? std::max(at, accesses[i].at) : std::min(at, accesses[i].at);
      members.push_back(accesses[i].inst);
      plan.replaced[accesses[i].at] = true;
    }
    plan.at[at] = std::move(members);
  }

  /// Of the base address in bytes. A sum that starts at an i64 parameter starts at a buffer: lengths are only added on.
  int64_t alignment(const Key& key) const {
    if (space_of(key.op) == kShared) return facts_.multiple(key.base);
    int64_t least = kPointerAlignment;
    ValueId root = key.base;
    for (const Func::Inst* def = f_.def(root); def != nullptr && def->op == Op::add; def = f_.def(root)) {
      least = std::min(least, facts_.multiple(def->args[1]));
      root = def->args[0];
    }
    const bool pointer = f_.def(root) != nullptr && f_.def(root)->op == Op::param;
    return pointer ? least : std::min(least, facts_.multiple(root));
  }

  void merge(const std::vector<InstId>& members, std::vector<InstId>& out) {
    const Func::Inst first = f_.inst(members[0]);
    const Type wide = kI32.with_lanes(static_cast<int>(members.size()));
    std::vector<ValueId> args = first.args;
    Attr attr = first.attr;
    if (is_store(first.op)) {
      std::vector<ValueId> lanes;
      for (const InstId m : members) lanes.push_back(f_.inst(m).args[1]);
      args[1] = append(Op::vec, {.type = wide}, std::move(lanes), wide, out);
    } else {
      attr.type = wide;
    }
    for (ValueId& a : args) a = now(a);
    const std::vector<Type> results = is_store(first.op) ? std::vector<Type>{} : std::vector<Type>{wide};
    const InstId made = f_.add_inst(first.op, attr, args, results, {}, first.loc);
    out.push_back(made);
    if (is_store(first.op)) return;
    for (size_t lane = 0; lane < members.size(); lane++) {
      const ValueId vector = f_.inst(made).results[0], old = f_.inst(members[lane]).results[0];
      now_[old] = append(Op::get, {.type = kI32, .imm = static_cast<int64_t>(lane)}, {vector}, kI32, out);
    }
  }

  ValueId append(Op op, Attr attr, std::vector<ValueId> args, const Type& result, std::vector<InstId>& out) {
    for (ValueId& a : args) a = now(a);
    const InstId id = f_.add_inst(op, std::move(attr), std::move(args), {result}, {}, Loc{});
    out.push_back(id);
    return f_.inst(id).results[0];
  }

  Func& f_;
  Facts facts_;
  std::vector<ValueId> now_;  ///< by value: what stands for it; kNone: itself
};

}  // namespace

void vectorise(Func& f) { Vectorise(f).block(f.body); }

}  // namespace lathe::thread
