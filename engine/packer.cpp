#include "engine/packer.h"

#include <fmt/format.h>

#include "ir/pass/pack_program.h"

namespace lathe {
namespace {

uint64_t plain_bytes(const PackedLayout& p, int64_t rows, int64_t columns) {
  return static_cast<uint64_t>(rows) * static_cast<uint64_t>(columns) * (plain_type(p.elem).bits / 8u);
}

int64_t ceildiv(int64_t a, int64_t b) { return a / b + (a % b != 0); }

}  // namespace

Type plain_type(Type elem) {
  if (elem.is_int() && elem.bits <= 8) return elem.kind == Kind::uint ? types::u8 : types::i8;
  return elem;
}

Result<Unit> Packer::run(Program program, const PackedLayout& p, int64_t rows, int64_t columns, uint64_t plain,
                         uint64_t packed) {
  TRY_ASSIGN(const tile::Func f, program(p, plain_type(p.elem)));
  Kernel::Arguments args;
  args.values = {{"plain", plain}, {"stored", packed}};
  args.sizes = {{"N", rows}, {"K", columns}, {"NU", ceildiv(rows, p.unit_n())}, {"KU", ceildiv(columns, p.unit_k())}};
  CompileOptions options;
  options.lower.aligned = is_aligned(f, args);
  auto& kernel = kernels_[fmt::format("{} {}", options.lower.aligned, tile::print(f))];
  if (!kernel) {
    TRY_ASSIGN(kernel, Kernel::build(*device_, target_, f, options));
  }
  TRY_ASSIGN(const auto launch, kernel->launch(args));
  return lift(device_->run({&launch, 1}));
}

Result<Unit> Packer::pack(const PackedLayout& p, int64_t rows, int64_t columns, std::span<const std::byte> plain,
                          const runtime::Buffer& to) {
  const uint64_t want = plain_bytes(p, rows, columns);
  if (plain.size() != want)
    return bad_input(fmt::format("{} x {} elements of {} are {} bytes, not {}", rows, columns,
                                 to_string(plain_type(p.elem)), want, plain.size()));
  TRY_ASSIGN(const auto from, lift(device_->alloc(want)));
  TRY(lift(device_->upload(*from, 0, plain)));
  return run(pack_program, p, rows, columns, from->address(), to.address());
}

Result<std::vector<std::byte>> Packer::unpack(const PackedLayout& p, int64_t rows, int64_t columns,
                                              const runtime::Buffer& from) {
  const uint64_t bytes = plain_bytes(p, rows, columns);
  TRY_ASSIGN(const auto to, lift(device_->alloc(bytes)));
  TRY(run(unpack_program, p, rows, columns, to->address(), from.address()));
  std::vector<std::byte> plain(bytes);
  TRY(lift(device_->download(*to, 0, plain)));
  return plain;
}

}  // namespace lathe
