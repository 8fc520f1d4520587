// Asserts and prints: thread 0 leaves a record in the launch's log.
#include <algorithm>
#include <cstddef>

#include "ir/log.h"
#include "ir/lower/lowering.h"

namespace lathe {

Result<Unit> Lowering::log(const Inst& i) {
  const auto sites = log_sites(f_);
  const auto site = std::find_if(sites.begin(), sites.end(), [&](InstId id) { return &f_.inst(id) == &i; });
  const lathe::Type elem = type(i.args[0]).elem;
  ValueId v = scalar(i.args[0]);
  ValueId wanted = emit(Op::eq, {emit(Op::thread_id, {}, {.type = thread::kI32}), b_.i32(0)});
  if (i.op == tile::Op::assert) wanted = emit(Op::band, {wanted, emit(Op::bnot, {v})});
  if (elem.is_float()) v = cvt(Op::bitcast, v, elem.bits == 32 ? thread::kI32 : thread::kI16);
  if (b_.type(v) != thread::kI64) v = cvt(Op::zext, v, thread::kI64);

  const ValueId number = emit(Op::atomic_add, {log_, b_.i32(1), wanted});
  const ValueId room = emit(Op::band, {wanted, emit(Op::lt_u, {number, b_.i32(kRecords)})});
  const ValueId offset =
      emit(Op::mul, {cvt(Op::zext, number, thread::kI64), b_.i64(static_cast<int64_t>(sizeof(LogRecord)))});
  const ValueId record = emit(Op::add, {log_, offset});
  const auto put = [&](ValueId value, size_t at) {
    b_.effect(Op::store_global, {record, value, room}, {.imm = kRecordsAt + static_cast<int64_t>(at)});
  };
  put(b_.i32(site - sites.begin()), offsetof(LogRecord, site));
  for (size_t axis = 0; axis < 3; axis++)
    put(emit(Op::group_id, {}, {.type = thread::kI32, .imm = static_cast<int64_t>(axis)}),
        offsetof(LogRecord, group) + 4 * axis);
  put(v, offsetof(LogRecord, raw));
  return Unit{};
}

}  // namespace lathe
