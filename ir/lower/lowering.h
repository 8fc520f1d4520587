#pragma once
// The state of one lowering, shared by the files of this folder; each implements one group of its member functions.
#include <functional>
#include <set>
#include <span>

#include "ir/lower/fragment_slice.h"
#include "ir/lower/lower.h"
#include "ir/lower/shared_read.h"
#include "ir/lower/subgroup_exchange.h"

namespace lathe {

/// A register tile as one thread holds it.
struct TileRegs {
  lathe::Type elem;
  Layout layout;
  /// One register for each slot (32 and 64 bits, bool), for two slots (16 bits, even count), or a 32-bit word of codes.
  std::vector<ValueId> regs;
  /// Codes stand at PackedLayout::paired_bit (true) or one after another (false).
  bool paired = false;
  /// Accumulators of a matrix instruction, one fragment an atom; regs is empty then.
  std::vector<ValueId> frags;
  ValueId splat = kNone;       ///< all slots equal this scalar
  const Atom* atom = nullptr;  ///< of frags
  int64_t slots() const { return layout.slots(); }
};

constexpr int64_t kSharedOperandAlign = 1024;
/// How shared memory holds a tile [columns of b, k] that a matrix instruction reads as operand b, from a multiple of
/// kSharedOperandAlign bytes on.
MemoryLayout shared_operand(const Coord& shape, int64_t elem_bytes);

/// Elements one access of a plain row may move: by the alignment of rows, and the multiple its index is of.
int64_t widest(lathe::Type elem, bool aligned, int64_t multiple);

/// The lowest bit of its half that a code at `bit` of a lane's words comes to by moving whole bytes, or 0 where these
/// do not bring it inside the mantissa.
int natural_place(int64_t bit, int width, int mantissa);

class Lowering {
 public:
  Lowering(const tile::Func& f, const Target& t, const LowerOptions& options);
  Result<Lowered> run();

 private:
  using Inst = tile::Func::Inst;
  using TT = thread::Type;
  using Op = thread::Op;

  // ---- lowering.cpp: control and dispatch
  Result<Unit> block(BlockId id);
  Result<Unit> inst(const Inst& i);
  Result<Unit> loop(const Inst& i);
  Result<Unit> cond(const Inst& i);
  Result<Unit> while_loop(const Inst& i);
  void everything_pending();
  bool meets_other_launches(const Inst& i) const;
  void await_launch();
  std::vector<ValueId> flatten(const std::vector<ValueId>& values, const std::vector<TileRegs>& tiles);
  void unflatten(const std::vector<ValueId>& values, const std::vector<ValueId>& regs,
                 const std::vector<TileRegs>& like);
  /// The mma on a matrix instruction that makes the carried value, through inner loops; null if none does.
  const Inst* carried_mma(const Inst& loop, size_t i) const;
  ValueId scalar(ValueId v);
  ValueId index32(ValueId v);  ///< an i64 scalar as i32

  // ---- lower_scalars.cpp
  Result<Unit> scalar_inst(const Inst& i);
  bool works_on_halves(tile::Op op, lathe::Type elem) const;
  Result<ValueId> elementwise(tile::Op op, lathe::Type elem, const std::vector<ValueId>& args);
  struct Bounds {
    int64_t least, most;
  };
  Bounds known_bounds(ValueId v) const;
  void note_promises();
  /// Whether `extent` elements from `index` on are inside `size` for certain.
  bool surely_inside(ValueId index, int64_t extent, ValueId size) const;
  /// The value that fits: float types through f32.
  ValueId narrowed(ValueId v, lathe::Type to);
  ValueId convert_scalar(ValueId v, lathe::Type from, lathe::Type to);
  ValueId constant_of(lathe::Type elem, double num, int64_t integer);

