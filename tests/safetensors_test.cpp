// .safetensors files: the index, the tensors, files that lie; and the layer that the demo multiplies.
#include "model/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>

#include "model/npy.h"
#include "scratch_files.h"

using namespace lathe;
using namespace lathe::model;

namespace {

std::string file_of(const std::string& header, const std::string& data) {
  std::string out;
  for (int i = 0; i < 8; i++) out += static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return out + header + data;
}

/// A header of one tensor "a": f32, [2], 8 bytes, with a piece replaced.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

const std::string kTwo =
    "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[8,12]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ";
const std::string kTwoData("\0\0\x80\x3f\0\0\0\x40\0\x3c\0\xc0", 12);

std::string refusal(const ScratchFolder& folder, const std::string& bytes) {
  const std::string path = folder.write("bad.safetensors", bytes);
  const auto opened = Safetensors::open(path);
  if (opened) return "it was opened";
  const std::string& text = opened.error().text;
  CHECK(text.starts_with(path + ": "));
  CHECK(text.find('\n') == std::string::npos);
  CHECK(opened.error().code == Error::Code::bad_input);
  return text.substr(path.size() + 2);
}

}  // namespace

TEST_CASE("tensors are found by name, in the order of their bytes, and read as stored or as f32") {
  const ScratchFolder folder("safetensors_read");
  auto file = Safetensors::open(folder.write("two.safetensors", file_of(kTwo, kTwoData)));
  REQUIRE_MESSAGE(file.has_value(), file.error().text);
  REQUIRE(file->entries().size() == 2);
  CHECK(file->entries()[0].name == "a");
  CHECK(file->entries()[1].name == "b");
  CHECK(file->find("c") == nullptr);
  const auto b = file->read("b");
  REQUIRE(b.has_value());
  CHECK(b->type == types::f16);
  CHECK(b->shape == std::vector<int64_t>{2, 1});
  CHECK(b->data.size() == 4);
  CHECK(file->read_f32("b").value() == std::vector<float>{1, -2});
  CHECK(file->read_f32("a").value() == std::vector<float>{1, 2});
  const auto absent = file->read("c\n");
  REQUIRE(!absent.has_value());
  CHECK(absent.error().text.ends_with(": no tensor \"c\\n\"; it holds \"a\", \"b\""));
}

TEST_CASE("every dtype is as wide as it says; one that is not read stays listed") {
  const ScratchFolder folder("safetensors_types");
  struct Case {
    std::string dtype;
    Type type;
  };
  const Case cases[] = {{"F16", types::f16}, {"BF16", types::bf16}, {"F32", types::f32},
                        {"F64", kF64},       {"I8", types::i8},     {"U8", types::u8},
                        {"I32", types::i32}, {"I64", types::i64},   {"BOOL", types::boolean}};
  for (const Case& c : cases) {
    const int64_t bytes = 3 * element_bytes(c.type);
    const std::string header = one("\"" + c.dtype + "\"", "[3]", "[0," + std::to_string(bytes) + "]");
    const std::string data(static_cast<size_t>(bytes), '\0');
    auto file = Safetensors::open(folder.write("t.safetensors", file_of(header, data)));
    REQUIRE_MESSAGE(file.has_value(), file.error().text);
    CHECK(file->read("a").value().type == c.type);
    CHECK(file->read_f32("a").value() == std::vector<float>{0, 0, 0});
  }
  auto file = Safetensors::open(folder.write("t.safetensors", file_of(one("\"F8_E4M3\"", "[3]", "[0,3]"), "abc")));
  REQUIRE(file.has_value());
  CHECK(file->entries()[0].dtype == "F8_E4M3");
  const auto read = file->read("a");
  REQUIRE(!read.has_value());
  CHECK(read.error().code == Error::Code::unsupported);
  CHECK(read.error().text.find("t.safetensors: tensor \"a\": elements of type \"F8_E4M3\"") != std::string::npos);
}

