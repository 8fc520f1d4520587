// Shared storage by liveness: first fit of live ranges, then one array for those that share bytes, and the barriers
// that are missing between them.
#include "ir/lower/storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "ir/lower/live_range.h"

namespace lathe {
namespace {

using thread::Func;
using thread::Op;
using thread::SharedArray;

/// Which arrays may share: those that barriers separate, also those that a barrier outside loops would, all that are
/// not in use at once.
enum class Sharing : uint8_t { separated, outside_loops, anywhere };

/// Shared memory of SPIR-V is arrays of one element type each: what shares bytes is accessed by the narrowest of all.
bool typed_shared(const Target& t) { return t.backend == Backend::spirv; }

/// Elsewhere the immediate says another thing.
bool offset_in_immediate(Op op) {
  constexpr Op ops[] = {Op::load_shared, Op::load_matrix, Op::store_shared, Op::async_copy, Op::mma_shared};
  return std::find(std::begin(ops), std::end(ops), op) != std::end(ops);
}

int64_t rounded_up(int64_t v, int64_t to) { return (v + to - 1) / to * to; }

class Storage {
 public:
  Storage(Func& f, std::span<const BlockId> homes, const Target& t)
      : f_(f), t_(t), ranges_(live_ranges(f, homes)), separation_(f), at_(f.shared.size()), place_(f.shared.size()) {
    for (uint32_t a = 0; a < f.shared.size(); a++)
      if (ranges_[a].before != kNone) by_size_.push_back(a);
    std::stable_sort(by_size_.begin(), by_size_.end(),
                     [&](uint32_t a, uint32_t b) { return f.shared[a].bytes > f.shared[b].bytes; });
  }

  Result<Unit> assign() {
    // Barriers outside loops are cheap, but where there is room for an array without one it goes there.
    const int64_t least = place(Sharing::outside_loops, 0);
    const bool fits = least <= t_.shared_bytes;
    const Sharing how = fits ? Sharing::outside_loops : Sharing::anywhere;
    const int64_t limit = fits ? least : t_.shared_bytes;
    if (place(how, limit) > limit) place(how, 0);
    separate();
    merge();
    int64_t bytes = 0;
    for (const SharedArray& a : f_.shared) bytes = rounded_up(bytes, a.align) + a.bytes;
    if (bytes <= t_.shared_bytes) return Unit{};
    return unsupported(fmt::format("{}: {} needs {} bytes of shared memory, the target has {}", t_.name, f_.name, bytes,
                                   t_.shared_bytes));
  }

 private:
  int64_t end(uint32_t a) const { return at_[a] + f_.shared[a].bytes; }

  bool may_share(uint32_t a, uint32_t b, Sharing how) const {
    const LiveRange &x = ranges_[a], &y = ranges_[b];
    if (x.meets(y)) return false;
    // No barrier orders what threads have written before bulk copies to the same bytes.
    if ((x.bulk && !only_before(x, y)) || (y.bulk && !only_before(y, x))) return false;
    if (how == Sharing::anywhere) return true;
    const bool narrows = typed_shared(t_) && f_.shared[a].access_bytes != f_.shared[b].access_bytes;
    if (narrows && (x.used_in_loop || y.used_in_loop)) return false;
    const bool barriers = how == Sharing::outside_loops;
    return (separation_.holds(a, b) || (barriers && !y.in_loop)) &&
           (separation_.holds(b, a) || (barriers && !x.in_loop));
  }

  static bool only_before(const LiveRange& a, const LiveRange& b) { return a.last < b.first && !a.in_loop; }