  // ---- lower_tiles.cpp: registers of tiles
  static thread::Scalar storage_scalar(lathe::Type t);  ///< what a register of this element holds
  /// As every scalar is held: halves as they are, integers under 32 bits as i32.
  ValueId element(const TileRegs& t, int64_t slot);
  TileRegs assemble(lathe::Type elem, const Layout& layout, const std::vector<ValueId>& elements);
  Result<Unit> tile_inst(const Inst& i);
  Result<Unit> elementwise_tile(const Inst& i);
  Result<Unit> cast_tile(const Inst& i);
  std::optional<std::vector<ValueId>> unpack_pairs(const TileRegs& q, lathe::Type to, int64_t minus);
  std::optional<TileRegs> unpacked(const TileRegs& q, lathe::Type to, const Layout& layout, int64_t minus);
  void fill_tile(const Inst& i);
  void iota_tile(const Inst& i);
  void rename_tile(const Inst& i);  ///< transpose, reshape, broadcast: registers move, values stay
  Result<Unit> view_tile(const Inst& i);
  ValueId first_addend(const Layout& l, ValueId v);
  void unpair(TileRegs& t);
  void spread_fragments(TileRegs& t);            ///< regs from frags or splat
  ValueId thread_coord(const Layout& l, int d);  ///< i32: the part of coordinate d that the thread gives
  ValueId thread_digit(int64_t below, int64_t n);
  ValueId owner(const Layout& l);  ///< bool: replica 0 (and partial 0); kNone if there are no copies

  // ---- lower_memory.cpp
  static MemoryLayout far_rows(const Coord& shape);  ///< rows of a view: whatever their pitch, no run crosses them
  struct ViewAddress {
    ValueId base;                       ///< i64: address of the tile's first element
    std::vector<ValueId> stride_bytes;  ///< i64, kNone: the last dimension (elements are neighbours)
    std::vector<ValueId> left;          ///< i32: elements from the tile's start to the edge, clamped
  };
  /// `row_start`: of the first element of the rows, whatever the last index is.
  ViewAddress view_address(const Inst& i, size_t rank, bool row_start = false);
  bool rows_aligned(ValueId view) const;
  ValueId without_padding(const Inst& i, const ViewAddress& a, const Coord& first, ValueId byte);
  Result<Unit> load_view(const Inst& i);
  Result<Unit> store_view(const Inst& i);
  Result<Unit> load_packed(const Inst& i);
  /// For each piece a thread holds of a packed tile: where it is, the immediate, and whether it is inside the tensor.
  using VisitPiece = std::function<void(ValueId address, int64_t imm, ValueId inside)>;
  Result<Unit> packed_pieces(const Inst& i, const tile::Type& t, const VisitPiece& visit);
  ValueId stored_lane(const Layout& unit);
  ValueId unit_coord(const Layout& outer, int d);
  TileRegs packed_tile(const PackedLayout& p, const tile::Type& t, const std::vector<ValueId>& words);
  ValueId access_address(const ViewAddress& a, const Layout& l, const Coord& first, int elem_bits, int64_t& imm);
  ValueId in_bounds(const ViewAddress& a, const Layout& l, const Coord& first);
  /// Loads bits / 8 bytes as 32-bit words (or one narrower integer).
  using LoadWords = std::function<ValueId(TT)>;
  std::vector<ValueId> split_words(ValueId loaded);
  std::vector<ValueId> elements_of_words(const std::vector<ValueId>& words, lathe::Type elem, int64_t count);
  TileRegs gather(lathe::Type elem, const Layout& l, const std::vector<Access>& accesses,
                  const std::vector<ValueId>& loaded);
  ValueId pack_access(const TileRegs& t, const Access& a);
  static TT access_type(int64_t bits);

  // ---- lower_order.cpp: accesses of views in the program's order
  using TouchedViews = std::map<ValueId, uint8_t>;  ///< how, since the last barrier that orders global memory
  void order_views(const Inst& i);
  void global_barrier();
  void touch_views_of(BlockId body);
  void touch_views(const TouchedViews& also);

  // ---- lower_shared.cpp
  Result<Unit> convert_tile(const Inst& i);
  Result<Unit> reduce_tile(const Inst& i);
  Result<TileRegs> exchange(const TileRegs& from, const Layout& to);
  /// Layouts of the workgroup, or of each of its subgroups alike.
  Result<TileRegs> through_shared(const TileRegs& from, const Layout& to);
  Result<ValueId> combine(tile::ReduceKind kind, lathe::Type elem, ValueId a, ValueId b);
  Result<std::vector<ValueId>> reduce_across(const Inst& i, const Layout& l, std::vector<ValueId> partial);
  Result<Unit> shared_tile(const Inst& i);
  Result<Unit> load_shared(const Inst& i);
  Result<Unit> store_shared(const Inst& i);
  /// A shared array of its own; what is in it is undefined when the block that is being made starts.
  uint32_t array(const std::string& name, int64_t bytes, int access_bytes);
  /// Cut into equal slices, each used by one subgroup only: one that nobody uses any more, or a new one.
  uint32_t owned_array(const std::string& name, int64_t bytes, int access_bytes);
  void before_write(uint32_t array);
  void before_read(uint32_t array);
  void wait_for(uint32_t array);
  /// What each access of `r` brings from `base` (i32 bytes) on.
  std::vector<ValueId> read_shared(const SharedRead& r, const MemoryLayout& m, int elem_bits, uint32_t array,
                                   ValueId base, int64_t offset = 0);
  ValueId slice_base(uint32_t array);                                                ///< i32 bytes
  ValueId thread_bytes(const Layout& l, const MemoryLayout& m, int64_t elem_bytes);  ///< i32: the thread's part
  void barrier();

