#include "backends/spirv/target.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <type_traits>

namespace lathe {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxText = size_t{1} << 20, kMaxName = 256, kMaxAtoms = 256;
constexpr int64_t kMaxSide = 1024;  // of an atom

enum MayBeEmpty : uint8_t { kMayBeEmpty };

// ---- the fields, once for reading and writing. The structured binding stops compiling when a field is added.

template <class T, class Visit>
requires std::is_same_v<std::remove_const_t<T>, Target>
void each_field(T& target, Visit visit) {
  auto& [name, backend, subgroup_size, fixed_subgroup_size, max_threads, shared_bytes, max_registers, f16_arithmetic,
         bf16_arithmetic, f16_storage, byte_storage, mma_f16_subnormals, rte_f16, preserve_f16_denorm,
         preserve_f32_denorm, rte_f32, async_copy, bulk_copy, overlapped_launch, ptx_isa, speed, matrix_loads, atoms] =
      target;
  visit("name", name);
  visit("backend", backend);
  visit("subgroup_size", subgroup_size, 1, 128);
  visit("fixed_subgroup_size", fixed_subgroup_size);
  visit("max_threads", max_threads, 1, 1 << 16);
  visit("shared_bytes", shared_bytes, 0, 1 << 30);
  visit("max_registers", max_registers, 1, 1 << 16);
  visit("f16_arithmetic", f16_arithmetic);
  visit("bf16_arithmetic", bf16_arithmetic);
  visit("f16_storage", f16_storage);
  visit("byte_storage", byte_storage);
  visit("mma_f16_subnormals", mma_f16_subnormals);
  visit("rte_f16", rte_f16);
  visit("preserve_f16_denorm", preserve_f16_denorm);
  visit("preserve_f32_denorm", preserve_f32_denorm);
  visit("rte_f32", rte_f32);
  visit("async_copy", async_copy);
  visit("bulk_copy", bulk_copy);
  visit("overlapped_launch", overlapped_launch);
  visit("ptx_isa", ptx_isa, 0, 999);
  visit("speed", speed);
  visit("matrix_loads", matrix_loads);
  visit("atoms", atoms);
}

template <class S, class Visit>
requires std::is_same_v<std::remove_const_t<S>, Speed>
void each_field(S& speed, Visit visit) {
  auto& [device, memory_gb_s, matrix_tflops, cores, mhz, flight_bytes] = speed;
  visit("device", device, kMayBeEmpty);
  visit("memory_gb_s", memory_gb_s, 0, 1 << 20);
  visit("matrix_tflops", matrix_tflops, 0, 1 << 20);
  visit("cores", cores, 0, 1 << 16);
  visit("mhz", mhz, 0, 1 << 16);
  visit("flight_bytes", flight_bytes, 0, 1 << 30);
}

template <class M, class Visit>
requires std::is_same_v<std::remove_const_t<M>, MatrixLoad>
void each_field(M& load, Visit visit) {
  auto& [name, registers, addresses] = load;
  visit("name", name);
  visit("registers", registers);
  visit("addresses", addresses);
}

template <class A, class Visit>
requires std::is_same_v<std::remove_const_t<A>, Atom>
void each_field(A& atom, Visit visit) {
  auto& [name, m, n, k, a, b, c, layout_a, layout_b, layout_c, source, subgroups, b_in_shared, constant_operands] =
      atom;
  visit("name", name);
  visit("m", m, 1, kMaxSide);
  visit("n", n, 1, kMaxSide);
  visit("k", k, 1, kMaxSide);
  visit("a", a);
  visit("b", b);
  visit("c", c);
  visit("layout_a", layout_a);
  visit("layout_b", layout_b);
  visit("layout_c", layout_c);
  visit("source", source);
  visit("subgroups", subgroups, 1, 16);
  visit("b_in_shared", b_in_shared);
  visit("constant_operands", constant_operands);
}

constexpr std::pair<Backend, const char*> kBackends[] = {{Backend::ptx, "ptx"}, {Backend::spirv, "spirv"}};

// ---- writing

struct Writer {
  Json& out;
  template <class V, class... Range>
  void operator()(const char* key, const V& value, Range...) {
    out[key] = json(value);
  }

 private:
  static Json json(const std::string& s) { return s; }
  static Json json(bool b) { return b; }
  static Json json(int64_t i) { return i; }
  static Json json(int i) { return i; }
  static Json json(Type t) { return to_string(t); }
  static Json json(const Layout& l) { return to_string(l); }
  static Json json(MapSource s) { return to_string(s); }
  static Json json(Backend b) {
    for (const auto& [backend, text] : kBackends)
      if (backend == b) return text;
    return {};
  }
  static Json json(const Speed& speed) {
    Json one = Json::object();
    each_field(speed, Writer{one});
    return one;
  }
  template <class V>
  static Json json(const std::vector<V>& values) {
    Json list = Json::array();
    for (const V& value : values) {
      Json one = Json::object();
      each_field(value, Writer{one});
      list.push_back(std::move(one));
    }
    return list;
  }
};

// ---- reading

struct Reader {
  const Json& in;
  Result<Unit>& status;  ///< the first fault
  size_t& known;         ///< fields seen

  template <class V, class... Range>
  void operator()(const char* key, V& value, Range... range) {
    known++;
    if (!status) return;
    const auto at = in.find(key);
    const std::string field = fmt::format("{}: ", key);
    if (at == in.end())
      status = bad_input(field + "missing");
    else if (Result<Unit> r = read(*at, value, range...); !r)
      status = bad_input(field + r.error().text);
  }

