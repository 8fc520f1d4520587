#pragma once
// Runs a thread function for one thread, for tests of passes: `evaluate` gives the meaning of pure operations, memory
// is a byte array that refuses misaligned and foreign accesses.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "ir/thread.h"
#include "ir/thread_print.h"

namespace lathe::thread {

struct World {
  static constexpr int64_t kBase = 1 << 16;  ///< address of global[0]
  std::vector<uint8_t> global;
  std::vector<std::vector<uint8_t>> shared;
  std::vector<uint64_t> params;
  int64_t thread = 0, group = 0;
};

class Run {
 public:
  Run(const Func& f, World& w) : f_(f), w_(w), values_(f.values.size()) {
    for (const SharedArray& a : f.shared) w.shared.emplace_back(static_cast<size_t>(a.bytes), uint8_t{0});
    block(f.body);
  }

 private:
  using Lanes = std::vector<uint64_t>;
  using Inst = Func::Inst;

  std::vector<Lanes> block(BlockId b) {
    for (const InstId id : f_.blocks[b].insts) {
      const Inst& i = f_.inst(id);
      if (i.op == Op::yield) return all(i.args);
      at_ = id;
      inst(i);
    }
    return {};
  }
  std::vector<Lanes> all(const std::vector<ValueId>& values) const {
    std::vector<Lanes> out;
    for (const ValueId v : values) out.push_back(values_[v]);
    return out;
  }
  int64_t i32(ValueId v) const { return static_cast<int32_t>(values_[v][0]); }

  void inst(const Inst& i) {
    switch (i.op) {
      case Op::param:
        return set(i, {w_.params[static_cast<size_t>(i.attr.imm)]});
      case Op::thread_id:
        return set(i, {static_cast<uint64_t>(w_.thread)});
      case Op::lane_id:
        return set(i, {static_cast<uint64_t>(w_.thread % f_.subgroup_size)});
      case Op::subgroup_id:
        return set(i, {static_cast<uint64_t>(w_.thread / f_.subgroup_size)});
      case Op::group_id:
        return set(i, {static_cast<uint64_t>(w_.group)});
      case Op::load_global:
      case Op::load_shared:
      case Op::store_global:
      case Op::store_shared:
        return memory(i);
      case Op::loop:
        return loop(i);
      case Op::cond: {
        const auto values = block(i.blocks[values_[i.args[0]][0] & 1 ? 0 : 1]);
        for (size_t r = 0; r < values.size(); r++) values_[i.results[r]] = values[r];
        return;
      }
      case Op::barrier:
        return;
      default:
        break;
    }
    std::vector<Type> types;
    for (const ValueId a : i.args) types.push_back(f_.type(a));
    Lanes out;
    const bool known = evaluate(i.op, i.attr, f_.type(i.results[0]), types, all(i.args), out);
    REQUIRE_MESSAGE(known, print_instruction(f_, at_));
    set(i, std::move(out));
  }

  /// Every NaN is the same one, that of constants, as no pass promises which.
  void set(const Inst& i, Lanes lanes) {
    const Scalar s = f_.type(i.results[0]).scalar;
    const uint64_t infinity = s == Scalar::f16 ? 0x7c00 : s == Scalar::bf16 ? 0x7f80 : 0x7f800000;
    const uint64_t quiet = s == Scalar::f16 ? 0x200 : s == Scalar::bf16 ? 0x40 : 0x400000;
    const uint64_t sign = uint64_t{1} << (bits(s) - 1);
    for (uint64_t& lane : lanes)
      if (is_float(s) && (lane & ~sign) > infinity) lane = infinity | quiet;
    values_[i.results[0]] = std::move(lanes);
  }

  void loop(const Inst& i) {
    std::vector<Lanes> carried = all({i.args.begin() + 3, i.args.end()});
    const auto& params = f_.blocks[i.blocks[0]].params;
    for (int64_t n = i32(i.args[0]); n < i32(i.args[1]); n += i32(i.args[2])) {
      values_[params[0]] = {static_cast<uint64_t>(n) & 0xffffffff};
      for (size_t c = 0; c < carried.size(); c++) values_[params[c + 1]] = carried[c];
      carried = block(i.blocks[0]);
    }
    for (size_t c = 0; c < carried.size(); c++) values_[i.results[c]] = carried[c];
  }

  void memory(const Inst& i) {
    const bool store = i.results.empty(), shared = info(i.op).operands[0] == 'o';
    const Type t = store ? f_.type(i.args[1]) : i.attr.type;
    const size_t predicate = store ? 2 : 1;
    if (i.args.size() > predicate && !(values_[i.args[predicate]][0] & 1)) {
      if (!store) set(i, Lanes(t.lanes, 0));
      return;
    }
    std::vector<uint8_t>& bytes = shared ? w_.shared[i.attr.index] : w_.global;
    const int64_t base = shared ? i32(i.args[0]) : static_cast<int64_t>(values_[i.args[0]][0]) - World::kBase;
    const int64_t at = base + i.attr.imm, size = total_bits(t) / 8, lane = size / t.lanes;
    REQUIRE_MESSAGE((at >= 0 && at + size <= static_cast<int64_t>(bytes.size()) && at % size == 0),
                    print_instruction(f_, at_));
    Lanes lanes(t.lanes, 0);
    for (size_t l = 0; l < lanes.size(); l++) {
      uint8_t* place = bytes.data() + at + static_cast<int64_t>(l) * lane;
      if (store)
        std::memcpy(place, &values_[i.args[1]][l], static_cast<size_t>(lane));
      else
        std::memcpy(&lanes[l], place, static_cast<size_t>(lane));
    }
    if (!store) set(i, std::move(lanes));
  }

  const Func& f_;
  World& w_;
  std::vector<Lanes> values_;
  InstId at_ = kNone;
};

}  // namespace lathe::thread
