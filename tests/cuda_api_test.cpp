// Our declarations of the CUDA driver against the toolkit's header, where there is one: numbers, prototypes, layouts.
#include <doctest/doctest.h>

#include "runtime/cuda/api.h"

#if __has_include(<cuda.h>)
#define __CUDA_API_VERSION_INTERNAL  // declare every version of an entry point, rename none
#include <cuda.h>

#include <cstddef>
#include <type_traits>

namespace {

namespace ours = lathe::runtime::cuda;

template <class A, class B>
constexpr bool same_argument() {
  using PlainA = std::remove_cv_t<A>;
  using PlainB = std::remove_cv_t<B>;
  if constexpr (std::is_same_v<PlainA, PlainB>)
    return std::is_const_v<A> == std::is_const_v<B>;
  else if constexpr (std::is_pointer_v<PlainA> && std::is_pointer_v<PlainB>)
    return same_argument<std::remove_pointer_t<PlainA>, std::remove_pointer_t<PlainB>>();
  else if constexpr (std::is_same_v<PlainA, ours::KernelNode>)
    return std::is_same_v<PlainB, CUDA_KERNEL_NODE_PARAMS_v1>;
  else if constexpr (std::is_same_v<PlainA, ours::TensorMap>)
    return std::is_same_v<PlainB, CUtensorMap>;
  else if constexpr (std::is_same_v<PlainA, ours::GraphEdge>)
    return std::is_same_v<PlainB, CUgraphEdgeData>;
  else
    return std::is_integral_v<PlainA> && std::is_enum_v<PlainB> && sizeof(PlainA) == sizeof(PlainB);
}

template <class A, class B>
struct SamePrototype : std::false_type {};
template <class... A, class... B>
struct SamePrototype<ours::CUresult (*)(A...), CUresult (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B))
      return (same_argument<A, B>() && ...);
    else
      return false;
  }();
};

#define LATHE_CUDA_FUNCTION(name, params) \
  static_assert(SamePrototype<decltype(ours::Api::name), decltype(&::name)>::value, #name);
#include "runtime/cuda/functions.def"

#define LATHE_CUDA_CONSTANT(name, value) static_assert(static_cast<int>(::name) == value, #name);
#define LATHE_CUDA_RESULT(name, value, code) LATHE_CUDA_CONSTANT(name, value)
#include "runtime/cuda/constants.def"

static_assert(ours::kPortLaunchOrder == CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER);
static_assert(sizeof(ours::TensorMap) == sizeof(CUtensorMap) && alignof(ours::TensorMap) >= alignof(CUtensorMap));

using TheirNode = CUDA_KERNEL_NODE_PARAMS_v1;
static_assert(sizeof(ours::KernelNode) == sizeof(TheirNode));
static_assert(offsetof(ours::KernelNode, function) == offsetof(TheirNode, func));
static_assert(offsetof(ours::KernelNode, grid_z) == offsetof(TheirNode, gridDimZ));
static_assert(offsetof(ours::KernelNode, block_x) == offsetof(TheirNode, blockDimX));
static_assert(offsetof(ours::KernelNode, shared_bytes) == offsetof(TheirNode, sharedMemBytes));
static_assert(offsetof(ours::KernelNode, params) == offsetof(TheirNode, kernelParams));
static_assert(offsetof(ours::KernelNode, extra) == offsetof(TheirNode, extra));

static_assert(sizeof(ours::GraphEdge) == sizeof(CUgraphEdgeData));
static_assert(offsetof(ours::GraphEdge, from_port) == offsetof(CUgraphEdgeData, from_port));
static_assert(offsetof(ours::GraphEdge, to_port) == offsetof(CUgraphEdgeData, to_port));
static_assert(offsetof(ours::GraphEdge, type) == offsetof(CUgraphEdgeData, type));

}  // namespace
#endif

TEST_CASE("where there is no CUDA driver, the reason is said; where there is one, it says its version") {
  const auto api = lathe::runtime::cuda::api();
  if (api) {
    CHECK((*api)->driver.starts_with("NVIDIA "));
  } else {
    CHECK(api.error().code == lathe::runtime::Error::Code::no_device);
    CHECK(api.error().text.starts_with("CUDA: "));
  }
}
