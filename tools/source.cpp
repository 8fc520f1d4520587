#include "tools/source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "model/file.h"
#include "tools/tile_file.h"

namespace lathe::tools {

std::string source_help() { return fmt::format("a file, or one of {}", fmt::join(kernel_names(), ", ")); }

Result<tile::Func> read_source(const std::string& source, const Target& target, Settings& settings,
                               CompileOptions& options) {
  int64_t aligned = 1;
  TRY(settings.take("aligned", aligned, 0, 1));
  options.lower.aligned = aligned != 0;
  if (is_named_kernel(source)) return named_kernel(source, target, settings, options.factor);
  std::error_code ignored;
  if (!std::filesystem::exists(source, ignored))
    return bad_input(fmt::format("{}: neither a file nor one of the kernels {}", model::in_quotes(source),
                                 fmt::join(kernel_names(), ", ")));
  int64_t accumulator = 0;
  TRY(settings.take("acc", accumulator, 0, 1));
  options.factor = accumulator ? tile::Factor::accumulator : tile::Factor::operand;
  return read_tile_file(source);
}

}  // namespace lathe::tools
