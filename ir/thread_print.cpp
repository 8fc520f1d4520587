// Thread IR as text for people and golden tests: values are numbered in print order, so equal programs print equally.
#include "ir/thread_print.h"

#include <fmt/format.h>

namespace lathe::thread {
namespace {

lathe::Type element_of(Scalar s) {
  return s == Scalar::f16 ? types::f16 : s == Scalar::bf16 ? types::bf16 : types::f32;
}

class Printer {
 public:
  explicit Printer(const Func& f) : f_(f), number_(f.values.size(), kNone) { number_block(f.body); }

  std::string run() {
    out_ = fmt::format("kernel {}: {} x {} threads, {} params {{\n", f_.name, f_.subgroups, f_.subgroup_size,
                       f_.param_slots);
    for (size_t i = 0; i < f_.shared.size(); i++)
      out_ += fmt::format("  shared @{} {}: {} bytes, accesses of {}\n", i, f_.shared[i].name, f_.shared[i].bytes,
                          f_.shared[i].access_bytes);
    if (f_.bulk_barriers > 0) out_ += fmt::format("  bulk barriers: {}\n", f_.bulk_barriers);
    for (size_t i = 0; i < f_.boxes.size(); i++)
      out_ += fmt::format("  box {}: {} x {} of param {}: {} x {}, pitch {}\n", i, f_.boxes[i].box_rows, kBoxColumns,
                          f_.boxes[i].address, number(f_.boxes[i].rows), number(f_.boxes[i].columns),
                          number(f_.boxes[i].pitch));
    block(f_.body, 1);
    return out_ + "}\n";
  }

  std::string line(InstId id) const {
    const Func::Inst& i = f_.inst(id);
    std::string results;
    for (const ValueId r : i.results) results += (results.empty() ? "" : ", ") + typed(r);
    if (!results.empty()) results += " = ";
    return results + info(i.op).name + operands(i);
  }

 private:
  static std::string number(const Box::Number& n) {
    return n.slot < 0 ? fmt::format("{}", n.value) : fmt::format("param {}", n.slot);
  }
  void number_block(BlockId b) {
    for (const ValueId p : f_.blocks[b].params) number_[p] = next_++;
    for (const InstId id : f_.blocks[b].insts) {
      for (const ValueId r : f_.inst(id).results) number_[r] = next_++;
      for (const BlockId nested : f_.inst(id).blocks) number_block(nested);
    }
  }

  std::string value(ValueId v) const { return number_[v] == kNone ? "%?" : fmt::format("%{}", number_[v]); }
  std::string typed(ValueId v) const { return value(v) + ": " + to_string(f_.type(v)); }

  std::string list(const std::vector<ValueId>& values, size_t from = 0) const {
    std::string text;
    for (size_t i = from; i < values.size(); i++) text += (i == from ? " " : ", ") + value(values[i]);
    return text;
  }

  /// " [%base + 16]", " @1[%base]"
  std::string address(const Func::Inst& i) const {
    const bool shared = info(i.op).operands[0] == 'o';
    const std::string array = shared ? fmt::format("@{}", i.attr.index) : "";
    if (i.attr.imm == 0) return fmt::format(" {}[{}]", array, value(i.args[0]));
    const bool down = i.attr.imm < 0;
    const auto magnitude = down ? 0 - static_cast<uint64_t>(i.attr.imm) : static_cast<uint64_t>(i.attr.imm);
    return fmt::format(" {}[{} {} {}]", array, value(i.args[0]), down ? '-' : '+', magnitude);
  }

  static std::string constant(const Attr& attr) {
    const Scalar s = attr.type.scalar;
    if (s == Scalar::b1) return attr.imm & 1 ? " true" : " false";
    const int64_t imm = canonical_bits(s, attr.imm);
    if (!is_float(s)) return fmt::format(" {}", imm);
    return fmt::format(" {:#0{}x} ; {}", imm, 2 + bits(s) / 4, decode(element_of(s), static_cast<uint64_t>(imm)));
  }

  std::string loop(const Func::Inst& i) const {
    const std::vector<ValueId>& params = f_.blocks[i.blocks[0]].params;
    std::string text = fmt::format(" {} = {} to {} step {}", params.empty() ? "%?" : value(params[0]), value(i.args[0]),
                                   value(i.args[1]), value(i.args[2]));
    for (size_t c = 1; c < params.size() && c + 2 < i.args.size(); c++)
      text += fmt::format("{}{} = {}", c == 1 ? " carry " : ", ", typed(params[c]), value(i.args[c + 2]));
    return text;
  }