  /// First fit, the largest first: where only separated arrays share if that ends below `limit`, else by `how`. Returns
  /// the bytes in use.
  int64_t place(Sharing how, int64_t limit) {
    int64_t bytes = 0;
    std::vector<uint32_t> placed;  // by offset
    for (const uint32_t a : by_size_) {
      at_[a] = fit(a, placed, Sharing::separated);
      if (end(a) > limit) at_[a] = fit(a, placed, how);
      bytes = std::max(bytes, end(a));
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), a, [&](uint32_t x, uint32_t y) { return at_[x] < at_[y]; }),
          a);
    }
    return bytes;
  }

  int64_t fit(uint32_t a, const std::vector<uint32_t>& placed, Sharing how) const {
    int64_t at = 0;
    for (const uint32_t other : placed) {
      if (end(other) <= at || may_share(a, other, how)) continue;
      if (at + f_.shared[a].bytes <= at_[other]) break;
      at = rounded_up(end(other), f_.shared[a].align);
    }
    return at;
  }

  /// The barriers that are missing, in the order in which arrays are taken over: one may do for several.
  void separate() {
    std::vector<uint32_t> order = by_size_;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ranges_[a].first < ranges_[b].first; });
    std::optional<Separation> now(f_);
    for (const uint32_t by : order)
      for (const uint32_t from : order) {
        if (from == by || at_[from] >= end(by) || at_[by] >= end(from) || now->holds(from, by)) continue;
        const InstId first = ranges_[by].before;
        std::vector<InstId>& insts = f_.blocks[ranges_[by].block].insts;
        const auto op = f_.subgroups == 1 ? Op::barrier_subgroup : Op::barrier;
        insts.insert(std::find(insts.begin(), insts.end(), first), made(op, {}, {}, {}, first));
        now.emplace(f_);
      }
  }

  /// Arrays that overlap become one.
  void merge() {
    std::vector<uint32_t> order = by_size_;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return at_[a] < at_[b]; });
    std::vector<SharedArray> merged;
    for (size_t i = 0, next = 0; i < order.size(); i = next) {
      SharedArray whole = f_.shared[order[i]];
      int64_t to = end(order[i]);
      for (next = i + 1; next < order.size() && at_[order[next]] < to; next++) {
        const uint32_t a = order[next];
        const SharedArray& one = f_.shared[a];
        if (whole.name.find(one.name) == std::string::npos) whole.name += "+" + one.name;
        whole.access_bytes = std::min(whole.access_bytes, one.access_bytes);
        whole.align = std::max(whole.align, one.align);
        to = std::max(to, end(a));
      }
      const int64_t start = at_[order[i]] / whole.align * whole.align;
      whole.bytes = to - start;
      for (size_t j = i; j < next; j++)
        place_[order[j]] = {static_cast<uint32_t>(merged.size()), at_[order[j]] - start};
      merged.push_back(std::move(whole));
    }
    rewrite(f_.body);
    f_.shared = std::move(merged);
  }

  void rewrite(BlockId b) {
    const std::vector<InstId> insts = std::move(f_.blocks[b].insts);
    std::vector<InstId> out;
    for (const InstId id : insts) {
      if (touches_shared(f_.inst(id).op)) move(id, out);
      out.push_back(id);
      const std::vector<BlockId> nested = f_.inst(id).blocks;
      for (const BlockId n : nested) rewrite(n);
    }
    f_.blocks[b].insts = std::move(out);
  }

  /// The access goes to its array's place.
  void move(InstId id, std::vector<InstId>& out) {
    const auto [array, offset] = place_[f_.inst(id).attr.index];
    f_.inst(id).attr.index = array;
    if (offset == 0) return;
    if (offset_in_immediate(f_.inst(id).op)) {
      f_.inst(id).attr.imm += offset;
      return;
    }
    out.push_back(made(Op::constant, {.type = thread::kI32, .imm = offset}, {}, {thread::kI32}, id));
    const ValueId by = f_.inst(out.back()).results[0];
    out.push_back(made(Op::add, {}, {f_.inst(id).args[0], by}, {thread::kI32}, id));
    f_.inst(id).args[0] = f_.inst(out.back()).results[0];
  }

  InstId made(Op op, const thread::Attr& attr, const std::vector<ValueId>& args,
              const std::vector<thread::Type>& results, InstId near) {
    return f_.add_inst(op, attr, args, results, {}, f_.inst(near).loc);
  }

  struct Place {
    uint32_t array = 0;
    int64_t offset = 0;
  };
  Func& f_;
  const Target& t_;
  std::vector<LiveRange> ranges_;
  Separation separation_;
  std::vector<uint32_t> by_size_;  ///< the arrays that are accessed
  std::vector<int64_t> at_;        ///< by array: its first byte
  std::vector<Place> place_;       ///< by array: where in the merged ones
};

}  // namespace

Result<Unit> assign_storage(Func& f, std::span<const BlockId> homes, const Target& t) {
  return Storage(f, homes, t).assign();
}

}  // namespace lathe
