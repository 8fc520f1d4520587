// The host meaning of one pure operation on constants: lanes are moved here, and computed by the rows of thread_lanes.
#include <algorithm>

#include "ir/thread_lanes.h"

namespace lathe::thread {
namespace {

using Lanes = std::vector<uint64_t>;

constexpr uint64_t mask(int bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

Lanes regroup(const Lanes& from, int from_bits, const Type& to) {
  Lanes out(to.lanes);
  std::vector<const uint64_t*> x;
  std::vector<uint64_t*> rows;
  for (const uint64_t& lane : from) x.push_back(&lane);
  for (uint64_t& lane : out) rows.push_back(&lane);
  regroup_rows(x.data(), from_bits, rows.data(), to.lanes, bits(to.scalar), 1);
  return out;
}

/// Operations that move lanes; false for those that work lane by lane.
bool rearrange(Op op, const Attr& attr, const Type& result, const std::vector<Type>& types,
               const std::vector<Lanes>& args, Lanes& out) {
  switch (op) {
    case Op::constant:
      out.assign(result.lanes, static_cast<uint64_t>(attr.imm) & mask(bits(result.scalar)));
      return true;
    case Op::vec:
      out.clear();
      for (const Lanes& a : args) out.push_back(a[0]);
      return true;
    case Op::get:
      out = {args[0][static_cast<size_t>(attr.imm)]};
      return true;
    case Op::bitcast:
      out = regroup(args[0], bits(types[0].scalar), result);
      return true;
    default:
      return false;
  }
}

}  // namespace

bool evaluate(Op op, const Attr& attr, Type result, const std::vector<Type>& types, const std::vector<Lanes>& args,
              Lanes& out) {
  if (info(op).effect != Effect::pure || result.is_frag()) return false;
  if (rearrange(op, attr, result, types, args, out)) return true;
  if (args.empty() || args.size() > 3 || types[0].is_frag()) return false;
  const LaneRow row = lane_row(op, types[0].scalar, result.scalar);
  if (row == nullptr) return false;
  out.assign(result.lanes, 0);
  for (size_t lane = 0; lane < out.size(); lane++) {
    uint64_t x[3] = {};
    for (size_t i = 0; i < args.size(); i++)
      x[i] = args[i][args[i].size() == 1 ? 0 : lane] & mask(bits(types[i].scalar));
    const uint64_t* rows[] = {&x[0], &x[1], &x[2]};
    if (row(rows, &out[lane], 1) != 0) return false;
  }
  return true;
}

}  // namespace lathe::thread
