// What `lathe explain` says: of kernels broken on purpose the cause, of those we ship none of these.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "explain/drawing.h"
#include "fuzz/generate.h"
#include "tests/scratch_files.h"
#include "tests/shipped_kernels.h"

namespace lathe::explain {
namespace {

const std::string kFolder = std::string(LATHE_SOURCE_DIR) + "/tests/explain/";
const std::string kShown = "linear_u4";

tile::Func parsed(const std::string& text) {
  auto f = tile::parse(text, "test.tile");
  REQUIRE_MESSAGE(f, f.error().text);
  return std::move(*f);
}

Subject compiled(const tile::Func& f, const std::string& target, bool aligned = true, bool accumulator = false) {
  CompileOptions options;
  options.lower.aligned = aligned;
  if (accumulator) options.factor = tile::Factor::accumulator;
  auto s = compile_subject(f, test_target(target).value(), options);
  REQUIRE_MESSAGE(s, s.error().text);
  return std::move(*s);
}

Explanation explained(const Subject& s, const Sizes& sizes = {}) {
  auto e = explain(s, sizes);
  REQUIRE_MESSAGE(e, e.error().text);
  CHECK(e->not_counted == "");
  return std::move(*e);
}

std::string last_line(const std::string& text) {
  const size_t end = text.size() - 1;
  return text.substr(text.rfind('\n', end - 1) + 1, end - text.rfind('\n', end - 1) - 1);
}

/// The cause, and a last line that holds these pieces.
void check_cause(const Subject& s, const Explanation& e, Cause cause, const std::vector<std::string>& pieces) {
  const std::string line = last_line(to_text(s, e));
  CAPTURE(line);
  CHECK(e.limit.cause == cause);
  CHECK(line == "limited by " + e.limit.text);
  for (const std::string& piece : pieces) CHECK_MESSAGE(line.find(piece) != std::string::npos, piece);
}

constexpr Schedule kPrefill{.tile_n = 128, .tile_m = 64, .tile_k = 64, .split = {4, 1, 1}, .stages = 3};
const NamedFormat kF16{"f16", {.code = types::f16, .group = 0}};
const Sizes kManyTokens{{"M", 4096}, {"N", 4096}, {"K", 4096}};

/// Shared memory with the pieces of each kilobyte in another order: what swizzles and padding keep apart meets again.
void lose_swizzle(thread::Func& f) {
  using thread::Op;
  constexpr int64_t kRound = 1024, kPieces = 0x70, kRows = 0x380;
  for (thread::SharedArray& a : f.shared) a.bytes = (a.bytes + kRound - 1) / kRound * kRound;
  for (BlockId block = 0; block < f.blocks.size(); block++) {
    const std::vector<InstId> old = f.blocks[block].insts;
    thread::Builder b(f, f.add_block());
    for (const InstId id : old) {
      const Op op = f.inst(id).op;
      if (op == Op::load_shared || op == Op::load_matrix || op == Op::store_shared || op == Op::async_copy) {
        const ValueId at = b.emit(Op::add, {f.inst(id).args[0], b.i32(f.inst(id).attr.imm)});
        const auto part = [&](Op move, int64_t mask) {
          return b.emit(move, {b.emit(Op::band, {at, b.i32(mask)}), b.i32(3)});
        };
        const ValueId rest = b.emit(Op::band, {at, b.i32(~(kPieces | kRows))});
        const ValueId moved = b.emit(Op::bor, {part(Op::shl, kPieces), part(Op::shr_u, kRows)});
        f.inst(id).args[0] = b.emit(Op::bor, {rest, moved});
        f.inst(id).attr.imm = 0;
      }
      f.blocks[b.block].insts.push_back(id);
    }
    f.blocks[block].insts = f.blocks[b.block].insts;
    f.blocks[b.block].insts.clear();
    if (b.block == f.blocks.size() - 1) f.blocks.pop_back();
  }
  REQUIRE(thread::verify(f));
}

}  // namespace

TEST_CASE("the whole text for one kernel") {
  const tile::Func f = parsed(model::bytes_of(kFolder + kShown + ".tile"));
  const Subject s = compiled(f, "sm_80");
  const std::string text = to_text(s, explained(s, {{"M", 512}}));
  const std::string file = kFolder + kShown + ".txt";
  if (std::getenv("BLESS")) std::ofstream(file) << text;
  CHECK(text == model::bytes_of(file));
}

TEST_CASE("shared memory whose swizzle is lost: bank conflicts, and the line that has them") {
  Subject s = compiled(shipped_matmul(kF16, kPrefill, false).func, "sm_80");
  CHECK(explained(s, kManyTokens).limit.cause >= Cause::latency);
  lose_swizzle(s.compiled.func);
  const Explanation e = explained(s, kManyTokens);
  check_cause(s, e, Cause::bank_conflicts,
              {"shared memory bank conflicts", "wavefronts where", fmt::format("line {}", e.limit.line)});
  CHECK(s.text.find("a = load(x") != std::string::npos);
  const int line =
      static_cast<int>(std::count(s.text.begin(), s.text.begin() + static_cast<int>(s.text.find("a = load(x")), '\n')) +
      1;
  CHECK(e.limit.line == line);
}

TEST_CASE("a layout pin that reads shared memory by columns: bank conflicts") {
  const char* const text =
      R"(kernel turn(x: f32[M, N], y: f32[N, M]) grid [ceildiv(M, 64), ceildiv(N, 64)] subgroups 4 {
  room = shared(f32[64, 64])
  store(room[0, 0], load(x[group_id(0) * 64, group_id(1) * 64], [64, 64]))
  t = load(room[0, 0], [64, 64]) layout="64x64 T[2:k32 64:m1] S[32:k1]"
  store(y[group_id(1) * 64, group_id(0) * 64], transpose(t, [1, 0]))
}
)";
  for (const char* target : {"sm_80", "rdna3"}) {
    const Subject s = compiled(parsed(text), target);
    check_cause(s, explained(s), Cause::bank_conflicts, {"32.0 wavefronts where 4.0 would do, line 4"});
  }
}

