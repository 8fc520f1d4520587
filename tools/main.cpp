// The program `lathe`: finds the subcommand, and turns every error into one line and an exit code.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <vector>

#include "tools/command.h"

namespace lathe::tools {
namespace {

int report(const std::string& text, int code) {
  fmt::print(stderr, "lathe: {}\n", text);
  return code;
}

constexpr const char* kNoMemory = "out of memory on the host";

const std::terminate_handler kOtherwise = std::get_terminate();

/// For what is thrown where nothing may be: the destructor of a JSON value takes memory.
[[noreturn]] void last_words() {
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (const std::bad_alloc&) {
    std::_Exit(report(kNoMemory, kBadInput));
  } catch (...) {
  }
  kOtherwise();
  std::abort();
}

/// CLI11's answer to arguments that it refuses, or to --help, which is no error.
int refuse(const CLI::App& program, const CLI::ParseError& e) {
  if (e.get_exit_code() == 0) return program.exit(e);
  std::string text = e.what();
  for (char& c : text)
    if (c == '\n') c = ' ';
  return report(text + " (see lathe --help)", kBadInput);
}

int run_program(int argc, char** argv) {
  CLI::App program("Lathe: one tile program for every GPU", "lathe");
  program.require_subcommand(1);
  const std::vector<Command> commands{devices_command(program), compile_command(program), explain_command(program),
                                      run_command(program),     matmul_command(program),  selftest_command(program),
                                      demo_command(program),    fuzz_command(program),    bench_command(program),
                                      tune_command(program)};
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return refuse(program, e);
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const Result<int> done = command.run();
    if (done) return *done;
    return report(done.error().text, done.error().code == Error::Code::internal ? kInternalError : kBadInput);
  }
  return kBadInput;
}

}  // namespace
}  // namespace lathe::tools

int main(int argc, char** argv) {
  using namespace lathe::tools;
  std::set_terminate(last_words);
  try {
    return run_program(argc, argv);
  } catch (const std::bad_alloc&) {
    return report(kNoMemory, kBadInput);
  } catch (const std::exception& e) {
    return report(std::string("internal error: ") + e.what(), kInternalError);
  }
}
