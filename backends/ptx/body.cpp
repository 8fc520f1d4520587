#include "backends/ptx/body.h"

#include <fmt/format.h>

namespace lathe::ptx {
namespace {

using thread::Op;
using thread::Type;

using Code = Result<Unit> (Body::*)(const Body::Inst&);
/// How an operation is printed when not by its rows: a form of the whole value, or a function.
struct Special {
  const char* form = nullptr;
  Code code = nullptr;
};
Special special_of(Op op) {
  switch (op) {
#define PTX_ALL(name, text) \
  case Op::name:            \
    return {text, nullptr};
#define PTX_CODE(name, function) \
  case Op::name:                 \
    return {nullptr, &Body::function};
#include "backends/ptx/rows.def"
    default:
      return {};
  }
}

/// The operand whose type chooses the row: the second where the result has its type, else the first.
const Type& lead_type(const thread::Func& f, const Body::Inst& inst) {
  if (inst.args.empty()) return f.type(inst.results[0]);
  return f.type(inst.args[std::string_view(thread::info(inst.op).results) == "=1" ? 1 : 0]);
}

/// The place of the guard among the operands of a memory operation.
size_t guard_of(Op op) { return std::string_view(thread::info(op).operands).find('b'); }

std::string braced(const Regs& regs) { return regs.size() == 1 ? to_string(regs[0]) : "{" + join(regs) + "}"; }

}  // namespace

std::vector<int64_t> shared_offsets(const thread::Func& f) {
  std::vector<int64_t> offsets;
  int64_t next = 0;
  for (const thread::SharedArray& array : f.shared) {
    next = (next + array.align - 1) / array.align * array.align;
    offsets.push_back(next);
    next += (array.bytes + 15) / 16 * 16;
  }
  offsets.push_back(next);
  offsets.push_back(next + (kBulkBarrierBytes * f.bulk_barriers + 15) / 16 * 16);
  return offsets;
}

Body::Body(const thread::Func& f, const Target& target, Features features, std::string shared_symbol)
    : f_(f),
      target_(target),
      features_(features),
      shared_symbol_(std::move(shared_symbol)),
      regs_(f.values.size()),
      uses_(f.values.size()),
      shared_base_(shared_offsets(f)) {
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    for (const ValueId a : f.insts[id].args) uses_[a]++;
    groups_matrices_ = groups_matrices_ || f_.insts[id].op == Op::mma_shared;
  });
}

Result<Unit> Body::print() {
  if (shared_base_.back() > 0) {
    shared_reg_ = file_.fresh(Class::b32);
    line(fmt::format("mov.u32 {}, {};", to_string(shared_reg_), shared_symbol_));
  }
  if (f_.bulk_barriers > 0) make_bulk_barriers();
  TRY(block(f_.body));
  line("ret;");
  return Unit{};
}

Result<Unit> Body::block(BlockId id) {
  for (const InstId i : f_.blocks[id].insts) TRY(instruction(f_.insts[i]));
  return Unit{};
}

Result<Unit> Body::instruction(const Inst& inst) {
  const Special special = special_of(inst.op);
  if (special.code != nullptr) return (this->*special.code)(inst);
  if (special.form != nullptr) return whole(inst, special.form);
  return row(inst);
}

void Body::line(std::string_view form, const Variables& variable) {
  text_ += '\t';
  for (size_t i = 0; i < form.size(); i++) {
    if (form[i] == '$')
      text_ += variable(form[++i]);
    else
      text_ += form[i];
  }
  text_ += '\n';
}

Result<Unit> Body::row(const Inst& inst) {
  const Type& lead = lead_type(f_, inst);
  const Type& result = type(inst.results[0]);
  // Two lanes at once where there is a row for it, else lane by lane.
  for (const Part from : {part_of(lead), scalar_part(lead.scalar)})
    for (const Part to : {part_of(result), scalar_part(result.scalar)})
      if (const Row* found = find_row({inst.op, from, to}, features_)) {
        row_groups(inst, *found, from, to, lead);
        return Unit{};
      }
  return unsupported(fmt::format("{}: {} has no {} of {}", f_.name, target_.name, thread::info(inst.op).name,
                                 thread::to_string(lead)));
}

