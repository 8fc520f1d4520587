#include "backends/ptx/registers.h"

#include <fmt/format.h>

#include <iterator>

namespace lathe::ptx {
namespace {

using thread::Scalar;
constexpr PartInfo kParts[] = {
    {"b1", Scalar::b1, 1, Class::pred, 1},       {"i8", Scalar::i8, 1, Class::b32, 32},
    {"i16", Scalar::i16, 1, Class::b16, 16},     {"i32", Scalar::i32, 1, Class::b32, 32},
    {"i64", Scalar::i64, 1, Class::b64, 64},     {"f16", Scalar::f16, 1, Class::b16, 16},
    {"bf16", Scalar::bf16, 1, Class::b16, 16},   {"f32", Scalar::f32, 1, Class::b32, 32},
    {"i16x2", Scalar::i16, 2, Class::b32, 32},   {"f16x2", Scalar::f16, 2, Class::b32, 32},
    {"bf16x2", Scalar::bf16, 2, Class::b32, 32},
};
static_assert(std::size(kParts) == kPartCount);

struct ClassInfo {
  const char *prefix, *type;
};
constexpr ClassInfo kClasses[] = {{"%p", ".pred"}, {"%h", ".b16"}, {"%r", ".b32"}, {"%rd", ".b64"}};

Part find_part(Scalar scalar, int lanes) {
  for (int i = 0; i < kPartCount; i++)
    if (kParts[i].scalar == scalar && kParts[i].lanes == lanes) return static_cast<Part>(i);
  return Part::b1;
}

}  // namespace

const PartInfo& info(Part part) { return kParts[static_cast<size_t>(part)]; }

Part scalar_part(Scalar scalar) { return find_part(scalar, 1); }

Part part_of(const thread::Type& type) {
  const bool pairs = thread::bits(type.scalar) == 16 && type.lanes % 2 == 0;
  return find_part(type.scalar, pairs ? 2 : 1);
}

int register_count(const thread::Type& type) { return type.lanes / info(part_of(type)).lanes; }

const char* type_name(Class cls) { return kClasses[static_cast<size_t>(cls)].type; }

std::string to_string(Reg reg) { return fmt::format("{}{}", kClasses[static_cast<size_t>(reg.cls)].prefix, reg.id); }

std::string join(const std::vector<Reg>& regs) {
  std::string text;
  for (size_t i = 0; i < regs.size(); i++) text += (i == 0 ? "" : ", ") + to_string(regs[i]);
  return text;
}

Regs RegisterFile::fresh(const thread::Type& type) {
  Regs regs(static_cast<size_t>(register_count(type)));
  for (Reg& reg : regs) reg = fresh(info(part_of(type)).cls);
  return regs;
}

std::string RegisterFile::declarations() const {
  std::string text;
  for (size_t i = 0; i < used_.size(); i++)
    if (used_[i] > 0) text += fmt::format("\t.reg {} {}<{}>;\n", kClasses[i].type, kClasses[i].prefix, used_[i] + 1);
  return text;
}

}  // namespace lathe::ptx
