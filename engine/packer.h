#pragma once
// Tensors into and out of their stored order, by the device itself.
#include "engine/kernel.h"
#include "runtime/device.h"

namespace lathe {

/// What a packed parameter's elements are in plain form: codes of at most 8 bits come as bytes, the rest as they are.
Type plain_type(Type elem);

/// Runs pack and unpack programs; their kernels are kept for the next tensor. Used by one thread at a time; the device
/// must outlive it.
class Packer {
 public:
  Packer(runtime::Device& device, Target target) : device_(&device), target_(std::move(target)) {}

  /// rows x columns elements of plain_type(p.elem) to `to`, which holds p.bytes(rows, columns). bad_input: another
  /// size.
  Result<Unit> pack(const PackedLayout& p, int64_t rows, int64_t columns, std::span<const std::byte> plain,
                    const runtime::Buffer& to);
  /// The inverse.
  Result<std::vector<std::byte>> unpack(const PackedLayout& p, int64_t rows, int64_t columns,
                                        const runtime::Buffer& from);

 private:
  using Program = Result<tile::Func> (*)(const PackedLayout&, Type);
  Result<Unit> run(Program program, const PackedLayout& p, int64_t rows, int64_t columns, uint64_t plain,
                   uint64_t packed);

  runtime::Device* device_;
  Target target_;
  std::map<std::string, std::shared_ptr<Kernel>> kernels_;  ///< by program text and alignment
};

}  // namespace lathe
