#include "ir/thread.h"

#include <fmt/format.h>

#include <bit>

#include "ir/layout_modes.h"

namespace lathe::thread {
namespace {

constexpr OpInfo kOps[] = {
#define THREAD_OP(name, operands, results, effect, doc) {#name, operands, results, Effect::effect, doc},
#include "ir/thread.def"
};

struct ScalarRow {
  const char* name;
  int bits;
  bool is_float;
};
constexpr ScalarRow kScalars[] = {{"bool", 1, false}, {"i8", 8, false},  {"i16", 16, false}, {"i32", 32, false},
                                  {"i64", 64, false}, {"f16", 16, true}, {"bf16", 16, true}, {"f32", 32, true}};
const ScalarRow& row(Scalar s) { return kScalars[static_cast<size_t>(s)]; }

/// The type of the one result, by the rule of the row.
Type result_type(const Func& f, Op op, const std::vector<ValueId>& args, const Attr& attr) {
  const std::string_view rule = info(op).results;
  if (rule == "attr") return attr.type;
  if (rule == "b0") return {Scalar::b1, f.type(args[0]).lanes};
  if (rule.size() != 2 || rule[0] != '=') internal_abort("emit: the operation has not one result");
  return f.type(args[static_cast<size_t>(rule[1] - '0')]);
}

}  // namespace

const OpInfo& info(Op op) { return kOps[static_cast<size_t>(op)]; }

int bits(Scalar s) { return row(s).bits; }
bool is_float(Scalar s) { return row(s).is_float; }
int total_bits(const Type& t) { return bits(t.scalar) * t.lanes; }

int64_t canonical_bits(Scalar s, int64_t raw) {
  const int unused = 64 - bits(s);
  const auto up = static_cast<uint64_t>(raw) << unused;
  const bool zero_extended = is_float(s) || s == Scalar::b1;
  return zero_extended ? static_cast<int64_t>(up >> unused) : static_cast<int64_t>(up) >> unused;
}

std::string to_string(const Type& t) {
  const char* name = row(t.scalar).name;
  if (t.is_frag())
    return fmt::format("{}[{} {}x{} x{}]", name, "-abc"[static_cast<size_t>(t.use)], t.rows, t.cols, t.lanes);
  return t.lanes == 1 ? name : fmt::format("{}x{}", name, t.lanes);
}

ValueId Builder::emit(Op op, std::vector<ValueId> args, Attr attr) {
  const Type result = result_type(f, op, args, attr);
  const InstId id = f.add_inst(op, std::move(attr), std::move(args), {result}, {}, loc);
  f.blocks[block].insts.push_back(id);
  return f.inst(id).results[0];
}

void Builder::effect(Op op, std::vector<ValueId> args, Attr attr) {
  f.blocks[block].insts.push_back(f.add_inst(op, std::move(attr), std::move(args), {}, {}, loc));
}

ValueId Builder::constant(Type t, int64_t raw) {
  return emit(Op::constant, {}, {.type = t, .imm = canonical_bits(t.scalar, raw)});
}

ValueId Builder::f32(float v) { return constant(kF32, std::bit_cast<int32_t>(v)); }

Builder::Loop Builder::begin_loop(ValueId lo, ValueId hi, ValueId step, const std::vector<ValueId>& init) {
  std::vector<ValueId> args{lo, hi, step};
  args.insert(args.end(), init.begin(), init.end());
  std::vector<Type> types;
  for (const ValueId v : init) types.push_back(type(v));
  Loop loop;
  loop.body = f.add_block();
  loop.inst = f.add_inst(Op::loop, {}, std::move(args), types, {loop.body}, loc);
  f.blocks[block].insts.push_back(loop.inst);
  loop.index = f.add_param(loop.body, kI32);
  for (const Type& t : types) loop.carried.push_back(f.add_param(loop.body, t));
  block = loop.body;
  return loop;
}

std::vector<ValueId> Builder::end_loop(const Loop& loop, const std::vector<ValueId>& next, BlockId outer) {
  yield(next);
  block = outer;
  return f.inst(loop.inst).results;
}

Builder::While Builder::begin_while(const std::vector<ValueId>& init) {
  While loop{kNone, f.add_block(), f.add_block(), {}, {}};
  std::vector<Type> types;
  for (const ValueId v : init) {
    types.push_back(f.type(v));
    loop.seen.push_back(f.add_param(loop.condition, types.back()));
    loop.carried.push_back(f.add_param(loop.body, types.back()));
  }
  loop.inst = f.add_inst(Op::while_loop, {}, init, types, {loop.condition, loop.body}, loc);
  f.blocks[block].insts.push_back(loop.inst);
  block = loop.condition;
  return loop;
}

std::vector<ValueId> Builder::end_while(const While& loop, const std::vector<ValueId>& next, BlockId outer) {
  yield(next);
  block = outer;
  return f.inst(loop.inst).results;
}

Builder::Cond Builder::begin_cond(ValueId condition) {
  Cond cond;
  cond.then_block = f.add_block();
  cond.else_block = f.add_block();
  cond.inst = f.add_inst(Op::cond, {}, {condition}, {}, {cond.then_block, cond.else_block}, loc);
  f.blocks[block].insts.push_back(cond.inst);
  block = cond.then_block;
  return cond;
}

void Builder::yield(const std::vector<ValueId>& values) { effect(Op::yield, values); }

std::vector<ValueId> Builder::end_cond(const Cond& cond, BlockId outer) {
  block = outer;
  for (const ValueId v : f.inst(f.blocks[cond.then_block].insts.back()).args) {
    const ValueId result = f.add_value(type(v), cond.inst);
    f.inst(cond.inst).results.push_back(result);
  }
  return f.inst(cond.inst).results;
}

}  // namespace lathe::thread
