// What the compiler promises about the kernels we ship: nothing but layouts differs between targets, layouts can be
// worked out again from the text, all schedules read one stored copy, and codes go straight from memory to the mma.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>

#include "backends/ptx/emit.h"
#include "backends/spirv/emit.h"
#include "tests/interp_tensors.h"
#include "tests/shipped_kernels.h"

namespace lathe {
namespace {

Target target_named(const char* name) {
  auto t = test_target(name);
  REQUIRE_MESSAGE(t, t.error().text);
  return *t;
}

const CompileOptions kAligned{.lower = {.aligned = true}};

Compiled compiled(const tile::Func& f, const Target& t, const CompileOptions& options = kAligned) {
  auto c = compile(f, t, options);
  REQUIRE_MESSAGE(c, c.error().text);
  return std::move(*c);
}

/// PTX, or the words of the SPIR-V module as bytes.
std::string emitted(const thread::Func& f, const Target& t) {
  if (t.backend == Backend::ptx) {
    const auto text = emit_ptx(f, t);
    REQUIRE_MESSAGE(text, text.error().text);
    return *text;
  }
  const auto words = emit_spirv(f, t);
  REQUIRE_MESSAGE(words, words.error().text);
  return std::string(reinterpret_cast<const char*>(words->data()), words->size() * 4);
}

std::string without_pins(std::string text) {
  const std::string pin = " layout=\"";
  for (size_t at = text.find(pin); at != std::string::npos; at = text.find(pin, at))
    text.erase(at, text.find('"', at + pin.size()) + 1 - at);
  return text;
}

/// The kernel without what layout inference added.
tile::Func without_layouts(tile::Func f) {
  std::vector<std::pair<ValueId, ValueId>> converts;
  for (auto& block : f.blocks)
    std::erase_if(block.insts, [&](InstId id) {
      if (f.inst(id).op != tile::Op::convert) return false;
      converts.emplace_back(f.inst(id).results[0], f.inst(id).args[0]);
      return true;
    });
  for (const auto& [converted, source] : converts) f.replace_uses(f.body, converted, source);
  for (auto& value : f.values) value.type.layout.reset();
  return f;
}

// ---- the way of a weight through the thread program

bool is_shuffle(thread::Op op) { return op == thread::Op::shuffle_xor || op == thread::Op::shuffle_index; }

/// Follows values of a thread program to what they are made of.
class Origins {
 public:
  explicit Origins(const thread::Func& f) : f_(f) {
    f.walk(f.body, [&](BlockId, size_t, InstId id) {
      for (size_t b = 0; b < f.inst(id).blocks.size(); b++) note_block(f.inst(id), f.inst(id).blocks[b]);
    });
  }
  /// Every instruction that `v` depends on through registers; loads are the ends.
  std::set<InstId> of(ValueId v) const {
    std::set<InstId> seen;
    std::set<ValueId> done;
    follow(v, seen, done);
    return seen;
  }
  /// The launch arguments an address is made of.
  std::set<int64_t> arguments(ValueId address) const {
    std::set<int64_t> slots;
    for (InstId id : of(address))
      if (f_.inst(id).op == thread::Op::param) slots.insert(f_.inst(id).attr.imm);
    return slots;
  }

 private:
  /// What a block's parameters and its owner's results stand for.
  void note_block(const thread::Func::Inst& owner, BlockId block) {
    const auto& b = f_.blocks[block];
    const auto& yields = f_.inst(b.insts.back()).args;
    for (size_t i = 0; i < yields.size(); i++) {
      same_[owner.results[i]].push_back(yields[i]);
      if (owner.op != thread::Op::loop) continue;
      same_[owner.results[i]].push_back(owner.args[i + 3]);
      same_[b.params[i + 1]] = {owner.args[i + 3], yields[i]};
    }
  }
  void follow(ValueId v, std::set<InstId>& seen, std::set<ValueId>& done) const {
    if (!done.insert(v).second) return;
    if (const auto it = same_.find(v); it != same_.end()) {
      for (ValueId source : it->second) follow(source, seen, done);
      return;
    }
    const InstId id = f_.values[v].def;
    if (id == kNone) return;  // a loop's index
    seen.insert(id);
    if (thread::info(f_.inst(id).op).effect == thread::Effect::reads && !is_shuffle(f_.inst(id).op)) return;
    for (ValueId a : f_.inst(id).args) follow(a, seen, done);
  }

