// Constants, and the operations that regroup lanes: most only rename registers.
#include <fmt/format.h>

#include "backends/ptx/body.h"

namespace lathe::ptx {

using thread::Scalar;
using thread::Type;

namespace {

/// `raw`, the bits of one lane, as every lane of a register.
uint64_t splat_bits(uint64_t raw, Part part) {
  const int bits = thread::bits(info(part).scalar);
  const uint64_t lane = bits == 64 ? raw : raw & ((uint64_t{1} << bits) - 1);
  return info(part).lanes == 2 ? lane << 16 | lane : lane;
}

}  // namespace

Result<Unit> Body::constant(const Inst& inst) {
  const Type& t = inst.attr.type;
  const Part part = part_of(t);
  const Reg reg = file_.fresh(info(part).cls);
  const uint64_t value = splat_bits(static_cast<uint64_t>(inst.attr.imm), part);
  if (part == Part::b1)
    line(fmt::format("setp.ne.b32 {}, {}, 0;", to_string(reg), value));
  else
    line(fmt::format("mov{} {}, {:#x};", type_name(reg.cls), to_string(reg), value));
  regs_[inst.results[0]] = Regs(static_cast<size_t>(register_count(t)), reg);
  return Unit{};
}

Regs Body::unpacked(const Regs& regs, const Type& t) {
  if (info(part_of(t)).lanes == 1) return regs;
  Regs lanes;
  for (const Reg reg : regs) {
    const Reg low = file_.fresh(Class::b16), high = file_.fresh(Class::b16);
    line(fmt::format("mov.b32 {{{}, {}}}, {};", to_string(low), to_string(high), to_string(reg)));
    lanes.push_back(low);
    lanes.push_back(high);
  }
  return lanes;
}

Regs Body::packed(const Regs& lanes, const Type& t) {
  if (info(part_of(t)).lanes == 1) return lanes;
  Regs regs;
  for (size_t i = 0; i < lanes.size(); i += 2) {
    regs.push_back(file_.fresh(Class::b32));
    line(fmt::format("mov.b32 {}, {{{}, {}}};", to_string(regs.back()), to_string(lanes[i]), to_string(lanes[i + 1])));
  }
  return regs;
}

Regs Body::lanes_of(ValueId v) { return unpacked(regs_[v], type(v)); }

Regs Body::as_part(ValueId v, Part part) {
  return info(part).lanes == info(part_of(type(v))).lanes ? regs_[v] : lanes_of(v);
}

Result<Unit> Body::vec(const Inst& inst) {
  Regs lanes;
  for (const ValueId a : inst.args) lanes.push_back(regs_[a][0]);
  regs_[inst.results[0]] = packed(lanes, inst.attr.type);
  return Unit{};
}

Result<Unit> Body::get(const Inst& inst) {
  const Type& t = type(inst.args[0]);
  const int lanes = info(part_of(t)).lanes;
  const Reg reg = regs_[inst.args[0]][static_cast<size_t>(inst.attr.imm / lanes)];
  regs_[inst.results[0]] = {unpacked({reg}, t)[static_cast<size_t>(inst.attr.imm % lanes)]};
  return Unit{};
}

Regs Body::words_of(const Regs& regs, const Type& t) {
  Regs words;
  const auto word = [&](const std::string& form, auto... operands) {
    words.push_back(file_.fresh(Class::b32));
    line(fmt::format(fmt::runtime(form), to_string(words.back()), to_string(operands)...));
  };
  if (t.scalar == Scalar::i8) {
    // Bytes 0 and 1 of each pair, then of two pairs.
    for (size_t i = 0; i + 1 < regs.size(); i += 2) word("prmt.b32 {}, {}, {}, 0x5540;", regs[i], regs[i + 1]);
    if (regs.size() != 4) return words;
    const Regs halves = words;
    words.clear();
    word("prmt.b32 {}, {}, {}, 0x5410;", halves[0], halves[1]);
    return words;
  }
  for (const Reg reg : regs) {
    if (reg.cls == Class::b32) {
      words.push_back(reg);
    } else if (reg.cls == Class::b16) {
      word("cvt.u32.u16 {}, {};", reg);
    } else {
      const Reg low = file_.fresh(Class::b32), high = file_.fresh(Class::b32);
      line(fmt::format("mov.b64 {{{}, {}}}, {};", to_string(low), to_string(high), to_string(reg)));
      words.push_back(low);
      words.push_back(high);
    }
  }
  return words;
}

Regs Body::from_words(const Regs& words, const Type& t) {
  Regs regs;
  const auto print = [&](Class cls, const std::string& form, auto... operands) {
    regs.push_back(file_.fresh(cls));
    line(fmt::format(fmt::runtime(form), to_string(regs.back()), operands...));
  };
  if (t.scalar == Scalar::i8) {
    for (size_t i = 0; i < t.lanes; i++)
      print(Class::b32, "bfe.u32 {}, {}, {}, 8;", to_string(words[i / 4]), i % 4 * 8);
    return regs;
  }
  const Class cls = info(part_of(t)).cls;
  if (cls == Class::b32) return words;
  for (size_t i = 0; i < words.size(); i += cls == Class::b64 ? 2 : 1) {
    if (cls == Class::b16)
      print(cls, "cvt.u16.u32 {}, {};", to_string(words[i]));
    else
      print(cls, "mov.b64 {}, {{{}, {}}};", to_string(words[i]), to_string(words[i + 1]));
  }
  return regs;
}

Result<Unit> Body::bitcast(const Inst& inst) {
  const Type &from = type(inst.args[0]), &to = inst.attr.type;
  const Regs& regs = regs_[inst.args[0]];
  const bool same_bytes = (from.scalar == Scalar::i8) == (to.scalar == Scalar::i8);
  const bool same = same_bytes && info(part_of(from)).cls == info(part_of(to)).cls;
  regs_[inst.results[0]] = same ? regs : from_words(words_of(regs, from), to);
  return Unit{};
}

Result<Unit> Body::frag_fill(const Inst& inst) {
  const Type& t = inst.attr.type;
  const Reg lane = regs_[inst.args[0]][0];
  const Reg reg = packed({lane, lane}, t)[0];
  regs_[inst.results[0]] = Regs(static_cast<size_t>(register_count(t)), reg);
  return Unit{};
}

Result<Unit> Body::frag_make(const Inst& inst) {
  const Type& t = inst.attr.type;
  const int per_register = info(part_of(t)).lanes;
  bool whole_registers = true;
  for (const ValueId a : inst.args) whole_registers &= info(part_of(type(a))).lanes == per_register;
  Regs lanes;
  if (!whole_registers)
    for (const ValueId a : inst.args)
      for (const Reg reg : lanes_of(a)) lanes.push_back(reg);
  regs_[inst.results[0]] = whole_registers ? regs_of(inst.args) : packed(lanes, t);
  return Unit{};
}

Result<Unit> Body::frag_get(const Inst& inst) {
  const Type &t = type(inst.args[0]), &to = inst.attr.type;
  const int per_register = info(part_of(t)).lanes;
  const auto first = static_cast<size_t>(inst.attr.imm), count = static_cast<size_t>(to.lanes);
  const Regs& regs = regs_[inst.args[0]];
  if (per_register == info(part_of(to)).lanes && first % static_cast<size_t>(per_register) == 0) {
    const auto begin = regs.begin() + static_cast<ptrdiff_t>(first / static_cast<size_t>(per_register));
    regs_[inst.results[0]] = Regs(begin, begin + register_count(to));
    return Unit{};
  }
  const size_t step = static_cast<size_t>(per_register), begin = first / step, end = (first + count - 1) / step + 1;
  const Regs touched(regs.begin() + static_cast<ptrdiff_t>(begin), regs.begin() + static_cast<ptrdiff_t>(end));
  const Regs lanes = unpacked(touched, t);
  const auto at = lanes.begin() + static_cast<ptrdiff_t>(first - begin * step);
  regs_[inst.results[0]] = packed(Regs(at, at + to.lanes), to);
  return Unit{};
}

Result<Unit> Body::frag_length(const Inst& inst) {
  const Reg reg = file_.fresh(Class::b32);
  line(fmt::format("mov.b32 {}, {};", to_string(reg), type(inst.args[0]).lanes));
  regs_[inst.results[0]] = {reg};
  return Unit{};
}

Result<Unit> Body::async(const Inst& inst) {
  TRY(require(kAsyncCopy, inst));
  if (inst.op == thread::Op::async_copy)
    async_copy(inst);
  else
    line(inst.op == thread::Op::async_commit ? "cp.async.commit_group;"
                                             : fmt::format("cp.async.wait_group {};", inst.attr.imm));
  return Unit{};
}

/// Only 16 bytes may pass by the first cache; of a source of no bytes, zeros are written.
void Body::async_copy(const Inst& inst) {
  const int bytes = thread::total_bits(inst.attr.type) / 8;
  std::string read = fmt::format("{}", bytes);
  if (inst.args.size() > 2) {
    read = to_string(file_.fresh(Class::b32));
    line(fmt::format("selp.u32 {}, {}, 0, {};", read, bytes, to_string(regs_[inst.args[2]][0])));
  }
  const std::string to = address(inst), from = to_string(regs_[inst.args[1]][0]);
  line(fmt::format("cp.async.{}.shared.global {}, [{}], {}, {};", bytes == 16 ? "cg" : "ca", to, from, bytes, read));
}

Result<Unit> Body::load_matrix(const Inst& inst) {
  const bool known = std::any_of(target_.matrix_loads.begin(), target_.matrix_loads.end(),
                                 [&](const MatrixLoad& m) { return m.name == inst.attr.name; });
  if (!known) return unsupported(fmt::format("{}: {} has no matrix load '{}'", f_.name, target_.name, inst.attr.name));
  constexpr int kIsa = 65;  // of ldmatrix
  isa_ = std::max(isa_, kIsa);
  const Regs words = file_.fresh(inst.attr.type);
  line(fmt::format("{} {{{}}}, {};", inst.attr.name, join(words), address(inst)));
  regs_[inst.results[0]] = words;
  return Unit{};
}

/// The registers that an instruction adds to in place: the value's own where nobody else reads it and no two are one.
Regs Body::sums_of(ValueId v) {
  const InstId def = f_.values[v].def;
  const bool own = def == kNone || f_.insts[def].op == thread::Op::mma_shared || f_.insts[def].op == thread::Op::loop;
  if (own && uses_[v] == 1) return regs_[v];
  Regs copy = file_.fresh(type(v));
  for (size_t r = 0; r < copy.size(); r++) move(copy[r], regs_[v][r]);
  line("wgmma.fence.sync.aligned;");
  return copy;
}

/// b's descriptor (PTX manual, matrix descriptor format): its address, 1024 bytes from eight rows to the next, rows of
/// 128 bytes swizzled.
Result<Unit> Body::mma_shared(const Inst& inst) {
  TRY(require_atom(inst.attr.name));
  constexpr uint32_t kLow = 1U << 16, kHigh = 1024U >> 4 | 1U << 30;
  const Regs sums = sums_of(inst.args[2]);
  regs_[inst.results[0]] = sums;
  const Reg at = file_.fresh(Class::b32), low = file_.fresh(Class::b32), descriptor = file_.fresh(Class::b64);
  const int64_t offset = inst.attr.imm + shared_base_[inst.attr.index];
  line(fmt::format("add.s32 {}, {}, {};", to_string(at), to_string(shared_reg_), to_string(regs_[inst.args[0]][0])));
  line(fmt::format("shr.u32 {}, {}, 4;", to_string(low), to_string(at)));
  line(fmt::format("add.s32 {}, {}, {};", to_string(low), to_string(low), kLow + static_cast<uint32_t>(offset / 16)));
  line(fmt::format("mov.b64 {}, {{{}, {}}};", to_string(descriptor), to_string(low), kHigh));
  line(fmt::format("{{ .reg .pred %q; setp.eq.u32 %q, 0, 0; {} {{{}}}, {{{}}}, {}, %q, 1, 1, 0; }}", inst.attr.name,
                   join(sums), join(regs_[inst.args[1]]), to_string(descriptor)));
  return Unit{};
}

Result<Unit> Body::matrix_group(const Inst& inst) {
  TRY(require(kMmaWarpgroup, inst));
  if (inst.op == thread::Op::matrix_publish) line("fence.proxy.async.shared::cta;");
  if (inst.op == thread::Op::matrix_begin) line("wgmma.fence.sync.aligned;");
  if (inst.op == thread::Op::matrix_commit) line("wgmma.commit_group.sync.aligned;");
  if (inst.op == thread::Op::matrix_wait) line(fmt::format("wgmma.wait_group.sync.aligned {};", inst.attr.imm));
  return Unit{};
}

Result<Unit> Body::launch_wait(const Inst& inst) {
  TRY(require(kOverlappedLaunch, inst));
  line("griddepcontrol.wait;");
  return Unit{};
}

Result<Unit> Body::require(Features feature, const Inst& inst) const {
  if (features_ & feature) return Unit{};
  return unsupported(fmt::format("{}: {} has no {}", f_.name, target_.name, thread::info(inst.op).name));
}

Result<Unit> Body::no_frag_memory(const Inst& inst) {
  return unsupported(fmt::format("{}: PTX has no {}; its lane maps are published, fill fragments by element", f_.name,
                                 thread::info(inst.op).name));
}

}  // namespace lathe::ptx
