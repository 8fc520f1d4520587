// Every Tile IR operation on every device found, against the interpreter: same program, same tensors, awkward sizes.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <set>

#include "backends/ptx/target.h"
#include "tests/device_kernel.h"
#include "tests/scratch_files.h"

using namespace lathe;

namespace {

/// What differs from the interpreter's result, or nothing. Values may differ by `ulps` steps of the element type.
std::string difference(const tile::HostTensor& got, const tile::HostTensor& want, double relative) {
  for (size_t i = 0; i < want.raw.size(); i++) {
    if (got.raw[i] == want.raw[i]) continue;
    const double g = decode(got.elem, got.raw[i]), w = decode(want.elem, want.raw[i]);
    if (std::isnan(g) && std::isnan(w)) continue;
    if (g == w || std::abs(g - w) <= relative * std::abs(w)) continue;
    return fmt::format("element {}: {} ({:x}), expected {} ({:x})", i, g, got.raw[i], w, want.raw[i]);
  }
  return "";
}

std::set<tile::Op> covered;

/// PTX of the program is what ptxas takes, device or not.
void assemble(const tile::Func& f) {
  static const bool present = std::system("ptxas --version >/dev/null 2>&1") == 0;
  if (!present) {
    MESSAGE("SKIPPED: ptxas is not on PATH");
    return;
  }
  const auto target = ptx_target("sm_80");
  REQUIRE(target.has_value());
  const auto compiled = compile(f, *target, {});
  REQUIRE_MESSAGE(compiled.has_value(), (compiled ? "" : compiled.error().text));
  const auto code = emit(compiled->func, *target, "cuda");
  REQUIRE_MESSAGE(code.has_value(), (code ? "" : code.error().text));
  const model::ScratchFolder scratch("lathe_device_ops_test");
  const auto path = scratch.path("kernel.ptx");
  std::ofstream(path, std::ios::binary) << reinterpret_cast<const char*>(code->code.data());
  CHECK_MESSAGE(std::system(("ptxas -arch=sm_80 -o /dev/null " + path).c_str()) == 0, tile::print(f));
}

void check(const std::string& text, Tensors tensors, double relative = 0,
           const std::map<std::string, uint64_t>& scalars = {}) {
  const auto f = tile::parse(text, "test.tile");
  REQUIRE_MESSAGE(f.has_value(), (f ? "" : f.error().text));
  bool fresh = false;
  for (const BlockId block : {f->grid, f->body})
    f->walk(block, [&](BlockId, size_t, InstId id) { fresh |= covered.insert(f->inst(id).op).second; });
  if (fresh) assemble(*f);
  Tensors want = tensors;
  std::vector<std::string> want_lines, lines;
  const auto oracle = tile::interpret(*f, want, scalars, int64_t{1} << 40, nullptr, &want_lines);
  REQUIRE_MESSAGE(oracle.has_value(), (oracle ? "" : oracle.error().text));
  for (TestDevice& d : test_devices()) {
    Tensors got = tensors;
    const auto status = run_on(d, *f, got, scalars, &lines);
    CHECK_MESSAGE(status.has_value(), d.id << ": " << (status ? "" : status.error().text) << "\n" << text);
    if (!status) continue;
    CHECK(lines == want_lines);
    const std::string wrong = difference(got.at("y"), want.at("y"), relative);
    CHECK_MESSAGE(wrong.empty(), d.id << ": " << wrong << "\n" << text);
  }
}

tile::HostTensor zeros(Type elem, Coord shape) {
  int64_t count = 1;
  for (int64_t s : shape) count *= s;
  return {elem, shape, std::vector<uint64_t>(static_cast<size_t>(count))};
}

/// y = expression of a, b, c (tiles of one type) over whole matrices with masked edges.
void check_elements(const std::string& expression, Type in, Type out, double relative = 0) {
  const std::string text = fmt::format(
      "kernel t(x: {0}[R, C], z: {0}[R, C], v: {0}[R, C], y: {1}[R, C]) grid [ceildiv(R, 4), ceildiv(C, 32)] subgroups "
      "2 {{\n"
      "  r = group_id(0) * 4\n  k = group_id(1) * 32\n"
      "  a = load(x[r, k], [4, 32])\n  b = load(z[r, k], [4, 32])\n  c = load(v[r, k], [4, 32])\n"
      "  store(y[r, k], {2})\n}}\n",
      to_string(in), to_string(out), expression);
  static int turn = 0;  // every other program: small integers and masked edges, or any values in whole rows
  const bool small = turn++ % 2 == 0;
  const Coord shape = small ? Coord{5, 37} : Coord{4, 64};
  check(text,
        {{"x", random_tensor(in, shape, small, 1)},
         {"z", random_tensor(in, shape, small, 2)},
         {"v", random_tensor(in, shape, small, 3)},
         {"y", zeros(out, shape)}},
        relative);
}

const Type kFloats[] = {types::f32, types::f16, types::bf16};
const Type kInts[] = {types::i32, types::u32, types::i64, types::u8, types::i8, types::u4, types::i4};

}  // namespace

