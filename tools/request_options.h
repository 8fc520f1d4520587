#pragma once
// The options that `lathe bench` and `lathe tune` share: which devices, weights, shapes and numbers of tokens.
#include <CLI/CLI.hpp>

#include "bench/matmul.h"

namespace lathe::tools {

struct RequestOptions {
  std::vector<std::string> devices, shapes, models, types;
  std::string tokens = "1,8,16,32,64,128,256,512,4096", x = "f16";
  int64_t group = 128;
  double rotate_mb = 300;
  bool no_probe = false;
};
void add_request_options(CLI::App* app, RequestOptions& o);

struct Request {
  std::vector<std::string> devices;
  std::vector<bench::Format> formats;
  std::vector<bench::Shape> shapes;
  std::vector<int64_t> tokens;  ///< rising
  bench::Rotation rotation;
  bool no_probe = false;
};
/// bad_input: a word that is none of its kind, no shape, a device that has no speed.
Result<Request> read_request(const RequestOptions& o);
/// The formats alone.
Result<std::vector<bench::Format>> read_formats(const RequestOptions& o);
bench::Rotation rotation_of(const RequestOptions& o);

}  // namespace lathe::tools
