#include "runtime/vulkan/spirv_words.h"

#include <cstring>

#include <fmt/format.h>

namespace lathe::runtime::vulkan {
namespace {

constexpr uint32_t kMagic = 0x07230203, kHeaderWords = 5;
constexpr uint32_t kOpEntryPoint = 15, kGlCompute = 5;

/// Operands of OpEntryPoint: execution model, function, name (NUL-terminated, padded to words), interface.
bool is_compute_entry(std::span<const uint32_t> instruction, std::string_view entry) {
  if ((instruction[0] & 0xFFFF) != kOpEntryPoint || instruction.size() < 4 || instruction[1] != kGlCompute)
    return false;
  const auto* name = reinterpret_cast<const char*>(instruction.data() + 3);
  const size_t room = (instruction.size() - 3) * 4;
  return entry == std::string_view(name, strnlen(name, room));
}

}  // namespace

Result<std::vector<uint32_t>> spirv_words(std::span<const std::byte> code, std::string_view entry) {
  const auto bad = [](std::string text) {
    return fail(Error::Code::bad_input, "not a SPIR-V module: " + std::move(text));
  };
  if (code.size() % 4 || code.size() < kHeaderWords * 4) return bad(fmt::format("{} bytes", code.size()));
  std::vector<uint32_t> words(code.size() / 4);
  std::memcpy(words.data(), code.data(), code.size());
  if (words[0] != kMagic) return bad(fmt::format("it begins with {:#010x}", words[0]));
  bool found = false;
  for (size_t at = kHeaderWords; at < words.size();) {
    const size_t length = words[at] >> 16;
    if (length == 0 || length > words.size() - at) return bad(fmt::format("word {} begins no instruction", at));
    found = found || is_compute_entry(std::span(words).subspan(at, length), entry);
    at += length;
  }
  if (!found) return fail(Error::Code::bad_input, fmt::format("the module has no compute entry point \"{}\"", entry));
  return words;
}

}  // namespace lathe::runtime::vulkan
