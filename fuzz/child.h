#pragma once
// Work in a process of its own, so that a crash or an endless kernel is an answer like any other.
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "ir/result.h"

namespace lathe::fuzz {

/// One forked process that says lines. To be started before this process opens a device or a thread.
class Child {
 public:
  using Say = std::function<void(const std::string& line)>;
  /// internal: the system has no process left.
  static Result<Child> start(const std::function<void(const Say&)>& work);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();  ///< kills it if it still runs

  /// The next line (without line break), or none: it has ended, or was killed because it worked for `seconds` of
  /// processor time or did nothing for `seconds` on the clock. What others have the machine do meanwhile does not
  /// count.
  std::optional<std::string> line(double seconds);
  /// After the last line: how it ended; "" is well.
  std::string end();
  bool hung() const { return hung_; }

 private:
  Child(pid_t pid, int pipe) : pid_(pid), pipe_(pipe) {}
  /// Waits until there is something to read.
  bool answers(double seconds) const;
  double processor_s() const;  ///< that it has used

  pid_t pid_;
  int pipe_;
  std::string read_;
  bool hung_ = false;
};

}  // namespace lathe::fuzz
