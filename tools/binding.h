#pragma once
// The arguments of a tile program from the command line: files, sizes and scalars by name.
#include <map>
#include <string>
#include <vector>

#include "ir/tile_interp.h"

namespace lathe::tools {

/// NAME=VALUE arguments; bad_input: one of another form, or a name twice. `option` is for messages.
Result<std::map<std::string, std::string>> split_pairs(const std::vector<std::string>& arguments, const char* option);

/// Everything one launch needs, checked against the program.
struct Binding {
  std::map<std::string, tile::HostTensor> tensors;  ///< every view; of one with strides the whole storage
  std::map<std::string, uint64_t> scalars;          ///< raw bits of scalar parameters, and symbols given by --set
  std::map<std::string, int64_t> sizes;             ///< every symbol
};

/// in: files by parameter; out: names of parameters to be written (zeros at the start, unless also in `in`); set:
/// scalar parameters and sizes. bad_input says which argument is missing, unknown or of the wrong shape.
Result<Binding> bind(const tile::Func& f, const std::map<std::string, std::string>& in,
                     const std::map<std::string, std::string>& out, const std::map<std::string, std::string>& set);

/// The elements of a view without the gaps that its strides leave.
tile::HostTensor dense(const tile::Func& f, const Binding& b, const tile::Param& p);

}  // namespace lathe::tools