  const thread::Func& f_;
  std::map<ValueId, std::vector<ValueId>> same_;
};

struct WeightPath {
  int mmas = 0, loads = 0;
  std::set<std::string> load_types;  ///< of the weights
  std::set<std::string> detours;     ///< operations between a weight's load and its mma that leave the lane
};

constexpr int64_t kWeights = 1;  ///< the place of w among the parameters

/// Of the loops that hold matrix instructions.
WeightPath weight_path(const thread::Func& f) {
  WeightPath path;
  const Origins origins(f);
  const auto is_weight_load = [&](InstId id) {
    const auto& inst = f.inst(id);
    if (inst.op == thread::Op::async_copy) return origins.arguments(inst.args[1]).contains(kWeights);
    if (inst.op == thread::Op::bulk_copy) return origins.arguments(inst.args[2]).contains(kWeights);
    return inst.op == thread::Op::load_global && origins.arguments(inst.args[0]).contains(kWeights);
  };
  std::set<uint32_t> bulk_arrays;  // rooms that weights come to as they lie in memory
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.inst(id).op == thread::Op::bulk_copy && is_weight_load(id)) bulk_arrays.insert(f.inst(id).attr.index);
  });
  // A thread's own piece: its place is the room and the whole thread number, of which no digit is taken; or a lane's
  // piece of a unit that came in bulk.
  const auto is_own_piece = [&](InstId id) {
    const auto& inst = f.inst(id);
    if (inst.op != thread::Op::load_shared) return false;
    if (bulk_arrays.contains(inst.attr.index) && inst.attr.type == thread::kI32x4) return true;
    bool thread = false, digits = false;
    for (const InstId source : origins.of(inst.args[0])) {
      thread = thread || f.inst(source).op == thread::Op::thread_id;
      digits = digits || f.inst(source).op == thread::Op::band || f.inst(source).op == thread::Op::shr_u;
    }
    return thread && !digits;
  };
  f.walk(f.body, [&](BlockId, size_t, InstId loop) {
    if (f.inst(loop).op != thread::Op::loop) return;
    std::vector<InstId> mmas, loads;
    f.walk(f.inst(loop).blocks[0], [&](BlockId, size_t, InstId id) {
      if (f.inst(id).op == thread::Op::mma || f.inst(id).op == thread::Op::mma_shared) mmas.push_back(id);
      if (is_weight_load(id)) loads.push_back(id);
    });
    if (mmas.empty()) return;
    path.mmas += static_cast<int>(mmas.size());
    path.loads += static_cast<int>(loads.size());
    for (InstId id : loads)
      path.load_types.insert(f.inst(id).op == thread::Op::bulk_copy ? "bulk" : thread::to_string(f.inst(id).attr.type));
    for (InstId mma : mmas) {
      bool from_weights = false, constant = true;  // a zero point, which is multiplied apart
      for (InstId id : origins.of(f.inst(mma).args[f.inst(mma).op == thread::Op::mma_shared ? 1 : 0])) {
        const thread::Op op = f.inst(id).op;
        from_weights = from_weights || is_weight_load(id) || is_own_piece(id);
        constant = constant && (op == thread::Op::constant || !f.inst(id).args.empty()) &&
                   thread::info(op).effect == thread::Effect::pure;
        if (is_own_piece(id)) continue;
        if (is_shuffle(op) || op == thread::Op::load_shared || op == thread::Op::frag_load_shared ||
            op == thread::Op::frag_load)
          path.detours.insert(thread::info(op).name);
      }
      if (!from_weights && !constant) path.detours.insert("operand a is not made of weights");
    }
  });
  return path;
}

// ---- small problems for the interpreter

constexpr int64_t kTokens = 5, kOutputs = 20, kInputs = 200;

/// Whole numbers so small that every order of sums gives the same bits.
tile::Tensors small_problem(const NamedFormat& f) {
  std::mt19937 rng(1);
  const int64_t groups = f.format.group == 0 ? 1 : (kInputs + f.format.group - 1) / f.format.group;
  const int zero = static_cast<int>(f.format.constant_zero);
  tile::Tensors t;
  t["x"] = tile::random_tensor(rng, types::f16, {kTokens, kInputs}, -2, 2);
  t["w"] = tile::random_tensor(rng, f.format.code, {kOutputs, kInputs}, f.format.zeros ? 0 : zero - 2, zero + 2);
  t["y"] = tile::tensor(types::f32, {kTokens, kOutputs});
  if (f.format.scaled()) t["s"] = tile::random_tensor(rng, types::f16, {kOutputs, groups}, 1, 3);
  if (f.format.zeros) t["z"] = tile::random_tensor(rng, types::f16, {kOutputs, groups}, 0, 3);
  return t;
}

bool has_matrices(const Target& t) { return !t.atoms.empty() && t.atoms[0].source != MapSource::fma; }

}  // namespace

