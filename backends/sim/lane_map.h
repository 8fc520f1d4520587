#pragma once
// Where a simulated matrix unit keeps the elements of a fragment.
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "ir/target.h"
#include "ir/thread.h"

namespace lathe::sim {

/// Every place of every element: an element may have equal copies.
struct LaneMap {
  int rows = 0, cols = 0, slots = 0;
  std::vector<uint32_t> element;  ///< [slot * lanes + lane]: row * cols + column
  std::vector<uint32_t> home;     ///< [row * cols + column]: slot * lanes + lane of the first copy
  bool copied = false;
};

/// The fragments that a device has, by use, scalar and shape.
class MatrixUnit {
 public:
  MatrixUnit() = default;
  /// The maps of the target's matrix instructions.
  explicit MatrixUnit(const Target& target);
  /// table[lane][slot] = row * cols + column; every element must be there.
  void add(thread::Use use, thread::Scalar scalar, int rows, int cols, const std::vector<std::vector<uint32_t>>& table);
  const LaneMap* find(const thread::Type& fragment) const;

  bool keeps_f16_subnormals = true;
  bool loses_constant_signs = false;  ///< as a driver's compiler did: of operands that are constants

 private:
  using Key = std::tuple<thread::Use, thread::Scalar, int, int>;
  std::map<Key, LaneMap> maps_;
};

/// What a fragment of this element type holds.
thread::Scalar fragment_scalar(Type elem);

}  // namespace lathe::sim