  // ---- lower_tokens.cpp: tiles that travel by asynchronous copies
  /// Where the tiles of one `room` lie in shared memory, and who copies and reads what.
  struct Room {
    int64_t bytes = 0;  ///< a multiple of 16
    int64_t access_bytes = 16;
    MemoryLayout memory;  ///< of a plain tile; a packed one has its threads' pieces side by side
    Layout copy;
    int64_t copy_elems = 0;  ///< that one copy brings
    SharedRead read;         ///< of a plain tile that enters registers
    int64_t align = 16;
    bool own = false;  ///< each subgroup copies what it reads, and nobody else reads it
  };
  struct RoomPlace {
    uint32_t array;
    int64_t offset;
  };
  Room room_of(ValueId token) const;
  void note_room(InstId id, const Room& room);
  InstId first_room(ValueId token) const;
  std::vector<InstId> ring_of(InstId room) const;
  Result<Unit> room(const Inst& i);
  Result<Unit> issue(const Inst& i);
  Result<Unit> issue_plain(const Inst& i);
  Result<Unit> issue_packed(const Inst& i);
  ValueId thread_piece(ValueId token, int64_t piece);
  Result<Unit> wait(const Inst& i);
  enum class Shown : uint8_t { nobody, subgroup, workgroup };
  void show(Shown to);
  TileRegs read_plain(const Inst& i);
  TileRegs read_packed(const Inst& i);
  void end_pipeline(const Inst& loop);
  void commit();

  // ---- lower_bulk.cpp: tokens whose tiles travel in bulk
  /// A token says where its room starts, and from bit kTokenBarrier on by which bulk barrier its bytes are counted; bit
  /// 0 is the parity of the phase they are counted in.
  static constexpr int64_t kTokenStart = 0xffff0, kTokenBarrier = 20, kTokenParity = 1;
  /// How a packed tile is cut into copies: `rows` of units, `columns` in each, runs of `units`. own_rows: of the block
  /// that a subgroup copies because nobody else reads it; 0: the subgroups share the runs, `parts` a row.
  struct BulkRuns {
    Layout outer;
    int64_t rows, columns, unit_bytes;
    int64_t units = 0, parts = 1, own_rows = 0;
  };
  void find_bulk_rooms();
  bool own_turn(const std::vector<InstId>& ring) const;
  bool is_bulk(ValueId token) const { return bulk_rooms_.contains(first_room(token)); }
  bool is_own(ValueId token) const { return bulk_rooms_.at(first_room(token)); }
  std::optional<BulkRuns> bulk_runs(ValueId view, const tile::Type& t, bool own) const;
  bool bulk_boxes(ValueId view, const tile::Type& t) const;
  /// Columns of a tile of which each subgroup reads as many and no other does; none where that is not so.
  std::optional<int64_t> own_columns(const Layout& l) const;
  ValueId subgroup_coord(const Layout& l, int d);  ///< i32: the part of coordinate d that the subgroup gives
  int64_t bulk_token(InstId room, int64_t offset);
  ValueId room_start(ValueId token);    ///< i32 bytes
  ValueId bulk_barrier(ValueId token);  ///< i32
  void count_bulk(const Inst& i);
  void issue_bulk(const Inst& i, ValueId counter);
  bool put_off(const Inst& i);
  void issue_put_off();
  void issue_runs(const Inst& i, ValueId counter);
  void issue_boxes(const Inst& i, ValueId counter);
  void await_bulk(ValueId token);
  TileRegs read_runs(const Inst& i);
  BulkRuns runs_of(ValueId token) const;
  /// Calls visit(number, bool: whether there is one) for the copies of this subgroup, of `count` in all.
  void each_own(int64_t count, const std::function<void(ValueId, ValueId)>& visit);
  ValueId subgroup_id() { return emit(Op::subgroup_id, {}, {.type = thread::kI32}); }
  int64_t box_index(ValueId view, int64_t rows);
  thread::Box::Number number_of(ValueId size);
  uint32_t array_of(ValueId token) const { return room_places_.at(first_room(token)).array; }

