#include "model/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "model/file.h"

namespace lathe::model {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr uint64_t kLongestHeader = 65535;  ///< version 1 cannot say more; a plain type needs about 100 bytes

struct Row {
  std::string_view descr;
  Type type;
};
constexpr Row kTypes[] = {
    {"<f2", types::f16}, {"<f4", types::f32}, {"<f8", kF64},       {"|i1", types::i8},
    {"|u1", types::u8},  {"<i4", types::i32}, {"<i8", types::i64}, {"|b1", types::boolean},
};

std::optional<Type> type_of(std::string descr) {
  // The order of one byte says nothing: '<i1' is '|i1'.
  if (descr.size() == 3 && descr[0] == '<' && descr[2] == '1') descr[0] = '|';
  for (const Row& row : kTypes) {
    if (row.descr == descr) return row.type;
  }
  return std::nullopt;
}

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

/// The header is a Python dict: three keys in any order, white space anywhere.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  Result<Header> parse() {
    Header h;
    TRY(expect('{'));
    while (!accept('}')) {
      TRY_ASSIGN(const std::string key, string());
      TRY(expect(':'));
      TRY(value(key, h));
      if (!accept(',')) {
        TRY(expect('}'));
        break;
      }
    }
    skip_space();
    if (!rest_.empty()) return bad_input(fmt::format("text after its header: {}", in_quotes(rest_)));
    if (!h.descr || !h.fortran_order || !h.shape) {
      return bad_input(fmt::format("its header has no '{}'", !h.descr           ? "descr"
                                                             : !h.fortran_order ? "fortran_order"
                                                                                : "shape"));
    }
    return h;
  }

 private:
  void skip_space() {
    const size_t at = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
  }
  bool accept(char c) {
    skip_space();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool accept(std::string_view word) {
    skip_space();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  tl::unexpected<Error> expected(std::string_view what) const {
    return bad_input(fmt::format("its header is not one of a .npy file: expected {}, found {}", what,
                                 rest_.empty() ? "its end" : in_quotes(rest_.substr(0, 20))));
  }
  Result<Unit> expect(char c) {
    if (accept(c)) return Unit{};
    return expected(fmt::format("'{}'", c));
  }
  Result<std::string> string() {
    skip_space();
    const char quote = rest_.empty() ? '\0' : rest_[0];
    const size_t end = quote == '\'' || quote == '"' ? rest_.find(quote, 1) : std::string_view::npos;
    if (end == std::string_view::npos) return expected("a string");
    const std::string out(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return out;
  }
  Result<Unit> value(const std::string& key, Header& h) {
    const auto set = [&](auto& field, auto result) -> Result<Unit> {
      if (!result) return tl::unexpected(result.error());
      if (field) return bad_input(fmt::format("its header says '{}' twice", key));
      field = std::move(*result);
      return Unit{};
    };
    if (key == "descr") return set(h.descr, descr());
    if (key == "fortran_order") return set(h.fortran_order, boolean());
    if (key == "shape") return set(h.shape, shape());
    return bad_input(fmt::format("its header has an unknown key {}", in_quotes(key)));
  }
  Result<std::string> descr() {
    skip_space();
    if (rest_.starts_with('[')) return bad_input("it holds records; only plain numbers are read");
    return string();
  }
  Result<bool> boolean() {
    if (accept("True")) return true;
    if (accept("False")) return false;
    return expected("True or False");
  }
  Result<std::vector<int64_t>> shape() {
    std::vector<int64_t> out;
    TRY(expect('('));
    while (!accept(')')) {
      TRY_ASSIGN(const int64_t extent, integer());
      if (out.size() == kMaxRank) return bad_input(fmt::format("more than {} dimensions", kMaxRank));
      out.push_back(extent);
      if (!accept(',')) {
        // Python: (3) is a number, (3,) a tuple.
        if (out.size() == 1) return expected("','");
        TRY(expect(')'));
        break;
      }
    }
    return out;
  }
  Result<int64_t> integer() {
    skip_space();
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; digits++) {
      if (digits == 18) return bad_input("its header has an extent beyond 10^18");
      value = value * 10 + (rest_[digits] - '0');
    }
    if (digits == 0) return expected("an extent");
    rest_.remove_prefix(digits);
    return value;
  }

  std::string_view rest_;
};

/// Fortran order to C order: walks the output, the source's first dimension has stride 1.
template <size_t kBytes>
std::vector<std::byte> from_fortran(const std::vector<std::byte>& in, const std::vector<int64_t>& shape) {
  std::vector<std::byte> out(in.size());
  const size_t rank = shape.size();
  std::array<int64_t, kMaxRank> strides{}, at{};
  int64_t stride = 1, source = 0;
  for (size_t d = 0; d < rank; d++) strides[d] = std::exchange(stride, stride * shape[d]);
  for (size_t to = 0; to < out.size(); to += kBytes) {
    std::memcpy(out.data() + to, in.data() + static_cast<size_t>(source) * kBytes, kBytes);
    for (size_t d = rank; d-- > 0;) {
      source += strides[d];
      if (++at[d] < shape[d]) break;
      source -= strides[d] * shape[d];
      at[d] = 0;
    }
  }
  return out;
}

std::vector<std::byte> from_fortran(const std::vector<std::byte>& in, const std::vector<int64_t>& shape,
                                    int64_t bytes) {
  switch (bytes) {
    case 1:
      return from_fortran<1>(in, shape);
    case 2:
      return from_fortran<2>(in, shape);
    case 4:
      return from_fortran<4>(in, shape);
    default:
      return from_fortran<8>(in, shape);
  }
}

struct Located {
  Header header;
  uint64_t data;  ///< offset of the elements
};

Result<Located> read_header(InputFile& file) {
  constexpr uint64_t kFixed = 8;
  if (file.size() < kFixed) return file.fail("not a .npy file: too short");
  TRY_ASSIGN(const std::vector<std::byte> fixed, file.read(0, kFixed));
  if (std::memcmp(fixed.data(), kMagic.data(), kMagic.size()) != 0) {
    return file.fail("not a .npy file: it does not start with \\x93NUMPY");
  }
  const int major = std::to_integer<int>(fixed[6]), minor = std::to_integer<int>(fixed[7]);
  if ((major != 1 && major != 2) || minor != 0) {
    return file.fail(fmt::format(".npy version {}.{} is not read, only 1.0 and 2.0", major, minor));
  }
  const uint64_t field = major == 1 ? 2 : 4;
  TRY_ASSIGN(const std::vector<std::byte> length_bytes, file.read(kFixed, field));
  uint64_t length = 0;
  for (uint64_t i = field; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(length_bytes[i]);
  if (length > kLongestHeader) return file.fail(fmt::format("its header claims {} bytes", length));
  TRY_ASSIGN(const std::vector<std::byte> text, file.read(kFixed + field, length));
  auto header = HeaderParser({reinterpret_cast<const char*>(text.data()), text.size()}).parse();
  if (!header) return file.fail(header.error().text);
  return Located{std::move(*header), kFixed + field + length};
}

}  // namespace

Result<Tensor> read_npy(const std::string& path) {
  TRY_ASSIGN(InputFile file, InputFile::open(path));
  TRY_ASSIGN(const Located found, read_header(file));
  const std::optional<Type> type = type_of(*found.header.descr);
  if (!type) {
    return file.fail(fmt::format("elements of type {} are not read, only f2 f4 f8 i1 u1 i4 i8 b1, little-endian",
                                 in_quotes(*found.header.descr)));
  }
  const std::vector<int64_t>& shape = *found.header.shape;
  const std::optional<int64_t> count = element_count(shape, *type);
  if (!count) return file.fail(fmt::format("its header claims {}, too large for any file", to_string(shape)));
  const uint64_t bytes = static_cast<uint64_t>(*count * element_bytes(*type)), held = file.size() - found.data;
  if (bytes != held) {
    return file.fail(fmt::format("its header claims {} of {}, {} bytes, and {} bytes follow it", to_string(shape),
                                 type_name(*type), bytes, held));
  }
  TRY_ASSIGN(std::vector<std::byte> data, file.read(found.data, bytes));
  if (*found.header.fortran_order) data = from_fortran(data, shape, element_bytes(*type));
  return Tensor{*type, shape, std::move(data)};
}

Result<Unit> write_npy(const std::string& path, const Tensor& t) {
  const auto* row = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Row& r) { return r.type == t.type; });
  if (row == std::end(kTypes)) return unsupported(fmt::format("{}: a .npy file holds no {}", path, type_name(t.type)));
  const auto count = element_count(t.shape, t.type);
  if (!count || static_cast<uint64_t>(*count * element_bytes(t.type)) != t.data.size() || t.shape.size() > kMaxRank) {
    return internal_error(
        fmt::format("{}: {} of {} in {} bytes", path, to_string(t.shape), type_name(t.type), t.data.size()));
  }
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", row->descr,
                                   fmt::join(t.shape, ", "), t.shape.size() == 1 ? "," : "");
  // Magic, version, length and header fill a multiple of 64 bytes; the header ends with a new line.
  constexpr size_t kBefore = 10;
  header.resize((kBefore + header.size() + 1 + 63) / 64 * 64 - kBefore - 1, ' ');
  header += '\n';
  std::string start(kMagic);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  start += header;
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(start)), t.data};
  return write_file(path, parts);
}

}  // namespace lathe::model
