// The program itself, run as a user runs it: exit codes, messages, files left behind.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "backends/spirv/profiles.h"
#include "model/npy.h"
#include "runtime/device.h"
#include "tests/scratch_files.h"

namespace lathe {
namespace {

using Json = nlohmann::json;

const model::ScratchFolder& folder() {
  static const model::ScratchFolder scratch("lathe-cli-test");
  return scratch;
}

struct Ran {
  int code;
  std::string out, err;
};

/// In the scratch folder, so that file names stay short; `first`: a command of the shell.
Ran run(const std::string& arguments, const std::string& first = "true") {
  const std::string out = folder().path("stdout"), err = folder().path("stderr");
  const std::string command = fmt::format("cd '{}' && {} && '{}' {} >'{}' 2>'{}'", folder().path("."), first,
                                          LATHE_BINARY, arguments, out, err);
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, model::bytes_of(out), model::bytes_of(err)};
}

/// Refused: exit code 2, nothing on stdout, one message that holds every piece.
Ran check_refused(const std::string& arguments, const std::vector<std::string>& pieces) {
  const Ran r = run(arguments);
  CAPTURE(arguments);
  CAPTURE(r.err);
  CHECK(r.code == 2);
  CHECK(r.out == "");
  CHECK(r.err.starts_with("lathe: "));
  CHECK(r.err.ends_with("\n"));
  for (const std::string& piece : pieces) CHECK_MESSAGE(r.err.find(piece) != std::string::npos, piece);
  return r;
}
void check_refused_in_one_line(const std::string& arguments, const std::vector<std::string>& pieces) {
  const Ran r = check_refused(arguments, pieces);
  CHECK_MESSAGE(std::count(r.err.begin(), r.err.end(), '\n') == 1, r.err);
}

template <class T>
void write(const std::string& file, Type type, std::vector<int64_t> shape, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  const auto done = model::write_npy(folder().path(file), {type, std::move(shape), {bytes.begin(), bytes.end()}});
  REQUIRE_MESSAGE(done, done.error().text);
}

std::vector<float> ramp(int64_t count, float low, float step) {
  std::vector<float> out;
  for (int64_t i = 0; i < count; i++) out.push_back(low + step * static_cast<float>(i % 37));
  return out;
}

std::vector<float> read(const std::string& file) {
  const auto t = model::read_npy(folder().path(file));
  REQUIRE_MESSAGE(t, t.error().text);
  return model::f32_values(*t);
}

constexpr const char* kScale =
    R"(kernel scale(x: f32[M, N], y: f32[M, N], factor: f32) grid [ceildiv(M, 8), ceildiv(N, 8)] {
  t = load(x[group_id(0) * 8, group_id(1) * 8], [8, 8])
  store(y[group_id(0) * 8, group_id(1) * 8], t * factor)
}
)";

/// Files that most cases use: x.npy and w.npy for matmul, scale.tile and in.npy for run.
void write_inputs() {
  write("x.npy", types::f32, {5, 70}, ramp(5 * 70, -1, 0.05f));
  write("w.npy", types::f32, {9, 70}, ramp(9 * 70, -2, 0.11f));
  write("in.npy", types::f32, {11, 13}, ramp(11 * 13, -3, 0.25f));
  folder().write("scale.tile", kScale);
}

/// No workgroup ends; what a driver's compiler ends by itself (llvmpipe's does) takes hours.
constexpr const char* kEndless = R"(kernel endless(y: i32[N]) grid [50000, 9999] {
  n = item(load(y[0], [1]))
  while n < 1 {
    n = n * 2
  }
  store(y[0], fill(i32[1], n))
}
)";

std::vector<std::string> executing_devices() {
  std::vector<std::string> ids{"interp"};
  for (const auto& d : runtime::list_devices()) ids.push_back(d.id);
  return ids;
}

}  // namespace

