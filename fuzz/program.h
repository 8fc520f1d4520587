#pragma once
// A tile program with what it is launched on; as text it is a .tile file whose first comments say the launch.
#include <cstdint>
#include <map>
#include <string>

#include "ir/tile_interp.h"

namespace lathe::fuzz {

/// What tensors hold. exact: small whole numbers, so that every sum is exact; real: any fractions and whole numbers;
/// special: among those subnormals, infinities, NaN and the largest numbers.
enum class Data : uint8_t { exact, real, special };
const char* to_string(Data d);

/// The shape of a tensor, and of one with strides the elements of its whole storage.
struct TensorShape {
  Coord shape;
  int64_t storage = 0;
};

struct Program {
  tile::Func func;
  std::map<std::string, TensorShape> shapes;  ///< of every view that is no workspace
  std::map<std::string, uint64_t> scalars;    ///< scalar parameters, raw bits, and strides that are no size
  Data data = Data::exact;
  uint32_t data_seed = 0;
  bool accumulator = false;  ///< compiled with Factor::accumulator

  /// The same at every call: each tensor is made from the seed and its name.
  std::map<std::string, tile::HostTensor> tensors() const;
  /// One element as `data` says.
  static uint64_t element(Data data, Type elem, uint32_t random);
};

/// `about` stands at its head, each line as a comment.
std::string to_text(const Program& p, const std::string& about);
/// The inverse; bad_input: no tile program, or a launch line that is missing or wrong.
Result<Program> program_from_text(std::string_view text, std::string_view file_name);

}  // namespace lathe::fuzz
