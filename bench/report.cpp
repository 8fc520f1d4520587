#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "backends/speed.h"

namespace lathe::bench {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// Reads members of an object by type; remembers the first that is missing or of another type.
class Members {
 public:
  explicit Members(const Json& j) : j_(j) {}
  const std::string& missing() const { return missing_; }
  void refuse(const char* name) {
    if (missing_.empty()) missing_ = name;
  }

  std::string text(const char* name, bool needed = false) {
    const Json* v = find(name, needed, &Json::is_string);
    return v ? v->get<std::string>() : std::string();
  }
  double number(const char* name, double otherwise, bool needed = false) {
    const Json* v = find(name, needed, &Json::is_number);
    return v ? v->get<double>() : otherwise;
  }
  int64_t whole(const char* name, int64_t otherwise, bool needed = false) {
    const double v = number(name, static_cast<double>(otherwise), needed);
    constexpr double kMost = 1e18;
    return static_cast<int64_t>(std::clamp(v, -kMost, kMost));
  }
  bool flag(const char* name) { return j_.contains(name) && j_[name].is_boolean() && j_[name].get<bool>(); }

 private:
  const Json* find(const char* name, bool needed, bool (Json::*is)() const noexcept) {
    const auto at = j_.find(name);
    if (at == j_.end() && !needed) return nullptr;
    if (at != j_.end() && ((*at).*is)()) return &*at;
    refuse(name);
    return nullptr;
  }
  const Json& j_;
  std::string missing_;
};

Row row_of_members(const Json& j, Members& m) {
  Row r;
  r.by = m.text("by", true), r.device = m.text("device", true), r.type = m.text("type");
  r.shape = {m.whole("k", 0, true), m.whole("n", 0, true)};
  r.m = m.whole("m", 0, true);
  if (r.shape.k < 1 || r.shape.n < 1 || r.m < 1) m.refuse("k, n or m");
  r.error = m.text("error"), r.wrong = m.flag("wrong");
  if (r.measured()) {
    const Json none = Json::object();
    Members us(j.contains("us") && j["us"].is_object() ? j["us"] : none);
    r.us.median = us.number("median", 0, true);
    r.us.min = us.number("min", r.us.median), r.us.max = us.number("max", r.us.median);
    r.us.q1 = us.number("q1", r.us.median), r.us.q3 = us.number("q3", r.us.median);
    if (!(r.us.min > 0 && r.us.median > 0)) m.refuse("us");
  }
  r.launches = static_cast<int>(m.whole("launches", 0)), r.replays = static_cast<int>(m.whole("replays", 0));
  r.copies = m.whole("copies", 0), r.of_bound = m.number("of_bound", 0);
  r.weight_bytes = static_cast<uint64_t>(std::max<int64_t>(0, m.whole("weight_bytes", 0)));
  r.peak_bytes = static_cast<uint64_t>(std::max<int64_t>(0, m.whole("peak_bytes", 0)));
  r.schedule = m.text("schedule"), r.path = m.text("path"), r.atoms = m.text("atoms");
  r.registers = m.whole("registers", -1), r.spills = m.whole("spills", -1);
  r.compile_ms = m.number("compile_ms", 0), r.driver_ms = m.number("driver_ms", 0);
  return r;
}

double read_rate(const std::string& device) { return speed_of_device(device).memory_gb_s; }

}  // namespace

double Row::tflops() const {
  return 2e-6 * static_cast<double>(m) * static_cast<double>(shape.n) * static_cast<double>(shape.k) / us.median;
}

DeviceRow row_of(const runtime::DeviceInfo& info) { return {info.id, info.name, info.driver, read_rate(info.name)}; }

const DeviceRow* Report::device(const std::string& id) const {
  const auto d = std::find_if(devices.begin(), devices.end(), [&](const DeviceRow& x) { return x.id == id; });
  return d == devices.end() ? nullptr : &*d;
}

