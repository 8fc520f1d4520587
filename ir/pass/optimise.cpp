// The thread-level pipeline.
#include "ir/thread.h"

namespace lathe::thread {

void optimise(Func& f) {
  constexpr int kShortLoop = 4;  // turns: beyond that, code grows faster than the loop's own cost
  fold(f);
  unroll(f, kShortLoop);
  cse(f);
  dce(f);
  hoist(f);
  fold(f);  // what left its loop stands beside what it folds with
  cse(f);
  vectorise(f);
  dce(f);
  interleave(f);
  group_matrices(f);
}

}  // namespace lathe::thread
