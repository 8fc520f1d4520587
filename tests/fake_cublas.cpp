// cuBLAS without a GPU, over the driver without one (tests/fake_cuda.h): the product of columns as its manual defines
// it.
#include <cstddef>

#include "model/half.h"
#include "tests/fake_cublas.h"

namespace {

struct Call {
  int transpose_a, transpose_b, m, n, k, lda, ldb, ldc;
  const uint16_t *a, *b;
  uint16_t* c;
};
lathe::FakeCublas fake;
Call last;

void multiply() {
  const Call& g = last;
  for (int i = 0; i < g.m; i++)
    for (int j = 0; j < g.n; j++) {
      double sum = 0;
      for (int l = 0; l < g.k; l++)
        sum += double{lathe::model::f32_from_f16(g.a[g.transpose_a ? i * g.lda + l : l * g.lda + i])} *
               lathe::model::f32_from_f16(g.b[g.transpose_b ? l * g.ldb + j : j * g.ldb + l]);
      g.c[j * g.ldc + i] = lathe::model::f16_from_f32(static_cast<float>(sum) * fake.factor);
    }
}

}  // namespace

extern "C" {
lathe::FakeCublas* fake_cublas() {
  fake.again = multiply;
  return &fake;
}

int cublasCreate_v2(void** handle) {
  *handle = &fake;
  fake.live++;
  return fake.status;
}
int cublasDestroy_v2(void*) {
  fake.live--;
  return 0;
}
int cublasGetVersion_v2(void*, int* version) {
  *version = 130102;
  return 0;
}
int cublasSetStream_v2(void*, CUstream_st* stream) { return stream ? 0 : 7; }
int cublasSetWorkspace_v2(void*, void* workspace, size_t) { return workspace ? 0 : 7; }
int cublasGemmEx(void*, int transpose_a, int transpose_b, int m, int n, int k, const void*, const void* a, int, int lda,
                 const void* b, int, int ldb, const void*, void* c, int, int ldc, int, int) {
  fake.products++;
  last = {transpose_a,
          transpose_b,
          m,
          n,
          k,
          lda,
          ldb,
          ldc,
          static_cast<const uint16_t*>(a),
          static_cast<const uint16_t*>(b),
          static_cast<uint16_t*>(c)};
  multiply();
  return 0;
}
}