TEST_CASE("there is a device beside the simulated ones, or it is said that there is none") {
  const bool none = runtime::list_devices().empty();
  if (none) MESSAGE("SKIPPED device_ops_test on devices: no CUDA or Vulkan device here");
  if (std::getenv("LATHE_REQUIRE_DEVICES")) CHECK_FALSE(none);
}

TEST_CASE("element operations on floats") {
  for (const Type t : kFloats) {
    for (const char* e : {"a + b", "a - b", "a * b", "min(a, b)", "max(a, b)", "-a", "abs(a)", "a - 3",
                          "fill("
                          "ELEM[4, 32], 2) * a"}) {
      std::string text = e;
      if (const size_t at = text.find("ELEM"); at != text.npos) text.replace(at, 4, to_string(t));
      check_elements(text, t, t);
    }
    check_elements("fma(a, b, c)", t, t, t == types::f32 ? 1e-6 : 0.01);  // a software driver may round twice
    check_elements("a / b", t, t, t == types::f32 ? 4e-7 : 0.008);
    check_elements("exp(a)", t, t, t == types::f32 ? 2e-6 : 0.008);
    check_elements("exp2(a)", t, t, t == types::f32 ? 2e-6 : 0.008);
    check_elements("log2(abs(a) + 1)", t, t, t == types::f32 ? 1e-5 : 0.008);  // absolute error near 1
    check_elements("sqrt(abs(a))", t, t, t == types::f32 ? 4e-7 : 0.008);
    check_elements("rsqrt(abs(a) + 1)", t, t, t == types::f32 ? 1e-6 : 0.008);
    for (const char* e : {"a < b", "a <= b", "a == b", "a != b"})
      check_elements(fmt::format("select({}, a, c)", e), t, t);
  }
}

TEST_CASE("element operations on integers") {
  for (const Type t : kInts) {
    for (const char* e :
         {"a + b", "a - b", "a * b", "a / b", "a % b", "min(a, b)", "max(a, b)", "a & b", "a | b", "a ^ b", "bnot(a)"})
      check_elements(e, t, t);
    check_elements("a << 2", t, t);
    check_elements("a >> 2", t, t);
    if (t.kind == Kind::sint) {
      check_elements("-a", t, t);
      check_elements("abs(a)", t, t);
    }
    for (const char* e : {"a < b", "a <= b", "a == b", "a != b"})
      check_elements(fmt::format("select({}, a, c)", e), t, t);
    check_elements("select((a < b) & (b < c), a, c)", t, t);
    check_elements("select(bnot(a < b) | (b == c), a, c)", t, t);
  }
}

TEST_CASE("casts between all types") {
  std::vector<Type> all(std::begin(kFloats), std::end(kFloats));
  all.insert(all.end(), std::begin(kInts), std::end(kInts));
  for (const Type from : all)
    for (const Type to : all)
      if (from != to) check_elements(fmt::format("cast(a, {})", to_string(to)), from, to);
  for (const Type from : {types::u4, types::i4, types::u8, types::i8})
    for (const Type to : kFloats) check_elements(fmt::format("cast_minus(a, {}, 8)", to_string(to)), from, to);
  for (const Type from : all) check_elements("cast(cast(a, bool), i32)", from, types::i32);
}

