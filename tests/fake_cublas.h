#pragma once
// The peer's library, in the tests: what it was asked for, and what it gets wrong.

struct CUstream_st;

namespace lathe {

struct FakeCublas {
  float factor = 1;  ///< 1: its products are right
  int status = 0;    ///< of cublasCreate
  int products = 0, live = 0;
  void (*again)() = nullptr;  ///< does what was asked for last once more: a graph's replay
};

}  // namespace lathe

extern "C" lathe::FakeCublas* fake_cublas();
