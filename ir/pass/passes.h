#pragma once
// The passes over Tile IR, in the order compile() runs them. Each is a free function; what it needs and gives is said
// here.
#include <map>
#include <set>
#include <string>

#include "ir/pass/mma_plan.h"
#include "ir/pass/packed.h"
#include "ir/target.h"
#include "ir/tile.h"

namespace lathe::tile {

/// Where a scale that multiplies the weights of an mma lands (a schedule's choice).
enum class Factor : uint8_t { operand, accumulator };

/// Small-integer arithmetic that feeds a cast is made exact and cheap: cast(q) - z becomes cast_minus(q, z); with
/// Factor::accumulator, mma(a * repeat(s), b, c) becomes mma_scaled(a, s, b, c), and of codes q with zero points z of
/// the same groups, mma((cast(q) - repeat(z)) * repeat(s), b, c) becomes mma_scaled(cast(q), s, b, mma_scaled(-1, z *
/// s, b, c)).   needs: verified. target-independent.
void linearity(Func& f, Factor factor);

/// `stages n` of a loop: its loads that need nothing but the index, of views it does not write, are issued n - 1 turns
/// ahead (reads past an edge are 0, so no turn is special). Each load becomes a token for each turn on its way and a
/// free room: a turn waits for its token, issues to the free room and gives its own room back.   gives: no loop has
/// stages.   target-independent.
void pipeline(Func& f);

/// Which tokens travel by asynchronous copies through shared memory: those of whole 16-byte pieces, while there is
/// room, where the target has such copies. The others become loads whose tiles the loop carries in registers.
/// aligned: LowerOptions::aligned. in_registers: views that are not to be copied.
void choose_transport(Func& f, const Target& t, bool aligned, const std::set<std::string>& in_registers = {});
/// Packed views that are copied although a lane's pieces are under 4 bytes.   needs: infer_layouts.
Result<std::set<std::string>> copies_too_small(const Func& f, const Target& t);

/// A number that divides the i64 scalar v for certain; 0, which every number divides, for the constant 0.
int64_t known_multiple(const Func& f, ValueId v);

/// Removes operations whose results nobody uses, and values that loops carry for nobody.
void drop_dead(Func& f);

/// Gives every register tile a layout and inserts `convert` where two meet that differ. Existing pins stay; existing
/// converts are dropped first, so that a laid-out text whose pins were stripped gives the same again.
/// gives: every tile has a layout of subgroups * subgroup_size threads; each mma's operands have its plan's layouts.
Result<Unit> infer_layouts(Func& f, const Target& t);

/// The stored order of each packed parameter.   needs: infer_layouts.   unsupported: two loads of one ask for different
/// units.
Result<std::map<std::string, PackedLayout>> packed_parameters(const Func& f, const Target& t);

/// The token of the shared room that operand b of an mma is the transpose of, where nothing else reads that tile;
/// kNone.
ValueId room_of_operand(const Func& f, const Func::Inst& inst);
/// The plan of an mma or mma_scaled of f.
Result<MmaPlan> plan_of(const Func& f, const Func::Inst& mma, const Target& t);

/// Layouts the operands of `inst` must have, given the one of its result (or of operand 0 where there is no result);
/// none for an operand that may have any. The rule both inference and lowering go by.
Result<std::vector<std::optional<Layout>>> operand_layouts(const Func& f, const Func::Inst& inst, const Target& t);

/// The layout of a tile seen as elements of another width (the last dimension holds the same bits); none where a thread
/// does not hold whole elements, neighbours in its minor slots.
std::optional<Layout> view_layout(const Layout& l, int from_bits, int to_bits);

/// The layout of the sub-tile of `shape` at `offset` that keeps every element with its thread, or none.
std::optional<Layout> slice_layout(const Layout& l, const Coord& offset, const Coord& shape);

/// The layout a scan along `dim` runs in: a thread holds a run of neighbours, the next run is the next thread's.
Layout scan_layout(const Coord& shape, int dim, int64_t threads);

/// The layout of a tile of `threads` threads that moves 16 bytes a thread along the last dimension, neighbours first;
/// threads that are left over hold copies.
Layout coalesced(const Coord& shape, int elem_bits, int64_t threads);

/// The same with `vec` neighbours a thread at a time; vec divides the last extent.
Layout coalesced_runs(const Coord& shape, int64_t vec, int64_t threads);

/// The same, by each subgroup what it holds of `l`; none where another holds an element of it too, or its elements are
/// no box.
std::optional<Layout> runs_of_subgroups(const Layout& l, int64_t vec, int64_t subgroup_size);

/// Bytes of 32-byte memory sectors that one subgroup touches for each byte it asks for, in a row-major view with long
/// rows: 1 where every sector is used whole, 32 / element bytes at worst.
double sector_ratio(const Layout& l, int elem_bits, int64_t subgroup_size);

}  // namespace lathe::tile