TEST_CASE(
    "what a target adds to a kernel is how tiles travel, layouts and converts: without them the text is the same") {
  std::map<std::string, std::set<std::string>> texts;
  for (const char* name : kTestTargets) {
    const Target t = target_named(name);
    for (const ShippedKernel& k : shipped_kernels(t)) {
      const auto prepared = prepare(k.func, k.options(true));
      REQUIRE(prepared);
      const std::string text = tile::print(*prepared);
      CHECK(text.find("layout=") == std::string::npos);
      CAPTURE(fmt::format("{}: {}", name, k.name));
      texts[k.name].insert(text);
      const auto travelling = [&](const std::set<std::string>& in_registers) {
        tile::Func f = *prepared;
        tile::choose_transport(f, t, true, in_registers);
        tile::drop_dead(f);
        return f;
      };
      tile::Func travels = travelling({}), trial = travels;
      REQUIRE(tile::infer_layouts(trial, t));
      const auto small = tile::copies_too_small(trial, t);
      REQUIRE(small);
      if (!small->empty()) travels = travelling(*small);
      CHECK(tile::print(without_layouts(compiled(k.func, t, k.options(true)).laid_out)) == tile::print(travels));
    }
  }
  for (const auto& kernel : texts) CHECK_MESSAGE(kernel.second.size() == 1, kernel.first);
  CHECK(texts.size() > 100);
}

TEST_CASE("a laid-out text whose pins are stripped compiles to the same code") {
  for (const char* name : kTestTargets) {
    const Target t = target_named(name);
    for (const ShippedKernel& k : shipped_kernels(t)) {
      CAPTURE(fmt::format("{}: {}", name, k.name));
      const Compiled c = compiled(k.func, t, k.options(true));
      const std::string text = tile::print(c.laid_out), bare = without_pins(text);
      CHECK(bare.size() < text.size());
      const auto again = tile::parse(bare, "stripped");
      REQUIRE_MESSAGE(again, again.error().text);
      const Compiled second = compiled(*again, t);
      CHECK(emitted(second.func, t) == emitted(c.func, t));
      CHECK(tile::equal(second.laid_out, c.laid_out));
    }
  }
}

TEST_CASE("the passes before layouts keep the meaning: stages and factors change no bit") {
  for (const NamedFormat& f : shipped_formats()) {
    const tile::Tensors start = small_problem(f);
    for (const int stages : {1, 2, 3}) {
      const tile::Func plain = built(
          kernels::matmul(f.format, types::f16, false, {.tile_n = 16, .tile_m = 8, .tile_k = 64, .stages = stages}));
      tile::Tensors want = start;
      tile::must_run(plain, want);
      CHECK(want["y"].raw != start.at("y").raw);
      for (const tile::Factor factor : {tile::Factor::operand, tile::Factor::accumulator}) {
        CAPTURE(fmt::format("{} g{} stages {}", f.name, f.format.group, stages));
        CompileOptions options;
        options.factor = factor;
        const auto prepared = prepare(plain, options);
        REQUIRE_MESSAGE(prepared, prepared.error().text);
        CHECK(tile::print(*prepared) != tile::print(plain));
        tile::Tensors got = start;
        tile::must_run(*prepared, got);
        CHECK(got["y"].raw == want["y"].raw);
      }
    }
  }
}

TEST_CASE("all schedules of a target read one stored copy of each parameter") {
  int agreements = 0;
  for (const char* name : kTestTargets) {
    const Target t = target_named(name);
    for (const NamedFormat& f : shipped_formats()) {
      std::map<std::string, std::set<std::string>> ids;
      const auto all_schedules = schedules(t, f);
      REQUIRE(all_schedules.size() > 1);
      for (const Schedule& s : all_schedules) {
        const ShippedKernel k = shipped_matmul(f, s, false);
        for (const auto& [parameter, p] : compiled(k.func, t, k.options(true)).packed)
          ids[parameter].insert(pack_id(p) + " " + to_string(p.elem) + " " + to_string(p.unit));
      }
      CAPTURE(fmt::format("{}: {} g{}", name, f.name, f.format.group));
      CHECK(ids.size() == (f.format.zeros ? 3 : f.format.scaled() ? 2 : 1));
      for (const auto& stored : ids) {
        const std::set<std::string>& all = stored.second;
        CHECK_MESSAGE(all.size() == 1, stored.first, ": ", *all.begin(), " and ", *all.rbegin());
        agreements++;
      }
    }
  }
  CHECK(agreements == std::size(kTestTargets) * (1 + 3 * (2 + 2 + 3)));
}