  // ---- lower_shuffles.cpp
  /// 32-bit registers, or halves in pairs that stay together, change lanes by shuffles; none where that cannot be or
  /// costs more than `most`.
  std::optional<TileRegs> through_shuffles(const TileRegs& from, const SubgroupExchange& e, const Layout& to,
                                           int64_t most);
  ValueId source_lane(const ShufflePlan& plan, ValueId lane);

  // ---- lower_slice.cpp: parts of tiles, and elements that move to other coordinates
  Result<Unit> slice_tile(const Inst& i);
  Result<Unit> assign_tile(const Inst& i);
  Result<Unit> repeat_tile(const Inst& i);
  /// Where a result element comes from: its coordinates (i32) in the source; none where `inside` is false.
  struct Source {
    std::vector<ValueId> at;
    ValueId inside = kNone;
  };
  std::vector<ValueId> through_memory(const TileRegs& from, const Layout& to,
                                      const std::function<Source(const std::vector<ValueId>&)>& source);

  // ---- lower_scan.cpp
  Result<Unit> scan_tile(const Inst& i);
  std::vector<ValueId> from_thread_before(std::vector<ValueId> values, int64_t step, int64_t group);

  // ---- lower_gather.cpp: rows by number
  Result<Unit> gather_rows(const Inst& i);
  Result<Unit> scatter_rows(const Inst& i);
  struct RowAccess {
    ValueId address;  ///< of global memory (i64) or within the shared array (i32)
    ValueId inside;
    int64_t imm = 0;
  };
  std::vector<Access> row_accesses(const Inst& i, const Layout& l);
  RowAccess row_access(const Inst& i, const ViewAddress& a, const Layout& l, const TileRegs& rows, const Coord& first);

  // ---- lower_atomic.cpp: what crosses workgroups
  Result<Unit> atomic_add(const Inst& i);
  Result<Unit> arrive(const Inst& i);

  // ---- lower_log.cpp: asserts and prints
  Result<Unit> log(const Inst& i);

  // ---- lower_bits.cpp: rows of elements that share bytes
  bool shares_bytes(const Inst& i, const Layout& l, ValueId last_index);
  struct BitAddress {
    ValueId byte;   ///< i64: address of the byte that holds the first bit
    ValueId shift;  ///< i32: 0 .. 7
  };
  BitAddress bit_address(const Inst& i, const ViewAddress& a, const Layout& l, const Coord& at);
  Result<Unit> load_bits(const Inst& i);
  Result<Unit> store_bits(const Inst& i);

  // ---- lower_mma.cpp
  Result<Unit> mma(const Inst& i);
  Result<Unit> check_runs(const Inst& i, const MmaPlan& plan) const;
  Result<Unit> mma_plain(const Inst& i, const MmaPlan& plan);
  Result<Unit> mma_without_matrices(const Inst& i, const MmaPlan& plan);
  std::vector<ValueId> fragments(const TileRegs& t, const Atom& atom, thread::Use use);
  TT fragment_type(const Atom& atom, thread::Use use) const;
  void ensure_fragments(TileRegs& t, const Atom& atom);
  ValueId run_atom(const Atom& atom, ValueId a, ValueId b, ValueId c);

  // ---- lower_mma_scaled.cpp: factors on the accumulator
  /// Operand a of an mma_scaled as its instruction reads it. Where it comes straight from codes these are not
  /// converted: the field of a code at bit p of a 16-bit float whose other bits are a constant is an element of a times
  /// a unit, plus a zero.
  struct Operand {
    struct Row {
      double unit, zero;
    };
    TileRegs regs;
    std::vector<Row> rows;  ///< by slot of c; empty: the values themselves
  };
  Result<Unit> mma_scaled(const Inst& i, const MmaPlan& plan);
  std::optional<int64_t> bits_beside_code(lathe::Type t) const;
  std::optional<Operand> raw_operand(ValueId a, const MmaPlan& plan);
  TileRegs run_of(const MmaPlan& plan, const std::vector<ValueId>& fa, const std::vector<ValueId>& fb, int64_t from,
                  int64_t to, const std::function<void(int64_t)>& before_step);

