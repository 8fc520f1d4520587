#pragma once
// What ptxas makes of a kernel, where the toolkit is: registers, spills, machine code and the loop in it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "backends/ptx/emit.h"
#include "tests/scratch_files.h"

namespace lathe {

/// "release 13.0, V13.0.88", or "" where there is no ptxas.
inline std::string ptxas_version(const model::ScratchFolder& scratch) {
  if (std::system(fmt::format("ptxas --version >{} 2>/dev/null", scratch.path("version")).c_str()) != 0) return "";
  const std::string text = model::bytes_of(scratch.path("version"));
  const size_t at = text.find("release ");
  return at == text.npos ? "" : text.substr(at, text.find('\n', at) - at);
}

template <class T>
T field(const std::string& bytes, size_t at) {
  T value{};
  if (at + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

/// The bytes of the section ".text.<entry>" of an ELF64 file.
inline std::string code_of(const std::string& elf, const std::string& entry) {
  constexpr size_t kSectionBytes = 64;
  const auto table = field<uint64_t>(elf, 40);
  const auto sections = field<uint16_t>(elf, 60), names = field<uint16_t>(elf, 62);
  const auto name_table = field<uint64_t>(elf, table + names * kSectionBytes + 24);
  for (size_t s = 0; s < sections; s++) {
    const size_t at = table + s * kSectionBytes;
    const size_t name = name_table + field<uint32_t>(elf, at);
    const std::string wanted = ".text." + entry + '\0';
    if (name < elf.size() && elf.compare(name, wanted.size(), wanted) == 0)
      return elf.substr(field<uint64_t>(elf, at + 24), field<uint64_t>(elf, at + 32));
  }
  return "";
}

/// The number that stands before `words` in the text.
inline int64_t number_before(const std::string& text, const std::string& words) {
  size_t at = text.find(words);
  if (at == text.npos) return 0;
  size_t begin = at;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') begin--;
  return std::strtoll(text.substr(begin, at - begin).c_str(), nullptr, 10);
}

struct Assembled {
  int64_t registers = 0, spills = 0;
  std::string code;  ///< the machine's, 16 bytes an instruction
};

inline Result<Assembled> assemble(thread::Func f, const Target& t, const std::string& base) {
  f.name = "k";
  TRY_ASSIGN(const std::string ptx, emit_ptx(f, t));
  std::ofstream(base + ".ptx") << ptx;
  const int status =
      std::system(fmt::format("ptxas -v -arch={} {}.ptx -o {}.cubin >{}.log 2>&1", t.name, base, base, base).c_str());
  const std::string log = model::bytes_of(base + ".log");
  if (status != 0) return internal_error("ptxas: " + log);
  return Assembled{number_before(log, " registers"), number_before(log, " bytes spill stores"),
                   code_of(model::bytes_of(base + ".cubin"), "k")};
}

/// Instructions of a loop of machine code.
struct MachineLoop {
  int64_t instructions = 0, multiplies = 0;  ///< multiplies: matrix instructions
};

/// The loop with the most matrix instructions. Where a branch leads is told by two encodings; the branch to itself that
/// ends every kernel says which.
inline std::optional<MachineLoop> machine_loop(const std::string& code) {
  constexpr uint64_t kBranch = 0x947, kMma = 0x23c, kWarpgroupMma = 0xdf0;
  const auto word = [&](size_t i, size_t half) { return field<uint64_t>(code, i * 16 + half * 8); };
  const auto op = [&](size_t i) { return word(i, 0) & 0xfff; };
  const auto low = [&](size_t i) { return word(i, 0) >> 16 & 0xff; };
  const auto high = [&](size_t i) {
    constexpr int kBits = 48;
    const uint64_t field48 = word(i, 0) >> 34 | (word(i, 1) & 0x3ffff) << 30;
    return static_cast<int64_t>(field48 << (64 - kBits)) >> (64 - kBits);
  };
  std::vector<size_t> branches;
  for (size_t i = 0; i < code.size() / 16; i++)
    if (op(i) == kBranch) branches.push_back(i);
  if (branches.empty()) return std::nullopt;
  const bool wide = low(branches.back()) != 0;  // eight more bits, below the others
  const auto target = [&](size_t i) {
    const int64_t words = wide ? high(i) * 256 + static_cast<int64_t>(low(i)) : high(i);
    return static_cast<int64_t>(i) + 1 + words / 4;
  };
  if (target(branches.back()) != static_cast<int64_t>(branches.back())) return std::nullopt;
  std::optional<MachineLoop> best;
  for (const size_t end : branches) {
    if (target(end) < 0 || target(end) >= static_cast<int64_t>(end)) continue;
    MachineLoop loop;
    for (auto i = static_cast<size_t>(target(end)); i <= end; i++) {
      loop.instructions++;
      loop.multiplies += op(i) == kMma || op(i) == kWarpgroupMma;
    }
    if (!best || loop.multiplies > best->multiplies) best = loop;
  }
  return best;
}

}  // namespace lathe