TEST_CASE("shapes: iota, broadcast, transpose, reshape, view") {
  const Coord shape{7, 45};
  const auto x = random_tensor(types::i32, shape, false, 9);
  const auto kernel = [](const std::string& type, const std::string& body) {
    return fmt::format(
        "kernel t(x: {0}[R, C], y: {0}[R, C]) grid [ceildiv(R, 4), ceildiv(C, 32)] subgroups 2 {{\n  r = group_id(0) * "
        "4\n"
        "  k = group_id(1) * 32\n  a = load(x[r, k], [4, 32])\n{1}}}\n",
        type, body);
  };
  check(kernel("i32", "  store(y[r, k], a * 1 + iota(i32[4, 32], 0) * 100 + iota(i32[4, 32], 1))\n"),
        {{"x", x}, {"y", zeros(types::i32, shape)}});
  check(kernel("i32", "  s = reduce(a, 1, max)\n  store(y[r, k], a + broadcast(s, [4, 32]))\n"),
        {{"x", x}, {"y", zeros(types::i32, shape)}});
  check(
      kernel("i32", "  t = reshape(transpose(reshape(a, [2, 2, 8, 4]), [1, 0, 3, 2]), [4, 32])\n  store(y[r, k], t)\n"),
      {{"x", x}, {"y", zeros(types::i32, shape)}});
  for (const Type t : {types::u4, types::u8, types::f16, types::bf16, types::f32}) {
    const auto in = random_tensor(t, shape, true, 4);
    check(kernel(to_string(t), fmt::format("  store(y[r, k], view(view(a, u32) ^ 0, {}))\n", to_string(t))),
          {{"x", in}, {"y", zeros(t, shape)}});
  }
}

TEST_CASE("reductions over every dimension and kind, inside lanes, subgroups and workgroups") {
  for (const Type t : {types::f32, types::f16, types::i32})
    for (const int d : {0, 1})
      for (const char* kind : {"sum", "max", "min"})
        for (const int subgroups : {1, 4}) {
          const std::string tile = d == 0 ? "[1, 64]" : "[16, 1]";
          const std::string text = fmt::format(
              "kernel t(x: {0}[R, C], y: {0}[{1}]) grid [1] subgroups {2} {{\n  a = load(x[0, 0], [16, 64])\n"
              "  store(y[0, 0], reduce(a, {3}, {4}))\n}}\n",
              to_string(t), d == 0 ? "1, C" : "R, 1", subgroups, d, kind);
          check(text,
                {{"x", random_tensor(t, {13, 51}, true, 5)}, {"y", zeros(t, d == 0 ? Coord{1, 51} : Coord{13, 1})}});
        }
}

TEST_CASE("matrix products in every type, whole and scaled") {
  for (const Type t : {types::f16, types::bf16, types::f32}) {
    const std::string text = fmt::format(
        "kernel t(x: {0}[M, K], w: {0}[K, N], y: f32[M, N]) grid [ceildiv(M, 32), ceildiv(N, 16)] subgroups 2 {{\n"
        "  m = group_id(0) * 32\n  n = group_id(1) * 16\n  acc = fill(f32[32, 16], 0)\n"
        "  for k in 0 .. K step 64 stages 2 {{\n    acc = mma(load(x[m, k], [32, 64]), load(w[k, n], [64, 16]), acc)\n "
        " }}\n"
        "  store(y[m, n], acc)\n}}\n",
        to_string(t));
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {37, 19, 101}, {64, 32, 128}})
      check(text, {{"x", random_tensor(t, {m, k}, true, 1)},
                   {"w", random_tensor(t, {k, n}, true, 2)},
                   {"y", zeros(types::f32, {m, n})}});
  }
  const std::string scaled =
      "kernel t(x: f16[M, K], s: f16[M, G], w: f16[K, N], y: f32[M, N]) grid [ceildiv(M, 32), ceildiv(N, 16)] "
      "subgroups [1, 1, 2] {\n"
      "  m = group_id(0) * 32\n  n = group_id(1) * 16\n  acc = fill(f32[32, 16], 0)\n"
      "  for k in 0 .. K step 128 {\n    acc = mma_scaled(load(x[m, k], [32, 128]), load(s[m, k / 64], [32, 2]), "
      "load(w[k, n], [128, 16]), acc)\n  }\n"
      "  store(y[m, n], acc)\n}\n";
  check(scaled, {{"x", random_tensor(types::f16, {37, 200}, true, 1)},
                 {"s", random_tensor(types::f16, {37, 4}, true, 3)},
                 {"w", random_tensor(types::f16, {200, 19}, true, 2)},
                 {"y", zeros(types::f32, {37, 19})}});
}

