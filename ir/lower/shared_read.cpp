#include "ir/lower/shared_read.h"

#include <algorithm>
#include <map>
#include <optional>

#include "ir/lower/banks.h"

namespace lathe {
namespace {

constexpr int kMatrixBits = 16;
constexpr int64_t kMatrixRow = 8;  ///< elements of one row of a matrix load

/// The accesses of a matrix load: elements arrive in the order of its register slots.
std::optional<SharedRead> by_rows(const MatrixLoad& load, const Layout& l, const MemoryLayout& m) {
  if (l.rank() != load.registers.rank()) return std::nullopt;
  const auto fitted = fit(l, load.registers, {});
  if (!fitted) return std::nullopt;
  const Layout outer = *divide(fitted->layout, load.registers);
  SharedRead out{outer * load.addresses, {}, &load};
  if (wide_access(out.place, m, kMatrixRow).elems != kMatrixRow) return std::nullopt;
  std::map<Coord, int64_t> slot_at;
  for (int64_t s = 0; s < l.slots(); s++) slot_at[l.at(0, s)] = s;
  const int64_t per = load.registers.slots();
  for (int64_t o = 0; o < outer.slots(); o++) {
    Access a{{}, out.place.at(0, o * kMatrixRow)};
    for (int64_t s = 0; s < per; s++) a.slots.push_back(slot_at.at(fitted->layout.at(0, o * per + s)));
    out.accesses.push_back(std::move(a));
  }
  return out;
}

}  // namespace

std::vector<Access> plan_accesses(const Layout& l, const MemoryLayout& m, int64_t max_elems) {
  const int64_t elems = wide_access(l, m, max_elems).elems;
  std::vector<std::pair<int64_t, int64_t>> by_address;
  for (int64_t s = 0; s < l.slots(); s++) by_address.push_back({m.address(l.at(0, s)), s});
  std::sort(by_address.begin(), by_address.end());
  std::vector<Access> out;
  for (size_t i = 0; i < by_address.size(); i += static_cast<size_t>(elems)) {
    Access a;
    for (size_t e = i; e < i + static_cast<size_t>(elems); e++) a.slots.push_back(by_address[e].second);
    a.first = l.at(0, a.slots[0]);
    out.push_back(a);
  }
  return out;
}

int64_t own_elems(const SharedRead& r) {
  return r.load ? r.load->registers.S().back().n : static_cast<int64_t>(r.accesses[0].slots.size());
}

int64_t asked_elems(const SharedRead& r) { return r.load ? r.load->addresses.slots() : own_elems(r); }

SharedRead plan_shared_read(const Target& t, const Layout& l, const MemoryLayout& m, int elem_bits, int64_t max_elems) {
  const int bytes = std::max(1, elem_bits / 8);
  SharedRead own{l, plan_accesses(l, m, max_elems)};
  const auto count = [](const SharedRead& r) { return static_cast<int64_t>(r.accesses.size()); };
  own.phases =
      bank_phases(l, m, static_cast<int64_t>(own.accesses[0].slots.size()), bytes, t.subgroup_size) * count(own);
  if (elem_bits != kMatrixBits) return own;
  for (const MatrixLoad& load : t.matrix_loads) {
    auto rows = by_rows(load, l, m);
    if (!rows || count(*rows) >= count(own)) continue;
    rows->phases = bank_phases(rows->place, m, kMatrixRow, bytes, t.subgroup_size) * count(*rows);
    if (rows->phases <= own.phases) return *rows;
  }
  return own;
}

}  // namespace lathe