std::optional<double> Report::of_read_rate(const Row& row) const {
  const DeviceRow* d = device(row.device);
  if (!d || d->read_gb_s <= 0 || !row.measured()) return std::nullopt;
  return row.gb_s() / d->read_gb_s;
}

std::optional<double> Report::over_peer(const Row& row) const {
  const DeviceRow* ours = device(row.device);
  if (!ours || row.by != kOurs || !row.measured()) return std::nullopt;
  for (const Row& r : rows) {
    const DeviceRow* theirs = device(r.device);
    if (r.by != kOurs && r.measured() && r.shape == row.shape && r.m == row.m && theirs && theirs->name == ours->name)
      return r.us.median / row.us.median;
  }
  return std::nullopt;
}

void Report::add(const DeviceRow& row) {
  if (!device(row.id)) devices.push_back(row);
}

void Report::add(Report other) {
  for (const DeviceRow& d : other.devices) add(d);
  rows.insert(rows.end(), other.rows.begin(), other.rows.end());
  notes.insert(notes.end(), other.notes.begin(), other.notes.end());
  if (command.empty()) command = other.command;
}

std::string to_json(const DeviceRow& row) {
  return text_of({{"device", row.id}, {"name", row.name}, {"driver", row.driver}, {"read_gb_s", row.read_gb_s}});
}
std::string note_json(const std::string& note) { return text_of({{"note", note}}); }
std::string command_json(const std::string& command) { return text_of({{"command", command}}); }

std::string to_json(const Row& r, const Report& of) {
  Json j{{"by", r.by}, {"device", r.device}, {"type", r.type}, {"k", r.shape.k}, {"n", r.shape.n}, {"m", r.m}};
  if (!r.schedule.empty()) j["schedule"] = r.schedule;
  if (!r.measured()) {
    j["error"] = r.error, j["wrong"] = r.wrong;
    return text_of(j);
  }
  j["us"] = {{"min", r.us.min}, {"q1", r.us.q1}, {"median", r.us.median}, {"q3", r.us.q3}, {"max", r.us.max}};
  j["launches"] = r.launches, j["replays"] = r.replays, j["copies"] = r.copies;
  j["gb_s"] = r.gb_s(), j["tflops"] = r.tflops(), j["of_bound"] = r.of_bound;
  j["weight_bytes"] = r.weight_bytes, j["peak_bytes"] = r.peak_bytes;
  if (const auto share = of.of_read_rate(r)) j["of_read_rate"] = *share;
  if (const auto faster = of.over_peer(r)) j["over_peer"] = *faster;
  if (!r.path.empty()) {
    j["path"] = r.path, j["atoms"] = r.atoms, j["registers"] = r.registers, j["spills"] = r.spills;
    j["compile_ms"] = r.compile_ms, j["driver_ms"] = r.driver_ms;
  }
  return text_of(j);
}

Result<Report> read_report(const std::string& file, std::string_view text) {
  Report report;
  for (int line = 1; !text.empty(); line++) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.find_first_not_of(" \t\r") == part.npos) continue;
    const auto refuse = [&](const std::string& why) { return bad_input(fmt::format("{}:{}: {}", file, line, why)); };
    const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 4; };
    const Json j = Json::parse(part, shallow, false);
    if (!j.is_object()) return refuse("no measurement: not a JSON object");
    Members m(j);
    if (j.contains("by"))
      report.rows.push_back(row_of_members(j, m));
    else if (const std::string name = m.text("name"); !name.empty())
      report.add(DeviceRow{m.text("device", true), name, m.text("driver"), m.number("read_gb_s", read_rate(name))});
    else if (j.contains("command"))
      report.command = m.text("command", true);
    else
      report.notes.push_back(m.text("note", true));
    if (!m.missing().empty()) return refuse(fmt::format("'{}' is missing, or not what it should be", m.missing()));
  }
  return report;
}

}  // namespace lathe::bench
