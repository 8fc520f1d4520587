#include "tools/binding.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

#include "model/file.h"
#include "model/npy.h"
#include "tools/host_tensor.h"

namespace lathe::tools {
namespace {

using Pairs = std::map<std::string, std::string>;
constexpr int64_t kMaxElements = int64_t{1} << 40;

template <class T>
std::optional<T> number(const std::string& text) {
  T value{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A size or stride: a constant of the program, or a symbol.
Result<int64_t> value_of(const tile::Func& f, const std::map<std::string, int64_t>& sizes, ValueId v) {
  if (const auto* def = f.def(v); def && def->op == tile::Op::constant) return def->attr.imm;
  const std::string& name = f.values[v].name;
  if (const auto it = sizes.find(name); it != sizes.end()) return it->second;
  return bad_input(fmt::format("'{0}' is not known: --set {0}=NUMBER", name));
}

Result<Coord> values_of(const tile::Func& f, const std::map<std::string, int64_t>& sizes,
                        const std::vector<ValueId>& values) {
  Coord out;
  for (const ValueId v : values) {
    TRY_ASSIGN(const int64_t value, value_of(f, sizes, v));
    out.push_back(value);
  }
  return out;
}

Result<int64_t> count_of(const Coord& shape, const std::string& name) {
  const auto count = model::element_count(shape, types::i64);
  if (count && *count <= kMaxElements) return *count;
  return bad_input(fmt::format("'{}' of shape {} is too large", name, model::to_string(shape)));
}

/// visit(index of an element, its place in a storage with these strides)
template <class Visit>
void each_place(const Coord& shape, const Coord& strides, const Visit& visit) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i, at = 0;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) at += rest % shape[d] * strides[d];
    visit(static_cast<size_t>(i), static_cast<size_t>(at));
  }
}

class Binder {
 public:
  Binder(const tile::Func& f, Binding& b) : f_(f), b_(b) {}

  Result<Unit> check_names(const Pairs& in, const Pairs& out) const {
    for (const auto* pairs : {&in, &out})
      for (const auto& [name, file] : *pairs)
        if (!is_view(name))
          return bad_input(fmt::format("--{} {}: no tensor of that name; {} has {}", pairs == &in ? "in" : "out",
                                       model::in_quotes(name), f_.name, fmt::join(names(true), ", ")));
    return Unit{};
  }

  Result<Unit> set(const Pairs& set) {
    for (const auto& [name, text] : set) TRY(set_one(name, text));
    for (const tile::Param& p : f_.params)
      if (f_.type(p.value).is_scalar() && !b_.scalars.count(name_of(p.value)))
        return bad_input(fmt::format("scalar '{0}' is missing: --set {0}=VALUE", name_of(p.value)));
    return Unit{};
  }

  Result<Unit> read(const tile::Param& p, const std::string& file) {
    const std::string& name = name_of(p.value);
    TRY_ASSIGN(const model::Tensor t, model::read_npy(file));
    if (t.shape.size() != p.sizes.size())
      return bad_input(fmt::format("{}: '{}' has {} dimensions, the file has shape {}", file, name, p.sizes.size(),
                                   model::to_string(t.shape)));
    for (size_t d = 0; d < p.sizes.size(); d++) TRY(bind_size(p, d, t.shape[d], file));
    auto host = from_file(t, f_.type(p.value).elem, name);
    if (!host) return bad_input(fmt::format("{}: {}", file, host.error().text));
    b_.tensors[name] = std::move(*host);
    return Unit{};
  }

  /// The tensor of a view that no file gives: zeros.
  Result<Unit> make(const tile::Param& p) {
    tile::HostTensor t{f_.type(p.value).elem, {}, {}};
    TRY_ASSIGN(t.shape, values_of(f_, b_.sizes, p.sizes));
    TRY_ASSIGN(const int64_t count, count_of(t.shape, name_of(p.value)));
    t.raw.resize(static_cast<size_t>(count));
    b_.tensors[name_of(p.value)] = std::move(t);
    return Unit{};
  }

  /// Puts the elements where the strides of the view say.
  Result<Unit> spread(const tile::Param& p) {
    if (p.strides.empty()) return Unit{};
    tile::HostTensor& t = b_.tensors.at(name_of(p.value));
    if (t.raw.empty()) return Unit{};
    TRY_ASSIGN(const Coord strides, values_of(f_, b_.sizes, p.strides));
    Coord spans;
    for (size_t d = 0; d < strides.size(); d++) {
      if (strides[d] < 0 || strides[d] > kMaxElements / t.shape[d])
        return bad_input(fmt::format("'{}' cannot have stride {}", name_of(p.value), strides[d]));
      spans.push_back((t.shape[d] - 1) * strides[d] + 1);
    }
    TRY(count_of(spans, name_of(p.value)));
    const int64_t last = std::accumulate(spans.begin(), spans.end(), int64_t{0}) - static_cast<int64_t>(spans.size());
    std::vector<uint64_t> storage(static_cast<size_t>(last) + 1);
    each_place(t.shape, strides, [&](size_t i, size_t at) { storage[at] = t.raw[i]; });
    t.raw = std::move(storage);
    return Unit{};
  }

