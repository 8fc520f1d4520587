// One function visits every field, for the writer and for the reader; the structured bindings stop compiling when a
// field is added.
#include "backends/sim/serial.h"

#include <fmt/format.h>

#include <cstring>
#include <type_traits>

namespace lathe::sim {
namespace {

constexpr uint32_t kMagic = 0x4d53484c;  // "LHSM"
constexpr uint32_t kVersion = 2;
constexpr uint64_t kMaxCount = uint64_t{1} << 24;

struct Writer {
  std::vector<std::byte> out;
  template <class T>
  void number(const T& v) {
    const auto at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &v, sizeof(T));
  }
  template <class T>
  void count(const T& list) {
    number(static_cast<uint64_t>(list.size()));
  }
};

struct Reader {
  std::span<const std::byte> in;
  bool good = true;
  template <class T>
  void number(T& v) {
    good = good && in.size() >= sizeof(T);
    if (!good) return;
    std::memcpy(&v, in.data(), sizeof(T));
    in = in.subspan(sizeof(T));
  }
  /// Every element takes at least a byte, so a list is never longer than what is left.
  template <class T>
  void count(T& list) {
    uint64_t n = 0;
    number(n);
    good = good && n <= in.size() && n <= kMaxCount;
    list.resize(good ? n : 0);
  }
};

template <class S, class T>
void field(S& s, T& v) {
  using Plain = std::remove_const_t<T>;
  if constexpr (std::is_enum_v<Plain>) {
    auto raw = static_cast<uint8_t>(v);
    s.number(raw);
    if constexpr (!std::is_const_v<T>) v = static_cast<Plain>(raw);
  } else if constexpr (std::is_arithmetic_v<Plain>) {
    s.number(v);
  } else {
    s.count(v);
    for (auto& element : v) field(s, element);
  }
}

template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Type>
void field(S& s, T& t) {
  auto& [scalar, lanes, use, rows, cols] = t;
  field(s, scalar), field(s, lanes), field(s, use), field(s, rows), field(s, cols);
}
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::SharedArray>
void field(S& s, T& a) {
  auto& [name, bytes, access_bytes, align] = a;
  field(s, name), field(s, bytes), field(s, align), field(s, access_bytes);
}
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Box::Number>
void field(S& s, T& n) {
  auto& [slot, value] = n;
  field(s, slot), field(s, value);
}
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Box>
void field(S& s, T& b) {
  auto& [address, columns, rows, pitch, box_rows] = b;
  field(s, address), field(s, columns), field(s, rows), field(s, pitch), field(s, box_rows);
}
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Attr>
void field(S& s, T& a) {
  auto& [type, imm, index, name] = a;
  field(s, type), field(s, imm), field(s, index), field(s, name);
}
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Func::Value>
void field(S& s, T& v) { field(s, v.type), field(s, v.def); }
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Func::Block>
void field(S& s, T& b) { field(s, b.params), field(s, b.insts); }
template <class S, class T>
requires std::is_same_v<std::remove_const_t<T>, thread::Func::Inst>
void field(S& s, T& i) {
  auto& [op, attr, args, results, blocks, loc] = i;
  field(s, op), field(s, attr), field(s, args), field(s, results), field(s, blocks);
  field(s, loc.line), field(s, loc.col);
}

template <class S, class F>
void function(S& s, F& f) {
  field(s, f.name), field(s, f.subgroups), field(s, f.subgroup_size), field(s, f.param_slots), field(s, f.shared);
  field(s, f.bulk_barriers), field(s, f.boxes);
  field(s, f.body), field(s, f.values), field(s, f.insts), field(s, f.blocks);
}

/// What thread::verify takes for granted of enumerators.
bool known(const thread::Func& f) {
  const auto type = [](const thread::Type& t) { return t.scalar <= thread::Scalar::f32 && t.use <= thread::Use::c; };
  for (const auto& v : f.values)
    if (!type(v.type)) return false;
  for (const auto& i : f.insts)
    if (static_cast<int>(i.op) >= thread::kOpCount || !type(i.attr.type)) return false;
  return true;
}

}  // namespace

std::vector<std::byte> serialise(const thread::Func& f) {
  Writer w;
  w.number(kMagic);
  w.number(kVersion);
  function(w, f);
  return std::move(w.out);
}

Result<thread::Func> deserialise(std::span<const std::byte> bytes) {
  Reader r{bytes};
  uint32_t magic = 0, version = 0;
  r.number(magic);
  r.number(version);
  if (!r.good || magic != kMagic) return bad_input("no program of the simulator");
  if (version != kVersion)
    return bad_input(fmt::format("a simulator program of version {}, not {}", version, kVersion));
  thread::Func f;
  function(r, f);
  if (!r.good || !r.in.empty() || !known(f)) return bad_input("a damaged simulator program");
  if (auto whole = thread::verify(f); !whole) return bad_input("a damaged simulator program: " + whole.error().text);
  return f;
}

}  // namespace lathe::sim
