// The thread-level pipeline.
#include "ir/thread.h"

namespace lathe::thread {

void optimise(Func& f) {
  fold(f);
  cse(f);
  dce(f);
  hoist(f);
  fold(f);  // what left its loop stands beside what it folds with
  cse(f);
  vectorise(f);
  dce(f);
}

}  // namespace lathe::thread
