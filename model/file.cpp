#include "model/file.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <new>
#include <random>
#include <system_error>

namespace lathe::model {
namespace {

namespace fs = std::filesystem;

std::string last_error() { return errno ? std::generic_category().message(errno) : "unknown error"; }

std::string unique_suffix() {
  static const uint32_t process = std::random_device{}();
  static std::atomic<uint64_t> count{0};
  return fmt::format(".{:08x}-{}.tmp", process, count++);
}

/// A path in a message: as the user wrote it unless a control character would break the line.
std::string shown(const std::string& path) {
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < ' ') return in_quotes(path);
  }
  return path;
}

Result<Unit> write_stream(const fs::path& to, const std::string& path,
                          std::span<const std::span<const std::byte>> parts) {
  errno = 0;
  std::ofstream out(to, std::ios::binary | std::ios::trunc);
  for (const auto& part : parts) {
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
  }
  out.close();
  if (!out) return bad_input(fmt::format("{}: cannot write: {}", shown(path), last_error()));
  return Unit{};
}

}  // namespace

std::string in_quotes(std::string_view text) {
  constexpr size_t kMost = 120;
  if (text.size() <= kMost) return fmt::format("{:?}", text);
  return fmt::format("{:?}...", text.substr(0, kMost));
}

tl::unexpected<Error> InputFile::fail(std::string_view message, Error::Code code) const {
  return tl::unexpected(Error{code, fmt::format("{}: {}", shown(path_), message)});
}

Result<InputFile> InputFile::open(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return bad_input(fmt::format("{}: {}", shown(path), error ? error.message() : "no such file"));
  }
  if (!fs::is_regular_file(status)) return bad_input(fmt::format("{}: not a regular file", shown(path)));
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return bad_input(fmt::format("{}: cannot open: {}", shown(path), last_error()));
  const uint64_t size = fs::file_size(path, error);
  if (error) return bad_input(fmt::format("{}: {}", shown(path), error.message()));
  return InputFile(path, size, std::move(stream));
}

Result<Unit> InputFile::check_range(uint64_t offset, uint64_t bytes) const {
  if (offset <= size_ && bytes <= size_ - offset) return Unit{};
  return fail(fmt::format("ends at byte {}, {} bytes are expected at byte {}", size_, bytes, offset));
}

Result<Unit> InputFile::read(uint64_t offset, std::span<std::byte> into) {
  TRY(check_range(offset, into.size()));
  stream_.clear();
  errno = 0;
  stream_.seekg(static_cast<std::streamoff>(offset));
  stream_.read(reinterpret_cast<char*>(into.data()), static_cast<std::streamsize>(into.size()));
  if (!stream_) return fail(fmt::format("cannot read {} bytes at byte {}: {}", into.size(), offset, last_error()));
  return Unit{};
}

Result<std::vector<std::byte>> InputFile::read(uint64_t offset, uint64_t bytes) {
  TRY(check_range(offset, bytes));
  std::vector<std::byte> out;
  try {
    out.resize(bytes);
  } catch (const std::exception&) {  // bad_alloc, or length_error where size_t is narrow
    return fail(fmt::format("out of memory: {} bytes are needed to read it", bytes));
  }
  TRY(read(offset, std::span(out)));
  return out;
}

Result<Unit> write_file(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return bad_input(fmt::format("{}: is a directory", shown(path)));
  if (fs::exists(status) && !fs::is_regular_file(status)) return write_stream(path, path, parts);
  // Through a link: the file it names is replaced, not the link.
  fs::path target = fs::exists(status) ? fs::canonical(path, error) : fs::path(path);
  if (error) target = path;
  const fs::path temporary = target.string() + unique_suffix();
  if (auto written = write_stream(temporary, path, parts); !written) {
    fs::remove(temporary, error);
    return written;
  }
  fs::rename(temporary, target, error);
  if (!error) return Unit{};
  const std::string why = error.message();
  fs::remove(temporary, error);
  return bad_input(fmt::format("{}: cannot write: {}", shown(path), why));
}

}  // namespace lathe::model