TEST_CASE("in the main loop codes come 16 bytes a lane and stay in their lane until the mma") {
  int kernels = 0;
  for (const char* name : kTestTargets) {
    const Target t = target_named(name);
    if (!has_matrices(t)) continue;
    for (const NamedFormat& f : shipped_formats()) {
      if (!f.format.scaled()) continue;
      for (const Schedule& s : schedules(t, f))
        for (const bool aligned : {false, true}) {
          const ShippedKernel k = shipped_matmul(f, s, false);
          CAPTURE(fmt::format("{}: {}{}", name, k.name, aligned ? " aligned" : ""));
          const WeightPath path = weight_path(compiled(k.func, t, k.options(aligned)).func);
          CHECK(path.mmas > 0);
          CHECK(path.loads > 0);
          CHECK(path.load_types.size() == 1);
          CHECK((path.load_types.contains("i32x4") || path.load_types.contains("bulk")));
          CHECK(path.detours == std::set<std::string>{});
          kernels++;
        }
    }
  }
  CHECK(kernels > 100);
}

TEST_CASE("a detour is seen: weights that are not packed come through shared memory and narrower loads") {
  const Target t = target_named("sm_80");
  const auto f = tile::parse(R"(kernel plain(x: f16[M, K], w: f16[N, K], y: f32[M, N])
    grid [ceildiv(N, 32), ceildiv(M, 8)] subgroups [1, 4, 1] {
  n0 = group_id(0) * 32
  m0 = group_id(1) * 32
  acc = fill(f32[32, 32], 0)
  for k in 0 .. K step 128 {
    acc = mma(load(w[n0, k], [32, 128]), transpose(load(x[m0, k], [32, 128]), [1, 0]), acc)
  }
  store(y[m0, n0], transpose(acc, [1, 0]))
}
)",
                             "plain");
  REQUIRE_MESSAGE(f, f.error().text);
  CHECK(weight_path(compiled(*f, t).func).detours.contains("load_shared"));
  CHECK(weight_path(compiled(*f, t, {}).func).load_types == std::set<std::string>{"i16"});
}

namespace {

/// Accesses of memory that another launch may write, in front of which no launch_wait stands.
int early_accesses(const tile::Func& program, const thread::Func& f) {
  const Origins origins(f);
  const auto is_others_slot = [&](int64_t slot) {
    const auto at = static_cast<size_t>(slot);
    return at < program.params.size() && !program.params[at].constant;
  };
  const auto is_others = [&](ValueId address) {
    const auto slots = origins.arguments(address);
    return std::any_of(slots.begin(), slots.end(), is_others_slot);
  };
  int early = 0;
  const std::function<bool(BlockId, bool)> walk = [&](BlockId b, bool waited) {
    for (const InstId id : f.blocks[b].insts) {
      const auto& inst = f.inst(id);
      const std::string_view operands = thread::info(inst.op).operands;
      const size_t address = operands.find('a');
      waited = waited || inst.op == thread::Op::launch_wait;
      const bool box = inst.op == thread::Op::bulk_box;
      const bool others = box ? is_others_slot(f.boxes[static_cast<size_t>(inst.attr.imm)].address)
                              : address != std::string_view::npos && is_others(inst.args[address]);
      if (others && !waited) early++;
      for (const BlockId inner : inst.blocks) walk(inner, waited);
    }
    return waited;
  };
  if (!walk(f.body, false)) early++;  // whoever waits for this launch waits for those before it
  return early;
}

/// Follows the groups of matrix instructions through two turns of each loop. Faults: an instruction outside a group, a
/// sum that is read before its group has ended, and a copy while some thread may still run a group of an earlier turn.
class GroupOrder {
 public:
  explicit GroupOrder(const thread::Func& f) : f_(f) { block(f.body); }
  int faults = 0;

