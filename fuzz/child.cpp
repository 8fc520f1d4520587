#include "fuzz/child.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <utility>

namespace lathe::fuzz {

Result<Child> Child::start(const std::function<void(const Say&)>& work) {
  int ends[2];
  if (pipe(ends) != 0) return internal_error("no pipe");
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) {
    close(ends[0]);
    close(ends[1]);
    return internal_error("no process");
  }
  if (pid > 0) {
    close(ends[1]);
    return Child(pid, ends[0]);
  }
  close(ends[0]);
  const Say say = [&](const std::string& text) {
    const std::string line = text + "\n";
    for (size_t at = 0; at < line.size();) {
      const ssize_t n = write(ends[1], line.data() + at, line.size() - at);
      if (n <= 0) _exit(1);  // nobody listens
      at += static_cast<size_t>(n);
    }
  };
  try {
    work(say);
  } catch (const std::exception& e) {
    fmt::print(stderr, "exception: {}\n", e.what());
    std::abort();
  }
  _exit(0);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pipe_(std::exchange(other.pipe_, -1)), read_(std::move(other.read_)) {}

Child::~Child() {
  if (pipe_ >= 0) close(pipe_);
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

double Child::processor_s() const {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

bool Child::answers(double seconds) const {
  constexpr int kLooks = 100;          // while it may be silent
  constexpr double kIdleShare = 1e-3;  // of a processor: threads that wake up now and then do not count as work
  const double first = processor_s();
  double since = first;
  for (int look = 1;; look++) {
    pollfd waits{pipe_, POLLIN, 0};
    const int ready = poll(&waits, 1, static_cast<int>(std::ceil(seconds * 1000 / kLooks)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    const double now = processor_s();
    if (now - first >= seconds) return false;
    if (look % kLooks != 0) continue;
    if (now - since < seconds * kIdleShare) return false;
    since = now;
  }
}

std::optional<std::string> Child::line(double seconds) {
  for (;;) {
    if (const size_t end = read_.find('\n'); end != read_.npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    if (!answers(seconds)) {
      hung_ = true;
      kill(pid_, SIGKILL);
      return std::nullopt;
    }
    char bytes[4096];
    const ssize_t n = read(pipe_, bytes, sizeof bytes);
    if (n <= 0) return std::nullopt;
    read_.append(bytes, static_cast<size_t>(n));
  }
}

std::string Child::end() {
  int status = 0;
  if (pid_ > 0) waitpid(pid_, &status, 0);
  pid_ = 0;
  if (hung_) return "no answer";
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) return fmt::format("exit {}", WEXITSTATUS(status));
  return "";
}

}  // namespace lathe::fuzz