  std::string operands(const Func::Inst& i) const {
    switch (i.op) {
      case Op::constant:
        return constant(i.attr);
      case Op::param:
      case Op::group_id:
        return fmt::format(" {}", i.attr.imm);
      case Op::get:
      case Op::frag_get:
        return fmt::format("{}[{}]", list(i.args), i.attr.imm);
      case Op::shuffle_xor:
        return fmt::format("{} ^ {}", list(i.args), i.attr.imm);
      case Op::load_matrix:
        return fmt::format("{} \"{}\"", address(i), i.attr.name);
      case Op::load_global:
      case Op::load_shared:
        return address(i) + (i.args.size() > 1 ? " if " + value(i.args[1]) : "");
      case Op::store_global:
      case Op::store_shared:
        return address(i) + " <-" + list({i.args[1]}) + (i.args.size() > 2 ? " if " + value(i.args[2]) : "");
      case Op::atomic_add:
      case Op::atomic_and:
      case Op::atomic_or:
        return address(i) + " <-" + list({i.args[1]}) + (i.args.size() > 2 ? " if " + value(i.args[2]) : "");
      case Op::mma:
        return fmt::format("{} \"{}\"{}{}", list(i.args), i.attr.name, i.attr.imm & 1 ? " signed a" : "",
                           i.attr.imm & 2 ? " signed b" : "");
      case Op::mma_shared:
        return fmt::format("{} {} \"{}\"", list({i.args[1], i.args[2]}), address(i), i.attr.name);
      case Op::matrix_wait:
      case Op::async_wait:
        return fmt::format(" {}", i.attr.imm);
      case Op::frag_load:
      case Op::frag_store:
        return list(i.args) + (i.attr.imm == 1 ? " column-major" : "");
      case Op::frag_load_shared:
      case Op::frag_store_shared:
        return fmt::format(" @{}{}{}", i.attr.index, list(i.args), i.attr.imm == 1 ? " column-major" : "");
      case Op::async_copy:
        return fmt::format("{} <-{} x{}{}", address(i), list({i.args[1]}), total_bits(i.attr.type) / 8,
                           i.args.size() > 2 ? " if " + value(i.args[2]) : "");
      case Op::bulk_expect:
        return fmt::format("{} x{} if {}", list({i.args[0]}), i.attr.imm, value(i.args[1]));
      case Op::bulk_copy:
        return fmt::format(" @{}[{}] <- {} x{} of {} counted by {} if {}", i.attr.index, value(i.args[0]),
                           value(i.args[2]), value(i.args[3]), i.attr.imm, value(i.args[1]), value(i.args[4]));
      case Op::bulk_box:
        return fmt::format(" @{}[{}] <- box {} at {}, {} counted by {} if {}", i.attr.index, value(i.args[0]),
                           i.attr.imm, value(i.args[2]), value(i.args[3]), value(i.args[1]), value(i.args[4]));
      case Op::bulk_wait:
        return fmt::format("{} parity {}", list({i.args[0]}), value(i.args[1]));
      case Op::barrier:
        return i.attr.imm == 1 ? " global" : "";
      case Op::loop:
        return loop(i);
      default:
        return list(i.args);
    }
  }

  void block(BlockId b, int depth) {
    const std::string indent(2 * static_cast<size_t>(depth), ' ');
    for (const InstId id : f_.blocks[b].insts) {
      const std::vector<BlockId>& nested = f_.inst(id).blocks;
      out_ += indent + line(id);
      for (size_t n = 0; n < nested.size(); n++) {
        out_ += n == 0 ? " {\n" : indent + "} else {\n";
        block(nested[n], depth + 1);
      }
      out_ += nested.empty() ? "\n" : indent + "}\n";
    }
  }

  const Func& f_;
  std::vector<uint32_t> number_;
  uint32_t next_ = 0;
  std::string out_;
};

}  // namespace

std::string print(const Func& f) { return Printer(f).run(); }
std::string print_instruction(const Func& f, InstId inst) { return Printer(f).line(inst); }

}  // namespace lathe::thread