  // ---- lower_mma_shared.cpp: operands that stay in their room
  std::set<InstId> rooms_behind(ValueId token) const;
  void find_shared_operands();
  Result<Unit> mma_shared(const Inst& i, const MmaPlan& plan);
  ValueId thread_swizzled(const Layout& l, const MemoryLayout& m, int64_t elem_bytes);
  ValueId swizzled(ValueId mine, const MemoryLayout& m, const Coord& first, int64_t elem_bytes, int64_t& imm);
  std::set<InstId> shared_operands_;  ///< the first rooms of their tokens
  std::set<ValueId> stay_shared_;     ///< tiles that no register holds

  // ---- lower_opaque.cpp
  /// A slice in use, from the first write to the last read.
  struct Crossing {
    FragmentSlice slice;
    uint32_t array;
    ValueId base, mine;  ///< i32 bytes: where the subgroup's slice starts, and the lane's first element in it
  };
  /// Registers that become fragments: which atoms of the tile, and where each fragment goes.
  struct OpaqueOperand {
    const TileRegs* tile;
    const Atom* atom;
    thread::Use use;
    std::vector<int64_t> atoms;
    std::vector<ValueId*> to;
  };
  int64_t slice_room() const;  ///< bytes a subgroup may use for one operand
  Crossing begin_crossing(const Atom& atom, thread::Use use, int64_t count);
  void end_crossing(const Crossing& c);
  void write_registers(const Crossing& c, const TileRegs& t, std::span<const int64_t> atoms);
  void read_fragments(const Crossing& c, TT type, std::span<ValueId* const> to);
  void load_opaque(const std::vector<OpaqueOperand>& operands);
  void load_opaque_step(const MmaPlan& plan, const TileRegs& a, const TileRegs& b, int64_t k, std::vector<ValueId>& fa,
                        std::vector<ValueId>& fb);
  std::vector<ValueId> read_opaque(const TileRegs& t);

  ValueId emit(Op op, std::vector<ValueId> args, const thread::Attr& attr = {}) {
    return b_.emit(op, std::move(args), attr);
  }
  ValueId cvt(Op op, ValueId v, TT to) { return b_.cvt(op, v, to); }
  const tile::Type& type(ValueId v) const { return f_.type(v); }
  const std::string& name(ValueId v) const { return f_.values[v].name; }
  int64_t threads() const { return int64_t{out_.subgroups} * out_.subgroup_size; }

  const tile::Func& f_;
  const Target& t_;
  LowerOptions options_;
  thread::Func out_;
  thread::Builder b_;
  std::map<ValueId, ValueId> scalars_;
  std::map<ValueId, TileRegs> tiles_;
  std::map<ValueId, uint32_t> shared_tiles_;
  std::map<ValueId, const tile::Param*> views_;
  std::map<std::string, PackedLayout> packed_;
  std::map<ValueId, Bounds> promised_bounds_;
  ValueId log_ = kNone;                                      ///< i64: address of the log
  std::map<uint32_t, bool> pending_reads_, pending_writes_;  ///< since the last barrier
  TouchedViews touched_views_;
  std::vector<BlockId> homes_;     ///< of the shared arrays, as assign_storage takes them
  std::set<uint32_t> owned_;       ///< arrays of slices: no subgroup sees another's
  std::set<uint32_t> free_owned_;  ///< that nobody uses any more
  int loop_depth_ = 0;
  std::map<InstId, RoomPlace> room_places_;
  std::map<InstId, bool> bulk_rooms_;                     ///< true: of turns that each subgroup copies for itself
  std::map<InstId, int64_t> bulk_barriers_;               ///< of bulk rooms
  std::optional<int64_t> open_barrier_;                   ///< of the rooms made since the last commit
  ValueId bulk_counter_ = kNone;                          ///< the barrier of those issued since the last commit (i32)
  int64_t bulk_bytes_ = 0;                                ///< of all of them, all subgroups together
  bool bulk_own_ = false;                                 ///< each subgroup counts its own
  std::vector<std::pair<const Inst*, ValueId>> put_off_;  ///< issues and their barriers
  bool pieces_issued_ = false;                            ///< others were, too
  std::vector<SharedTile> shown_tiles_;
  bool launch_awaited_ = false;  ///< what other launches write may be read
  bool waited_ = false;          ///< for the copies since the last commit
  bool bulk_waited_ = false;     ///< for those in bulk
  Shown shown_ = Shown::nobody;  ///< to whom the waited copies were
};

}  // namespace lathe