TEST_CASE("a subgroup split of k gives partial tiles that any use completes") {
  for (const char* use : {"acc", "acc + acc", "max(acc, acc - 1)", "acc - broadcast(reduce(acc, 1, max), [16, 16])"}) {
    const std::string text = fmt::format(
        "kernel t(x: f16[M, K], w: f16[K, N], y: f32[M, N]) grid [ceildiv(M, 16), ceildiv(N, 16)] subgroups [1, 1, 4] "
        "{{\n"
        "  m = group_id(0) * 16\n  n = group_id(1) * 16\n  acc = fill(f32[16, 16], 3)\n"
        "  for k in 0 .. K step 256 {{\n    acc = mma(load(x[m, k], [16, 256]), load(w[k, n], [256, 16]), acc)\n  }}\n"
        "  store(y[m, n], {})\n}}\n",
        use);
    check(text, {{"x", random_tensor(types::f16, {16, 300}, true, 1)},
                 {"w", random_tensor(types::f16, {300, 16}, true, 2)},
                 {"y", zeros(types::f32, {16, 16})}});
  }
}

TEST_CASE("shared tiles, loops and branches") {
  const auto x = random_tensor(types::i32, {8, 32}, false, 9);
  check(
      "kernel t(x: i32[R, C], y: i32[R, C]) grid [1] subgroups 4 {\n  sh = shared(i32[8, 32])\n  a = load(x[0, 0], [8, "
      "32])\n"
      "  for i in 0 .. 3 step 1 {\n    store(sh[0, 0], a)\n    b = load(sh[1, 2], [8, 32])\n    store(sh[2, 3], b)\n   "
      " a = a + load(sh[0, 0], [8, 32])\n  }\n"
      "  store(y[0, 0], a)\n}\n",
      {{"x", x}, {"y", zeros(types::i32, {8, 32})}});
  check(
      "kernel t(x: i32[R, C], y: i32[R, C], n: i64) grid [R] subgroups 1 {\n  r = group_id(0)\n  a = load(x[r, 0], [1, "
      "32])\n"
      "  if r < n {\n    a = a * 3\n    if r == 1 {\n      a = a - 7\n    }\n  } else {\n    a = a + 1\n  }\n"
      "  for i in 0 .. r step 2 {\n    a = a + cast(fill(i64[1, 32], i), i32)\n  }\n  store(y[r, 0], a)\n}\n",
      {{"x", x}, {"y", zeros(types::i32, {8, 32})}}, 0, {{"n", 4}});
}

TEST_CASE("layouts that meet: reductions beside products, whole values among partial ones, codes seen as words") {
  const auto x = random_tensor(types::f16, {32, 64}, true, 1), w = random_tensor(types::f16, {64, 32}, true, 2);
  const auto p = random_tensor(types::f32, {32, 32}, true, 3);
  for (const char* split : {"2", "[1, 1, 2]", "[2, 1, 2]"})
    for (const char* body :
         {"acc = mma(a, b, fill(f32[32, 32], 0))\n  store(y[0, 0], acc + broadcast(reduce(c, 1, max), [32, 32]))",
          "store(y[0, 0], mma(a, b, c))",
          "acc = c\n  for k in 0 .. 3 step 1 {\n    acc = mma(a, b, acc) + c\n  }\n  store(y[0, 0], acc)",
          "acc = c\n  for k in 0 .. 3 step 1 {\n    acc = mma(a, b, acc)\n    store(y[0, 0], acc + k_f)\n  }\n  "
          "store(y[0, 0], acc)",
          "z = fill(f32[32, 32], 0)\n  for i in 0 .. n step 1 {\n    u = z\n    for k in 0 .. n step 1 {\n      u = "
          "mma(a, b, u)\n    }\n"
          "    v = z\n    t = z\n    for k in 0 .. n step 1 {\n      v = mma(a, b, v)\n      t = t + c\n    }\n    "
          "store(y[0, 0], u + v + t)\n  }"})
      check(fmt::format(
                "kernel t(x: f16[M, K], w: f16[K, N], p: f32[M, N], y: f32[M, N], n: i64) grid [1] subgroups {} {{\n"
                "  a = load(x[0, 0], [32, 64])\n  b = load(w[0, 0], [64, 32])\n  c = load(p[0, 0], [32, 32])\n"
                "  k_f = fill(f32[32, 32], 1)\n  {}\n}}\n",
                split, body),
            {{"x", x}, {"w", w}, {"p", p}, {"y", zeros(types::f32, {32, 32})}}, 0, {{"n", 2}});
  check(
      "kernel t(x: u8[R, C], p: u32[R, D], y: u8[R, C]) grid [1] subgroups 2 {\n  b = load(x[0, 0], [16, 16])\n"
      "  store(y[0, 0], view(load(p[0, 0], [16, 4]), u8) + b)\n}\n",
      {{"x", random_tensor(types::u8, {16, 16}, false, 1)},
       {"p", random_tensor(types::u32, {16, 4}, false, 2)},
       {"y", zeros(types::u8, {16, 16})}});
  for (const char* type : {"u3", "u5", "i6", "u7"})
    check(fmt::format(
              "kernel t(x: i32[R, C], y: i32[R, C]) grid [1] subgroups 1 {{\n  a = cast(load(x[0, 0], [16, 32]), {})\n"
              "  store(y[0, 0], cast(a + a, i32))\n}}\n",
              type),
          {{"x", random_tensor(types::i32, {16, 32}, false, 1)}, {"y", zeros(types::i32, {16, 32})}});
}