/// Prints the row for each group of lanes. An operand of one lane beside vectors (a shift count, a condition) serves
/// all.
void Body::row_groups(const Inst& inst, const Row& found, Part from, Part to, const Type& lead) {
  const Type& result = type(inst.results[0]);
  const int group_lanes = std::max(info(from).lanes, info(to).lanes);
  std::vector<Regs> operands;
  for (const ValueId a : inst.args)
    operands.push_back(type(a) == lead ? as_part(a, from) : as_part(a, scalar_part(type(a).scalar)));
  Regs results;
  for (int lane = 0; lane < lead.lanes; lane += group_lanes) {
    Regs args;
    for (size_t i = 0; i < operands.size(); i++) {
      const bool serves_all = type(inst.args[i]).lanes == 1;
      const int step = type(inst.args[i]) == lead ? info(from).lanes : 1;
      for (int l = lane; l < lane + group_lanes; l += step) {
        args.push_back(operands[i][serves_all ? 0 : static_cast<size_t>(l / step)]);
        if (serves_all) break;
      }
    }
    const size_t first = results.size();
    for (int l = 0; l < group_lanes; l += info(to).lanes) results.push_back(file_.fresh(info(to).cls));
    line(found.text, [&](char c) -> std::string {
      switch (c) {
        case 'd':
          return to_string(results[first]);
        case 'e':
          return to_string(results[first + 1]);
        case 'w':
          return fmt::format("{}", info(from).bits);
        case 'i':
          return fmt::format("{}", inst.attr.imm);
        case 'x':
          return std::string(1, "xyz"[inst.attr.imm]);
        default:
          return to_string(args[static_cast<size_t>(c - '0')]);
      }
    });
  }
  regs_[inst.results[0]] = info(to).lanes == info(part_of(result)).lanes ? results : packed(results, result);
}

Result<Unit> Body::require_atom(const std::string& name) {
  for (const Atom& atom : target_.atoms)
    if (atom.name == name && atom.source != MapSource::fma) {
      isa_ = std::max(isa_, atom_isa(name));
      return Unit{};
    }
  return unsupported(fmt::format("{}: {} has no matrix instruction '{}'", f_.name, target_.name, name));
}

/// "[register+bytes]" of a memory operation, "" of others.
std::string Body::address(const Inst& inst) {
  const std::string_view operands = thread::info(inst.op).operands;
  if (operands.empty() || (operands[0] != 'a' && operands[0] != 'o')) return "";
  Reg base = regs_[inst.args[0]][0];
  int64_t offset = inst.attr.imm;
  if (operands[0] == 'o') {
    const Reg sum = file_.fresh(Class::b32);
    line(fmt::format("add.s32 {}, {}, {};", to_string(sum), to_string(shared_reg_), to_string(base)));
    base = sum;
    offset += shared_base_[inst.attr.index];
  }
  // An immediate is 32 bits.
  if (offset != static_cast<int32_t>(offset)) {
    const Reg sum = file_.fresh(base.cls);
    line(fmt::format("add.s{} {}, {}, {};", base.cls == Class::b64 ? 64 : 32, to_string(sum), to_string(base), offset));
    base = sum;
    offset = 0;
  }
  return fmt::format("[{}+{}]", to_string(base), offset);
}

std::string Body::variable_of_whole(const Inst& inst, const std::string& where, char c) const {
  const ValueId moved = inst.results.empty() ? (inst.args.size() > 1 ? inst.args[1] : kNone) : inst.results[0];
  const size_t guard = guard_of(inst.op);
  switch (c) {
    case 'a':
      return where;
    case 'd':
      return join(regs_[moved]);
    case 'D':
    case 'S':
      return braced(regs_[moved]);
    case 'n':
      return inst.attr.name;
    case 'p':
      return inst.args.size() > guard ? "@" + to_string(regs_[inst.args[guard]][0]) + " " : "";
    case 'v':
      return regs_[moved].size() > 1 ? fmt::format(".v{}", regs_[moved].size()) : "";
    case 'm': {
      const Part part = part_of(type(moved));
      return part == Part::i8 ? "u8" : fmt::format("b{}", info(part).bits);
    }
    default:
      return join(regs_[inst.args[static_cast<size_t>(c - '0')]]);
  }
}

Result<Unit> Body::whole(const Inst& inst, const char* form) {
  if (inst.op == Op::mma) TRY(require_atom(inst.attr.name));
  const std::string where = address(inst);
  for (const ValueId result : inst.results) {
    regs_[result] = file_.fresh(type(result));
    const bool guarded = !where.empty() && inst.args.size() > guard_of(inst.op);
    for (const Reg reg : regs_[result])
      if (guarded) line(fmt::format("mov{} {}, 0;", type_name(reg.cls), to_string(reg)));
  }
  line(form, [&](char c) { return variable_of_whole(inst, where, c); });
  return Unit{};
}

}  // namespace lathe::ptx
