#pragma once
// Any tile program on tensors of the host: compiled for their sizes, packed where a parameter is, launched.
#include "engine/kernel.h"
#include "engine/packer.h"
#include "ir/tile_interp.h"

namespace lathe {

using HostTensors = std::map<std::string, tile::HostTensor>;

/// One program on one device. The device and the target must outlive it. Used by one thread at a time.
class TileRun {
 public:
  /// Arguments as tile::interpret takes them; tensors are read for their shapes only.
  static Result<TileRun> build(runtime::Device& device, const Target& target, const tile::Func& f,
                               const HostTensors& tensors, const std::map<std::string, uint64_t>& scalars,
                               CompileOptions options = {});
  /// Every view to the device, packed ones in their stored order.
  Result<Unit> upload(const HostTensors& tensors);
  /// Ready to be launched, after upload.
  Result<runtime::LaunchRecord> launch() const { return kernel_->launch(args_); }
  /// Every view back from the device.
  Result<Unit> download(HostTensors& tensors);

  const Kernel& kernel() const { return *kernel_; }

 private:
  struct View {
    std::string name;
    bool strided;
    std::unique_ptr<runtime::Buffer> buffer;
  };
  TileRun(runtime::Device& device, const Target& target) : device_(&device), packer_(device, target) {}
  const PackedLayout* packed(const std::string& name) const;

  runtime::Device* device_;
  Packer packer_;
  std::shared_ptr<Kernel> kernel_;
  Kernel::Arguments args_;
  std::vector<View> views_;
};

/// build, upload, one launch, download: what tile::interpret does, on a device.
Result<Unit> run_tile(runtime::Device& device, const Target& target, const tile::Func& f, HostTensors& tensors,
                      const std::map<std::string, uint64_t>& scalars = {}, std::vector<std::string>* printed = nullptr,
                      CompileOptions options = {});

}  // namespace lathe