TEST_CASE("a prefetch of a loop that walks down reads nothing before the view; a shared tile of a loop's own") {
  check(
      "kernel t(x: i32[R, C], y: i32[R, D]) grid [1] subgroups 2 {\n  acc = fill(i32[4, 32], 0)\n"
      "  for k in 0 .. C step 32 stages 3 {\n    acc = acc * 3 + load(x[0, C - 32 - k], [4, 32])\n  }\n  store(y[0, "
      "0], acc)\n}\n",
      {{"x", random_tensor(types::i32, {4, 96}, false, 1)}, {"y", zeros(types::i32, {4, 32})}});
  check(
      "kernel t(x: i32[R, C], y: i32[R, C]) grid [1] subgroups 4 {\n  a = load(x[0, 0], [8, 32])\n  for i in 0 .. 5 "
      "step 1 {\n"
      "    sh = shared(i32[8, 32])\n    store(sh[0, 0], a)\n    a = a + transpose(load(sh[0, 0], [8, 32]), [0, 1]) * 3 "
      "+ load(sh[3, 7], [8, 32])\n  }\n"
      "  store(y[0, 0], a)\n}\n",
      {{"x", random_tensor(types::i32, {8, 32}, false, 1)}, {"y", zeros(types::i32, {8, 32})}});
}

TEST_CASE("tokens: tiles on their way over turns, packed and plain, by copies where the target has them") {
  for (const char* type : {"f16", "f32", "u8"})
    check(fmt::format("kernel t(x: {0}[R, C], y: {0}[R, C]) grid [1] subgroups 2 {{\n"
                      "  a = issue(x[0, 0], room(x, [4, 64]))\n  commit()\n  b = issue(x[4, 0], room(x, [4, 64]))\n"
                      "  commit()\n  free = room(x, [4, 64])\n  for i in 0 .. R step 4 {{\n    tile = wait(a, 1)\n"
                      "    next = issue(x[i + 8, 0], free)\n    commit()\n    store(y[i, 0], tile + tile)\n"
                      "    free = release(a)\n    a = b\n    b = next\n  }}\n}}\n",
                      type),
          {{"x", random_tensor(*parse_type(type), {19, 64}, true, 1)}, {"y", zeros(*parse_type(type), {19, 64})}});
}

TEST_CASE("rows past an edge read 0 and are not written, NaN there does not leak") {
  tile::HostTensor x = random_tensor(types::f16, {3, 40}, true, 2), y = zeros(types::f32, {3, 5});
  for (size_t c = 33; c < 40; c++) x.raw[c] = 0x7e00;  // NaN in columns that no product may read
  check(
      "kernel t(x: f16[M, K] stride [ldx, 1], w: f16[K, N], y: f32[M, N]) grid [1] subgroups 1 {\n"
      "  acc = mma(load(x[0, 0], [16, 64]), load(w[0, 0], [64, 16]), fill(f32[16, 16], 0))\n  store(y[0, 0], acc)\n}\n",
      {{"x",
        [&] {
          auto t = x;
          t.shape = {3, 40};
          return t;
        }()},
       {"w", random_tensor(types::f16, {40, 5}, true, 3)},
       {"y", y}},
      0, {{"ldx", 40}});
}

