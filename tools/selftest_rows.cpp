// The cases of the kernels that multiply no matrices: softmax, rmsnorm, transpose.
#include <fmt/format.h>

#include <functional>
#include <random>

#include "shaders/kernels.h"
#include "tools/agreement.h"
#include "tools/execution.h"
#include "tools/selftest.h"

namespace lathe::tools {
namespace {

constexpr int64_t kRows = 4, kColumns = 256, kTile = 32;  ///< of a workgroup
constexpr int kSubgroups = 4;

struct Shape {
  int64_t r, c;
};
constexpr Shape kShapes[] = {{1, 1}, {3, 256}, {7, 33}, {5, 255}, {64, 104}, {13, 1}, {1, 97}, {97, 61}};

struct RowKernel {
  const char* name;
  Result<tile::Func> (*build)(Type);
  bool exact;  ///< moves values only: every bit must be the oracle's
  std::function<Coord(Shape)> y;
};
const RowKernel kKernels[] = {
    {"softmax", [](Type t) { return kernels::softmax(t, kRows, kColumns, kSubgroups); }, false,
     [](Shape s) {
       return Coord{s.r, s.c};
     }},
    {"rmsnorm", [](Type t) { return kernels::rmsnorm(t, kRows, kColumns, kSubgroups); }, false,
     [](Shape s) {
       return Coord{s.r, s.c};
     }},
    {"transpose", [](Type t) { return kernels::transpose(t, kTile, kSubgroups); }, true,
     [](Shape s) {
       return Coord{s.c, s.r};
     }},
};

tile::HostTensor tensor(Type t, Coord shape, bool random) {
  std::mt19937 numbers(static_cast<uint32_t>(shape.back() + 1));
  tile::HostTensor out{t, std::move(shape), {}};
  int64_t count = 1;
  for (const int64_t extent : out.shape) count *= extent;
  for (int64_t i = 0; i < count; i++) out.raw.push_back(random ? encode(t, 4 * (numbers() * 0x1p-32) - 2) : 0);
  return out;
}

Binding arguments(const tile::Func& f, const RowKernel& k, Type t, Shape s) {
  Binding b;
  b.sizes = {{"R", s.r}, {"C", s.c}};
  for (const tile::Param& p : f.params) {
    const std::string& name = f.values[p.value].name;
    if (name == "x") b.tensors[name] = tensor(t, {s.r, s.c}, true);
    if (name == "weight") b.tensors[name] = tensor(t, {s.c}, true);
    if (name == "y") b.tensors[name] = tensor(t, k.y(s), false);
    if (name == "eps") b.scalars[name] = encode(types::f32, 1e-5);
  }
  return b;
}

Result<std::string> test(const Place& place, const RowKernel& k, Type t, Shape s) {
  TRY_ASSIGN(const tile::Func f, k.build(t));
  Binding got = arguments(f, k, t, s), want = got;
  TRY(execute(place, f, got, false));
  TRY(tile::interpret(f, want.tensors, want.scalars));
  const Agreement a = compare(got.tensors["y"], want.tensors["y"], false);
  if (!a.holds) return bad_input(a.worst);
  if (k.exact && got.tensors["y"].raw != want.tensors["y"].raw) return bad_input("the bits differ");
  return std::string();
}

}  // namespace

void test_rows(const Place& place, Report& report) {
  if (!place.device) return;  // the interpreter is what the others are compared with
  for (const RowKernel& k : kKernels) {
    for (const Type t : {types::f16, types::f32})
      for (const Shape s : kShapes) {
        const std::string name = fmt::format("{}/{}/{}x{}", k.name, to_string(t), s.r, s.c);
        if (report.wants(name)) report.add(place.id, name, test(place, k, t, s));
      }
    report.end_group(place.id, k.name);
  }
}

}  // namespace lathe::tools
