#pragma once
// The peer in the same process: NVIDIA's cuBLAS on f16, found when it is asked for. Nothing of it is needed to build.
#include <memory>
#include <string>

#include "bench/matmul.h"

struct CUstream_st;

namespace lathe::bench {

class Cublas {
 public:
  /// `file`: the library; "": by its names, where the loader and the toolkit keep it. unsupported: no CUDA device, or
  /// no library. The device must outlive it.
  static Result<std::unique_ptr<Cublas>> open(runtime::Device& device, const std::string& file,
                                              const Rotation& rotation);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  const std::string& version() const { return version_; }  ///< "cuBLAS 13.0.2 from FILE"
  /// The problem's weights rounded to f16, in copies of its own; y is f16, sums are f32.
  Result<Unit> set(const Problem& problem);
  Row run(int64_t m);

 private:
  struct Functions;
  explicit Cublas(runtime::Device& device) : device_(device) {}
  Result<Unit> measure(Row& row);
  runtime::Result<runtime::Unit> multiply(CUstream_st* stream, int64_t m, int launches);

  runtime::Device& device_;
  Rotation rotation_;
  std::shared_ptr<const Functions> functions_;
  void* handle_ = nullptr;
  std::string version_;
  const Problem* problem_ = nullptr;
  std::unique_ptr<runtime::Buffer> workspace_, x_, y_;
  std::vector<std::unique_ptr<runtime::Buffer>> weights_;
};

}  // namespace lathe::bench