TEST_CASE("slices, assignments into slices, repetitions: within a thread and through memory") {
  const Coord shape{16, 64};
  const auto kernel = [](const std::string& type, const std::string& body) {
    return fmt::format(
        "kernel t(x: {0}[R, C], y: {0}[R, C]) grid [1] subgroups 2 {{\n  a = load(x[0, 0], [16, 64])\n{1}  store(y[0, "
        "0], r)\n}}\n",
        type, body);
  };
  for (const Type t : {types::f32, types::f16, types::bf16, types::i8, types::i64}) {
    const Tensors tensors{{"x", random_tensor(t, shape, true, 3)}, {"y", zeros(t, shape)}};
    for (const char* body :
         {"  r = slice(a, [8, 32], [8, 32])\n", "  r = slice(a, [3, 5], [7, 33])\n",
          "  r = assign(a, slice(a, [0, 0], [16, 32]), [0, 32])\n",
          "  r = assign(a, slice(a, [1, 2], [5, 9]), [11, 7])\n", "  r = repeat(slice(a, [0, 0], [16, 16]), 1, 4)\n",
          "  r = repeat(slice(a, [0, 0], [4, 64]), 0, 4)\n",
          "  r = repeat(repeat(slice(a, [5, 5], [3, 5]), 1, 3), 0, 5)\n"})
      check(kernel(to_string(t), body), tensors);
  }
  check(kernel("f32", "  r = a + repeat(reduce(a, 1, max), 1, 64) + repeat(fill(f32[16, 32], 2), 1, 2)\n"),
        {{"x", random_tensor(types::f32, shape, true, 3)}, {"y", zeros(types::f32, shape)}});
}

TEST_CASE("running sums, maxima and minima along either dimension, inside lanes, subgroups and workgroups") {
  int turn = 0;
  for (const Type t : {types::f32, types::f16, types::i32, types::i64, types::i8, types::u8})
    for (const int d : {0, 1})
      for (const int subgroups : {1, 4}) {
        const char* const kind = std::array{"sum", "max", "min", "sum", "sum"}[static_cast<size_t>(turn++ % 5)];
        check(fmt::format("kernel t(x: {0}[R, C], y: {0}[R, C]) grid [1] subgroups {1} {{\n  a = load(x[0, 0], {2})\n"
                          "  store(y[0, 0], scan(a, {3}, {4}))\n}}\n",
                          to_string(t), subgroups, turn % 3 ? "[16, 64]" : "[3, 256]", d, kind),
              {{"x", random_tensor(t, {13, 251}, true, 5)}, {"y", zeros(t, {13, 251})}});
      }
}

TEST_CASE("rows by number: read and written, in any order, some of them nowhere") {
  tile::HostTensor numbers{types::i32, {24}, {}};
  for (int i = 0; i < 24; i++) numbers.raw.push_back(encode_int(types::i32, i * 7 % 29 - 3));
  for (const Type t : {types::f32, types::f16, types::i8, types::i64}) {
    const Tensors tensors{{"x", random_tensor(t, {19, 37}, false, 5)}, {"n", numbers}, {"y", zeros(t, {24, 37})}};
    for (const char* columns : {"32", "64"})
      for (const char* from : {"x[1, k]", "s[1, k]"})
        check(fmt::format(
                  "kernel t(x: {0}[R, C], n: i32[T], y: {0}[T, C]) grid [3] subgroups 2 {{\n  i = group_id(0) * 8\n"
                  "  s = shared({0}[19, 37])\n  store(s[0, 0], load(x[0, 0], [32, 64]))\n"
                  "  for k in 0 .. C step {1} {{\n    a = gather({2}, load(n[i], [8]), [8, {1}])\n"
                  "    store(y[i, k], a)\n  }}\n}}\n",
                  to_string(t), columns, from),
              tensors);
    check(fmt::format("kernel t(x: {0}[R, C], n: i32[T], y: {0}[T, C]) grid [1] subgroups 2 {{\n"
                      "  scatter(y[2, 4], load(n[0], [16]), load(x[0, 0], [16, 64]))\n}}\n",
                      to_string(t)),
          tensors);
    check(fmt::format(
              "kernel t(x: {0}[R, C], n: i32[T], y: {0}[T, C]) grid [1] subgroups 2 {{\n  s = shared({0}[20, 40])\n"
              "  store(s[0, 0], fill({0}[32, 64], 1))\n  scatter(s[2, 4], load(n[0], [16]), load(x[0, 0], [16, "
              "64]))\n  store(y[0, 0], load(s[0, 0], [32, 64]))\n}}\n",
              to_string(t)),
          tensors);
  }
  check(
      "kernel t(x: f32[R], n: i32[T], y: f32[T]) grid [1] subgroups 1 {\n"
      "  store(y[0], gather(x[0], load(n[0], [32]), [32]))\n}\n",
      {{"x", random_tensor(types::f32, {19}, false, 5)}, {"n", numbers}, {"y", zeros(types::f32, {24})}});
}

