// Fold: the walk, control flow that is decided, and the immediates of memory operations.
#include "ir/pass/fold.h"

#include <algorithm>

namespace lathe::thread {
namespace {

constexpr int64_t kMostImmediate = int64_t{1} << 23;  ///< within what every target adds to an address for free

/// Whether imm + by is an immediate.
bool fits(int64_t imm, int64_t by) {
  return std::abs(imm) <= kMostImmediate && by >= -kMostImmediate - imm && by <= kMostImmediate - imm;
}

bool is_extension(Op op) {
  return op == Op::zext || op == Op::sext || op == Op::trunc || op == Op::fcvt || op == Op::s2f || op == Op::u2f ||
         op == Op::f2s;
}

}  // namespace

bool Folder::run() {
  std::vector<InstId> body = block(f_.body);
  constants_.insert(constants_.end(), body.begin(), body.end());
  f_.blocks[f_.body].insts = std::move(constants_);
  return again_;
}

std::vector<InstId> Folder::block(BlockId b) {
  std::vector<InstId> outer;
  outer.swap(out_);
  const std::vector<InstId> list = std::move(f_.blocks[b].insts);
  insts(list);
  outer.swap(out_);
  return outer;
}

void Folder::insts(const std::vector<InstId>& list) {
  for (const InstId id : list) inst(id);
}

void Folder::keep(InstId id) {
  out_.push_back(id);
  facts_.note(id);
}

void Folder::become(ValueId v, ValueId now) {
  if (now_.size() <= v) now_.resize(f_.values.size(), kNone);
  now_[v] = now;
}

void Folder::inst(InstId id) {
  for (ValueId& a : f_.inst(id).args) a = at(a);
  loc_ = f_.inst(id).loc;
  switch (f_.inst(id).op) {
    case Op::constant:
      return constant_inst(id);
    case Op::loop:
      return loop(id);
    case Op::cond:
      return cond(id);
    case Op::while_loop: {
      const std::vector<BlockId> nested = f_.inst(id).blocks;
      for (const BlockId b : nested) {
        std::vector<InstId> folded = block(b);
        f_.blocks[b].insts = std::move(folded);
      }
      return keep(id);
    }
    default:
      break;
  }
  if (info(f_.inst(id).op).effect != Effect::pure) {
    if (!memory(id)) keep(id);
    return;
  }
  const Op op = f_.inst(id).op;
  const ValueId result = f_.inst(id).results[0];
  const Attr attr = f_.inst(id).attr;
  const Type t = type(result);
  Args args = f_.inst(id).args;
  if (const Folded now = simplify(op, attr, args, t)) return become(result, *now);
  f_.inst(id).args = std::move(args);
  keep(id);
}

void Folder::constant_inst(InstId id) {
  Inst& i = f_.inst(id);
  const Type t = i.attr.type;
  i.attr.imm = canonical_bits(t.scalar, i.attr.imm);
  const auto [known, fresh] = pool_.try_emplace({t.scalar, t.lanes, i.attr.imm}, i.results[0]);
  if (!fresh) return become(i.results[0], known->second);
  constants_.push_back(id);
  facts_.note(id);
}

/// Constant offsets of an address go into the immediate, decided predicates away. True when nothing is left of it.
bool Folder::memory(InstId id) {
  Inst& i = f_.inst(id);
  const bool shared = i.op == Op::load_shared || i.op == Op::load_matrix || i.op == Op::store_shared;
  if (!shared && i.op != Op::load_global && i.op != Op::store_global) return false;
  const auto offset = with_constant(i.args[0], Op::add);
  // A shared offset without its constant must still be an offset: no target may see it pass through a negative value.
  if (offset && (!shared || facts_.nonnegative(offset->base)) && fits(i.attr.imm, offset->by)) {
    i.args[0] = offset->base;
    i.attr.imm += offset->by;
  } else if (const auto whole = number(i.args[0]); whole && *whole > 0 && fits(i.attr.imm, *whole)) {
    const ValueId zero = constant(Type(type(i.args[0])), 0);
    f_.inst(id).args[0] = zero;
    f_.inst(id).attr.imm += *whole;
  }
  return !allowed(id);
}

/// Drops a predicate that holds; false when it never does, and the results are 0.
bool Folder::allowed(InstId id) {
  Inst& i = f_.inst(id);
  const size_t predicate = i.results.empty() ? 2 : 1;
  if (i.args.size() <= predicate) return true;
  const auto known = number(i.args[predicate]);
  if (!known) return true;
  if (*known) {
    i.args.pop_back();
    return true;
  }
  if (i.results.empty()) return false;
  const ValueId result = i.results[0];
  become(result, constant(Type(i.attr.type), 0));
  return false;
}

void Folder::loop(InstId id) {
  if (run_once(id)) return;
  drop_unchanged(id);
  const BlockId body = f_.inst(id).blocks[0];
  facts_.note_index(f_.inst(id));
  std::vector<InstId> folded = block(body);
  f_.blocks[body].insts = std::move(folded);
  keep(id);
  const Inst& i = f_.inst(id);
  const Args& next = f_.inst(f_.blocks[body].insts.back()).args;
  for (size_t c = 0; c < next.size(); c++)
    if (next[c] == f_.blocks[body].params[c + 1] || next[c] == i.args[c + 3]) again_ = true;
}

/// A loop of no turn or one needs no loop.
bool Folder::run_once(InstId id) {
  const Inst i = f_.inst(id);
  const auto trips = trip_count(f_, i);
  if (!trips || *trips > 1) return false;
  Args last(i.args.begin() + 3, i.args.end());
  if (*trips == 1) {
    const Args params = f_.blocks[i.blocks[0]].params;
    become(params[0], i.args[0]);
    for (size_t c = 0; c < last.size(); c++) become(params[c + 1], last[c]);
    last = splice(i.blocks[0]);
  }
  for (size_t c = 0; c < last.size(); c++) become(i.results[c], last[c]);
  return true;
}

/// Carried values that every turn hands on as they came.
void Folder::drop_unchanged(InstId id) {
  Inst& i = f_.inst(id);
  auto& params = f_.blocks[i.blocks[0]].params;
  Args& next = f_.inst(f_.blocks[i.blocks[0]].insts.back()).args;
  size_t kept = 0;
  for (size_t c = 0; c < next.size(); c++) {
    const ValueId init = i.args[c + 3];
    if (next[c] == params[c + 1] || at(next[c]) == init) {
      become(params[c + 1], init);
      become(i.results[c], init);
      continue;
    }
    params[kept + 1] = params[c + 1];
    i.results[kept] = i.results[c];
    i.args[kept + 3] = init;
    next[kept++] = next[c];
  }
  params.resize(kept + 1);
  i.results.resize(kept);
  i.args.resize(kept + 3);
  next.resize(kept);
}

Folder::Args Folder::splice(BlockId b) {
  std::vector<InstId> list = std::move(f_.blocks[b].insts);
  const InstId yield = list.back();
  list.pop_back();
  insts(list);
  Args out = f_.inst(yield).args;
  for (ValueId& v : out) v = at(v);
  return out;
}

void Folder::cond(InstId id) {
  const Inst i = f_.inst(id);
  if (const auto taken = number(i.args[0])) {
    const Args values = splice(i.blocks[*taken ? 0 : 1]);
    for (size_t r = 0; r < values.size(); r++) become(i.results[r], values[r]);
    return;
  }
  for (const BlockId b : i.blocks) {
    std::vector<InstId> folded = block(b);
    f_.blocks[b].insts = std::move(folded);
  }
  keep(id);
}

// ---- building

ValueId Folder::constant(Type t, int64_t raw) {
  const int64_t imm = canonical_bits(t.scalar, raw);
  const auto [known, fresh] = pool_.try_emplace({t.scalar, t.lanes, imm}, kNone);
  if (!fresh) return known->second;
  const InstId id = f_.add_inst(Op::constant, {.type = t, .imm = imm}, {}, {t}, {}, loc_);
  constants_.push_back(id);
  facts_.note(id);
  return known->second = f_.inst(id).results[0];
}

ValueId Folder::make(Op op, Type result, Args args, int64_t imm) {
  const Attr attr{.type = result, .imm = imm};
  if (const Folded now = simplify(op, attr, args, result)) return *now;
  const InstId id = f_.add_inst(op, attr, std::move(args), {result}, {}, loc_);
  keep(id);
  return f_.inst(id).results[0];
}

ValueId Folder::add_constant(ValueId x, int64_t c) {
  const Type t = type(x);
  return canonical_bits(t.scalar, c) == 0 ? x : make(Op::add, t, {x, constant(t, c)});
}

std::optional<uint64_t> Folder::float_bits(ValueId v) const {
  const Inst* def = f_.def(v);
  if (def == nullptr || def->op != Op::constant || !is_float(def->attr.type.scalar)) return std::nullopt;
  return static_cast<uint64_t>(canonical_bits(def->attr.type.scalar, def->attr.imm));
}

std::optional<Folder::Offset> Folder::with_constant(ValueId v, Op op) const {
  const Inst* def = f_.def(v);
  if (def == nullptr || def->op != op) return std::nullopt;
  const auto c = number(def->args[1]);
  if (!c) return std::nullopt;
  return Offset{def->args[0], *c};
}

Folder::Folded Folder::operand_of(ValueId v, Op op) const {
  const Inst* def = f_.def(v);
  if (def == nullptr || def->op != op) return std::nullopt;
  return def->args[0];
}

Folder::Folded Folder::evaluated(Op op, const Attr& attr, const Args& args, const Type& result) {
  if (args.empty() || result.is_frag()) return std::nullopt;
  for (const ValueId a : args)
    if (f_.def(a) == nullptr || f_.def(a)->op != Op::constant) return std::nullopt;
  std::vector<Type> types;
  std::vector<std::vector<uint64_t>> lanes;
  for (const ValueId a : args) {
    types.push_back(type(a));
    lanes.emplace_back(type(a).lanes, static_cast<uint64_t>(f_.def(a)->attr.imm));
  }
  std::vector<uint64_t> out;
  if (!evaluate(op, attr, result, types, lanes, out)) return std::nullopt;
  // A constant has one value for all lanes.
  if (std::any_of(out.begin(), out.end(), [&](uint64_t lane) { return lane != out[0]; })) return std::nullopt;
  return constant(result, static_cast<int64_t>(out[0]));
}

Folder::Folded Folder::simplify(Op op, const Attr& attr, Args& args, const Type& result) {
  if (const Folded constant_value = evaluated(op, attr, args, result)) return constant_value;
  switch (op) {
    case Op::eq:
    case Op::ne:
    case Op::lt_s:
    case Op::le_s:
    case Op::lt_u:
    case Op::le_u:
      return compare(op, args);
    case Op::flt:
      return args[0] == args[1] ? Folded(constant(result, 0)) : std::nullopt;
    case Op::bnot:
      return bnot(args[0]);
    case Op::select:
      return select(args[0], args[1], args[2]);
    case Op::bitcast:
    case Op::vec:
    case Op::get:
      return regroup(op, attr, args, result);
    case Op::frag_get:
      return fragment_element(attr, args[0]);
    default:
      break;
  }
  if (is_extension(op)) return convert(op, args[0], result);
  if (args.empty() || result.is_frag()) return std::nullopt;
  return is_float(result.scalar) ? floating(op, args) : integer(op, args);
}

void fold(Func& f) {
  while (Folder(f).run()) {
  }
}

}  // namespace lathe::thread