TEST_CASE("a k step of 16: too short for its barriers") {
  Schedule schedule = kPrefill;
  schedule.tile_k = 16;
  for (const char* target : {"sm_80", "nvidia"}) {
    const Subject s = compiled(shipped_matmul(kF16, schedule, false).func, target);
    check_cause(s, explained(s, kManyTokens), Cause::short_step, {"k step too short: barriers", "per 16 k"});
  }
}

TEST_CASE("rows that begin anywhere: scalar loads") {
  for (const char* target : {"sm_80", "nvidia"}) {
    const Subject s = compiled(shipped_matmul(kF16, kPrefill, false).func, target, false);
    check_cause(s, explained(s, {{"M", 4096}, {"N", 4096}, {"K", 4096}}), Cause::sectors,
                {"global loads 2 bytes wide", "sectors where", "(load_global x)"});
  }
}

TEST_CASE("too few bytes on their way, and too few workgroups: latency") {
  Schedule schedule{.tile_n = 32, .tile_m = 8, .tile_k = 64, .split = {1, 1, 1}, .stages = 1};
  const Subject s = compiled(shipped_matmul(kF16, schedule, false).func, "sm_90a");
  const Explanation e = explained(s, {{"M", 1}, {"N", 2048}, {"K", 4096}});
  check_cause(s, e, Cause::latency, {"bytes in flight to a core of 49152 needed", "64 workgroups for 132 cores"});
}

TEST_CASE("no conflict of banks and no sector in vain limits a kernel that we ship") {
  for (const char* target : {"sm_80", "sm_90a", "nvidia"}) {
    const Target t = test_target(target).value();
    const NamedFormat u4{"u4 zero 8", {.code = types::u4, .group = 128, .constant_zero = 8}};
    const auto rows = schedules_of(t, u4.format);
    REQUIRE(rows);
    for (const ScheduleRow& row : rows->rows) {
      const Subject s =
          compiled(shipped_matmul(u4, row.schedule, false).func, target, true, row.schedule.factor_on_accumulator);
      const Explanation e = explained(s, {{"M", row.schedule.tile_m}, {"N", 28672}, {"K", 8192}});
      CAPTURE(fmt::format("{}: {}", target, to_string(row.schedule)));
      CHECK_MESSAGE(e.limit.cause != Cause::bank_conflicts, e.limit.text);
      CHECK_MESSAGE(e.limit.cause != Cause::sectors, e.limit.text);
      CHECK(e.problem.at("G") == 8192 / 128);
    }
  }
}

TEST_CASE("every kernel on every target is explained") {
  for (const char* target : kTestTargets) {
    const Target t = test_target(target).value();
    std::vector<ShippedKernel> kernels = shipped_row_kernels();
    const NamedFormat u4{"u4 zeros", {.code = types::u4, .group = 32, .zeros = true}};
    for (const Schedule& s : schedules(t, u4)) kernels.push_back(shipped_matmul(u4, s, true));
    for (const ShippedKernel& k : kernels) {
      CAPTURE(fmt::format("{}: {}", target, k.name));
      const Subject s = compiled(k.func, target);
      const Explanation e = explained(s);
      CHECK(e.limit.text != "");
      CHECK(e.limit.cause != Cause::unknown);
      const bool told = e.limit.text.find("has no figures") != std::string::npos;
      CHECK(told == (t.speed.device.empty() && e.limit.cause >= Cause::latency));
    }
  }
}

TEST_CASE("random programs are explained") {
  constexpr uint64_t kPrograms = 100;
  for (const char* target : {"sm_90a", "rdna3", "xe2"}) {
    const Target t = test_target(target).value();
    int known = 0;
    for (uint64_t i = 0; i < kPrograms; i++) {
      const auto p = fuzz::generate(1, i, t);
      REQUIRE(p);
      CAPTURE(tile::print(p->func));
      const auto s = compile_subject(p->func, t, {});
      if (!s) continue;
      const auto e = explain(*s, {});
      REQUIRE_MESSAGE(e, e.error().text);
      CHECK(last_line(to_text(*s, *e)).starts_with("limited by "));
      CHECK(nlohmann::json::accept(to_json(*s, *e)));
      for (const Drawing& d : drawings(*e, t.subgroup_size)) CHECK(d.svg.ends_with("</svg>\n"));
      known += e->not_counted.empty();
      CHECK_MESSAGE(e->not_counted == "", e->not_counted);
    }
    MESSAGE(fmt::format("{}: {} of {} programs", target, known, kPrograms));
    CHECK(known > static_cast<int>(kPrograms) / 2);
  }
}

