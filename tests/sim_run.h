#pragma once
// Thread functions built by hand and run on a simulated device, for tests.
#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>
#include <utility>

#include "backends/sim/device.h"
#include "backends/sim/serial.h"
#include "ir/thread.h"

namespace lathe::sim {

using thread::Builder;
using thread::Func;
using thread::Op;

/// A function of `subgroups` subgroups whose body `build(builder)` writes; its instructions stand on lines 1, 2, ..
template <class Build>
Func make_func(int subgroups, int params, const Build& build, std::vector<thread::SharedArray> shared = {},
               int lanes = 32) {
  Func f;
  f.name = "test";
  f.subgroups = subgroups;
  f.subgroup_size = lanes;
  f.param_slots = params;
  f.shared = std::move(shared);
  f.body = f.add_block();
  Builder b(f, f.body);
  build(b);
  const auto status = thread::verify(f);
  REQUIRE_MESSAGE(status.has_value(), (status ? "" : status.error().text));
  return f;
}

inline ValueId param(Builder& b, int slot) { return b.emit(Op::param, {}, {.type = thread::kI64, .imm = slot}); }
inline ValueId thread_id(Builder& b) { return b.emit(Op::thread_id, {}, {.type = thread::kI32}); }
inline ValueId add(Builder& b, ValueId x, ValueId y) { return b.emit(Op::add, {x, y}); }
inline ValueId times(Builder& b, ValueId x, int64_t by) { return b.emit(Op::mul, {x, b.i32(by)}); }
/// base + offset bytes.
inline ValueId address(Builder& b, ValueId base, ValueId offset) {
  return add(b, base, b.cvt(Op::zext, offset, thread::kI64));
}

/// One device and the memory that a test gives it.
class Simulated {
 public:
  explicit Simulated(std::string_view name = "sm_80", double timeout_s = 60) {
    auto opened = open(name, {.timeout_s = timeout_s, .cache = nullptr});
    REQUIRE_MESSAGE(opened.has_value(), (opened ? "" : opened.error().text));
    device_ = std::move(*opened);
  }
  Device& device() { return *device_; }

  /// Fresh memory; with `words`, these.
  runtime::Buffer& buffer(uint64_t bytes, const std::vector<uint32_t>& words = {}) {
    auto made = device_->alloc(bytes);
    REQUIRE(made.has_value());
    buffers_.push_back(std::move(*made));
    if (!words.empty()) REQUIRE(device_->upload(*buffers_.back(), 0, std::as_bytes(std::span(words))).has_value());
    return *buffers_.back();
  }
  runtime::Buffer& filled(uint64_t bytes, int value = 0) {
    runtime::Buffer& b = buffer(bytes);
    REQUIRE(device_->fill(b, 0, bytes, static_cast<std::byte>(value)).has_value());
    return b;
  }
  std::vector<uint32_t> words(const runtime::Buffer& b) {
    std::vector<uint32_t> out(b.bytes() / 4);
    REQUIRE(device_->download(b, 0, std::as_writable_bytes(std::span(out))).has_value());
    return out;
  }

  /// "" or the report.
  std::string run(const Func& f, std::vector<uint64_t> params = {}, runtime::Dim3 grid = {1, 1, 1}) {
    const auto code = serialise(f);
    const runtime::ProgramInfo info{.entry = f.name,
                                    .threads = static_cast<uint32_t>(f.subgroups * f.subgroup_size),
                                    .param_slots = static_cast<uint32_t>(f.param_slots)};
    auto program = device_->load(code, info);
    REQUIRE_MESSAGE(program.has_value(), (program ? "" : program.error().text));
    const runtime::LaunchRecord launch{program->get(), grid, std::move(params)};
    const auto status = device_->run({&launch, 1});
    return status ? "" : status.error().text;
  }

 private:
  std::unique_ptr<Device> device_;
  std::vector<std::unique_ptr<runtime::Buffer>> buffers_;
};

/// The report is there and has these parts.
inline void check_report(const std::string& report, std::initializer_list<const char*> parts) {
  CHECK_MESSAGE(!report.empty(), "no report");
  for (const char* part : parts)
    CHECK_MESSAGE(report.find(part) != report.npos, report << "\nhas no \"" << part << '"');
}

}  // namespace lathe::sim
