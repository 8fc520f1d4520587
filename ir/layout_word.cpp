// Word layouts: where each bit of each code of a lane stands in the lane's packed words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ir/layout_modes.h"

namespace lathe {
namespace {

int64_t slots_of(const Plane& plane) {
  int64_t n = 1;
  for (const auto& [size, stride] : plane.digits) n *= size;
  return n;
}

const Plane* plane_of(const std::vector<Plane>& planes, int bit) {
  const auto holds = [bit](const Plane& p) { return p.low_bit <= bit && bit < p.low_bit + p.bits; };
  const auto found = std::find_if(planes.begin(), planes.end(), holds);
  return found == planes.end() ? nullptr : &*found;
}

int64_t address(const Plane& plane, int64_t slot, int bit) {
  int64_t a = plane.base + bit - plane.low_bit;
  for (size_t i = plane.digits.size(); i-- > 0;) {
    const auto& [n, stride] = plane.digits[i];
    a += slot % n * stride;
    slot /= n;
  }
  return a;
}

}  // namespace

int64_t WordLayout::slots() const { return planes.empty() ? 0 : slots_of(planes.front()); }

int64_t WordLayout::at(int64_t slot, int bit) const {
  const Plane* plane = plane_of(planes, bit);
  if (!plane) internal_abort("word layout: no plane holds this bit of the code");
  return address(*plane, slot, bit);
}

bool WordLayout::dense() const {
  const int64_t total = width * slots();
  std::vector<bool> used(static_cast<size_t>(total));
  for (int bit = 0; bit < width; ++bit) {
    const Plane* plane = plane_of(planes, bit);
    if (!plane || slots_of(*plane) != slots()) return false;
    for (int64_t slot = 0; slot < slots(); ++slot) {
      const int64_t a = address(*plane, slot, bit);
      if (a < 0 || a >= total || used[static_cast<size_t>(a)]) return false;
      used[static_cast<size_t>(a)] = true;
    }
  }
  return total > 0;
}

std::string to_string(const WordLayout& w) {
  std::vector<std::string> planes;
  for (const Plane& p : w.planes) {
    std::vector<std::string> digits;
    for (const auto& [n, stride] : p.digits) digits.push_back(fmt::format("{}:{}", n, stride));
    planes.push_back(
        fmt::format("bits {}..{} at {} [{}]", p.low_bit, p.low_bit + p.bits - 1, p.base, fmt::join(digits, " ")));
  }
  return fmt::format("{}-bit codes: {}", w.width, fmt::join(planes, ", "));
}

}  // namespace lathe
