#pragma once
// A list of cases, measured one after the other: devices opened and weights stored when they change.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/matmul.h"

namespace lathe::bench {

struct Case {
  std::string device;
  Format format;
  Shape shape;
  int64_t m = 1;
  std::optional<Schedule> schedule;  ///< none: the chosen one
};

struct SessionOptions {
  bool probe = true;
  Rotation rotation;
  bool peer = true;    ///< measure cuBLAS where a device has it, at each shape and m once
  std::string cublas;  ///< its library; "": found by name
};

/// What a user sees while it works. Every function must be there.
struct Listener {
  std::function<void(const DeviceRow&)> device;
  std::function<void(const std::string&)> progress;  ///< what takes a while and begins now
  std::function<void(const std::string&)> note;      ///< a line for the report
  std::function<void(const Row&)> row;
};

/// Every device crossed with every format, shape and m, in this order.
std::vector<Case> cases_of(const std::vector<std::string>& devices, const std::vector<Format>& formats,
                           const std::vector<Shape>& shapes, const std::vector<int64_t>& tokens);
/// Lines "device K N M tile_n tile_m tile_k subgroups_n subgroups_m subgroups_k stages accumulator [k_groups]"; tile_n
/// 0 is the chosen schedule; lines that begin with # are passed over. bad_input names the line.
Result<std::vector<Case>> read_sweep(const std::string& file, const Format& format);

/// A device that cannot be opened ends the session; what fails later is said in the rows of its cases.
Result<Unit> measure(const std::vector<Case>& cases, const SessionOptions& options, const Listener& listener);

}  // namespace lathe::bench
