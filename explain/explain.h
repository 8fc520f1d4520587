#pragma once
// What a kernel becomes on a target, why, and what limits it there: as data, as text, as JSON and as drawings.
#include <memory>
#include <string>
#include <vector>

#include "backends/sim/counters.h"
#include "explain/problem.h"

namespace lathe::explain {

/// A kernel as the compiler left it. Lines are those of the program's text.
struct Subject {
  tile::Func program;
  std::string text;  ///< of a program that a builder made, whose lines are named; "": of a file, which has its own
  std::shared_ptr<const Target> target;
  Compiled compiled;
};
/// `options.lower.aligned` is as the arguments will be.
Result<Subject> compile_subject(const tile::Func& f, const Target& target, const CompileOptions& options);

/// A tile with its layout, or a token: a tile on its way.
struct PlacedTile {
  std::string name;
  int line = 0;
  tile::Type type;
};

/// An mma and the matrix instruction it runs on.
struct Product {
  int line = 0;
  MmaPlan plan;
};

/// An access of memory that stands on a line, and what it is for: "load w".
struct Copy {
  std::string what;
  sim::AccessCount count;
};

enum class Cause : uint8_t {
#define CAUSE(name) name,
#include "explain/causes.def"
};
const char* to_string(Cause c);
/// The end of the explanation. `line` 0: no line alone.
struct Limit {
  Cause cause = Cause::unknown;
  int line = 0;
  std::string text;
};

struct Explanation {
  std::string name;
  std::shared_ptr<const Target> target;  ///< whose atoms the products name
  std::vector<PlacedTile> tiles;
  std::map<std::string, PackedLayout> packed;
  std::vector<Product> products;
  std::vector<SharedTile> shared_tiles;
  int64_t shared_bytes = 0;  ///< of a workgroup
  int64_t threads = 0;       ///< of a workgroup
  Sizes problem, sample;
  Work work, sample_work;
  sim::KernelCount count;  ///< of the sample
  std::vector<Copy> copies;
  std::string not_counted;  ///< why the sample does not run; "" when it does
  Limit limit;
  const Speed& speed() const { return target->speed; }
};

/// Runs a sample of the problem on the simulated target. `given`: sizes by symbol; the others are chosen. Errors: a
/// grid that is none for these sizes.
Result<Explanation> explain(const Subject& subject, const Sizes& given);

/// For people; the last line is the limit.
std::string to_text(const Subject& subject, const Explanation& e);
std::string to_json(const Subject& subject, const Explanation& e);

/// The limit of what is counted in `e`.
Limit limit_of(const Explanation& e, const tile::Func& program);

/// Least microseconds by memory and by matrix instructions; none where the target or the program does not tell.
std::optional<double> memory_us(const Explanation& e);
std::optional<double> matrix_us(const Explanation& e);

}  // namespace lathe::explain
