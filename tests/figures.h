#pragma once
// Files of figures: what other compilers make of our kernels (tests/figures.txt), what the simulator counts in them
// (tests/counters.txt), a section a compiler or device. A section is compared where its version is the same, else
// reported only. BLESS=1 rewrites it.
//
//   [ptxas sm_80] release 13.0, V13.0.88
//   softmax f16: registers 40, spills 0, code 3200
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <fcntl.h>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace lathe {

/// By name; a compiler that does not tell one leaves it out.
using Figures = std::vector<std::pair<std::string, int64_t>>;

class FiguresFile {
 public:
  struct Section {
    std::string version;
    std::map<std::string, Figures> kernels;
  };

  /// `title`: its first line.
  explicit FiguresFile(std::string path = in_tests("figures.txt"),
                       std::string title = "What other compilers make of our kernels.")
      : path_(std::move(path)), title_(std::move(title)) {}
  static std::string in_tests(const std::string& name) { return std::string(LATHE_SOURCE_DIR) + "/tests/" + name; }
  std::map<std::string, Section> read() const {
    std::map<std::string, Section> sections;
    std::ifstream in(path_);
    Section* section = nullptr;
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      if (line[0] == '[') {
        const size_t end = line.find("] ");
        section = &sections[line.substr(1, end - 1)];
        section->version = line.substr(end + 2);
      } else if (const size_t colon = line.find(": "); section && colon != line.npos) {
        section->kernels[line.substr(0, colon)] = parse(line.substr(colon + 2));
      }
    }
    return sections;
  }
  /// Replaces one section; safe against another process that replaces another.
  void write(const std::string& compiler, const Section& section) const {
    const int lock = ::open(path_.c_str(), O_RDWR | O_CREAT, 0644);
    ::flock(lock, LOCK_EX);
    auto sections = read();
    sections[compiler] = section;
    std::string text = fmt::format("# {} Written by BLESS=1 and compared by tests/figures.h.\n", title_);
    for (const auto& [name, s] : sections) {
      text += fmt::format("\n[{}] {}\n", name, s.version);
      for (const auto& [kernel, figures] : s.kernels) text += fmt::format("{}: {}\n", kernel, print(figures));
    }
    std::ofstream(path_) << text;
    ::close(lock);
  }
  static std::string print(const Figures& figures) {
    std::vector<std::string> words;
    for (const auto& [name, value] : figures) words.push_back(fmt::format("{} {}", name, value));
    return fmt::format("{}", fmt::join(words, ", "));
  }

 private:
  static Figures parse(const std::string& text) {
    Figures figures;
    std::istringstream in(text);
    std::string name;
    int64_t value = 0;
    while (in >> name >> value) {
      figures.emplace_back(name, value);
      in.ignore(1, ',');
    }
    return figures;
  }

  std::string path_, title_;
};

inline int64_t figure(const Figures& figures, const std::string& name) {
  for (const auto& [n, value] : figures)
    if (n == name) return value;
  return 0;
}

/// A compiler's kernels against its section: counts for the report, and the failures.
struct Comparison {
  int same = 0, better = 0, spilling = 0;
  std::vector<std::string> faults;  ///< worse by over a twentieth, or a spill that the section does not know
  std::string version;              ///< "" or "; figures are of VERSION: not compared"
};

/// What differs from the section of the same name and version, for figures that are the same every time: kernels that
/// have others, are new or are gone. "" in `version`: none is asked for.
inline Comparison changes(const std::string& name, const FiguresFile::Section& now, const FiguresFile& file) {
  Comparison c;
  if (std::getenv("BLESS")) file.write(name, now);
  const auto sections = file.read();
  const auto at = sections.find(name);
  const FiguresFile::Section then = at == sections.end() ? FiguresFile::Section{} : at->second;
  if (then.version != now.version) {
    c.version = fmt::format("; figures are of \"{}\", not compared", then.version);
    return c;
  }
  for (const auto& [kernel, figures] : now.kernels) {
    const auto known = then.kernels.find(kernel);
    const bool same = known != then.kernels.end() && known->second == figures;
    c.same += same;
    if (!same)
      c.faults.push_back(fmt::format("{}: {}; it was {}", kernel, FiguresFile::print(figures),
                                     known == then.kernels.end() ? "not there" : FiguresFile::print(known->second)));
  }
  for (const auto& [kernel, figures] : then.kernels)
    if (!now.kernels.contains(kernel)) c.faults.push_back(fmt::format("{}: is gone", kernel));
  return c;
}

inline bool is_worse(const std::string& name, int64_t now, int64_t then) {
  if (name == "occupancy") std::swap(now, then);
  return name == "spills" || name == "scratch" ? now > then : now * 20 > then * 21;
}

inline Comparison compare(const std::string& compiler, const FiguresFile::Section& now,
                          const FiguresFile& file = FiguresFile()) {
  Comparison c;
  if (std::getenv("BLESS")) file.write(compiler, now);
  const auto sections = file.read();
  const auto at = sections.find(compiler);
  const FiguresFile::Section then = at == sections.end() ? FiguresFile::Section{} : at->second;
  const bool compared = then.version == now.version;
  if (!compared) c.version = fmt::format("; figures are of \"{}\", not compared", then.version);
  for (const auto& [kernel, figures] : now.kernels) {
    const auto known = then.kernels.find(kernel);
    const Figures old = known == then.kernels.end() ? Figures{} : known->second;
    const bool spills = figure(figures, "spills") > 0;
    c.spilling += spills;
    if (spills && figure(old, "spills") == 0)
      c.faults.push_back(fmt::format("{}: spills ({})", kernel, FiguresFile::print(figures)));
    if (!compared) continue;
    if (old.empty()) c.faults.push_back(fmt::format("{}: no figures of it yet (BLESS=1 writes them)", kernel));
    bool worse = false;
    for (const auto& [name, value] : old) worse = worse || is_worse(name, figure(figures, name), value);
    if (worse)
      c.faults.push_back(
          fmt::format("{}: {}; it was {}", kernel, FiguresFile::print(figures), FiguresFile::print(old)));
    (figures == old ? c.same : c.better) += !worse;
  }
  return c;
}

}  // namespace lathe