TEST_CASE("wrong, truncated and lying files are refused with one line that says why") {
  const ScratchFolder folder("safetensors_bad");
  const std::string good = file_of(one("\"F32\"", "[2]", "[0,8]"), "12345678"), data = "12345678";
  REQUIRE(refusal(folder, good) == "it was opened");
  const auto pair = [](const std::string& a, const std::string& b) {
    return "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + a +
           "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + b + "}}";
  };
  REQUIRE(refusal(folder, file_of(pair("[4,8]", "[0,4]"), data)) == "it was opened");
  struct Case {
    std::string bytes, why;
  };
  const Case cases[] = {
      {"", "too short"},
      {"short", "too short"},
      {std::string(8, '\xff') + "{}", "claims a header of 18446744073709551615 bytes in a file of 10"},
      {good.substr(0, 30), "cut short"},
      {good.substr(0, good.size() - 1), "lie outside the 7 bytes of data"},
      {good + "x", "1 bytes after the last tensor belong to none"},
      {file_of("", ""), "not JSON"},
      {file_of("[]", ""), "not a JSON object"},
      {file_of("{\"a\":{", ""), "not JSON (at byte 7"},
      {file_of("{\"a\xff\":1}", ""), "not JSON"},
      {file_of(std::string(100000, '['), ""), "not JSON"},
      {file_of("{\"a\":1}", ""), "tensor \"a\": its entry in the header is not an object"},
      {file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", data), "no \"data_offsets\""},
      {file_of(one("32", "[2]", "[0,8]"), data), "dtype is not a string"},
      {file_of(one("\"F32\"", "2", "[0,8]"), data), "shape is not a list"},
      {file_of(one("\"F32\"", "[-2]", "[0,8]"), data), "shape is not a list of whole numbers"},
      {file_of(one("\"F32\"", "[2.0]", "[0,8]"), data), "shape is not a list of whole numbers"},
      {file_of(one("\"F32\"", "[18446744073709551615]", "[0,8]"), data), "shape is not a list of whole numbers"},
      {file_of(one("\"F32\"", "[4294967296,4294967296,2]", "[0,8]"), data), "do not fill its 8 bytes"},
      {file_of(one("\"F32\"", "[3]", "[0,8]"), data), "[3] of F32 do not fill its 8 bytes"},
      {file_of(one("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), data), "more than 8 dimensions"},
      {file_of(one("\"F32\"", "[2]", "[0]"), data), "data_offsets are not two"},
      {file_of(one("\"F32\"", "[2]", "[8,0]"), data), "data_offsets 8..0 lie outside"},
      {file_of(one("\"F32\"", "[2]", "[4,12]"), data), "data_offsets 4..12 lie outside"},
      {file_of(pair("[0,4]", "[2,6]"), data), "tensors \"a\" and \"b\" overlap"},
      {file_of(pair("[0,4]", "[0,4]"), "1234"), "tensors \"a\" and \"b\" overlap"},
      {file_of(pair("[0,4]", "[5,9]"), data + "9"), "1 bytes before tensor \"b\" belong to none"},
      {file_of("{\"a\":{},\"a\":{}}", ""), "names \"a\" twice"},
      {file_of("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", data),
       "\"dtype\" twice"},
      {file_of("{\"__metadata__\":{\"x\":1}}", ""), "__metadata__"},
  };
  for (const Case& c : cases) {
    const std::string text = refusal(folder, c.bytes);
    CHECK_MESSAGE(text.find(c.why) != std::string::npos, text << " does not say: " << c.why);
  }
  CHECK(!Safetensors::open(folder.path("absent")).has_value());
}

TEST_CASE("fuzz: whatever the bytes, an index that agrees with the file or an error that names it") {
  const ScratchFolder folder("safetensors_fuzz");
  std::mt19937 random(11);
  const std::string good = file_of(kTwo, kTwoData), path = folder.path("f.safetensors");
  int opened = 0, refused = 0, wrong = 0;
  for (int i = 0; i < 6000; i++) {
    // Every other time the length of the header is put right, so that its text is reached.
    std::string bytes = mutate(good, random);
    if (i % 2 && bytes.size() >= 8 + 12) {
      for (int b = 0; b < 8; b++) bytes[static_cast<size_t>(b)] = static_cast<char>((bytes.size() - 8 - 12) >> (8 * b));
    }
    folder.write("f.safetensors", bytes);
    auto file = Safetensors::open(path);
    if (!file) {
      refused++;
      wrong += !file.error().text.starts_with(path + ": ") || file.error().text.find('\n') != std::string::npos;
      continue;
    }
    opened++;
    for (const Safetensors::Entry& e : file->entries()) {
      wrong += e.begin + e.bytes > bytes.size();
      wrong += e.type.has_value() != file->read(e.name).has_value();
    }
  }
  CHECK(wrong == 0);
  CHECK(opened > 50);
  CHECK(refused > 1000);
}

TEST_CASE("the demo's layer and the inputs that it really receives are there and fit") {
  const std::string folder = std::string(LATHE_SOURCE_DIR) + "/model/example/";
  auto file = Safetensors::open(folder + "down_proj.safetensors");
  REQUIRE_MESSAGE(file.has_value(), file.error().text);
  const auto w = file->read("model.layers.3.mlp.down_proj.weight");
  REQUIRE_MESSAGE(w.has_value(), w.error().text);
  const auto x = read_npy(folder + "down_proj_x.npy");
  REQUIRE_MESSAGE(x.has_value(), x.error().text);
  CHECK(w->type == types::f16);
  CHECK(x->type == types::f16);
  REQUIRE(w->shape.size() == 2);
  REQUIRE(x->shape.size() == 2);
  CHECK(x->shape[1] == w->shape[1]);
  double largest = 0;
  int not_finite = 0;
  for (const float v : f32_values(convert(*x, types::f32).value())) {
    not_finite += !std::isfinite(v);
    largest = std::max(largest, std::fabs(double{v}));
  }
  CHECK(not_finite == 0);
  CHECK(largest > 0.1);
}
