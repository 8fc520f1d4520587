#pragma once
// The parts of `lathe selftest`: where results go, and the groups of cases.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "tools/place.h"

namespace lathe::tools {

/// Counts the cases, and prints failures, notes, a line a group, and with `verbose` a line a case.
class Report {
 public:
  Report(std::regex filter, bool verbose, std::FILE* to) : filter_(std::move(filter)), verbose_(verbose), to_(to) {}
  bool wants(const std::string& name) const { return std::regex_search(name, filter_); }
  /// Whether a group with these cases is worth setting up.
  bool wants_any(const std::vector<std::string>& cases) const;
  /// A value: passed, with a note that is always printed unless empty. An error: failed, and why.
  void add(const std::string& device, const std::string& name, const Result<std::string>& result);
  void skip(const std::string& device, const std::string& name, const std::string& why);
  /// Prints what was added since the last call.
  void end_group(const std::string& device, const std::string& group);

  int passed() const { return passed_; }
  int failed() const { return failed_; }
  int skipped() const { return skipped_; }
  const nlohmann::json& cases() const { return cases_; }

 private:
  void line(const char* verdict, const std::string& device, const std::string& name, const std::string& text) const;

  std::regex filter_;
  bool verbose_;
  std::FILE* to_;
  int passed_ = 0, failed_ = 0, skipped_ = 0, passed_before_ = 0, failed_before_ = 0;
  nlohmann::json cases_ = nlohmann::json::array();
};

/// What the interpreter gave, by case; the same for every device.
using Oracle = std::map<std::string, std::vector<float>>;

void test_matmul(const Place& place, Report& report, Oracle& oracle);
void test_rows(const Place& place, Report& report);

}  // namespace lathe::tools
