// Copies in bulk: one lane of a subgroup begins them, transaction barriers in shared memory count their bytes (PTX
// manual, cp.async.bulk, cp.async.bulk.tensor and mbarrier).
#include <fmt/format.h>

#include <algorithm>

#include "backends/ptx/body.h"

namespace lathe::ptx {

using thread::Op;

std::string zeros_symbol(const thread::Func& f) { return f.name + "_zeros"; }
int64_t zeros_bytes(const thread::Func& f) {
  int64_t most = 0;
  f.walk(f.body, [&](BlockId, size_t, InstId id) {
    if (f.insts[id].op == Op::bulk_copy) most = std::max(most, f.insts[id].attr.imm);
  });
  return most;
}
std::string box_parameter(int64_t box) { return fmt::format("box{}", box); }

/// One expectation a phase. The unit that copies must see them made.
void Body::make_bulk_barriers() {
  const Reg lane = file_.fresh(Class::b32), thread = file_.fresh(Class::b32), first = file_.fresh(Class::pred);
  elected_ = file_.fresh(Class::pred);
  line(fmt::format("mov.u32 {}, %laneid;", to_string(lane)));
  line(fmt::format("setp.eq.u32 {}, {}, 0;", to_string(elected_), to_string(lane)));
  line(fmt::format("mov.u32 {}, %tid.x;", to_string(thread)));
  line(fmt::format("setp.eq.u32 {}, {}, 0;", to_string(first), to_string(thread)));
  for (int i = 0; i < f_.bulk_barriers; i++)
    line(fmt::format("@{} mbarrier.init.shared.b64 [{}+{}], 1;", to_string(first), to_string(shared_reg_),
                     shared_base_[f_.shared.size()] + kBulkBarrierBytes * i));
  for (size_t i = 0; i < f_.boxes.size(); i++)
    line(fmt::format("@{} prefetch.param.tensormap [{}];", to_string(first), box_parameter(static_cast<int64_t>(i))));
  line("fence.mbarrier_init.release.cluster;");
  line("fence.proxy.async.shared::cta;");
  line("bar.sync 0;");
}

/// "[register+bytes]"
std::string Body::bulk_barrier(ValueId number) {
  const Reg at = file_.fresh(Class::b32);
  line(fmt::format("mad.lo.s32 {}, {}, {}, {};", to_string(at), to_string(regs_[number][0]), kBulkBarrierBytes,
                   to_string(shared_reg_)));
  return fmt::format("[{}+{}]", to_string(at), shared_base_[f_.shared.size()]);
}

Result<Unit> Body::bulk(const Inst& inst) {
  TRY(require(kBulkCopy, inst));
  const bool copies = inst.op == Op::bulk_copy || inst.op == Op::bulk_box;
  const std::string counted = bulk_barrier(inst.args[copies ? 1 : 0]);
  if (inst.op == Op::bulk_wait) {
    const std::string label = fmt::format("$W{}", ++labels_);
    text_ += label + ":\n";
    line(fmt::format("{{ .reg .pred %q; mbarrier.try_wait.parity.shared.b64 %q, {}, {}; @!%q bra {}; }}", counted,
                     to_string(regs_[inst.args[1]][0]), label));
    return Unit{};
  }
  const Reg here = file_.fresh(Class::pred);
  line(
      fmt::format("and.pred {}, {}, {};", to_string(here), to_string(elected_), to_string(regs_[inst.args.back()][0])));
  if (inst.op == Op::bulk_expect) {
    line(fmt::format("@{} mbarrier.arrive.expect_tx.shared.b64 _, {}, {};", to_string(here), counted, inst.attr.imm));
    return Unit{};
  }
  const Reg to = file_.fresh(Class::b32);
  line(fmt::format("add.s32 {}, {}, {};", to_string(to), to_string(shared_reg_), to_string(regs_[inst.args[0]][0])));
  const std::string place = fmt::format("[{}+{}]", to_string(to), shared_base_[inst.attr.index]);
  if (inst.op == Op::bulk_copy) {
    bulk_copy(inst, place, counted, here);
    return Unit{};
  }
  const Reg map = file_.fresh(Class::b64);
  line(fmt::format("mov.b64 {}, {};", to_string(map), box_parameter(inst.attr.imm)));
  line(fmt::format("cvta.param.u64 {}, {};", to_string(map), to_string(map)));
  line(fmt::format(
      "@{} cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes {}, [{}, {{{}, {}}}], {};",
      to_string(here), place, to_string(map), to_string(regs_[inst.args[2]][0]), to_string(regs_[inst.args[3]][0]),
      counted));
  return Unit{};
}

/// What is inside, then zeros: both are bytes that the barrier counts. Few copies have any zeros, so these are jumped
/// over, but not where matrix instructions may be under way: the assembler would let each of them end first.
void Body::bulk_copy(const Inst& inst, const std::string& to, const std::string& counted, Reg here) {
  const std::string inside = to_string(regs_[inst.args[3]][0]);
  const auto copy = [&](Reg guard, const std::string& place, const std::string& from, const std::string& bytes) {
    line(fmt::format("@{} cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes {}, [{}], {}, {};",
                     to_string(guard), place, from, bytes, counted));
  };
  const Reg some = file_.fresh(Class::pred), lacks = file_.fresh(Class::pred), both = file_.fresh(Class::pred);
  line(fmt::format("setp.gt.and.s32 {}, {}, 0, {};", to_string(some), inside, to_string(here)));
  copy(some, to, to_string(regs_[inst.args[2]][0]), inside);
  const std::string label = fmt::format("$Z{}", ++labels_);
  line(fmt::format("setp.lt.s32 {}, {}, {};", to_string(lacks), inside, inst.attr.imm));
  line(fmt::format("and.pred {}, {}, {};", to_string(both), to_string(lacks), to_string(here)));
  if (!groups_matrices_) line(fmt::format("@!{} bra.uni {};", to_string(lacks), label));
  const Reg rest = file_.fresh(Class::b32), behind = file_.fresh(Class::b32), zeros = file_.fresh(Class::b64);
  line(fmt::format("sub.s32 {}, {}, {};", to_string(rest), inst.attr.imm, inside));
  line(fmt::format("add.s32 {}, {}, {};", to_string(behind), to.substr(1, to.find('+') - 1), inside));
  line(fmt::format("mov.b64 {}, {};", to_string(zeros), zeros_symbol(f_)));
  line(fmt::format("cvta.global.u64 {}, {};", to_string(zeros), to_string(zeros)));
  copy(both, "[" + to_string(behind) + to.substr(to.find('+')), to_string(zeros), to_string(rest));
  text_ += label + ":\n";
}

}  // namespace lathe::ptx
