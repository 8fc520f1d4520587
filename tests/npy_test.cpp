// .npy files and tensors: every type both ways, both orders, files that lie.
#include "model/npy.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "model/half.h"
#include "scratch_files.h"

using namespace lathe;
using namespace lathe::model;

namespace {

template <class T>
Tensor tensor(Type type, std::vector<int64_t> shape, const std::vector<T>& values) {
  Tensor t{type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(t.data.data(), values.data(), t.data.size());
  return t;
}

bool same(const Tensor& a, const Tensor& b) { return a.type == b.type && a.shape == b.shape && a.data == b.data; }

/// A version 1 or 2 file with this header text and these bytes.
std::string npy(const std::string& header, const std::string& data, int version = 1) {
  std::string out = "\x93NUMPY";
  out += {static_cast<char>(version), '\0'};
  for (int i = 0; i < (version == 1 ? 2 : 4); i++) out += static_cast<char>(header.size() >> (8 * i));
  return out + header + data;
}

std::string plain(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

/// The message of a file that must not be read; it names the file and is one line.
std::string refusal(const ScratchFolder& folder, const std::string& bytes) {
  const std::string path = folder.write("bad.npy", bytes);
  const auto read = read_npy(path);
  if (read) return "it was read";
  const std::string& text = read.error().text;
  CHECK(text.starts_with(path + ": "));
  CHECK(text.find('\n') == std::string::npos);
  CHECK(read.error().code == Error::Code::bad_input);
  return text.substr(path.size() + 2);
}

}  // namespace

TEST_CASE("what is written is read back, every type and rank 0 to 8; the start of the data is aligned to 64 bytes") {
  const ScratchFolder folder("npy_round_trip");
  std::mt19937 random(1);
  for (const Type type : {types::f16, types::f32, kF64, types::i8, types::u8, types::i32, types::i64, types::boolean}) {
    std::vector<int64_t> shape;
    for (size_t rank = 0; rank <= kMaxRank; rank++) {
      Tensor t{type, shape, {}};
      t.data.resize(static_cast<size_t>(element_count(shape, type).value() * element_bytes(type)));
      for (std::byte& b : t.data) b = static_cast<std::byte>(random());
      const std::string path = folder.path("t.npy");
      REQUIRE(write_npy(path, t).has_value());
      CHECK((bytes_of(path).size() - t.data.size()) % 64 == 0);
      const auto back = read_npy(path);
      REQUIRE_MESSAGE(back.has_value(), back.error().text);
      CHECK(same(*back, t));
      shape.push_back(rank == 4 ? 1 : 1 + static_cast<int64_t>(rank) % 3);
    }
  }
  CHECK(folder.files() == 1);  // no temporary file is left
}

TEST_CASE("the text of the header is NumPy's own, to the byte") {
  const ScratchFolder folder("npy_text");
  const std::string path = folder.path("t.npy");
  const auto header = [&](const Tensor& t) {
    REQUIRE(write_npy(path, t).has_value());
    const std::string text = bytes_of(path).substr(10);
    return text.substr(0, text.find('}') + 1);
  };
  CHECK(header(tensor<float>(types::f32, {}, {1})) == "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
  CHECK(header(tensor<float>(types::f32, {2}, {1, 2})) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
  CHECK(header(tensor<int8_t>(types::i8, {2, 1}, {1, 2})) ==
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 1), }");
}

TEST_CASE("Fortran order is transposed on reading") {
  const ScratchFolder folder("npy_fortran");
  // Element [i, j, k] of a 2 x 3 x 4 tensor is 100 i + 10 j + k.
  std::string fortran;
  std::vector<uint8_t> expected;
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < 3; j++)
      for (int i = 0; i < 2; i++) fortran += static_cast<char>(100 * i + 10 * j + k);
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 3; j++)
      for (int k = 0; k < 4; k++) expected.push_back(static_cast<uint8_t>(100 * i + 10 * j + k));
  const auto read = read_npy(folder.write("f.npy", npy(plain("|u1", "(2, 3, 4)", "True"), fortran, 2)));
  REQUIRE(read.has_value());
  CHECK(same(*read, tensor<uint8_t>(types::u8, {2, 3, 4}, expected)));
  const auto wide = read_npy(
      folder.write("w.npy", npy(plain("<i4", "(2,2)", "True"), std::string("\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0", 16))));
  REQUIRE(wide.has_value());
  CHECK(same(*wide, tensor<int32_t>(types::i32, {2, 2}, {1, 3, 2, 4})));
}

TEST_CASE("headers that other programs write") {
  const ScratchFolder folder("npy_headers");
  for (const std::string& header : {std::string("{\"shape\":(2,),\"descr\":\"<i1\",\"fortran_order\":False}"),
                                    std::string("  { 'descr' :'|i1','fortran_order':True ,'shape':( 2 , ) } \n")}) {
    const auto read = read_npy(folder.write("h.npy", npy(header, "\1\2")));
    REQUIRE_MESSAGE(read.has_value(), read.error().text);
    CHECK(same(*read, tensor<int8_t>(types::i8, {2}, {1, 2})));
  }
  const auto empty = read_npy(folder.write("e.npy", npy(plain("<f4", "(0, 1000000000000, 1000000000000)"), "")));
  REQUIRE_MESSAGE(empty.has_value(), empty.error().text);
  CHECK(empty->data.empty());
}

TEST_CASE("wrong, truncated and lying files are refused with one line that says why") {
  const ScratchFolder folder("npy_bad");
  struct Case {
    std::string bytes, why;
  };
  const std::string good = npy(plain("<f4", "(2, 3)"), std::string(24, '\0'));
  REQUIRE(refusal(folder, good) == "it was read");
  std::string version3 = good;
  version3[6] = 3;
  const Case cases[] = {
      {"", "too short"},
      {"PK\3\4 an archive", "not a .npy file"},
      {version3, "version 3.0 is not read"},
      {good.substr(0, 9), "2 bytes are expected at byte 8"},
      {good.substr(0, 40), "ends at byte 40"},
      {good.substr(0, good.size() - 1), "claims [2, 3] of f32, 24 bytes, and 23 bytes follow"},
      {good + "x", "24 bytes, and 25 bytes follow"},
      {npy(plain("<f4", "(4294967296, 4294967296, 4294967296)"), "x"), "too large for any file"},
      {npy(plain("<f8", "(1152921504606846976,)"), "x"), "extent beyond 10^18"},
      {npy(plain("<f4", "(999999999999999999,)"), "x"), "and 1 bytes follow"},
      {npy(plain("<f4", "(-1,)"), ""), "expected an extent"},
      {npy(plain("<f4", "(2)"), "12345678"), "expected ','"},
      {npy(plain("<f4", "(1,1,1,1,1,1,1,1,1)"), "1234"), "more than 8 dimensions"},
      {npy(plain(">f4", "(1,)"), "1234"), "\">f4\" are not read"},
      {npy(plain("|O", "(1,)"), "1234"), "\"|O\" are not read"},
      {npy(plain("<f\n4", "(1,)"), "1234"), "\"<f\\n4\" are not read"},
      {npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234"), "records"},
      {npy("{'descr': '<f4', 'shape': (1,)}", "1234"), "no 'fortran_order'"},
      {npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "1234"), "'descr' twice"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "1234"), "unknown key \"x\""},
      {npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "1234"), "expected True or False"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "1234"), "text after its header"},
      {npy("{'descr': '<f4", "1234"), "expected a string"},
      {npy(std::string(100000, ' '), "", 2), "claims 100000 bytes"},
  };
  for (const Case& c : cases) {
    const std::string text = refusal(folder, c.bytes);
    CHECK_MESSAGE(text.find(c.why) != std::string::npos, text << " does not say: " << c.why);
  }
  for (const std::string& path : {folder.path("absent.npy"), folder.path(".")}) {
    const auto read = read_npy(path);
    REQUIRE(!read.has_value());
    CHECK(read.error().text.starts_with(path + ": "));
  }
}

