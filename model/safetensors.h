#pragma once
// .safetensors files: an index of named tensors, and the tensors by name.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/file.h"
#include "model/tensor.h"

namespace lathe::model {

class Safetensors {
 public:
  struct Entry {
    std::string name;
    std::string dtype;         ///< as the file says
    std::optional<Type> type;  ///< none: a dtype that is listed and cannot be read
    std::vector<int64_t> shape;
    uint64_t begin = 0, bytes = 0;  ///< from the first byte of the file
  };

  /// Reads and checks the whole index: sizes agree with shapes, the tensors fill the file without gap or overlap.
  static Result<Safetensors> open(const std::string& path);
  const std::vector<Entry>& entries() const { return entries_; }  ///< in the order of the bytes
  const Entry* find(std::string_view name) const;                 ///< null if there is none
  /// The bytes as stored. bad_input: no such tensor; unsupported: a dtype that cannot be read.
  Result<Tensor> read(std::string_view name);
  /// Its values, whatever number type it is stored as.
  Result<std::vector<float>> read_f32(std::string_view name);

 private:
  Safetensors(InputFile file, std::vector<Entry> entries) : file_(std::move(file)), entries_(std::move(entries)) {}

  InputFile file_;
  std::vector<Entry> entries_;
};

}  // namespace lathe::model
