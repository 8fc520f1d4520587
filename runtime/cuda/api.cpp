#include "runtime/cuda/api.h"

#include <filesystem>
#include <string_view>

#include <fmt/format.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace lathe::runtime::cuda {
namespace {

#ifdef _WIN32
void* open_library() { return reinterpret_cast<void*>(LoadLibraryA("nvcuda.dll")); }
void* symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
std::string library_version(const void*) { return {}; }
#else
void* open_library() { return dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL); }
void* symbol(void* library, const char* name) { return dlsym(library, name); }

/// The driver's release: libcuda.so.1 is a link to libcuda.so.<release>. CUDA's own version is coarser.
std::string library_version(const void* function) {
  constexpr std::string_view stem = "libcuda.so.";
  Dl_info info{};
  if (!dladdr(function, &info) || !info.dli_fname) return {};
  std::error_code ec;
  const std::string file = std::filesystem::canonical(info.dli_fname, ec).filename().string();
  return file.starts_with(stem) ? file.substr(stem.size()) : std::string();
}
#endif

template <class F>
bool load(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(symbol(library, name));
  return function != nullptr;
}

Result<const Api*> load_api() {
  void* library = open_library();
  if (!library) return fail(Error::Code::no_device, "CUDA: the NVIDIA driver's library is not installed");
  static Api table;
#define LATHE_CUDA_FUNCTION(name, params)       \
  if (!load(library, #name, table.name))        \
    return fail(Error::Code::no_device,         \
                "CUDA: the driver is too old: " \
                "no " #name);
#define LATHE_CUDA_OPTIONAL(name, params) load(library, #name, table.name);
#include "runtime/cuda/functions.def"
  if (const CUresult r = table.cuInit(0); r != CUDA_SUCCESS) {
    Error error = cuda_error(table, r, "cuInit", "CUDA: the driver does not start").value();
    return fail(Error::Code::no_device, std::move(error.text));
  }
  int version = 0;
  table.cuDriverGetVersion(&version);
  table.driver = fmt::format("NVIDIA {} (CUDA {}.{})", library_version(reinterpret_cast<const void*>(table.cuInit)),
                             version / 1000, version % 1000 / 10);
  return &table;
}

Error::Code code_of(CUresult result) {
  switch (result) {
#define LATHE_CUDA_RESULT(name, value, code) \
  case value:                                \
    return Error::Code::code;
#include "runtime/cuda/constants.def"
    default:
      return Error::Code::internal;
  }
}

}  // namespace

Result<const Api*> api() {
  static const Result<const Api*> loaded = load_api();
  return loaded;
}

tl::unexpected<Error> cuda_error(const Api& api, CUresult result, const char* call, const std::string& what) {
  const char *name = nullptr, *text = nullptr;
  api.cuGetErrorName(result, &name);
  api.cuGetErrorString(result, &text);
  return fail(code_of(result), fmt::format("{} ({}: {}: {})", what, call,
                                           name ? name : fmt::format("CUresult {}", result), text ? text : "no text"));
}

}  // namespace lathe::runtime::cuda
