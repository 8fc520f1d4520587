#include "engine/probe.h"

#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/kernel.h"

namespace lathe {
namespace {

using thread::Op;

thread::Scalar scalar_of(Type t) {
  if (t == types::f16) return thread::Scalar::f16;
  if (t == types::bf16) return thread::Scalar::bf16;
  return t == types::f32 ? thread::Scalar::f32 : thread::Scalar::i32;
}

/// One subgroup that runs `body` with the addresses of an input and an output buffer.
template <class Body>
Result<std::vector<uint32_t>> run_probe(runtime::Device& device, const Target& target,
                                        const std::vector<std::byte>& input, size_t output_words, int subgroups,
                                        const Body& body) {
  thread::Func f;
  f.name = "main";
  f.subgroups = subgroups;
  f.subgroup_size = target.subgroup_size;
  f.param_slots = 2;
  f.body = f.add_block();
  thread::Builder b(f, f.body);
  const ValueId in = b.emit(Op::param, {}, {.type = thread::kI64, .imm = 0});
  const ValueId out = b.emit(Op::param, {}, {.type = thread::kI64, .imm = 1});
  body(b, in, out);
  TRY(thread::verify(f));
  TRY_ASSIGN(const Emitted e, emit(f, target, device.info().api));
  TRY_ASSIGN(const auto program, load(device, e));
  TRY_ASSIGN(const auto from, lift(device.alloc(input.size())));
  TRY_ASSIGN(const auto to, lift(device.alloc(output_words * 4)));
  TRY(lift(device.upload(*from, 0, input)));
  TRY(lift(device.fill(*to, 0, output_words * 4, std::byte{0xff})));
  const runtime::LaunchRecord launch{program.get(), {1, 1, 1}, {from->address(), to->address()}, true};
  TRY(lift(device.run({&launch, 1})));
  std::vector<uint32_t> words(output_words);
  TRY(lift(device.download(*to, 0, std::as_writable_bytes(std::span(words)))));
  return words;
}

ValueId word_address(thread::Builder& b, ValueId base, ValueId word) {
  const ValueId bytes = b.emit(Op::mul, {word, b.i32(4)});
  return b.emit(Op::add, {base, b.cvt(Op::zext, bytes, thread::kI64)});
}

/// Row index, then column index, of every element of a rows x cols matrix.
std::vector<std::byte> index_matrices(Type elem, int rows, int cols) {
  std::vector<std::byte> bytes;
  for (int which = 0; which < 2; which++)
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) {
        const uint64_t raw = encode(elem, which == 0 ? r : c);
        for (int i = 0; i < elem.bits / 8; i++) bytes.push_back(static_cast<std::byte>(raw >> (8 * i)));
      }
  return bytes;
}

}  // namespace

Result<std::optional<Layout>> probe_lane_map(runtime::Device& device, const Target& target, thread::Use use, Type elem,
                                             int rows, int cols, std::string& why) {
  const int lanes = target.subgroup_size;
  thread::Type frag{scalar_of(elem), 1, use, static_cast<uint16_t>(rows), static_cast<uint16_t>(cols)};
  const auto input = index_matrices(elem, rows, cols);
  const auto matrix = [&](thread::Builder& b, ValueId in, int which) {
    const ValueId at = b.emit(Op::add, {in, b.i64(int64_t{which} * rows * cols * elem.bits / 8)});
    return b.emit(Op::frag_load, {at, b.i32(cols)}, {.type = frag, .imm = 0});
  };
  // How many elements a lane holds; only then which.
  TRY_ASSIGN(
      const auto lengths,
      run_probe(device, target, input, static_cast<size_t>(lanes), 1, [&](thread::Builder& b, ValueId in, ValueId out) {
        const ValueId n = b.emit(Op::frag_length, {matrix(b, in, 0)}, {.type = thread::kI32});
        b.effect(Op::store_global, {word_address(b, out, b.emit(Op::lane_id, {}, {.type = thread::kI32})), n});
      }));
  const uint32_t length = lengths[0];
  for (uint32_t n : lengths)
    if (n != length) return why = "lanes hold different numbers of elements", std::nullopt;
  if (length == 0 || length > 64 || int64_t{length} * lanes % (int64_t{rows} * cols))
    return why = fmt::format("a lane holds {} elements", length), std::nullopt;

  frag.lanes = static_cast<uint8_t>(length);
  TRY_ASSIGN(const auto found, run_probe(device, target, input, size_t{2} * length * static_cast<size_t>(lanes), 1,
                                         [&](thread::Builder& b, ValueId in, ValueId out) {
                                           const ValueId lane = b.emit(Op::lane_id, {}, {.type = thread::kI32});
                                           for (int which = 0; which < 2; which++) {
                                             const ValueId m = matrix(b, in, which);
                                             for (uint32_t i = 0; i < length; i++) {
                                               ValueId v = b.emit(Op::frag_get, {m}, {.type = {frag.scalar}, .imm = i});
                                               if (elem.is_float() && elem.bits < 32)
                                                 v = b.cvt(Op::fcvt, v, thread::kF32);
                                               if (elem.is_float()) v = b.cvt(Op::f2s, v, thread::kI32);
                                               const ValueId word = b.emit(
                                                   Op::add, {b.emit(Op::mul, {lane, b.i32(length)}),
                                                             b.i32(int64_t{i} + int64_t{which} * length * lanes)});
                                               b.effect(Op::store_global, {word_address(b, out, word), v});
                                             }
                                           }
                                         }));
  std::vector<std::vector<Coord>> table(static_cast<size_t>(lanes));
  for (size_t t = 0; t < table.size(); t++)
    for (size_t i = 0; i < length; i++) {
      const uint32_t r = found[t * length + i], c = found[(table.size() + t) * length + i];
      if (r >= static_cast<uint32_t>(rows) || c >= static_cast<uint32_t>(cols))
        return why = "an element lies outside the matrix", std::nullopt;
      table[t].push_back({r, c});
    }
  auto layout = recover(table);
  if (!layout || layout->shape() != Coord{rows, cols}) return why = "the lane map is no layout", std::nullopt;
  return layout;
}