 private:
  struct Group {
    int turn;
    std::set<ValueId> sums;
    bool ended = false, ended_for_all = false;
  };
  bool under_way(ValueId v) const {
    return std::any_of(groups_.begin(), groups_.end(), [&](const Group& g) { return !g.ended && g.sums.contains(v); });
  }
  void wait(int64_t left) {
    for (size_t g = 0; g + static_cast<size_t>(left) < groups_.size(); g++) groups_[g].ended = true;
  }
  void copy() {
    for (const Group& g : groups_) faults += g.turn < turn_ && !g.ended_for_all;
  }
  void inst(InstId id) {
    const auto& i = f_.inst(id);
    const bool product = i.op == thread::Op::mma_shared;
    if (i.op == thread::Op::matrix_begin) open_ = Group{turn_, {}};
    if (i.op == thread::Op::matrix_commit) groups_.push_back(*std::exchange(open_, std::nullopt));
    if (i.op == thread::Op::matrix_wait) wait(i.attr.imm);
    if (i.op == thread::Op::barrier)
      for (Group& g : groups_) g.ended_for_all = g.ended;
    if (i.op == thread::Op::async_copy || i.op == thread::Op::bulk_copy || i.op == thread::Op::bulk_box) copy();
    if (product) {
      faults += !open_;
      if (open_) open_->sums.insert(i.results[0]);
    } else if (i.op != thread::Op::yield) {
      faults += static_cast<int>(std::count_if(i.args.begin(), i.args.end(), [&](ValueId a) { return under_way(a); }));
    }
    for (int twice = 0; twice < 2; twice++)
      for (const BlockId inner : i.blocks) turn_++, block(inner);
    if (i.op == thread::Op::loop) name_results(i);
  }
  void name_results(const thread::Func::Inst& loop) {
    const auto& yields = f_.inst(f_.blocks[loop.blocks[0]].insts.back()).args;
    for (Group& g : groups_)
      for (size_t r = 0; r < yields.size(); r++)
        if (g.sums.contains(yields[r])) g.sums.insert(loop.results[r]);
  }
  void block(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) inst(id);
    faults += open_.has_value();
  }

  const thread::Func& f_;
  int turn_ = 0;
  std::optional<Group> open_;
  std::vector<Group> groups_;
};

}  // namespace

TEST_CASE("groups of matrix instructions are begun, closed, and waited for before their sums are read") {
  const Target hopper = target_named("sm_90a");
  int kernels = 0;
  for (const ShippedKernel& k : shipped_kernels(hopper)) {
    CAPTURE(k.name);
    const thread::Func f = compiled(k.func, hopper, k.options(true)).func;
    bool grouped = false;
    f.walk(f.body, [&](BlockId, size_t, InstId id) { grouped = grouped || f.inst(id).op == thread::Op::mma_shared; });
    CHECK(GroupOrder(f).faults == 0);
    if (!grouped) continue;
    kernels++;
    for (const thread::Op dropped : {thread::Op::matrix_wait, thread::Op::barrier}) {
      thread::Func broken = f;
      for (auto& block : broken.blocks) std::erase_if(block.insts, [&](InstId id) { return f.inst(id).op == dropped; });
      CHECK(GroupOrder(broken).faults > 0);
    }
  }
  CHECK(kernels > 10);
}

TEST_CASE("where launches overlap, a kernel waits before it touches what others write, and reads weights before that") {
  const Target hopper = target_named("sm_90a");
  Target in_turn = hopper;
  in_turn.overlapped_launch = false;
  REQUIRE(hopper.overlapped_launch);
  int kernels = 0;
  for (const ShippedKernel& k : shipped_kernels(hopper)) {
    CAPTURE(k.name);
    CHECK(early_accesses(k.func, compiled(k.func, hopper, k.options(true)).func) == 0);
    CHECK(early_accesses(k.func, compiled(k.func, in_turn, k.options(true)).func) > 0);
    kernels++;
  }
  CHECK(kernels > 20);
}

TEST_CASE("what a loop carries fits the registers, whether rows can be copied or not") {
  const auto most_carried = [](const thread::Func& f) {
    int64_t most = 0;
    f.walk(f.body, [&](BlockId, size_t, InstId id) {
      int64_t bits = 0;
      if (f.inst(id).op == thread::Op::loop)
        for (const ValueId v : f.inst(id).results) bits += thread::total_bits(f.type(v));
      most = std::max(most, bits / 32);
    });
    return most;
  };
  int kept = 0, too_many = 0;
  for (const char* name : {"sm_80", "sm_90a"}) {
    const Target t = target_named(name);
    for (const NamedFormat& f : shipped_formats())
      for (const Schedule& s : schedules(t, f))
        for (const bool aligned : {false, true}) {
          const ShippedKernel k = shipped_matmul(f, for_rows(s, aligned, t), false);
          CAPTURE(fmt::format("{}: {}{}", name, k.name, aligned ? " aligned" : ""));
          CHECK(most_carried(compiled(k.func, t, k.options(aligned)).func) <= t.max_registers);
          kept++;
          const ShippedKernel staged = shipped_matmul(f, s, false);
          too_many += !aligned && most_carried(compiled(staged.func, t, staged.options(false)).func) > t.max_registers;
        }
  }
  CHECK(kept > 100);
  CHECK(too_many > 0);  // or for_rows serves nobody
}

}  // namespace lathe
