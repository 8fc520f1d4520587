#include "ir/compile.h"

#include <set>

namespace lathe {

Result<tile::Func> prepare(tile::Func f, const CompileOptions& options) {
  TRY(tile::verify(f));
  tile::linearity(f, options.factor);
  tile::pipeline(f);
  tile::drop_dead(f);
  TRY(tile::verify(f));
  return f;
}

Result<tile::Func> lay_out(const tile::Func& f, const Target& target, const CompileOptions& options) {
  // The pieces of a packed parameter are known once there are layouts: those that turn out too small stay in registers.
  std::set<std::string> in_registers;
  for (;;) {
    tile::Func laid_out = f;
    tile::choose_transport(laid_out, target, options.lower.aligned, in_registers);
    tile::drop_dead(laid_out);
    TRY(tile::infer_layouts(laid_out, target));
    TRY(tile::verify(laid_out));
    TRY_ASSIGN(const auto small, tile::copies_too_small(laid_out, target));
    if (small.empty()) return laid_out;
    in_registers.insert(small.begin(), small.end());
  }
}

namespace {

std::set<std::string> wrong_with_constants(const Target& target) {
  std::set<std::string> names;
  for (const Atom& atom : target.atoms)
    if (!atom.constant_operands) names.insert(atom.name);
  return names;
}

}  // namespace

Result<Compiled> compile(tile::Func f, const Target& target, const CompileOptions& options) {
  TRY_ASSIGN(f, prepare(std::move(f), options));
  TRY_ASSIGN(f, lay_out(f, target, options));
  TRY_ASSIGN(Lowered lowered, lower(f, target, options.lower));
  TRY(thread::verify(lowered.func));
  thread::optimise(lowered.func);
  thread::hide_constants(lowered.func, wrong_with_constants(target));
  TRY(thread::verify(lowered.func));
  return Compiled{std::move(f), std::move(lowered.func), std::move(lowered.packed), lowered.logs,
                  std::move(lowered.shared_tiles)};
}

}  // namespace lathe