  Result<Unit> collect_sizes() {
    for (const tile::Param& p : f_.params)
      if (p.workspace) b_.sizes[name_of(p.sizes[0])] = 0;  // the launch knows
    for (const ValueId s : f_.symbols) {
      TRY_ASSIGN(const int64_t value, value_of(f_, b_.sizes, s));
      b_.sizes[name_of(s)] = value;
    }
    return Unit{};
  }

 private:
  const std::string& name_of(ValueId v) const { return f_.values[v].name; }
  bool is_view(const std::string& name) const {
    const auto all = names(true);
    return std::find(all.begin(), all.end(), name) != all.end();
  }
  std::vector<std::string> names(bool views) const {
    std::vector<std::string> out;
    for (const tile::Param& p : f_.params)
      if (!p.workspace && f_.type(p.value).is_scalar() != views) out.push_back(name_of(p.value));
    return out;
  }

  Result<Unit> set_one(const std::string& name, const std::string& text) {
    for (const ValueId s : f_.symbols) {
      if (name_of(s) != name) continue;
      const auto value = number<int64_t>(text);
      if (!value || *value < 0)
        return bad_input(fmt::format("--set {}={}: a size is a whole number", name, model::in_quotes(text)));
      b_.sizes[name] = *value;
      return Unit{};
    }
    for (const tile::Param& p : f_.params) {
      if (name_of(p.value) != name || !f_.type(p.value).is_scalar()) continue;
      TRY_ASSIGN(b_.scalars[name], scalar_bits(f_.type(p.value).elem, name, text));
      return Unit{};
    }
    return bad_input(
        fmt::format("--set {}: {} has no scalar and no size of that name", model::in_quotes(name), f_.name));
  }

  static Result<uint64_t> scalar_bits(Type elem, const std::string& name, const std::string& text) {
    if (elem.is_float()) {
      if (const auto value = number<double>(text)) return encode(elem, *value);
    } else if (const auto value = number<int64_t>(text)) {
      const uint64_t raw = encode_int(elem, *value);
      if (decode_int(elem, raw) == *value) return raw;
    }
    return bad_input(fmt::format("--set {}={}: no {}", name, model::in_quotes(text), to_string(elem)));
  }

  Result<Unit> bind_size(const tile::Param& p, size_t d, int64_t extent, const std::string& file) {
    const ValueId size = p.sizes[d];
    const bool known = f_.def(size) != nullptr || b_.sizes.count(name_of(size)) != 0;
    if (!known) return b_.sizes[name_of(size)] = extent, Unit{};
    TRY_ASSIGN(const int64_t want, value_of(f_, b_.sizes, size));
    if (extent == want) return Unit{};
    return bad_input(fmt::format("{}: dimension {} of '{}' is {}, {} is needed", file, d, name_of(p.value), extent,
                                 f_.def(size) ? fmt::format("{}", want) : fmt::format("{} = {}", name_of(size), want)));
  }

  const tile::Func& f_;
  Binding& b_;
};

}  // namespace

Result<std::map<std::string, std::string>> split_pairs(const std::vector<std::string>& arguments, const char* option) {
  Pairs pairs;
  for (const std::string& text : arguments) {
    const size_t mark = text.find('=');
    if (mark == text.npos || mark == 0 || mark + 1 == text.size())
      return bad_input(fmt::format("{} {}: NAME=VALUE is needed", option, model::in_quotes(text)));
    if (!pairs.emplace(text.substr(0, mark), text.substr(mark + 1)).second)
      return bad_input(fmt::format("{} {}: given twice", option, model::in_quotes(text.substr(0, mark))));
  }
  return pairs;
}

Result<Binding> bind(const tile::Func& f, const Pairs& in, const Pairs& out, const Pairs& set) {
  Binding b;
  Binder binder(f, b);
  TRY(binder.check_names(in, out));
  TRY(binder.set(set));
  for (const tile::Param& p : f.params) {
    const auto file = in.find(f.values[p.value].name);
    if (file != in.end()) TRY(binder.read(p, file->second));
  }
  for (const tile::Param& p : f.params) {
    const std::string& name = f.values[p.value].name;
    if (f.type(p.value).is_scalar() || p.workspace || in.count(name)) continue;
    if (!out.count(name))
      return bad_input(fmt::format("'{0}' is missing: --in {0}=FILE.npy, or --out {0}=FILE.npy", name));
    TRY(binder.make(p));
  }
  TRY(binder.collect_sizes());
  for (const tile::Param& p : f.params)
    if (!f.type(p.value).is_scalar() && !p.workspace) TRY(binder.spread(p));
  for (const auto& [name, value] : b.sizes) b.scalars.emplace(name, static_cast<uint64_t>(value));
  return b;
}

tile::HostTensor dense(const tile::Func& f, const Binding& b, const tile::Param& p) {
  const tile::HostTensor& t = b.tensors.at(f.values[p.value].name);
  if (p.strides.empty()) return t;
  const Coord strides = values_of(f, b.sizes, p.strides).value();
  tile::HostTensor out{t.elem, t.shape, {}};
  out.raw.resize(static_cast<size_t>(count_of(t.shape, "").value()));
  each_place(t.shape, strides, [&](size_t i, size_t at) { out.raw[i] = t.raw[at]; });
  return out;
}

}  // namespace lathe::tools
