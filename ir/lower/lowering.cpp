// Control flow and dispatch of the lowering.
#include "ir/lower/lowering.h"

#include <fmt/format.h>

#include "ir/log.h"
#include "ir/lower/storage.h"

namespace lathe {

Lowering::Lowering(const tile::Func& f, const Target& t, const LowerOptions& options)
    : f_(f), t_(t), options_(options), b_(out_, kNone) {
  out_.name = f.name;
  out_.subgroups = f.subgroups;
  out_.subgroup_size = t.subgroup_size;
  out_.body = out_.add_block();
  b_.block = out_.body;
}

Result<Lowered> Lowering::run() {
  TRY_ASSIGN(packed_, tile::packed_parameters(f_, t_));
  for (const tile::Param& p : f_.params) {
    const tile::Type& t = type(p.value);
    if (t.is_scalar() && t.elem.bits < 32)
      return unsupported(fmt::format("{}: a scalar parameter of {}", name(p.value), to_string(t.elem)));
    thread::Attr slot{.imm = out_.param_slots++};
    slot.type = t.form == tile::Form::view || t.elem.bits == 64 ? thread::kI64
                : storage_scalar(t.elem) == thread::Scalar::f32 ? thread::kF32
                                                                : thread::kI32;
    scalars_[p.value] = emit(Op::param, {}, slot);
    if (t.form == tile::Form::view) views_[p.value] = &p;
  }
  note_promises();
  find_shared_operands();
  find_bulk_rooms();
  for (ValueId s : f_.symbols) scalars_[s] = emit(Op::param, {}, {.type = thread::kI64, .imm = out_.param_slots++});
  const bool logs = !log_sites(f_).empty();
  if (logs) log_ = emit(Op::param, {}, {.type = thread::kI64, .imm = out_.param_slots++});
  if (f_.head != kNone) TRY(block(f_.head));
  TRY(block(f_.body));
  issue_put_off();
  await_launch();  // whoever waits for this launch waits for those before it
  TRY(assign_storage(out_, homes_, t_));
  return Lowered{std::move(out_), std::move(packed_), logs, std::move(shown_tiles_)};
}

Result<Unit> Lowering::block(BlockId id) {
  for (const InstId i : f_.blocks[id].insts) {
    b_.loc = f_.inst(i).loc;
    TRY(inst(f_.inst(i)));
  }
  return Unit{};
}

/// Whether it touches memory that a launch in front may write or read.
bool Lowering::meets_other_launches(const Inst& i) const {
  if (i.op == tile::Op::exit_if || i.op == tile::Op::assert || i.op == tile::Op::print) return true;
  const auto view = i.args.empty() ? views_.end() : views_.find(i.args[0]);
  return view != views_.end() && !view->second->constant && i.op != tile::Op::room;
}

void Lowering::await_launch() {
  if (t_.overlapped_launch && !launch_awaited_) b_.effect(Op::launch_wait, {});
  launch_awaited_ = true;
}

Result<Unit> Lowering::inst(const Inst& i) {
  if (put_off(i)) return Unit{};
  if (meets_other_launches(i)) await_launch();
  const bool is_wait = i.op == tile::Op::wait;
  if (!is_wait && !i.results.empty() && stay_shared_.contains(i.results[0])) return Unit{};
  order_views(i);
  switch (i.op) {
    case tile::Op::loop:
      return loop(i);
    case tile::Op::cond:
      return cond(i);
    case tile::Op::yield:
      return Unit{};  // its block's owner reads it
    case tile::Op::load:
      if (type(i.args[0]).form == tile::Form::shared) return load_shared(i);
      return type(i.args[0]).packed ? load_packed(i) : load_view(i);
    case tile::Op::store:
      return type(i.args[0]).form == tile::Form::shared ? store_shared(i) : store_view(i);
    case tile::Op::shared:
      return shared_tile(i);
    case tile::Op::mma:
    case tile::Op::mma_scaled:
      return mma(i);
    case tile::Op::reduce:
      return reduce_tile(i);
    case tile::Op::convert:
      return convert_tile(i);
    case tile::Op::room:
      return room(i);
    case tile::Op::issue:
      return issue(i);
    case tile::Op::commit:
      commit();
      return Unit{};
    case tile::Op::wait:
      return wait(i);
    case tile::Op::release:
      scalars_[i.results[0]] = scalars_.at(i.args[0]);
      return Unit{};
    case tile::Op::while_loop:
      return while_loop(i);
    case tile::Op::exit_if:
      b_.effect(Op::exit_if, {scalar(i.args[0])});
      return Unit{};
    case tile::Op::assume_multiple:
    case tile::Op::assume_range:
      return Unit{};  // noted at the start
    case tile::Op::assert:
    case tile::Op::print:
      return log(i);
    case tile::Op::atomic_add:
      return atomic_add(i);
    case tile::Op::arrive:
      return arrive(i);
    case tile::Op::item: {
      TileRegs& t = tiles_.at(i.args[0]);
      spread_fragments(t);
      scalars_[i.results[0]] = element(t, 0);
      return Unit{};
    }
    case tile::Op::slice:
      return slice_tile(i);
    case tile::Op::assign:
      return assign_tile(i);
    case tile::Op::repeat:
      return repeat_tile(i);
    case tile::Op::scan:
      return scan_tile(i);
    case tile::Op::gather:
      return gather_rows(i);
    case tile::Op::scatter:
      return scatter_rows(i);
    default:
      break;
  }
  return type(i.results[0]).is_scalar() ? scalar_inst(i) : tile_inst(i);
}

/// A literal's place in the program is no part of its meaning: it is made anew at each use.
ValueId Lowering::scalar(ValueId v) {
  const Inst* made = f_.def(v);
  if (made && made->op == tile::Op::constant) return constant_of(made->attr.elem, made->attr.num, made->attr.imm);
  return scalars_.at(v);
}
ValueId Lowering::index32(ValueId v) { return cvt(Op::trunc, scalar(v), thread::kI32); }

/// The registers of scalars and tiles in order; `tiles` has the tiles among `values`.
std::vector<ValueId> Lowering::flatten(const std::vector<ValueId>& values, const std::vector<TileRegs>& tiles) {
  std::vector<ValueId> out;
  size_t tile = 0;
  for (const ValueId v : values) {
    if (!type(v).is_tile()) {
      out.push_back(scalar(v));
      continue;
    }
    const TileRegs& t = tiles[tile++];
    const auto& regs = t.frags.empty() ? t.regs : t.frags;
    out.insert(out.end(), regs.begin(), regs.end());
  }
  return out;
}

void Lowering::unflatten(const std::vector<ValueId>& values, const std::vector<ValueId>& regs,
                         const std::vector<TileRegs>& like) {
  size_t at = 0, tile = 0;
  for (const ValueId v : values) {
    if (!type(v).is_tile()) {
      scalars_[v] = regs[at++];
      continue;
    }
    TileRegs t = like[tile++];
    t.splat = kNone;
    for (ValueId& r : t.frags.empty() ? t.regs : t.frags) r = regs[at++];
    tiles_[v] = t;
  }
}

const Lowering::Inst* Lowering::carried_mma(const Inst& i, size_t carried) const {
  const Inst& yield = f_.inst(f_.blocks[i.blocks[0]].insts.back());
  const Inst* def = f_.def(yield.args[carried]);
  if (!def) return nullptr;
  if (def->op == tile::Op::loop) {
    for (size_t r = 0; r < def->results.size(); r++)
      if (def->results[r] == yield.args[carried]) return carried_mma(*def, r);
    return nullptr;
  }
  if (def->op != tile::Op::mma) return nullptr;
  const auto plan = tile::plan_of(f_, *def, t_);
  return plan && plan->atom->source != MapSource::fma ? def : nullptr;
}

Result<Unit> Lowering::loop(const Inst& i) {
  const BlockId outer = b_.block;
  const ValueId lo = index32(i.args[0]), hi = index32(i.args[1]), step = index32(i.args[2]);
  const std::vector<ValueId> init(i.args.begin() + 3, i.args.end());
  const Inst& yield = f_.inst(f_.blocks[i.blocks[0]].insts.back());
  std::vector<TileRegs> like;      // the form each tile is carried in
  std::vector<const Atom*> atoms;  // of those carried as fragments, else null
  for (size_t c = 0; c < init.size(); c++) {
    if (!type(init[c]).is_tile()) continue;
    TileRegs t = tiles_.at(init[c]);
    atoms.push_back(nullptr);
    if (const Inst* mma = carried_mma(i, c)) {
      TRY_ASSIGN(const MmaPlan plan, tile::plan_of(f_, *mma, t_));
      atoms.back() = plan.atom;
      ensure_fragments(t, *plan.atom);
    } else {
      spread_fragments(t);
      const Inst* next = f_.def(yield.args[c]);
      if (!next || next->op != tile::Op::load) unpair(t);
    }
    like.push_back(t);
  }
  const auto l = b_.begin_loop(lo, hi, step, flatten(init, like));
  const auto& params = f_.blocks[i.blocks[0]].params;
  scalars_[params[0]] = cvt(Op::sext, l.index, thread::kI64);
  const auto outer_tiles = tiles_;  // registers made in the body are not seen outside it
  unflatten({params.begin() + 1, params.end()}, l.carried, like);
  // What the turn before read or wrote may still be under way when the body starts, and what came before the loop when
  // it has no turn.
  loop_depth_++;
  everything_pending();
  const TouchedViews before = touched_views_;
  touch_views_of(i.blocks[0]);
  waited_ = bulk_waited_ = false;
  shown_ = Shown::nobody;
  const bool awaited = launch_awaited_;
  TRY(block(i.blocks[0]));
  launch_awaited_ = awaited;  // it may have had no turn
  loop_depth_--;
  everything_pending();
  touch_views(before);
  std::vector<TileRegs> next;
  for (const ValueId v : yield.args) {
    if (!type(v).is_tile()) continue;
    TileRegs t = tiles_.at(v);
    if (const Atom* atom = atoms[next.size()]) {
      ensure_fragments(t, *atom);
    } else {
      spread_fragments(t);
      if (!like[next.size()].paired) unpair(t);
      if (t.paired != like[next.size()].paired) return internal_error("a loop carries codes in two orders");
    }
    next.push_back(t);
  }
  const auto results = b_.end_loop(l, flatten(yield.args, next), outer);
  tiles_ = outer_tiles;
  unflatten(i.results, results, like);
  end_pipeline(i);
  return Unit{};
}

void Lowering::everything_pending() {
  for (uint32_t a = 0; a < out_.shared.size(); a++) pending_reads_[a] = pending_writes_[a] = true;
}

Result<Unit> Lowering::while_loop(const Inst& i) {
  const BlockId outer = b_.block;
  std::vector<TileRegs> like;  // the form each tile is carried in
  const auto plain = [&](const std::vector<ValueId>& values) {
    std::vector<TileRegs> tiles;
    for (const ValueId v : values) {
      if (!type(v).is_tile()) continue;
      tiles.push_back(tiles_.at(v));
      spread_fragments(tiles.back());
      unpair(tiles.back());
    }
    return tiles;
  };
  like = plain(i.args);
  const auto w = b_.begin_while(flatten(i.args, like));
  const auto outer_tiles = tiles_;
  loop_depth_++;
  const TouchedViews before = touched_views_;
  std::vector<ValueId> results;
  const bool awaited = launch_awaited_;
  for (const BlockId inner : i.blocks) {
    const bool condition = inner == i.blocks[0];
    b_.block = condition ? w.condition : w.body;
    unflatten(f_.blocks[inner].params, condition ? w.seen : w.carried, like);
    everything_pending();
    for (const BlockId turn : i.blocks) touch_views_of(turn);
    TRY(block(inner));
    const Inst& yield = f_.inst(f_.blocks[inner].insts.back());
    if (condition)
      b_.yield({scalar(yield.args[0])});
    else
      results = b_.end_while(w, flatten(yield.args, plain(yield.args)), outer);
    tiles_ = outer_tiles;
  }
  launch_awaited_ = awaited;
  loop_depth_--;
  everything_pending();
  touch_views(before);
  unflatten(i.results, results, like);
  return Unit{};
}

Result<Unit> Lowering::cond(const Inst& i) {
  const BlockId outer = b_.block;
  const auto c = b_.begin_cond(scalar(i.args[0]));
  const auto outer_tiles = tiles_;
  const TouchedViews before = touched_views_;
  TouchedViews after;  // of both sides
  std::vector<TileRegs> like;
  for (int side = 0; side < 2; side++) {
    const BlockId inner = i.blocks[static_cast<size_t>(side)];
    b_.block = side == 0 ? c.then_block : c.else_block;
    loop_depth_++;
    const bool awaited = launch_awaited_;
    TRY(block(inner));
    launch_awaited_ = awaited;
    loop_depth_--;
    everything_pending();
    touch_views(after);
    after = std::exchange(touched_views_, before);
    const Inst& yield = f_.inst(f_.blocks[inner].insts.back());
    like.clear();
    for (const ValueId v : yield.args)
      if (type(v).is_tile()) {
        like.push_back(tiles_.at(v));
        spread_fragments(like.back());
        unpair(like.back());
      }
    b_.yield(flatten(yield.args, like));
    tiles_ = outer_tiles;
  }
  touched_views_ = after;
  unflatten(i.results, b_.end_cond(c, outer), like);
  return Unit{};
}

Result<Lowered> lower(const tile::Func& f, const Target& target, const LowerOptions& options) {
  return Lowering(f, target, options).run();
}

}  // namespace lathe
