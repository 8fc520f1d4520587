#pragma once
// The container both IR levels share: SSA values, instructions with nested blocks (structured control flow only).
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace lathe {

using ValueId = uint32_t;
using InstId = uint32_t;
using BlockId = uint32_t;
inline constexpr uint32_t kNone = ~0u;

/// A place in the program text; line 0 means built by a program.
struct Loc {
  int line = 0, col = 0;
  bool operator==(const Loc&) const = default;
};

/// One function body. Ids index the vectors below and stay valid while it lives; erased instructions leave the block
/// lists and are skipped by every walk. Copying copies the whole function.
template <class OpT, class TypeT, class AttrT>
struct Graph {
  using Op = OpT;
  using Type = TypeT;
  using Attr = AttrT;
  struct Value {
    Type type;
    InstId def = kNone;  ///< the instruction that makes it; kNone: a block parameter
    std::string name;    ///< a hint for printing; need not be unique
  };
  struct Inst {
    Op op;
    Attr attr;
    std::vector<ValueId> args, results;
    std::vector<BlockId> blocks;
    Loc loc;
  };
  struct Block {
    std::vector<ValueId> params;
    std::vector<InstId> insts;  ///< a nested block ends with `yield`
  };
  std::vector<Value> values;
  std::vector<Inst> insts;
  std::vector<Block> blocks;

  BlockId add_block() {
    blocks.emplace_back();
    return static_cast<BlockId>(blocks.size() - 1);
  }
  ValueId add_value(Type type, InstId def = kNone, std::string name = {}) {
    values.push_back({std::move(type), def, std::move(name)});
    return static_cast<ValueId>(values.size() - 1);
  }
  ValueId add_param(BlockId block, Type type, std::string name = {}) {
    ValueId v = add_value(std::move(type), kNone, std::move(name));
    blocks[block].params.push_back(v);
    return v;
  }
  /// A new instruction in no block yet; the caller puts it into one.
  InstId add_inst(Op op, Attr attr, std::vector<ValueId> args, const std::vector<Type>& results,
                  std::vector<BlockId> nested = {}, Loc loc = {}) {
    const auto id = static_cast<InstId>(insts.size());
    insts.push_back({op, std::move(attr), std::move(args), {}, std::move(nested), loc});
    for (const Type& t : results) {
      const ValueId v = add_value(t, id);
      insts[id].results.push_back(v);
    }
    return id;
  }
  const Type& type(ValueId v) const { return values[v].type; }
  Inst& inst(InstId i) { return insts[i]; }
  const Inst& inst(InstId i) const { return insts[i]; }
  /// The instruction that defines v, or null for a block parameter.
  const Inst* def(ValueId v) const { return values[v].def == kNone ? nullptr : &insts[values[v].def]; }

  /// Calls visit(block, position, instruction id) for every instruction below `block`, outer before inner, in order.
  void walk(BlockId block, const std::function<void(BlockId, size_t, InstId)>& visit) const {
    for (size_t i = 0; i < blocks[block].insts.size(); i++) {
      const InstId id = blocks[block].insts[i];
      visit(block, i, id);
      for (size_t b = 0; b < insts[id].blocks.size(); b++) walk(insts[id].blocks[b], visit);
    }
  }
  /// Replaces every use of `from` below `block` by `to`.
  void replace_uses(BlockId block, ValueId from, ValueId to) {
    walk(block, [&](BlockId, size_t, InstId id) {
      for (ValueId& a : insts[id].args)
        if (a == from) a = to;
    });
  }
};

}  // namespace lathe
