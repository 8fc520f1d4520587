#pragma once
// Shared memory of one workgroup: its bytes, and for each cell (the narrowest access of its array) who touched it last
// and when, from which races and reads of undefined bytes are told.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lathe::sim {

/// Who touches memory, and when. Two accesses of different threads are in order when a barrier of the workgroup lies
/// between them (their `epoch` differs), or, inside one subgroup, any barrier (their `turn` differs).
struct Access {
  static constexpr uint16_t kTogether = 0x8000;  ///< with the subgroup's number: all its lanes as one
  uint16_t thread = 0, subgroup = 0;
  uint32_t epoch = 0;  ///< barriers of the workgroup passed
  uint32_t turn = 0;   ///< barriers of the subgroup and of the workgroup passed by this subgroup
};

class Shared {
 public:
  struct Array {
    std::string name;
    int64_t bytes = 0;
    int cell = 4;  ///< bytes
  };
  explicit Shared(const std::vector<Array>& arrays);
  /// A new workgroup, whose epochs are later than those of the one before: everything is undefined.
  void reset();

  // Each returns what is wrong with the access, or nothing.
  std::string load(uint32_t array, int64_t at, std::span<std::byte> to, const Access& who);
  std::string store(uint32_t array, int64_t at, std::span<const std::byte> from, const Access& who);
  /// An asynchronous write begins: until it lands nobody else may touch the bytes.
  std::string begin_copy(uint32_t array, int64_t at, int64_t bytes, const Access& who);
  void land_copy(uint32_t array, int64_t at, std::span<const std::byte> from, const Access& who);
  /// The same by the unit that copies in bulk: the bytes are there for a subgroup that has seen them, and for others
  /// after a barrier.
  std::string begin_bulk(uint32_t array, int64_t at, int64_t bytes, const Access& who);
  void land_bulk(uint32_t array, int64_t at, std::span<const std::byte> from);
  void see_bulk(uint32_t array, int64_t at, int64_t bytes, const Access& who);

 private:
  static constexpr uint16_t kNobody = 0xffff, kBulk = 0xfffe;
  struct Touch {
    uint32_t epoch = 0, turn = 0;
    uint16_t thread = kNobody, subgroup = 0;
    bool before(const Access& now) const {
      const bool same = thread == now.thread && !(thread & Access::kTogether);
      return thread == kNobody || same || epoch != now.epoch || (subgroup == now.subgroup && turn != now.turn);
    }
  };
  struct Cell {
    Touch writer, readers[2];
    uint16_t copier = kNobody;  ///< thread of an asynchronous write under way; kBulk: of one in bulk, landed or not
    uint32_t seen = 0;          ///< by which subgroups, one bit each, a write in bulk was seen
    uint32_t seen_in = 0;       ///< and in which epoch first: a barrier of the workgroup later all may know of it
    uint32_t defined = 0;       ///< the generation that wrote it
    bool under_way(const Access& now) const {
      if (copier != kBulk) return copier != kNobody;
      return (seen >> now.subgroup & 1) == 0 && (seen == 0 || seen_in == now.epoch);
    }
  };
  struct State {
    Array array;
    std::vector<std::byte> bytes;
    std::vector<Cell> cells;
  };
  static std::string name_of(uint16_t thread);
  std::string may_copy(const State& s, int64_t at, int64_t bytes, const Access& who) const;
  std::string place(const State& s, int64_t at, size_t bytes) const;
  std::string misplaced(const State& s, int64_t at, size_t bytes) const;
  static void note_reader(Cell& c, const Access& who);

  std::vector<State> arrays_;
  uint32_t generation_ = 1;  ///< counts workgroups
  bool copies_ = false;      ///< some were begun
};

}  // namespace lathe::sim
