#pragma once
// What was measured: rows, the devices they are of, and the one form that programs read and write, a JSON object a
// line.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/request.h"
#include "bench/spread.h"
#include "runtime/device.h"

namespace lathe::bench {

inline constexpr std::string_view kOurs = "lathe";

/// One multiplication of m tokens, many times over.
struct Row {
  std::string by;  ///< kOurs, or who else multiplied: "cuBLAS f16"
  std::string device, type;
  Shape shape;
  int64_t m = 0;
  std::string error;              ///< why there is no time; empty
  bool wrong = false;             ///< there is none because the result is wrong
  Spread us;                      ///< of one multiplication
  int launches = 0, replays = 0;  ///< multiplications in a list, and how often the list was timed
  int64_t copies = 0;             ///< of the weights, used in turn
  double of_bound = 0;            ///< the largest error of sampled outputs over what rounding allows
  uint64_t weight_bytes = 0;      ///< one copy, as it is stored
  uint64_t peak_bytes = 0;        ///< the most that its buffers held on the device, all copies included; 0: not known
  std::string schedule, path, atoms;
  int64_t registers = -1, spills = -1;
  double compile_ms = 0, driver_ms = 0;

  bool measured() const { return error.empty(); }
  double gb_s() const { return static_cast<double>(weight_bytes) / us.median * 1e-3; }
  double tflops() const;
};

struct DeviceRow {
  std::string id, name, driver;
  double read_gb_s = 0;  ///< the most it reads from memory; 0: not known
};
/// With the rate of backends/speeds.def.
DeviceRow row_of(const runtime::DeviceInfo& info);

struct Report {
  std::string command;
  std::vector<DeviceRow> devices;
  std::vector<Row> rows;
  std::vector<std::string> notes;

  const DeviceRow* device(const std::string& id) const;
  /// The share of what the device can read; none where that is not known.
  std::optional<double> of_read_rate(const Row& row) const;
  /// How much longer the first peer on the same GPU took; none where there is none.
  std::optional<double> over_peer(const Row& row) const;
  void add(const DeviceRow& device);
  void add(Report other);
};

std::string to_json(const DeviceRow& row);
std::string to_json(const Row& row, const Report& of);
std::string note_json(const std::string& note);
std::string command_json(const std::string& command);

/// What the four wrote, line after line; empty lines are passed over. bad_input names `file` and the line.
Result<Report> read_report(const std::string& file, std::string_view text);

}  // namespace lathe::bench
