#pragma once
// What each subcommand of `lathe` gives main(): its options, and the function that runs it once they are read.
#include <CLI/CLI.hpp>
#include <functional>

#include "ir/result.h"

namespace lathe::tools {

/// `run` returns the exit code of a command that could do its work: 0, or 1 when a check failed.
struct Command {
  CLI::App* app = nullptr;
  std::function<Result<int>()> run;
};

Command devices_command(CLI::App& program);
Command compile_command(CLI::App& program);
Command explain_command(CLI::App& program);
Command run_command(CLI::App& program);
Command matmul_command(CLI::App& program);
Command selftest_command(CLI::App& program);
Command demo_command(CLI::App& program);
Command fuzz_command(CLI::App& program);
Command bench_command(CLI::App& program);
Command tune_command(CLI::App& program);

inline constexpr int kCheckFailed = 1, kBadInput = 2, kInternalError = 3;

}  // namespace lathe::tools
