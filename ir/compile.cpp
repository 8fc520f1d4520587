#include "ir/compile.h"

namespace lathe {

Result<tile::Func> prepare(tile::Func f, const CompileOptions& options) {
  TRY(tile::verify(f));
  tile::linearity(f, options.factor);
  tile::prefetch(f);
  tile::drop_dead(f);
  TRY(tile::verify(f));
  return f;
}

Result<Compiled> compile(tile::Func f, const Target& target, const CompileOptions& options) {
  TRY_ASSIGN(f, prepare(std::move(f), options));
  TRY(tile::infer_layouts(f, target));
  TRY(tile::verify(f));
  TRY_ASSIGN(Lowered lowered, lower(f, target, options.lower));
  TRY(thread::verify(lowered.func));
  thread::optimise(lowered.func);
  TRY(thread::verify(lowered.func));
  return Compiled{std::move(f), std::move(lowered.func), std::move(lowered.packed)};
}

}  // namespace lathe
