#pragma once
// A CUDA driver without a GPU: memory is the host's, kernels do nothing, and any call fails when it is told to.
#include "runtime/cuda/api.h"

namespace lathe {

struct FakeCuda {
  int fail_at = 0;              ///< the number, from 1, of the call that fails; 0: none does
  const char* fails = nullptr;  ///< only calls of this name are counted; null: all that may want memory
  runtime::cuda::CUresult with = 0;
  bool endless = false;  ///< what is launched never ends
  int calls = 0, live = 0;
  const char* failed = nullptr;  ///< the call that did
  void (*on_graph_launch)() = nullptr;
};

}  // namespace lathe

/// The one of this process; exported by the library, to be asked for by name.
extern "C" lathe::FakeCuda* fake_cuda();
