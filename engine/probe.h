#pragma once
// Measurements that no driver answers: where a cooperative matrix keeps its elements, and what its arithmetic does.
#include "engine/result.h"
#include "ir/target.h"
#include "ir/thread.h"
#include "runtime/device.h"

namespace lathe {

/// The lane map of one fragment: use, element type, rows x cols, on `target`'s subgroup size. none (with `why`) when
/// the lengths differ between lanes, an element is missing, or the map is no layout.
Result<std::optional<Layout>> probe_lane_map(runtime::Device& device, const Target& target, thread::Use use, Type elem,
                                             int rows, int cols, std::string& why);

/// Whether the atom's products are right where an operand is a constant of the program (a driver's compiler may fold it
/// wrongly).
Result<bool> probe_constant_operands(runtime::Device& device, const Target& target, const Atom& atom);

/// Whether subnormal f16 operands are exact in the atom (and not flushed to 0).
Result<bool> probe_f16_subnormals(runtime::Device& device, const Target& target, const Atom& atom);

/// The subgroup size and its being fixed: thread ids of every lane of a workgroup of 4 subgroups, read back.
Result<bool> probe_thread_order(runtime::Device& device, const Target& target);

}  // namespace lathe
