#include "ir/compile.h"

namespace lathe {

Result<tile::Func> prepare(tile::Func f, const CompileOptions& options) {
  TRY(tile::verify(f));
  tile::linearity(f, options.factor);
  tile::pipeline(f);
  tile::drop_dead(f);
  TRY(tile::verify(f));
  return f;
}

Result<tile::Func> lay_out(tile::Func f, const Target& target, const CompileOptions& options) {
  tile::choose_transport(f, target, options.lower.aligned);
  tile::drop_dead(f);
  TRY(tile::infer_layouts(f, target));
  TRY(tile::verify(f));
  return f;
}

Result<Compiled> compile(tile::Func f, const Target& target, const CompileOptions& options) {
  TRY_ASSIGN(f, prepare(std::move(f), options));
  TRY_ASSIGN(f, lay_out(std::move(f), target, options));
  TRY_ASSIGN(Lowered lowered, lower(f, target, options.lower));
  TRY(thread::verify(lowered.func));
  thread::optimise(lowered.func);
  TRY(thread::verify(lowered.func));
  return Compiled{std::move(f), std::move(lowered.func), std::move(lowered.packed)};
}

}  // namespace lathe
