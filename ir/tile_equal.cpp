// Whether two kernels are the same but for names and places in the text.
#include <utility>

#include "ir/tile_literal.h"

namespace lathe::tile {
namespace {

class Comparison {
 public:
  Comparison(const Func& a, const Func& b) : a_(a), b_(b), partner_(a.values.size(), kNone) {}

  bool run() {
    if (a_.split != b_.split || a_.subgroups != b_.subgroups || a_.params.size() != b_.params.size()) return false;
    for (size_t i = 0; i < a_.params.size(); i++)
      if (!pair(a_.params[i].value, b_.params[i].value)) return false;
    if (!pair_all(a_.symbols, b_.symbols)) return false;
    for (size_t i = 0; i < a_.params.size(); i++) {
      const Param &p = a_.params[i], &q = b_.params[i];
      const bool same_marks = p.workspace == q.workspace && p.constant == q.constant;
      if (!same_marks || !same_all(p.sizes, q.sizes) || !same_all(p.strides, q.strides)) return false;
    }
    return blocks(a_.grid, b_.grid) && blocks(a_.body, b_.body);
  }

 private:
  bool pair(ValueId v, ValueId w) {
    partner_[v] = w;
    return a_.type(v) == b_.type(w);
  }
  bool pair_all(const std::vector<ValueId>& v, const std::vector<ValueId>& w) {
    if (v.size() != w.size()) return false;
    for (size_t i = 0; i < v.size(); i++)
      if (!pair(v[i], w[i])) return false;
    return true;
  }

  bool same(ValueId v, ValueId w) const {
    const auto *c = constant_of(a_, v), *d = constant_of(b_, w);
    if (c && d) return same_constant(c->attr, d->attr);
    if (fill_of_constant(a_, v) && fill_of_constant(b_, w))
      return a_.type(v) == b_.type(w) && same(a_.def(v)->args[0], b_.def(w)->args[0]);
    return partner_[v] == w;
  }
  bool same_all(const std::vector<ValueId>& v, const std::vector<ValueId>& w) const {
    if (v.size() != w.size()) return false;
    for (size_t i = 0; i < v.size(); i++)
      if (!same(v[i], w[i])) return false;
    return true;
  }

  /// The instructions that have a place: all but literals and tiles filled with one.
  static std::vector<InstId> placed(const Func& f, BlockId block) {
    std::vector<InstId> ids;
    for (InstId id : f.blocks[block].insts) {
      const auto& r = f.insts[id].results;
      if (r.size() != 1 || (!constant_of(f, r[0]) && !fill_of_constant(f, r[0]))) ids.push_back(id);
    }
    return ids;
  }

  static bool same_attributes(Op op, const Attr& a, const Attr& b) {
    for (const char* c = info(op).attributes; *c; c++) {
      const bool elem = *c == 'T' || *c == 'D', shape = *c == 'S' || *c == 'r' || *c == 'D' || *c == 'p';
      if (elem && a.elem != b.elem) return false;
      if (shape && a.shape != b.shape) return false;
      if ((*c == 'd' || *c == 'z') && a.imm != b.imm) return false;
      if (*c == 'k' && a.kind != b.kind) return false;
      if (*c == 'm' && a.text != b.text) return false;
      if (*c == 'o' && a.offset != b.offset) return false;
      if (*c == 'c' && a.count != b.count) return false;
    }
    return op != Op::loop || a.imm == b.imm;
  }

  bool blocks(BlockId block_a, BlockId block_b) {
    if (!pair_all(a_.blocks[block_a].params, b_.blocks[block_b].params)) return false;
    const std::vector<InstId> x = placed(a_, block_a), y = placed(b_, block_b);
    if (x.size() != y.size()) return false;
    for (size_t i = 0; i < x.size(); i++)
      if (!instructions(a_.insts[x[i]], b_.insts[y[i]])) return false;
    return true;
  }

  bool instructions(const Func::Inst& i, const Func::Inst& j) {
    if (i.op != j.op || !same_attributes(i.op, i.attr, j.attr) || !same_all(i.args, j.args)) return false;
    if (i.blocks.size() != j.blocks.size()) return false;
    for (size_t n = 0; n < i.blocks.size(); n++)
      if (!blocks(i.blocks[n], j.blocks[n])) return false;
    return pair_all(i.results, j.results);
  }

  const Func &a_, &b_;
  std::vector<ValueId> partner_;
};

}  // namespace

bool equal(const Func& a, const Func& b) { return Comparison(a, b).run(); }

}  // namespace lathe::tile
