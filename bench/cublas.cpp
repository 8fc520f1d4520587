#include "bench/cublas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>

#include "runtime/cuda/device.h"

namespace lathe::bench {
namespace {

// Numbers of cublas_api.h and library_types.h.
constexpr int kTransposed = 1, kAsIs = 0;       // cublasOperation_t
constexpr int kF16 = 2;                         // cudaDataType
constexpr int kComputeF32 = 68;                 // cublasComputeType_t
constexpr int kDefaultAlgorithm = -1;           // cublasGemmAlgo_t
constexpr uint64_t kWorkspaceBytes = 32 << 20;  ///< what cuBLAS itself takes on the largest devices

runtime::Result<runtime::Unit> checked(int status, const char* call) {
  if (status == 0) return runtime::Unit{};
  return runtime::fail(runtime::Error::Code::internal, fmt::format("{} answers {}", call, status));
}

/// The toolkit's folders, for machines where the loader is not told of them.
std::vector<std::string> candidates() {
  std::vector<std::string> files;
  for (const char* folder : {"", "/usr/local/cuda/lib64/"})
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"})
      files.push_back(std::string(folder) + name);
  return files;
}

}  // namespace

struct Cublas::Functions {
#define CUBLAS_FUNCTION(name, params) int(*name) params = nullptr;
#include "bench/cublas_functions.def"
  void* library = nullptr;
  Functions() = default;
  Functions(const Functions&) = delete;
  Functions& operator=(const Functions&) = delete;

  /// The library stays loaded: it hands its own threads and handlers to the process.
  static Result<std::shared_ptr<const Functions>> load(const std::string& file) {
    auto f = std::make_shared<Functions>();
    std::string why;
    for (const std::string& candidate : file.empty() ? candidates() : std::vector{file}) {
      f->library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (f->library) break;
      const char* said = dlerror();
      why = said ? said : "it cannot be loaded";
    }
    if (!f->library)
      return unsupported(file.empty() ? "libcublas is not found" : fmt::format("{} is not cuBLAS: {}", file, why));
#define CUBLAS_FUNCTION(name, params)                                  \
  f->name = reinterpret_cast<int(*) params>(dlsym(f->library, #name)); \
  if (!f->name) return unsupported("libcublas is too old: it has no " #name);
#include "bench/cublas_functions.def"
    return f;
  }
};

Result<std::unique_ptr<Cublas>> Cublas::open(runtime::Device& device, const std::string& file,
                                             const Rotation& rotation) {
  std::unique_ptr<Cublas> peer(new Cublas(device));
  peer->rotation_ = rotation;
  TRY_ASSIGN(peer->functions_, Functions::load(file));
  TRY_ASSIGN(peer->workspace_, lift(device.alloc(kWorkspaceBytes)));
  int version = 0;
  const auto create = [&](CUstream_st*) -> runtime::Result<runtime::Unit> {
    TRY(checked(peer->functions_->cublasCreate_v2(&peer->handle_), "cublasCreate"));
    return checked(peer->functions_->cublasGetVersion_v2(peer->handle_, &version), "cublasGetVersion");
  };
  TRY(lift(runtime::cuda::with_stream(device, create)));
  Dl_info where{};
  dladdr(reinterpret_cast<const void*>(peer->functions_->cublasGemmEx), &where);
  peer->version_ = fmt::format("cuBLAS {}.{}.{} from {}", version / 10000, version / 100 % 100, version % 100,
                               where.dli_fname ? where.dli_fname : "an unknown file");
  return peer;
}

Cublas::~Cublas() {
  if (!handle_) return;
  // Fails on a lost device, where there is nothing left to do.
  static_cast<void>(runtime::cuda::with_stream(device_, [&](CUstream_st*) -> runtime::Result<runtime::Unit> {
    return checked(functions_->cublasDestroy_v2(handle_), "cublasDestroy");
  }));
}

Result<Unit> Cublas::set(const Problem& problem) {
  weights_.clear(), x_.reset(), y_.reset();
  problem_ = &problem;
  if (problem.format().activation != types::f16) return unsupported("cuBLAS is measured with f16 tokens only");
  const std::vector<uint16_t> w = problem.f16_weights();
  const auto outputs = static_cast<uint64_t>(problem.most_tokens() * problem.shape().n);
  TRY_ASSIGN(x_, lift(device_.alloc(problem.x().size_bytes())));
  TRY_ASSIGN(y_, lift(device_.alloc(outputs * sizeof(uint16_t))));
  TRY(lift(device_.upload(*x_, 0, std::as_bytes(problem.x()))));
  const auto bytes = std::as_bytes(std::span(w));
  for (int64_t i = 0; i < copies_of(bytes.size(), rotation_, device_); i++) {
    TRY_ASSIGN(auto copy, lift(device_.alloc(bytes.size())));
    TRY(lift(device_.upload(*copy, 0, bytes)));
    weights_.push_back(std::move(copy));
  }
  return Unit{};
}

Row Cublas::run(int64_t m) {
  Row row{.by = "cuBLAS f16", .device = device_.info().id, .type = "f16", .shape = problem_->shape()};
  row.m = m;
  if (const auto done = measure(row); !done) row.error = done.error().text;
  return row;
}

Result<Unit> Cublas::measure(Row& row) {
  row.copies = static_cast<int64_t>(weights_.size());
  row.launches = launches_of(*problem_, row.m, row.copies, device_);
  row.weight_bytes = weights_[0]->bytes();
  // Once outside of a graph: it loads its kernels at their first use.
  TRY(lift(runtime::cuda::with_stream(device_, [&](CUstream_st* s) { return multiply(s, row.m, 1); })));
  TRY_ASSIGN(const auto graph,
             lift(runtime::cuda::capture(device_, [&](CUstream_st* s) { return multiply(s, row.m, row.launches); })));
  return check_and_time(device_, *graph, *y_, types::f16, *problem_, row);
}

/// y (m x n) = x (m x k) . w^T in rows is y^T = w . x^T in the columns that cuBLAS counts by: w is k x n there.
runtime::Result<runtime::Unit> Cublas::multiply(CUstream_st* stream, int64_t m, int launches) {
  const auto at = [](const runtime::Buffer& b) { return reinterpret_cast<void*>(b.address()); };
  const Functions& f = *functions_;
  const float one = 1, zero = 0;
  const int n = static_cast<int>(problem_->shape().n), k = static_cast<int>(problem_->shape().k);
  TRY(checked(f.cublasSetStream_v2(handle_, stream), "cublasSetStream"));
  TRY(checked(f.cublasSetWorkspace_v2(handle_, at(*workspace_), kWorkspaceBytes), "cublasSetWorkspace"));
  for (int i = 0; i < launches; i++) {
    const runtime::Buffer& w = *weights_[static_cast<size_t>(i) % weights_.size()];
    TRY(checked(f.cublasGemmEx(handle_, kTransposed, kAsIs, n, static_cast<int>(m), k, &one, at(w), kF16, k, at(*x_),
                               kF16, k, &zero, at(*y_), kF16, n, kComputeF32, kDefaultAlgorithm),
                "cublasGemmEx"));
  }
  return runtime::Unit{};
}

}  // namespace lathe::bench
