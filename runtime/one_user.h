#pragma once
// A Queue and a Graph are used by one thread at a time; debug builds stop where two meet.
#include <atomic>
#include <cassert>

namespace lathe::runtime {

/// Holds `busy` for the length of a call.
class OneUser {
 public:
  explicit OneUser(std::atomic<bool>& busy) : busy_(busy) {
    [[maybe_unused]] const bool was_busy = busy_.exchange(true);
    assert(!was_busy && "a queue or a graph is used by two threads at once");
  }
  ~OneUser() { busy_ = false; }
  OneUser(const OneUser&) = delete;
  OneUser& operator=(const OneUser&) = delete;

 private:
  std::atomic<bool>& busy_;
};

}  // namespace lathe::runtime
