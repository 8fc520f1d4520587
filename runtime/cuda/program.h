#pragma once
// A kernel from PTX text or from a cubin.
#include <memory>

#include "runtime/cuda/core.h"

namespace lathe::runtime::cuda {

class CudaProgram final : public Program {
 public:
  /// The driver's binary of a PTX text is kept in the disk cache.
  static Result<std::unique_ptr<Program>> create(const std::shared_ptr<Core>& core, std::span<const std::byte> code,
                                                 const ProgramInfo& info);
  CudaProgram(std::shared_ptr<const Module> module, CUfunction function, const ProgramInfo& info, ProgramStats stats)
      : Program(info, std::move(stats)), module_(std::move(module)), function_(function) {}
  /// Shared by the graphs and queues that launched it.
  const std::shared_ptr<const Module>& module() const { return module_; }
  CUfunction function() const { return function_; }
  const Core& core() const { return module_->core(); }

 private:
  std::shared_ptr<const Module> module_;
  CUfunction function_;
};

}  // namespace lathe::runtime::cuda