TEST_CASE("a file that cannot be written is an error and leaves nothing behind; the one before it stays") {
  const ScratchFolder folder("npy_unwritten");
  const Tensor t = tensor<float>(types::f32, {1}, {1});
  CHECK(!write_npy(folder.path("absent/t.npy"), t).has_value());
  CHECK(!write_npy(folder.path("."), t).has_value());
  const std::string path = folder.write("t.npy", "before");
  const auto bf16 = write_npy(path, tensor<uint16_t>(types::bf16, {1}, {1}));
  REQUIRE(!bf16.has_value());
  CHECK(bf16.error().code == Error::Code::unsupported);
  CHECK(bytes_of(path) == "before");
  CHECK(folder.files() == 1);
  CHECK(write_npy("/dev/null", t).has_value());
  CHECK(std::filesystem::is_character_file("/dev/null"));  // written to, not replaced
}

TEST_CASE("fuzz: whatever the bytes, a tensor that agrees with itself or an error that names the file") {
  const ScratchFolder folder("npy_fuzz");
  std::mt19937 random(7);
  const std::string seeds[] = {npy(plain("<f4", "(2, 3)"), std::string(24, 'x')),
                               npy(plain("|u1", "(3, 2, 2)", "True"), std::string(12, 'y'), 2),
                               npy(plain("<i8", "()"), std::string(8, 'z'))};
  const std::string path = folder.path("f.npy");
  int read_well = 0, refused = 0, inconsistent = 0;
  for (int i = 0; i < 6000; i++) {
    folder.write("f.npy", mutate(seeds[i % 3], random));
    const auto read = read_npy(path);
    if (read) {
      read_well++;
      const auto count = element_count(read->shape, read->type);
      inconsistent += !count || static_cast<size_t>(*count * element_bytes(read->type)) != read->data.size();
    } else {
      refused++;
      inconsistent += !read.error().text.starts_with(path + ": ") || read.error().text.find('\n') != std::string::npos;
    }
  }
  CHECK(inconsistent == 0);
  CHECK(read_well > 100);
  CHECK(refused > 1000);
}

