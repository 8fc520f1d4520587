#include "tools/tile_file.h"

#include "model/file.h"

namespace lathe::tools {

Result<tile::Func> read_tile_file(const std::string& path) {
  constexpr uint64_t kMaxText = 16 << 20;
  TRY_ASSIGN(model::InputFile file, model::InputFile::open(path));
  if (file.size() > kMaxText) return file.fail("too large for a tile program");
  TRY_ASSIGN(const auto bytes, file.read(0, file.size()));
  return tile::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace lathe::tools