TEST_CASE("while, early exit, and scalars taken from tiles") {
  const auto x = random_tensor(types::i32, {8, 32}, true, 9);
  // Collatz lengths by workgroup, of 32 starts at once; the tile is carried too.
  check(
      "kernel t(x: i32[R, C], y: i32[R, C]) grid [R] subgroups 2 {\n  r = group_id(0)\n  n = cast(r, i32) + 1\n"
      "  a = load(x[r, 0], [1, 32])\n  while n != 1 {\n    if n % 2 == 0 {\n      n = n / 2\n    } else {\n      n = n "
      "* 3 "
      "+ 1\n    }\n    a = a + n\n  }\n  store(y[r, 0], a)\n}\n",
      {{"x", x}, {"y", zeros(types::i32, {8, 32})}});
  // A condition of several statements, on a tile; no turn at all in some workgroups.
  check(
      "kernel t(x: i32[R, C], y: i32[R, C]) grid [R] subgroups 4 {\n  r = group_id(0)\n  a = load(x[r, 0], [1, 32])\n"
      "  k = 0\n  while {\n    m = item(reduce(a, 1, max))\n    yield((m < 9) & (k < 20))\n  } do {\n    a = a + "
      "broadcast(reduce(a, 1, sum), [1, 32]) + 1\n    k = k + 1\n  }\n  store(y[r, 0], a + cast(k, i32))\n}\n",
      {{"x", x}, {"y", zeros(types::i32, {8, 32})}});
  check(
      "kernel t(x: i32[R, C], y: i32[R, C], n: i64) grid [R] subgroups 2 {\n  r = group_id(0)\n  a = load(x[r, 0], [1, "
      "32])\n  exit_if(n <= r)\n  store(y[r, 0], a)\n  for i in 0 .. 9 {\n    if item(reduce(a, 1, min)) < i32(-6) {\n "
      " "
      "    exit_if(r % 2 == 1)\n    }\n    a = a - i32(1)\n  }\n  store(y[r, 0], a)\n}\n",
      {{"x", x}, {"y", zeros(types::i32, {8, 32})}}, 0, {{"n", 5}});
}

TEST_CASE("atomics and workspaces: the last workgroup to arrive sees what all wrote, launch after launch") {
  check(
      "kernel t(x: i32[R, C], y: i32[D, E]) grid [ceildiv(R, 4)] subgroups 2 {\n"
      "  atomic_add(y[1, 2], load(x[group_id(0) * 4, 0], [4, 16]))\n}\n",
      {{"x", random_tensor(types::i32, {61, 16}, false, 9)}, {"y", zeros(types::i32, {4, 15})}});
  const std::string text =
      "kernel t(x: f32[R, C], part: workspace f32[W, 1, 33], count: workspace u32[W, 1], y: f32[R, C])\n"
      "    grid [ceildiv(C, 33), R] subgroups 4 {\n  c = group_id(0)\n  r = group_id(1)\n  k = c * 33\n"
      "  store(part[c * R + r, 0, 0], reshape(load(x[r, k], [1, 33]) + 1, [1, 1, 33]))\n"
      "  before = arrive(count[c, 0])\n  if before == R - 1 {\n    s = fill(f32[1, 33], 0)\n    for j in 0 .. R {\n"
      "      s = s * 2 + reshape(load(part[c * R + j, 0, 0], [1, 1, 33]), [1, 33])\n    }\n"
      "    store(count[c, 0], fill(u32[1, 1], 0))\n    store(y[0, k], s)\n  }\n}\n";
  const Tensors tensors{{"x", random_tensor(types::f32, {12, 100}, true, 9)}, {"y", zeros(types::f32, {12, 100})}};
  check(text, tensors);
  const auto f = tile::parse(text, "t");
  REQUIRE(f.has_value());
  Tensors want = tensors;
  REQUIRE(tile::interpret(*f, want).has_value());
  for (TestDevice& d : test_devices()) {  // one kernel, again and again: the counters end as they began
    const auto kernel = Kernel::build(*d.device, d.target, *f, {});
    REQUIRE(kernel.has_value());
    const std::vector<uint32_t> words(tensors.at("x").raw.begin(), tensors.at("x").raw.end());
    const auto bytes = std::as_bytes(std::span(words));
    auto x = d.device->alloc(bytes.size()), y = d.device->alloc(bytes.size());
    REQUIRE(x.has_value());
    REQUIRE(y.has_value());
    REQUIRE(d.device->upload(**x, 0, bytes).has_value());
    for (int turn = 0; turn < 5; turn++) {
      REQUIRE(d.device->upload(**y, 0, std::vector<std::byte>(bytes.size())).has_value());
      const auto launch =
          (*kernel)->launch({{{"x", (*x)->address()}, {"y", (*y)->address()}}, {{"R", 12}, {"C", 100}}});
      REQUIRE_MESSAGE(launch.has_value(), (launch ? "" : launch.error().text));
      REQUIRE(d.device->run({&*launch, 1}).has_value());
      std::vector<uint32_t> out(words.size());
      REQUIRE(d.device->download(**y, 0, std::as_writable_bytes(std::span(out))).has_value());
      CHECK(std::vector<uint64_t>(out.begin(), out.end()) == want.at("y").raw);
    }
  }
}