namespace {

/// Every element of an operand: read from memory, so that no compiler knows it, or a constant of the program.
struct Filling {
  double value;
  bool constant;
};

/// Elements of a * b in the atom, each operand filled with one value: all of them, or with a published map one a lane.
Result<std::vector<float>> uniform_product(runtime::Device& device, const Target& target, const Atom& atom,
                                           const Filling& a, const Filling& b) {
  const thread::Type element{scalar_of(atom.a)}, sum{scalar_of(atom.c)};
  const auto fragment = [](thread::Type e, const Layout& l, thread::Use use) {
    return thread::Type{e.scalar, static_cast<uint8_t>(l.slots()), use, static_cast<uint16_t>(l.shape()[0]),
                        static_cast<uint16_t>(l.shape()[1])};
  };
  std::vector<std::byte> input(16);
  const double values[] = {a.value, b.value};
  for (size_t i = 0; i < 2; i++) {
    const auto raw = static_cast<uint16_t>(encode(atom.a, values[i]));
    std::memcpy(&input[2 * i], &raw, sizeof raw);
  }
  // Without a published map a fragment is stored whole.
  const bool whole = atom.source != MapSource::published;
  const auto elements = static_cast<size_t>(atom.m * atom.n), lanes = static_cast<size_t>(target.subgroup_size);
  TRY_ASSIGN(
      const auto words,
      run_probe(device, target, input, whole ? elements : lanes, 1, [&](thread::Builder& f, ValueId in, ValueId out) {
        const auto filled = [&](const Filling& x, int64_t at, const Layout& l, thread::Use use) {
          const ValueId v =
              x.constant
                  ? f.constant(element, static_cast<int64_t>(encode(atom.a, x.value)))
                  : f.cvt(Op::bitcast, f.emit(Op::load_global, {in}, {.type = thread::kI16, .imm = at}), element);
          return f.emit(Op::frag_fill, {v}, {.type = fragment(element, l, use)});
        };
        const ValueId zero =
            f.emit(Op::frag_fill, {f.constant(sum, 0)}, {.type = fragment(sum, atom.layout_c, thread::Use::c)});
        const ValueId x = filled(a, 0, atom.layout_a, thread::Use::a), y = filled(b, 2, atom.layout_b, thread::Use::b);
        const ValueId d = f.emit(Op::mma, {x, y, zero}, {.name = atom.name});
        if (whole) {
          f.effect(Op::frag_store, {out, d, f.i32(atom.n)});
          return;
        }
        ValueId v = f.emit(Op::frag_get, {d}, {.type = sum});
        if (sum != thread::kF32) v = f.cvt(Op::fcvt, v, thread::kF32);
        const ValueId lane = f.emit(Op::lane_id, {}, {.type = thread::kI32});
        f.effect(Op::store_global, {word_address(f, out, lane), f.cvt(Op::bitcast, v, thread::kI32)});
      }));
  std::vector<float> out;
  for (const uint32_t w : words) out.push_back(std::bit_cast<float>(w));
  return out;
}

bool all_are(const std::vector<float>& values, double want) {
  return std::all_of(values.begin(), values.end(), [&](float v) { return v == want; });
}

}  // namespace

Result<bool> probe_f16_subnormals(runtime::Device& device, const Target& target, const Atom& atom) {
  if (atom.a != types::f16 || atom.c != types::f32 || atom.source == MapSource::fma) return false;
  constexpr double kTiny = 3 * 0x1p-24;
  TRY_ASSIGN(const auto products, uniform_product(device, target, atom, {kTiny, false}, {1, true}));
  return all_are(products, atom.k * kTiny);
}

Result<bool> probe_constant_operands(runtime::Device& device, const Target& target, const Atom& atom) {
  if (atom.a.bits != 16 || !atom.a.is_float() || atom.source == MapSource::fma || atom.b_in_shared) return true;
  for (const bool constant_a : {false, true}) {
    const Filling one{1, false}, constant{-2, true};
    TRY_ASSIGN(const auto products,
               uniform_product(device, target, atom, constant_a ? constant : one, constant_a ? one : constant));
    if (!all_are(products, -2 * atom.k)) return false;
  }
  return true;
}

Result<bool> probe_thread_order(runtime::Device& device, const Target& target) {
  const int subgroups = std::min(4, target.max_threads / target.subgroup_size);
  const auto threads = static_cast<size_t>(subgroups * target.subgroup_size);
  TRY_ASSIGN(const auto words, run_probe(device, target, std::vector<std::byte>(16), 2 * threads, subgroups,
                                         [&](thread::Builder& b, ValueId, ValueId out) {
                                           const ValueId id = b.emit(Op::thread_id, {}, {.type = thread::kI32});
                                           const ValueId lane = b.emit(Op::lane_id, {}, {.type = thread::kI32}),
                                                         group = b.emit(Op::subgroup_id, {}, {.type = thread::kI32});
                                           const ValueId at = word_address(b, out, b.emit(Op::mul, {id, b.i32(2)}));
                                           b.effect(Op::store_global, {at, lane});
                                           b.effect(Op::store_global, {at, group}, {.imm = 4});
                                         }));
  for (size_t t = 0; t < threads; t++)
    if (words[2 * t] != t % static_cast<size_t>(target.subgroup_size) ||
        words[2 * t + 1] != t / static_cast<size_t>(target.subgroup_size))
      return false;
  return true;
}

}  // namespace lathe
