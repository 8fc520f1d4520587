// seeds FOLDER: writes what the fuzzing of each reader starts from, a folder a reader: inputs that are read, small
// enough to be changed in many ways.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "backends/ptx/target.h"
#include "backends/sim/serial.h"
#include "backends/spirv/profiles.h"
#include "backends/spirv/target.h"
#include "engine/target_entry.h"
#include "ir/compile.h"
#include "model/npy.h"
#include "shaders/kernels.h"

namespace {

using namespace lathe;
namespace fs = std::filesystem;

/// Throws where the disk does: there is nothing else to do.
class Seeds {
 public:
  explicit Seeds(fs::path folder) : folder_(std::move(folder)) { fs::remove_all(folder_); }
  void add(const std::string& reader, const std::string& name, std::string_view bytes) const {
    fs::create_directories(folder_ / reader);
    std::ofstream out(folder_ / reader / name, std::ios::binary);
    out.exceptions(std::ios::failbit | std::ios::badbit);
    out << bytes;
  }
  std::string path(const std::string& reader, const std::string& name) const {
    fs::create_directories(folder_ / reader);
    return folder_ / reader / name;
  }

 private:
  fs::path folder_;
};

/// The program without the lines of its comments, which only make it long.
std::string without_comments(const fs::path& file) {
  std::ifstream in(file);
  std::string text, line;
  while (std::getline(in, line))
    if (!line.starts_with("//")) text += line + "\n";
  return text;
}

void tile_texts(const Seeds& seeds) {
  for (const char* folder : {"tests/golden", "tests/fuzz"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(LATHE_SOURCE_DIR) / folder))
      if (entry.path().extension() == ".tile") {
        const fs::path parent = entry.path().parent_path().filename();
        seeds.add("tile", fmt::format("{}_{}", parent.string(), entry.path().filename().string()),
                  without_comments(entry.path()));
      }
}

/// The operations, whose names no mutation makes.
void tile_words(const Seeds& seeds) {
  std::string words;
  for (int op = 0; op < tile::kOpCount; op++)
    words += fmt::format("\"{}(\"\n", tile::info(static_cast<tile::Op>(op)).name);
  seeds.add("words", "tile", words);
}

Result<Unit> shipped_texts(const Seeds& seeds) {
  const std::pair<const char*, Result<tile::Func>> made[] = {
      {"softmax", kernels::softmax(types::f16, 4, 256, 4)},
      {"rmsnorm", kernels::rmsnorm(types::f32, 2, 64, 1)},
      {"transpose", kernels::transpose(types::f32, 16, 1)},
      {"matmul", kernels::matmul({.zeros = true}, types::f16, true, {})},
  };
  for (const auto& [name, kernel] : made) {
    TRY(kernel);
    seeds.add("tile", fmt::format("{}.tile", name), tile::print(*kernel));
  }
  return Unit{};
}

/// Programs of the simulator: short ones, as each instruction takes a hundred bytes.
Result<Unit> programs(const Seeds& seeds) {
  const std::pair<const char*, const char*> texts[] = {
      {"copy", "kernel k(x: f32[M], y: f32[M]) grid [1] { store(y[0], load(x[0], [32])) }"},
      {"sum", "kernel k(x: f16[M], y: f16[1]) grid [M] { store(y[0], reduce(load(x[group_id(0)], [64]), 0, sum)) }"},
      {"loop",
       "kernel k(x: i32[M], y: i32[32]) grid [1] { a = fill(i32[32], 0) for i in 0 .. M step 32 "
       "{ a = a + load(x[i], [32]) } store(y[0], a) }"},
      {"shared",
       "kernel k(x: i8[32], y: i8[8, 4]) grid [1] subgroups 2 { store(y[0, 0], transpose(reshape("
       "load(x[0], [32]), [4, 8]), [1, 0])) }"},
  };
  TRY_ASSIGN(const Target target, ptx_target("sm_80"));
  for (const auto& [name, text] : texts) {
    TRY_ASSIGN(const tile::Func kernel, tile::parse(text, name));
    TRY_ASSIGN(const Compiled c, compile(kernel, target, {}));
    const auto bytes = sim::serialise(c.func);
    seeds.add("program", name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  return Unit{};
}

/// The target itself, as the cache keeps it, and as `lathe devices --json` prints it; one matrix instruction of each is
/// enough and leaves more of an input to the rest.
Result<Unit> targets(const Seeds& seeds) {
  const auto add = [&](std::string_view name, Target t) {
    t.atoms.resize(1);
    seeds.add("target", fmt::format("{}.json", name), to_json(t));
    seeds.add("target", fmt::format("{}_listed.json", name),
              fmt::format("{{\"devices\": [{{\"id\": \"{}\", \"target\": {}}}]}}", name, to_json(t)));
    seeds.add("entry", std::string(name), to_text({t, {"coopmat 8x8x8 f16 f32: refused"}}));
  };
  for (const auto name : ptx_target_names()) {
    TRY_ASSIGN(const Target t, ptx_target(name));
    add(name, t);
  }
  for (const auto name : spirv_profile_names()) {
    TRY_ASSIGN(const Target t, spirv_profile(name));
    add(name, t);
  }
  return Unit{};
}

Result<Unit> tensors(const Seeds& seeds) {
  const std::pair<Type, const char*> listed[] = {{types::f16, "F16"}, {types::f32, "F32"}, {model::kF64, "F64"},
                                                 {types::i8, "I8"},   {types::i64, "I64"}, {types::boolean, "BOOL"}};
  std::string index, bytes;
  for (const auto& [type, dtype] : listed) {
    model::Tensor t{type, {2, 3}, {}};
    t.data.resize(static_cast<size_t>(6 * model::element_bytes(type)), std::byte{1});
    const std::string name = model::type_name(type);
    TRY(model::write_npy(seeds.path("npy", name + ".npy"), t));
    index += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[2,3],"data_offsets":[{},{}]}})", index.empty() ? "" : ",",
                         name, dtype, bytes.size(), bytes.size() + t.data.size());
    bytes.append(t.data.size(), '\1');
  }
  seeds.add("npy", "fortran.npy",
            std::string("\x93NUMPY\2\0", 8) + std::string("\x40\0\0\0", 4) +
                fmt::format("{:<63}\n", "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1, 2)}") +
                std::string(16, '\2'));
  const std::string header = fmt::format(R"({{"__metadata__":{{"format":"pt"}},{}}})", index);
  std::string length;
  for (size_t i = 0; i < 8; i++) length += static_cast<char>(header.size() >> (8 * i) & 255);
  seeds.add("safetensors", "all.safetensors", length + header + bytes);
  return Unit{};
}

Result<Unit> write_all(const Seeds& seeds) {
  tile_texts(seeds);
  tile_words(seeds);
  TRY(shipped_texts(seeds));
  TRY(programs(seeds));
  TRY(targets(seeds));
  return tensors(seeds);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: seeds FOLDER\n";
    return 2;
  }
  const auto done = write_all(Seeds(arguments[1]));
  if (!done) std::cerr << done.error().text << "\n";
  return done ? 0 : 1;
}
