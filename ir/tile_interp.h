#pragma once
// The tile interpreter: the meaning of every Tile IR operation, written from its definition. Slow and right: values are
// raw bits, arithmetic is in f64 (integers in int64) and rounded once to the element type; sums run in f64.
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ir/tile.h"

namespace lathe::tile {

/// A tensor in host memory: one 64-bit word of raw bits an element, row-major. Packed parameters are given and returned
/// in plain order: packing has no meaning. Of a view with strides `shape` holds the sizes and `raw` the whole storage,
/// up to the last element at least; the symbols of strides that are no size are given among the scalars, by name.
struct HostTensor {
  lathe::Type elem;
  Coord shape;
  std::vector<uint64_t> raw;
  double at(int64_t i) const { return decode(elem, raw[static_cast<size_t>(i)]); }
};

/// Told of every instruction that has run, but for loop, cond and the like. `values`: raw bits by ValueId. It may leave
/// notes in a result, in the bits above 32 of elements of at most 32 bits: arithmetic ignores and drops them, whatever
/// moves elements (loads, stores, loops, transpose, ..) moves the notes with them.
class Witness {
 public:
  virtual ~Witness() = default;
  virtual void ran(const Func& f, const Func::Inst& inst, std::vector<std::vector<uint64_t>>& values) = 0;
  /// Asked every few hundred operations; false ends the run with an error.
  virtual bool goes_on() { return true; }
};

/// Scalars (parameters that are not views) by name, raw bits; tensors by parameter name. Sizes are taken from the
/// tensors' shapes and must agree. Runs every workgroup of the grid in order; stores go to the tensors. Errors: a
/// missing or mis-shaped tensor, an index below 0, a division of a size by 0, a grid over 2^31, more than `max_steps`
/// operations, a witness that does not go on, an assert that does not hold, a promise that is broken. `printed` gets
/// the lines of print. Workspaces are no tensors of the caller: they start as 0.
Result<Unit> interpret(const Func& f, std::map<std::string, HostTensor>& tensors,
                       const std::map<std::string, uint64_t>& scalars = {}, int64_t max_steps = int64_t{1} << 40,
                       Witness* witness = nullptr, std::vector<std::string>* printed = nullptr);

/// What a print says, or why an assert failed: "text: 3 (workgroup 0, 1, 0)". raw: the bits of the value.
std::string printed_line(const Func& f, const Func::Inst& print, uint64_t raw, const std::array<int64_t, 3>& group);
Error failed_assert(const Func& f, const Func::Inst& assertion, const std::array<int64_t, 3>& group);
/// Whether a value keeps the promise of an assume_multiple or assume_range.
Result<Unit> check_promise(const Func& f, const Func::Inst& assume, int64_t value);

/// The grid (1..3 axes, padded with 1) for given symbol values, in the order of f.symbols, and scalar parameters' bits.
Result<std::vector<int64_t>> evaluate_grid(const Func& f, const std::vector<int64_t>& symbols,
                                           const std::map<std::string, uint64_t>& scalars = {});

}  // namespace lathe::tile