TEST_CASE("arguments that make no command are refused") {
  write_inputs();
  check_refused_in_one_line("", {"--help"});
  check_refused_in_one_line("frobnicate", {"--help"});
  check_refused_in_one_line("matmul --x x.npy", {"--w"});
  check_refused_in_one_line("compile matmul_u4", {"--target"});
  CHECK(run("--help").code == 0);
  for (const char* command :
       {"devices", "compile", "explain", "run", "matmul", "selftest", "demo", "bench matmul", "bench report"})
    CHECK(run(fmt::format("{} --help", command)).code == 0);
}

TEST_CASE("matmul refuses files and numbers that are wrong, and writes nothing then") {
  write_inputs();
  const auto matmul = [](const std::string& rest) { return "matmul --device interp --out y.npy " + rest; };
  const std::string whole = model::bytes_of(folder().path("w.npy"));
  folder().write("cut.npy", whole.substr(0, whole.size() - 3));
  folder().write("short.npy", whole.substr(0, 9));
  std::string lying = whole;
  lying.replace(lying.find("70)"), 3, "71)");
  folder().write("lying.npy", lying);
  folder().write("text.npy", "no array at all");
  folder().write("bad.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10));
  write("narrow.npy", types::f32, {9, 69}, ramp(9 * 69, 0, 1));
  write("flat.npy", types::f32, {630}, ramp(630, 0, 1));
  write("empty.npy", types::f32, {0, 70}, std::vector<float>{});
  write("whole.npy", types::i32, {9, 70}, std::vector<int32_t>(630, 1));
  write("bias.npy", types::f32, {8}, ramp(8, 0, 1));
  std::vector<float> infinite = ramp(630, 0, 1);
  infinite[71] = std::numeric_limits<float>::infinity();
  write("infinite.npy", types::f32, {9, 70}, infinite);

  for (const char* file :
       {"cut.npy", "short.npy", "lying.npy", "text.npy", "absent.npy", "flat.npy", "empty.npy", "whole.npy"})
    check_refused_in_one_line(matmul(fmt::format("--x x.npy --type i4 --w {}", file)), {file});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --w bad.safetensors:w"), {"bad.safetensors"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --w bad.safetensors"), {"FILE.safetensors:TENSOR"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --w narrow.npy"), {"[5, 70]", "[9, 69]"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --w infinite.npy"), {"[1, 1]", "inf"});
  check_refused_in_one_line(matmul("--x x.npy --type f16 --w infinite.npy"), {"[1, 1]", "inf"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --w w.npy --bias bias.npy"), {"bias", "[8]"});
  check_refused_in_one_line(matmul("--x x.npy --type q5 --w w.npy"), {"q5", "i4, u4, f16"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --zero int --w w.npy"), {"symmetric"});
  check_refused_in_one_line(matmul("--x x.npy --type u4 --zero half --w w.npy"), {"half"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --group 0 --w w.npy"), {"--group"});
  check_refused_in_one_line(matmul("--x x.npy --type i4 --group 48 --w w.npy"), {"48"});
  check_refused_in_one_line("matmul --x x.npy --type i4 --w w.npy --device cuda:77", {"cuda:77"});
  check_refused_in_one_line("matmul --x x.npy --type i4 --w w.npy --device toaster", {"toaster"});
  check_refused_in_one_line("matmul --device interp --x x.npy --type i4 --w w.npy --out nowhere/y.npy",
                            {"nowhere/y.npy"});
  CHECK_FALSE(std::filesystem::exists(folder().path("y.npy")));
}

TEST_CASE("a small matmul holds its bound on the interpreter and on every device") {
  write_inputs();
  write("bias9.npy", types::f32, {9}, ramp(9, -4, 1));
  for (const std::string& device : executing_devices())
    for (const char* type :
         {"--type i4 --group 32", "--type u4 --zero int --group none", "--type u4 --zero none", "--type f16"}) {
      const Ran r = run(fmt::format(
          "matmul --device {} --x x.npy --w w.npy {} --bias bias9.npy --out y.npy --w-out wd.npy --check --json",
          device, type));
      CAPTURE(device);
      CAPTURE(type);
      REQUIRE_MESSAGE(r.code == 0, r.err);
      const Json j = Json::parse(r.out);
      CHECK(j["device"] == device);
      for (const char* field :
           {"path", "atoms", "schedule", "pack_id", "weight_bytes", "max_abs_err", "max_rel_err", "us"})
        CHECK_MESSAGE(j.contains(field), field);
      CHECK(j["of_bound"].get<double>() <= 1);
      CHECK(j["us"].get<double>() > 0);
      // The files agree with each other: y = x . wd^T + bias.
      const auto x = read("x.npy"), wd = read("wd.npy"), y = read("y.npy"), bias = read("bias9.npy");
      REQUIRE(y.size() == 5 * 9);
      REQUIRE(wd.size() == 9 * 70);
      for (size_t m = 0; m < 5; m++)
        for (size_t n = 0; n < 9; n++) {
          double sum = bias[n], size = 1;
          for (size_t k = 0; k < 70; k++) {
            sum += double{x[m * 70 + k]} * wd[n * 70 + k];
            size += std::abs(double{x[m * 70 + k]} * wd[n * 70 + k]);
          }
          CHECK(std::abs(y[m * 9 + n] - sum) <= 2e-3 * size);
        }
    }
}

TEST_CASE("run computes on the interpreter and on every device, and --check agrees") {
  write_inputs();
  for (const std::string& device : executing_devices()) {
    const Ran r = run(fmt::format(
        "run scale.tile --device {} --in x=in.npy --out y=out.npy --set factor=-2.5 --check --time --json", device));
    CAPTURE(device);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    const Json j = Json::parse(r.out);
    CHECK(j["outputs"][0]["agrees"] == true);
    CHECK(j["us"].get<double>() > 0);
    const auto in = read("in.npy"), out = read("out.npy");
    REQUIRE(out.size() == in.size());
    for (size_t i = 0; i < in.size(); i++) CHECK(out[i] == -2.5f * in[i]);
  }
}

TEST_CASE("run takes codes as bytes, views with strides and packed parameters, alike everywhere") {
  write_inputs();
  folder().write(
      "codes.tile",
      R"(kernel codes(w: packed u4[N, K], p: u4[N, K], y: f32[N, K] stride [ld, 1]) grid [ceildiv(N, 16), ceildiv(K, 64)] {
  q = load(w[group_id(0) * 16, group_id(1) * 64], [16, 64])
  r = load(p[group_id(0) * 16, group_id(1) * 64], [16, 64])
  store(y[group_id(0) * 16, group_id(1) * 64], cast(q, f32) * 16 + cast(r, f32))
}
)");
  std::vector<uint8_t> codes, others;
  for (int i = 0; i < 19 * 70; i++)
    codes.push_back(static_cast<uint8_t>(i * 7 % 16)), others.push_back(static_cast<uint8_t>(i * 5 % 16));
  write("codes.npy", types::u8, {19, 70}, codes);
  write("others.npy", types::u8, {19, 70}, others);
  for (const std::string& device : executing_devices()) {
    const Ran r = run(
        fmt::format("run codes.tile --device {} --in w=codes.npy p=others.npy --out y=out.npy --set ld=77", device));
    CAPTURE(device);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    const auto out = read("out.npy");
    REQUIRE(out.size() == codes.size());
    for (size_t i = 0; i < out.size(); i++) CHECK(out[i] == static_cast<float>(codes[i] * 16 + others[i]));
  }
  codes[3] = 16;
  write("codes.npy", types::u8, {19, 70}, codes);
  check_refused_in_one_line("run codes.tile --in w=codes.npy p=others.npy --out y=never.npy --set ld=77",
                            {"codes.npy", "16", "u4"});
  CHECK_FALSE(std::filesystem::exists(folder().path("never.npy")));
}

TEST_CASE("run says which argument is missing, unknown or of another shape") {
  write_inputs();
  write("tall.npy", types::f32, {12, 13}, ramp(12 * 13, 0, 1));
  write("bytes.npy", types::u8, {11, 13}, std::vector<uint8_t>(11 * 13, 1));
  const std::string out = " --out y=never.npy", factor = " --set factor=1";
  check_refused_in_one_line("run scale.tile --in x=in.npy" + factor, {"'y' is missing", "--out y="});
  check_refused_in_one_line("run scale.tile" + out + factor, {"'x' is missing"});
  check_refused_in_one_line("run scale.tile --in x=in.npy" + out, {"'factor'", "--set factor="});
  check_refused_in_one_line("run scale.tile --in x=in.npy --set factor=two" + out, {"factor", "f32"});
  check_refused_in_one_line("run scale.tile --in x=in.npy --set speed=1" + out + factor, {"speed"});
  check_refused_in_one_line("run scale.tile --in x=in.npy z=in.npy" + out + factor, {"z", "x, y"});
  check_refused_in_one_line("run scale.tile --in x=in.npy y=tall.npy" + out + factor, {"tall.npy", "12", "M = 11"});
  check_refused_in_one_line("run scale.tile --in x=in.npy --set M=12" + out + factor, {"in.npy", "M = 12"});
  check_refused_in_one_line("run scale.tile --in x=bytes.npy" + out + factor, {"bytes.npy", "f32", "u8"});
  check_refused_in_one_line("run scale.tile --in x=absent.npy" + out + factor, {"absent.npy"});
  check_refused_in_one_line("run absent.tile --in x=in.npy" + out + factor, {"absent.tile"});
  check_refused_in_one_line("run scale.tile --device vulkan:99 --in x=in.npy" + out + factor, {"vulkan:99"});
  folder().write("wrong.tile", "kernel k(x: f32[M]) grid [1] {\n  store(x[0], y)\n}\n");
  check_refused("run wrong.tile --in x=in.npy", {"wrong.tile:2:15: error: unknown name 'y'", "    store(x[0], y)\n"});
  CHECK_FALSE(std::filesystem::exists(folder().path("never.npy")));
}

TEST_CASE("compile shows every level, the same tile program for every target") {
  write_inputs();
  const std::string sm75 = run("compile scale.tile --target sm_75").out;
  CHECK(sm75.starts_with("kernel scale("));
  CHECK(run("compile scale.tile --target sm_90a").out == sm75);
  CHECK(run("compile scale.tile --target sm_80 --emit tile --after layouts").out.find("layout=\"") !=
        std::string::npos);
  CHECK(run("compile scale.tile --target sm_80 --emit thread").out.find("load_global") != std::string::npos);
  CHECK(run("compile scale.tile --target sm_80 --emit thread --after lower").code == 0);
  for (const char* kernel : {"matmul_u4", "matmul_i4", "matmul_f16", "softmax", "rmsnorm", "transpose"}) {
    const Ran r = run(fmt::format("compile {} --target sm_80 --emit ptx -o kernel.ptx", kernel));
    CHECK_MESSAGE(r.code == 0, kernel, ": ", r.err);
    CHECK(model::bytes_of(folder().path("kernel.ptx")).find(".entry") != std::string::npos);
  }
}

TEST_CASE("compile takes a machine that is not there, by name") {
  const Ran help = run("compile --help");
  for (const std::string_view name : spirv_profile_names()) {
    const Ran r = run(fmt::format("compile matmul_u4 --target {} --emit spvasm -o kernel.spvasm", name));
    CHECK_MESSAGE(r.code == 0, name, ": ", r.err);
    CHECK(model::bytes_of(folder().path("kernel.spvasm")).find("OpEntryPoint GLCompute") != std::string::npos);
    CHECK(help.out.find(name) != std::string::npos);
  }
}

TEST_CASE("compile takes a device's profile, and refuses what is none") {
  write_inputs();
  const Json devices = Json::parse(run("devices --json").out);
  for (const Json& d : devices["devices"]) {
    if (!d.contains("target") || d["target"]["backend"] != "spirv") continue;
    folder().write("profile.json", d["target"].dump());
    const Ran r = run("compile scale.tile --target profile.json --emit spvasm");
    REQUIRE_MESSAGE(r.code == 0, r.err);
    CHECK(r.out.find("OpEntryPoint GLCompute") != std::string::npos);
    CHECK(run("compile scale.tile --target profile.json --emit spirv").out.substr(0, 4) == "\x03\x02\x23\x07");
    check_refused_in_one_line("compile scale.tile --target profile.json --emit ptx", {"no PTX"});
    folder().write("all.json", devices.dump());
    CHECK(run("compile scale.tile --target 'all.json#" + d["id"].get<std::string>() + "'").code == 0);
  }
  check_refused_in_one_line("compile scale.tile --target sm_12", {"sm_12", "sm_75", "rdna3"});
  check_refused_in_one_line("compile scale.tile --target scale.tile", {"scale.tile"});
  folder().write("deep.json", "{\"target\": " + std::string(200000, '[') + std::string(200000, ']') + "}");
  check_refused_in_one_line("compile scale.tile --target deep.json", {"deep.json"});
  check_refused_in_one_line("compile nothing --target sm_80", {"nothing", "matmul_u4"});
  check_refused_in_one_line("compile scale.tile --target sm_80 --emit elf", {"elf"});
  check_refused_in_one_line("compile scale.tile --target sm_80 --emit tile --after optimise", {"optimise"});
  check_refused_in_one_line("compile scale.tile --target sm_80 --emit spirv", {"no SPIR-V"});
  check_refused_in_one_line("compile matmul_u4 --target sm_80 --set pace=3", {"pace", "tile_n"});
  check_refused_in_one_line("compile matmul_u4 --target sm_80 --set tile_n=many", {"tile_n=many"});
  check_refused_in_one_line("compile matmul_u4 --target sm_80 --emit ptx --set group=48 -o never.ptx", {"48"});
  CHECK_FALSE(std::filesystem::exists(folder().path("never.ptx")));
}

TEST_CASE("explain says what limits a kernel in its last line, and draws layouts") {
  write_inputs();
  const Ran r = run("explain matmul_i4 --target sm_90a --set tokens=8 --set N=28672 --svg drawn");
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(r.out.starts_with("matmul_i4 on sm_90a\n"));
  CHECK(r.out.find("\nlimited by memory bandwidth") != std::string::npos);
  CHECK(r.out.find("M=8 N=28672") != std::string::npos);
  CHECK(model::bytes_of(folder().path("drawn/acc.svg")).starts_with("<svg"));
  const Ran json = run("explain scale.tile --target rdna3 --set M=100 --json");
  REQUIRE_MESSAGE(json.code == 0, json.err);
  CHECK(Json::parse(json.out)["problem"]["M"] == 100);
  check_refused_in_one_line("explain scale.tile --target sm_12", {"sm_12"});
  check_refused_in_one_line("explain absent.tile --target sm_80", {"absent.tile", "matmul_u4"});
  check_refused_in_one_line("explain scale.tile", {"--target"});
  check_refused_in_one_line("explain scale.tile --target sm_80 --set Q=1", {"Q", "M, N"});
  check_refused_in_one_line("explain scale.tile --target sm_80 --set M=0", {"M=0"});
  check_refused_in_one_line("explain scale.tile --target sm_80 --set M=1000000000 --set N=1000000000", {"grid"});
  check_refused_in_one_line("explain matmul_i4 --target sm_80 --set tile_n=20", {"no matrix instruction", "m 20"});
  check_refused_in_one_line("explain scale.tile --target sm_80 --svg scale.tile/inside", {"scale.tile/inside"});
  folder().write("wrong.tile", "kernel wrong(");
  check_refused("explain wrong.tile --target sm_80", {"wrong.tile:1"});
}

TEST_CASE("the demo's layer is found and within its bound on every device") {
  for (const std::string& device : executing_devices()) {
    const Ran r = run("demo --device " + device);
    CHECK_MESSAGE(r.code == 0, r.err);
    for (const char* m : {" 1 x 512 x 1536", " 16 x 512 x 1536", " 64 x 512 x 1536"})
      CHECK_MESSAGE(r.out.find(m) != std::string::npos, r.out);
  }
}

TEST_CASE("bench times what it has checked, as a table, as JSON and as a page") {
  for (const auto& d : runtime::list_devices()) {
    const std::string matmul = fmt::format("bench matmul --device {} --shape 96x64 --m 1,3..4 --no-cublas ", d.id);
    const Ran table = run(matmul + "--type u4b8 f16 --html page.html");
    REQUIRE_MESSAGE(table.code == 0, table.err);
    for (const char* piece : {"u4b8 g128", "f16", "96x64", "TFLOPS", "cliffs: "})
      CHECK_MESSAGE(table.out.find(piece) != std::string::npos, table.out);
    CHECK(table.err.find("96x64") != std::string::npos);
    const std::string page = model::bytes_of(folder().path("page.html"));
    CHECK(page.find("bench matmul --device " + d.id) != std::string::npos);
    CHECK(page.ends_with("</body></html>\n"));

    const Ran json = run(matmul + "--type u4 --group 32 --json");
    REQUIRE_MESSAGE(json.code == 0, json.err);
    std::vector<Json> lines;
    std::istringstream in(json.out);
    for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
    REQUIRE(lines.size() == 2 + 3);
    CHECK(lines[0].contains("command"));
    CHECK(lines[1]["device"] == d.id);
    for (size_t i = 2; i < lines.size(); i++) {
      const Json& j = lines[i];
      for (const char* field :
           {"by", "device", "type", "k", "n", "m", "schedule", "path", "atoms", "launches", "replays", "copies", "gb_s",
            "tflops", "weight_bytes", "peak_bytes", "compile_ms", "driver_ms"})
        CHECK_MESSAGE(j.contains(field), field);
      CHECK(j["of_bound"].get<double>() <= 1);
      CHECK(j["us"]["min"].get<double>() > 0);
      CHECK(j["us"]["min"] <= j["us"]["median"]);
      CHECK(j["us"]["median"] <= j["us"]["max"]);
      CHECK(j["peak_bytes"] >= j["weight_bytes"]);
    }
    CHECK(json.err.find("u4 g32") != std::string::npos);  // the table, as progress

    folder().write("earlier.json", json.out);
    const Ran joined = run("bench report earlier.json earlier.json --html joined.html");
    CHECK_MESSAGE(joined.code == 0, joined.err);
    CHECK(joined.out.find("u4 g32") != std::string::npos);
    folder().write("sweep", fmt::format("{0} 96 64 2 0 0 0 0 0 0 0 0\n{0} 96 64 2 7 8 32 1 1 1 1 0\n", d.id));
    const Ran sweep = run("bench matmul --no-cublas --sweep sweep --peer earlier.json");
    CHECK_MESSAGE(sweep.code == 0, sweep.err);
    CHECK(sweep.out.find("u4b8 g128") != std::string::npos);
  }
}

TEST_CASE("tune measures candidates beside the chosen schedule, and says what it found") {
  for (const auto& d : runtime::list_devices()) {
    const Ran r =
        run(fmt::format("tune matmul --device {} --shape 256x64 --m 1 --simulate 2 --measure 1 --no-keep "
                        "--rows rows.def",
                        d.id));
    REQUIRE_MESSAGE(r.code == 0, r.err);
    CHECK(r.out.find("256x64") != std::string::npos);
    CHECK(r.out.find(" measured, ") != std::string::npos);
    const std::string rows = model::bytes_of(folder().path("rows.def"));
    CHECK((rows.empty() || rows.starts_with("CHOICE(\"" + d.api + "\", ")));
  }
  check_refused_in_one_line("tune", {"--help"});
  check_refused_in_one_line("tune matmul --shape 96x64 --measure 0", {"--measure"});
  const Ran simulated = run("tune matmul --device sim:sm_80 --shape 96x64");
  CHECK(simulated.code == 2);
  CHECK(simulated.err.find("no speed") != std::string::npos);
}

TEST_CASE("bench refuses what cannot be measured, and a wrong result is no success") {
  write_inputs();
  check_refused_in_one_line("bench", {"--help"});
  check_refused_in_one_line("bench matmul --device interp --shape 96x64", {"no speed"});
  check_refused_in_one_line("bench matmul", {"--shape", "--model"});
  check_refused_in_one_line("bench matmul --shape 96", {"96"});
  check_refused_in_one_line("bench matmul --model gpt-9", {"gpt-9", "llama-3.1-8b"});
  check_refused_in_one_line("bench matmul --shape 96x64 --m 5..1", {"5..1"});
  check_refused_in_one_line("bench matmul --shape 96x64 --type q5", {"q5", "u4b8"});
  check_refused_in_one_line("bench matmul --shape 96x64 --x f8", {"f8"});
  check_refused_in_one_line("bench matmul --sweep absent", {"absent"});
  check_refused_in_one_line("bench matmul --shape 96x64 --peer scale.tile", {"scale.tile:1"});
  check_refused_in_one_line("bench report absent.json", {"absent.json"});
  for (const char* id : {"sim:sm_80", "cuda:77"}) {
    const Ran r = run(fmt::format("bench matmul --device {} --shape 96x64 --m 1", id));
    CHECK(r.code == 2);
    CHECK(r.out == "");
    CHECK(r.err.find(id) != std::string::npos);
  }
  for (const auto& d : runtime::list_devices()) {
    const Ran r =
        run(fmt::format("bench matmul --device {} --shape 96x64 --m 1 --group 48 --no-cublas --html h.html", d.id));
    CHECK(r.code == 2);
    CHECK(r.err.ends_with("lathe: some cases could not be measured\n"));
    CHECK(r.out.find("48") != std::string::npos);
    CHECK(model::bytes_of(folder().path("h.html")).find("class=\"bad\"") != std::string::npos);
  }
  folder().write("wrong.json",
                 R"({"by":"lathe","device":"cuda:0","type":"u4","k":8,"n":8,"m":1,"error":"wrong: x","wrong":true})");
  const Ran wrong = run("bench report wrong.json");
  CHECK(wrong.code == 1);
  CHECK(wrong.out.find("wrong: x") != std::string::npos);
}

TEST_CASE("selftest ends with its counts") {
  const Ran r = run("selftest --device interp --filter 'matmul/i4-g32/n37'");
  CHECK(r.code == 0);
  CHECK(r.out.ends_with("\n2 passed, 0 failed, 0 skipped\n"));
  const Ran json = run("selftest --device interp --filter 'matmul/i4-g32/n37' --json");
  CHECK(Json::parse(json.out)["passed"] == 2);
  check_refused_in_one_line("selftest --device interp --filter '('", {"--filter"});
  check_refused_in_one_line("selftest --device interp --filter 'no such case'", {"no such case"});
  check_refused_in_one_line("selftest --device cuda:99", {"cuda:99"});
}

TEST_CASE("a kernel that does not end is reported in one line, and the program ends") {
  write_inputs();
  folder().write("endless.tile", kEndless);
  std::vector<std::string> ids = executing_devices();
  ids.emplace_back("sim:sm_80");
  for (const std::string& id : ids) {
    CAPTURE(id);
    check_refused_in_one_line(
        fmt::format("run endless.tile --device {} --timeout 0.3 --out y=endless.npy --set N=1", id), {"end"});
    CHECK_FALSE(std::filesystem::exists(folder().path("endless.npy")));
  }
  check_refused_in_one_line("run endless.tile --timeout 0 --out y=endless.npy --set N=1", {"--timeout"});
}

#ifndef __SANITIZE_ADDRESS__  // which takes terabytes of addresses for itself
TEST_CASE("the host's memory runs out: one line, and the exit code of a request that cannot be met") {
  write_inputs();
  folder().write("one.tile", "kernel one(y: i32[N]) grid [1] {\n  store(y[0], fill(i32[8], 1))\n}\n");
  const std::string arguments = "run one.tile --device sim:sm_80 --out y=y.npy --set N=";
  CHECK(run(arguments + "1000", "ulimit -v 2000000").code == 0);
  const Ran r = run(arguments + "500000000", "ulimit -v 2000000");
  CHECK(r.code == 2);
  CHECK(r.err == "lathe: out of memory on the host\n");
}
#endif

}  // namespace lathe