TEST_CASE("asserts name their line, prints give lines, promises drop masks and are checked") {
  const auto x = random_tensor(types::i32, {8, 64}, true, 9);
  const Tensors tensors{{"x", x}, {"y", zeros(types::i32, {8, 64})}};
  const auto text = [](const char* limit) {
    return fmt::format(
        "kernel t(x: i32[R, C], y: i32[R, C]) grid [ceildiv(R, 2), ceildiv(C, 32)] subgroups 2 {{\n"
        "  assume_multiple(R, 2)\n  assume_multiple(C, 32)\n  assume_range(C, [32, 4096])\n  r = group_id(0) * 2\n"
        "  for k in 0 .. C step 32 {{\n    a = load(x[r, k], [2, 32])\n    m = item(reshape(reduce(reduce(a, 0, max), "
        "1, "
        "max), [1]))\n    print(m, \"max\")\n    print(cast(m, f16) / 2, \"half\")\n    assert(m < {}, \"too large\")\n"
        "    store(y[r, k], a + m)\n  }}\n}}\n",
        limit);
  };
  check(text("9"), tensors);
  const auto f = tile::parse(text("2"), "t");
  REQUIRE(f.has_value());
  Tensors t = tensors;
  const auto oracle = tile::interpret(*f, t);
  REQUIRE_FALSE(oracle.has_value());
  CHECK(oracle.error().text == "kernel t: 11:5: assert: too large (workgroup 0, 0, 0)");
  for (TestDevice& d : test_devices()) {
    Tensors got = tensors;
    const auto status = run_on(d, *f, got);
    REQUIRE_FALSE(status.has_value());
    CHECK(status.error().text == oracle.error().text);
    Tensors other{{"x", random_tensor(types::i32, {7, 64}, true, 9)}, {"y", zeros(types::i32, {7, 64})}};
    const auto refused = run_on(d, *f, other);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().text == "kernel t: 2:3: 7 is not a multiple of 2");
  }
}

TEST_CASE("rows of 1 to 7 bits an element, from any element on, beside other threads' elements") {
  for (const char* name : {"u1", "u2", "u3", "u4", "u5", "u6", "u7", "i3", "i6"}) {
    const Type t = *parse_type(name);
    const Tensors tensors{{"x", random_tensor(t, {5, 43}, false, 9)}, {"y", random_tensor(t, {5, 43}, false, 2)}};
    for (const char* at : {"3", "8", "n"})
      check(fmt::format("kernel t(x: {0}[R, C], y: {0}[R, C], n: i64) grid [2] subgroups 2 {{\n  r = group_id(0) * 3\n"
                        "  store(y[r, n + 1], load(x[r, {1}], [3, 32]))\n}}\n",
                        name, at),
            tensors, 0, {{"n", 5}});
    check(fmt::format("kernel t(x: {0}[R, C], y: {0}[R, C]) grid [1] subgroups 1 {{\n"
                      "  store(y[0, 0], load(x[0, 0], [5, 64]))\n}}\n",
                      name),
          tensors);
  }
}

TEST_CASE("every operation of the table ran on a device") {
  if (test_devices().empty()) return;
  for (int i = 0; i < tile::kOpCount; i++) {
    const auto op = static_cast<tile::Op>(i);
    if (op == tile::Op::convert) continue;  // inference's own: every case above makes some
    CHECK_MESSAGE(covered.contains(op), "no case runs " << std::string(tile::info(op).name));
  }
}