TEST_CASE("half: every f16 as f32 and back; f32 to f16 as ir/types rounds") {
  int wrong = 0;
  for (uint32_t half = 0; half < 65536; half++) {
    const float value = f32_from_f16(static_cast<uint16_t>(half));
    const double expected = decode(types::f16, half);
    const uint16_t back = f16_from_f32(value);
    if (std::isnan(expected))
      wrong += !std::isnan(value) || !std::isnan(decode(types::f16, back));
    else
      wrong += std::bit_cast<uint64_t>(double{value}) != std::bit_cast<uint64_t>(expected) || back != half;
  }
  CHECK(wrong == 0);
  const auto check = [&](uint32_t bits) {
    const float value = std::bit_cast<float>(bits);
    wrong += f16_from_f32(value) != encode(types::f16, value);
  };
  // Every border: each f16, the midpoint to the next, and the f32 neighbours of both.
  for (uint32_t half = 0; half < 0x7c00; half++) {
    const float low = f32_from_f16(static_cast<uint16_t>(half)), high = f32_from_f16(static_cast<uint16_t>(half + 1));
    const float middle = half + 1 == 0x7c00 ? 65520.0f : (low + high) / 2;
    for (const float at : {low, middle}) {
      for (int step = -1; step <= 1; step++) {
        check(std::bit_cast<uint32_t>(at) + static_cast<uint32_t>(step));
        check((std::bit_cast<uint32_t>(at) + static_cast<uint32_t>(step)) ^ 0x80000000u);
      }
    }
  }
  std::mt19937 random(3);
  for (int i = 0; i < 300000; i++) check(static_cast<uint32_t>(random()));
  CHECK(wrong == 0);
}

TEST_CASE("convert: each type to f32 and f16, rounded once") {
  const auto f32 = [](const Tensor& t) { return f32_values(convert(t, types::f32).value()); };
  const auto f16 = [](const Tensor& t) {
    const Tensor c = convert(t, types::f16).value();
    std::vector<uint16_t> out(c.data.size() / 2);
    std::memcpy(out.data(), c.data.data(), c.data.size());
    return out;
  };
  using F32 = std::vector<float>;
  using F16 = std::vector<uint16_t>;
  CHECK(f32(tensor<uint16_t>(types::f16, {3}, {0x3c00, 0x0001, 0xfbff})) == F32{1, 0x1p-24f, -65504});
  CHECK(f32(tensor<uint16_t>(types::bf16, {2}, {0x3f80, 0xc040})) == F32{1, -3});
  CHECK(f16(tensor<uint16_t>(types::bf16, {2}, {0x3f80, 0x7f7f})) == F16{0x3c00, 0x7c00});
  CHECK(f32(tensor<int8_t>(types::i8, {2}, {-128, 127})) == F32{-128, 127});
  CHECK(f32(tensor<uint8_t>(types::u8, {2}, {0, 255})) == F32{0, 255});
  CHECK(f32(tensor<uint8_t>(types::boolean, {3}, {0, 1, 7})) == F32{0, 1, 1});
  CHECK(f32(tensor<int32_t>(types::i32, {2}, {16777217, -16777219})) == F32{16777216, -16777220});
  CHECK(f32(tensor<int64_t>(types::i64, {1}, {9007199791611905})) ==
        F32{9007200328482816.0f});  // by way of f64: ...9254740992
  CHECK(f16(tensor<int32_t>(types::i32, {3}, {2049, 65519, 65520})) == F16{0x6800, 0x7bff, 0x7c00});
  // 1 + 2^-11 + 2^-40: by way of f32 it would become the tie 1 + 2^-11 and round down.
  CHECK(f16(tensor<double>(kF64, {1}, {1 + 0x1p-11 + 0x1p-40})) == F16{0x3c01});
  CHECK(f32(tensor<double>(kF64, {2}, {0.1, 1e300})) == F32{0.1f, INFINITY});
  CHECK(f16(tensor<float>(types::f32, {2}, {1.0f, 1 + 0x1p-11f})) == F16{0x3c00, 0x3c00});
  CHECK(!convert(tensor<float>(types::f32, {1}, {1}), types::i8).has_value());
  CHECK(!convert(Tensor{types::f32, {2}, {}}, types::f16).has_value());
}