TEST_CASE("atoms that a product does not run on, and why") {
  const auto reason = [](const Explanation& e, const std::string& atom) {
    for (const RefusedAtom& r : e.products.at(0).plan.refused)
      if (r.atom->name == atom) return std::pair(r.why, to_string(r));
    return std::pair(Refusal::preferred, std::string("not refused"));
  };
  const std::string wide = "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16";
  const Schedule decode{.tile_n = 32, .tile_m = 8, .tile_k = 512, .split = {1, 1, 4}, .stages = 1};
  const Explanation few = explained(compiled(shipped_matmul(kF16, decode, false).func, "sm_90a"));
  CHECK(few.products[0].plan.atom->name == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
  CHECK(reason(few, wide).first == Refusal::b_in_registers);
  CHECK(reason(few, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") ==
        std::pair(Refusal::types, std::string("is for bf16 x bf16 -> f32")));
  const Explanation many = explained(compiled(shipped_matmul(kF16, kPrefill, false).func, "sm_90a"));
  CHECK(many.products[0].plan.atom->name == "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16");
  CHECK(reason(many, wide) == std::pair(Refusal::n, std::string("n 64 is no multiple of 256")));
  CHECK(reason(many, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32").first == Refusal::preferred);
  for (const Explanation* e : {&few, &many})  // each other atom has one reason
    CHECK(e->products[0].plan.refused.size() + 1 == test_target("sm_90a").value().atoms.size());
}

TEST_CASE("floors: bytes and operations over the target's figures, where it has some") {
  const tile::Func f = shipped_matmul(kF16, kPrefill, false).func;
  const Explanation known = explained(compiled(f, "sm_80"), {{"M", 128}, {"N", 256}, {"K", 512}});
  CHECK(known.work.bytes == 2 * (128 * 512 + 256 * 512) + 4 * 128 * 256);
  CHECK(known.work.flops == 2.0 * 128 * 256 * 512);
  CHECK(memory_us(known) == doctest::Approx(known.work.bytes / 2039e3));
  CHECK(matrix_us(known) == doctest::Approx(*known.work.flops / 312e6));
  const Subject unknown = compiled(f, "rdna3");
  const Explanation e = explained(unknown);
  CHECK_FALSE(memory_us(e));
  CHECK_FALSE(matrix_us(e));
  CHECK(to_text(unknown, e).find("rdna3 has no figures") != std::string::npos);
}

TEST_CASE("drawings: every tile of a layout, each element's thread and slot, each bank") {
  const Subject s = compiled(shipped_matmul(kF16, kPrefill, false).func, "sm_80");
  const Explanation e = explained(s);
  const auto all = drawings(e, s.target->subgroup_size);
  const auto find = [&](const std::string& file) {
    const auto it = std::find_if(all.begin(), all.end(), [&](const Drawing& d) { return d.file == file; });
    REQUIRE_MESSAGE(it != all.end(), file);
    CHECK(it->svg.starts_with("<svg "));
    CHECK(it->svg.ends_with("</svg>\n"));
    return it->svg;
  };
  const auto has = [](const std::string& svg, const std::string& label) {
    return svg.find(">" + label + "</text>") != svg.npos;
  };
  const std::string acc = find("acc.svg");  // mma m16n8: thread 5 has columns 2, 3 of row 1 in slots 0, 1
  CHECK(has(acc, "5/0..1"));
  CHECK(has(acc, "The first 32 of 128 rows and 32 of 64 columns."));
  CHECK_FALSE(has(acc, "64/0..1"));  // the third subgroup begins at row 64
  const std::string x = find("shared_x.svg");
  CHECK(x.find("wavefronts an access of a subgroup") != std::string::npos);
  CHECK(x.find("stroke=\"black\"") != std::string::npos);
}

TEST_CASE("as JSON") {
  const Subject s = compiled(parsed(model::bytes_of(kFolder + kShown + ".tile")), "sm_80");
  const auto j = nlohmann::json::parse(to_json(s, explained(s, {{"M", 512}})));
  CHECK(j["kernel"] == kShown);
  CHECK(j["problem"]["M"] == 512);
  CHECK(j["problem"]["G"] == 4096 / 64);
  CHECK(j["products"][0]["atom"] == "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
  CHECK(j["products"][0]["refused"].size() > 1);
  CHECK(j["limit"]["cause"] == "matrix");
  CHECK(j["counters"]["loops"].size() == 1);
  const auto w =
      std::find_if(j["copies"].begin(), j["copies"].end(), [](const auto& c) { return c["what"] == "async_copy x"; });
  REQUIRE(w != j["copies"].end());
  CHECK((*w)["bytes"] == 16);
}

}  // namespace lathe::explain
