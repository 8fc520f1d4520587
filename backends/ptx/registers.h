#pragma once
// Virtual registers, and how a value of the Thread IR lies in them.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ir/thread.h"

namespace lathe::ptx {

/// What one register holds: one element, or two of 16 bits. Rows are chosen by it.
enum class Part : uint8_t { b1, i8, i16, i32, i64, f16, bf16, f32, i16x2, f16x2, bf16x2 };
inline constexpr int kPartCount = 11;

enum class Class : uint8_t { pred, b16, b32, b64 };
struct PartInfo {
  const char* name;
  thread::Scalar scalar;
  int lanes;
  Class cls;  ///< i8 lies in a .b32 register with the upper bits zero
  int bits;   ///< of the register
};
const PartInfo& info(Part part);

/// The part that holds one lane of `scalar`.
Part scalar_part(thread::Scalar scalar);
/// The part the registers of a value of this type hold: pairs of 16-bit lanes where the lane count is even.
Part part_of(const thread::Type& type);
int register_count(const thread::Type& type);

struct Reg {
  Class cls = Class::b32;
  uint32_t id = 0;
  bool operator==(const Reg&) const = default;
};
using Regs = std::vector<Reg>;
const char* type_name(Class cls);                ///< ".b32"
std::string to_string(Reg reg);                  ///< "%r7"
std::string join(const std::vector<Reg>& regs);  ///< "%r7, %r8"

/// Hands out registers and declares them at the end.
class RegisterFile {
 public:
  Reg fresh(Class cls) { return {cls, ++used_[static_cast<size_t>(cls)]}; }
  Regs fresh(const thread::Type& type);
  std::string declarations() const;

 private:
  std::array<uint32_t, 4> used_{};
};

}  // namespace lathe::ptx