 private:
  static Result<Unit> read(const Json& j, std::string& value, MayBeEmpty) {
    if (j == "") return value.clear(), Unit{};
    return read(j, value);
  }
  static Result<Unit> read(const Json& j, std::string& value) {
    if (!j.is_string()) return bad_input("a string is needed");
    value = j.get<std::string>();
    const bool printable =
        std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
    if (value.empty() || value.size() > kMaxName || !printable)
      return bad_input(fmt::format("1 to {} printable characters are needed", kMaxName));
    return Unit{};
  }
  static Result<Unit> read(const Json& j, bool& value) {
    if (!j.is_boolean()) return bad_input("true or false is needed");
    value = j.get<bool>();
    return Unit{};
  }
  template <class Int>
  static Result<Unit> read(const Json& j, Int& value, int64_t lo, int64_t hi) {
    const bool huge = j.is_number_unsigned() && j.get<uint64_t>() > static_cast<uint64_t>(hi);
    if (!j.is_number_integer() || huge || j.get<int64_t>() < lo || j.get<int64_t>() > hi)
      return bad_input(fmt::format("a whole number from {} to {} is needed", lo, hi));
    value = static_cast<Int>(j.get<int64_t>());
    return Unit{};
  }
  static Result<Unit> read(const Json& j, Type& value) {
    const auto type = j.is_string() ? parse_type(j.get<std::string>()) : std::nullopt;
    if (!type) return bad_input("an element type is needed");
    value = *type;
    return Unit{};
  }
  static Result<Unit> read(const Json& j, Layout& value) {
    if (!j.is_string()) return bad_input("a layout is needed");
    TRY_ASSIGN(value, parse_layout(j.get<std::string>()));
    return Unit{};
  }
  static Result<Unit> read(const Json& j, MapSource& value) {
    for (const MapSource s : kMapSources)
      if (j == to_string(s)) return value = s, Unit{};
    return bad_input("explicit, probed, assumed, opaque or fma is needed");
  }
  static Result<Unit> read(const Json& j, Backend& value) {
    for (const auto& [backend, text] : kBackends)
      if (j == text) return value = backend, Unit{};
    return bad_input("ptx or spirv is needed");
  }
  static Result<Unit> read(const Json& j, Speed& value);
  template <class V>
  static Result<Unit> read(const Json& j, std::vector<V>& value);
};

template <class V, class EachField>
Result<Unit> read_object(const Json& j, V& value, EachField each) {
  if (!j.is_object()) return bad_input("an object is needed");
  Result<Unit> status = Unit{};
  size_t known = 0;
  each(value, Reader{j, status, known});
  if (status && j.size() != known) return bad_input("a field that nobody knows");
  return status;
}

Result<Unit> Reader::read(const Json& j, Speed& value) {
  return read_object(j, value, [](Speed& s, Reader r) { each_field(s, r); });
}

template <class V>
Result<Unit> Reader::read(const Json& j, std::vector<V>& value) {
  if (!j.is_array() || j.size() > kMaxAtoms) return bad_input(fmt::format("a list of at most {} is needed", kMaxAtoms));
  for (size_t a = 0; a < j.size(); a++) {
    const auto one = read_object(j[a], value.emplace_back(), [](V& at, Reader r) { each_field(at, r); });
    if (!one) return bad_input(fmt::format("{}: {}", a, one.error().text));
  }
  return Unit{};
}

/// A lane map belongs to its atom and to one subgroup, and every element has one place.
Result<Unit> check_layouts(const Target& t) {
  for (const Atom& atom : t.atoms) {
    const struct {
      const char* field;
      const Layout& layout;
      Coord shape;
    } maps[] = {{"layout_a", atom.layout_a, {atom.m, atom.k}},
                {"layout_b", atom.layout_b, {atom.k, atom.n}},
                {"layout_c", atom.layout_c, {atom.m, atom.n}}};
    for (const auto& map : maps)
      if (map.layout.shape() != map.shape || map.layout.threads() != t.subgroup_size || map.layout.partials() != 1 ||
          map.layout.slots() > 128)
        return bad_input(fmt::format("atoms: {}: {}: {} x {} over {} lanes without partial sums is needed", atom.name,
                                     map.field, map.shape[0], map.shape[1], t.subgroup_size));
  }
  for (const MatrixLoad& load : t.matrix_loads)
    for (const Layout* l : {&load.registers, &load.addresses})
      if (l->rank() != 2 || l->shape() != load.registers.shape() || l->threads() != 32 || t.subgroup_size != 32 ||
          l->partials() != 1 || l->slots() > 8)
        return bad_input(fmt::format("matrix_loads: {}: two layouts of one tile over 32 lanes are needed", load.name));
  return Unit{};
}

Result<Target> read_target(std::string_view text) {
  if (text.size() > kMaxText) return bad_input("over a mebibyte");
  const Json j = Json::parse(text, nullptr, false);
  if (j.is_discarded()) return bad_input("not JSON");
  Target target;
  TRY(read_object(j, target, [](Target& t, Reader r) { each_field(t, r); }));
  if ((target.subgroup_size & (target.subgroup_size - 1)) != 0)
    return bad_input("subgroup_size: a power of two is needed");
  TRY(check_layouts(target));
  return target;
}

}  // namespace

std::string to_json(const Target& target) {
  Json out = Json::object();
  each_field(target, Writer{out});
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Target> spirv_target_from_json(std::string_view text) {
  return read_target(text).map_error([](const Error& e) { return Error{e.code, "target file: " + e.text}; });
}

}  // namespace lathe
