#pragma once
// Whether a device still works: once it is lost, every later call says so, with the first reason.
#include <atomic>
#include <mutex>
#include <string>

#include "runtime/result.h"

namespace lathe::runtime {

class Health {
 public:
  Result<Unit> alive() const {
    if (!lost_.load(std::memory_order_acquire)) return Unit{};
    const std::lock_guard lock(mutex_);
    return fail(Error::Code::device_lost, "the device was lost earlier: " + reason_);
  }
  void lose(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (!lost_.exchange(true, std::memory_order_acq_rel)) reason_ = reason;
  }
  /// After a timeout: the driver may still be using every object, so none may be destroyed.
  void abandon(const std::string& reason) {
    abandoned_.store(true, std::memory_order_release);
    lose(reason);
  }
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  bool abandoned() const { return abandoned_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> lost_{false}, abandoned_{false};
  mutable std::mutex mutex_;
  std::string reason_;
};

}  // namespace lathe::runtime
