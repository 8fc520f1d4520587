#include "ir/target.h"

namespace lathe {

const char* to_string(MapSource s) {
  switch (s) {
    case MapSource::published:
      return "explicit";
    case MapSource::probed:
      return "probed";
    case MapSource::assumed:
      return "assumed";
    case MapSource::opaque:
      return "opaque";
    case MapSource::fma:
      return "fma";
  }
  return "?";
}

}  // namespace lathe
