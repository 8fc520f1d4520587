// What a well-formed function is. Operand classes, counts and result types come from the rows of thread.def; what a row
// cannot say is checked by one function for each group of operations.
#include <fmt/format.h>

#include "ir/thread_print.h"

namespace lathe::thread {
namespace {

using Inst = Func::Inst;

// More than any target has; below them no sum of the checks and of the backends overflows.
constexpr int64_t kMaxThreads = 1 << 16, kMaxSharedBytes = 1 << 30, kMaxOffset = int64_t{1} << 62;
constexpr int kMaxDepth = 1000, kMaxBulkBarriers = 1024;

/// How many operands of a class letter: "x", "x?" or "x*".
struct OperandClass {
  char letter;
  size_t least, most;
};
std::vector<OperandClass> classes_of(Op op) {
  std::vector<OperandClass> out;
  for (const char* c = info(op).operands; *c; c++) {
    if (*c == '?')
      out.back().least = 0;
    else if (*c == '*')
      out.back() = {out.back().letter, 0, SIZE_MAX};
    else
      out.push_back({*c, 1, 1});
  }
  return out;
}

bool is_integer(const Type& t) { return !t.is_frag() && !is_float(t.scalar) && t.scalar != Scalar::b1; }
bool is_bool(const Type& t) { return t == kBool; }

bool belongs(const Type& t, char letter) {
  switch (letter) {
    case 'i':
      return is_integer(t);
    case 'f':
      return !t.is_frag() && is_float(t.scalar);
    case 'n':
      return !t.is_frag() && t.scalar != Scalar::b1;
    case 'b':
      return is_bool(t);
    case 'a':
      return t == kI64;
    case 'o':
      return t == kI32;
    case 'm':
      return t.is_frag();
    default:
      return true;
  }
}

const char* name_of_class(char letter) {
  switch (letter) {
    case 'i':
      return "an integer";
    case 'f':
      return "a float";
    case 'n':
      return "a number";
    case 'b':
      return "a scalar bool";
    case 'a':
      return "an i64 address";
    case 'o':
      return "an i32 offset";
    default:
      return "a matrix fragment";
  }
}

class Verifier {
 public:
  explicit Verifier(const Func& f)
      : f_(f),
        seen_inst_(f.insts.size()),
        seen_block_(f.blocks.size()),
        visible_(f.values.size()),
        seen_value_(f.values.size()) {}

  Result<Unit> run() {
    if (f_.body >= f_.blocks.size()) return internal_error(f_.name + ": the function has no body");
    TRY(shape(f_.body, false));
    if (f_.subgroups < 1 || f_.subgroup_size < 1) return internal_error(f_.name + ": a workgroup without threads");
    if (int64_t{f_.subgroups} * f_.subgroup_size > kMaxThreads)
      return internal_error(fmt::format("{}: a workgroup of over {} threads", f_.name, kMaxThreads));
    int64_t room = kMaxSharedBytes;
    for (const SharedArray& a : f_.shared) {
      TRY(shared_array(a));
      if (a.bytes > room) return internal_error(fmt::format("{}: over {} shared bytes", f_.name, kMaxSharedBytes));
      room -= a.bytes;
    }
    for (const Box& b : f_.boxes) TRY(box(b));
    if (f_.bulk_barriers < 0 || f_.bulk_barriers > kMaxBulkBarriers)
      return internal_error(fmt::format("{}: {} bulk barriers", f_.name, f_.bulk_barriers));
    if (!f_.blocks[f_.body].params.empty()) return internal_error(f_.name + ": the body has parameters");
    return block(f_.body, nullptr);
  }

 private:
  // ---- shape: every id in range, every block and instruction in one place. Printing is safe after this.
  Result<Unit> shape(BlockId b, bool nested) {
    if (b >= f_.blocks.size() || seen_block_[b])
      return internal_error(f_.name + ": a block is out of range or used twice");
    seen_block_[b] = true;
    if (++depth_ > kMaxDepth) return internal_error(fmt::format("{}: blocks nested over {} deep", f_.name, kMaxDepth));
    const auto& insts = f_.blocks[b].insts;
    for (const ValueId v : f_.blocks[b].params) TRY(define(v, kNone));
    for (size_t i = 0; i < insts.size(); i++) {
      if (insts[i] >= f_.insts.size() || seen_inst_[insts[i]])
        return internal_error(f_.name + ": an instruction is out of range or used twice");
      seen_inst_[insts[i]] = true;
      if ((f_.inst(insts[i]).op == Op::yield) != (nested && i + 1 == insts.size()))
        return internal_error(
            f_.name + (nested ? ": a nested block does not end with its only yield" : ": the body has a yield"));
      TRY(inst_shape(insts[i]));
    }
    if (nested && insts.empty()) return internal_error(f_.name + ": a nested block without a yield");
    depth_--;
    return Unit{};
  }

  Result<Unit> inst_shape(InstId id) {
    const Inst& i = f_.inst(id);
    const char* name = info(i.op).name;
    size_t least = 0, most = 0;
    for (const OperandClass& c : classes_of(i.op)) {
      least += c.least;
      most = c.most == SIZE_MAX ? SIZE_MAX : most + c.most;
    }
    if (i.args.size() < least || i.args.size() > most)
      return internal_error(fmt::format("{}: {} has {} operands", f_.name, name, i.args.size()));
    for (const ValueId a : i.args)
      if (a >= f_.values.size()) return internal_error(fmt::format("{}: {}: an operand names no value", f_.name, name));
    for (const ValueId r : i.results) TRY(define(r, id));
    const size_t blocks = i.op == Op::loop ? 1 : i.op == Op::cond || i.op == Op::while_loop ? 2 : 0;
    if (i.blocks.size() != blocks)
      return internal_error(fmt::format("{}: {} has {} blocks", f_.name, name, i.blocks.size()));
    for (const BlockId b : i.blocks) TRY(shape(b, true));
    return Unit{};
  }

  Result<Unit> define(ValueId v, InstId def) {
    if (v >= f_.values.size() || seen_value_[v])
      return internal_error(f_.name + ": a result is out of range or defined twice");
    if (f_.values[v].def != def) return internal_error(f_.name + ": a value names another definition");
    seen_value_[v] = true;
    const Type& t = f_.type(v);
    const bool good =
        t.is_frag() ? t.lanes >= 1 && t.rows >= 1 && t.cols >= 1 : t.lanes == 1 || t.lanes == 2 || t.lanes == 4;
    if (!good) return internal_error(fmt::format("{}: no value is {}", f_.name, to_string(t)));
    return Unit{};
  }

  Result<Unit> shared_array(const SharedArray& a) {
    const bool power = a.access_bytes == 1 || a.access_bytes == 2 || a.access_bytes == 4 || a.access_bytes == 8 ||
                       a.access_bytes == 16;
    if (a.bytes <= 0 || a.bytes % 16 || !power)
      return internal_error(
          fmt::format("{}: shared array {} has {} bytes, accesses of {}", f_.name, a.name, a.bytes, a.access_bytes));
    return Unit{};
  }

  // ---- meaning
  tl::unexpected<Error> fault(std::string_view what) const {
    return internal_error(fmt::format("{}: {}\n  {}", f_.name, what, print_instruction(f_, at_)));
  }
  const Type& type(ValueId v) const { return f_.type(v); }
  const Type& arg(const Inst& i, size_t a) const { return f_.type(i.args[a]); }

  /// `owner`: the instruction whose block this is.
  Result<Unit> block(BlockId b, const Inst* owner) {
    const size_t mark = scope_.size();
    for (const ValueId v : f_.blocks[b].params) show(v);
    for (const InstId id : f_.blocks[b].insts) {
      const Inst& i = f_.inst(id);
      at_ = id;
      TRY(operands(i));
      TRY(results(i));
      TRY(i.op == Op::yield ? yield(i, *owner, b) : rule(i));
      if (i.op == Op::loop) TRY(loop_params(i));
      if (i.op == Op::while_loop)
        for (const BlockId nested : i.blocks) TRY(same_list(f_.blocks[nested].params, i.args, 0, "the parameters"));
      for (const BlockId nested : i.blocks) TRY(block(nested, &i));
      for (const ValueId r : i.results) show(r);
    }
    for (; scope_.size() > mark; scope_.pop_back()) visible_[scope_.back()] = false;
    return Unit{};
  }
  void show(ValueId v) {
    visible_[v] = true;
    scope_.push_back(v);
  }

  Result<Unit> operands(const Inst& i) {
    for (const ValueId a : i.args)
      if (!visible_[a]) return fault("an operand is not defined here");
    size_t at = 0;
    for (const OperandClass& c : classes_of(i.op))
      for (size_t n = 0; n < c.most && at < i.args.size(); n++, at++)
        if (!belongs(arg(i, at), c.letter) && !(bool_extension(i) && arg(i, at).scalar == Scalar::b1))
          return fault(
              fmt::format("operand {} is {}, expected {}", at, to_string(arg(i, at)), name_of_class(c.letter)));
    return Unit{};
  }
  static bool bool_extension(const Inst& i) { return i.op == Op::zext || i.op == Op::sext; }

  Result<Unit> results(const Inst& i) {
    const std::string_view rule = info(i.op).results;
    if (rule == "*") return Unit{};
    if (i.results.size() != (rule.empty() ? 0 : 1)) return fault(fmt::format("{} results", i.results.size()));
    if (rule.empty()) return Unit{};
    const Type want = rule == "attr" ? i.attr.type
                      : rule == "b0" ? Type{Scalar::b1, arg(i, 0).lanes}
                                     : arg(i, static_cast<size_t>(rule[1] - '0'));
    if (type(i.results[0]) != want) return fault("the result is not " + to_string(want));
    return Unit{};
  }

  Result<Unit> rule(const Inst& i) {
    switch (i.op) {
      case Op::constant:
        return i.attr.type.is_frag() ? fault("a constant fragment") : Result<Unit>();
      case Op::param:
      case Op::thread_id:
      case Op::lane_id:
      case Op::subgroup_id:
      case Op::group_id:
        return source(i);
      case Op::shl:
      case Op::shr_u:
      case Op::shr_s:
        return shift(i);
      case Op::exp2:
      case Op::log2:
      case Op::sqrt:
      case Op::rsqrt:
        return arg(i, 0).scalar == Scalar::f32 ? Result<Unit>() : fault("expected f32");
      case Op::select:
        if (arg(i, 1) != arg(i, 2)) return fault("the two values differ in type");
        return arg(i, 1).is_frag() ? fault("a fragment") : Result<Unit>();
      case Op::zext:
      case Op::sext:
      case Op::trunc:
      case Op::fcvt:
      case Op::s2f:
      case Op::u2f:
      case Op::f2s:
        return conversion(i);
      case Op::bitcast:
        if (arg(i, 0).is_frag() || i.attr.type.is_frag() || total_bits(arg(i, 0)) != total_bits(i.attr.type))
          return fault("the two types differ in width");
        return Unit{};
      case Op::vec:
      case Op::get:
        return vector(i);
      case Op::load_global:
      case Op::store_global:
      case Op::load_shared:
      case Op::store_shared:
        return memory(i);
      case Op::shuffle_xor:
      case Op::shuffle_index:
        if (arg(i, 0).is_frag() || arg(i, 0).lanes != 1 || bits(arg(i, 0).scalar) != 32)
          return fault("expected a 32-bit scalar");
        return i.op == Op::shuffle_index && arg(i, 1) != kI32 ? fault("the lane is not i32") : Result<Unit>();
      case Op::frag_fill:
      case Op::frag_make:
      case Op::frag_get:
      case Op::frag_length:
      case Op::frag_load:
      case Op::frag_load_shared:
      case Op::frag_store:
      case Op::frag_store_shared:
      case Op::mma:
        return fragment(i);
      case Op::loop:
        return loop(i);
      case Op::cond:
        for (const BlockId b : i.blocks)
          if (!f_.blocks[b].params.empty()) return fault("a branch has parameters");
        return Unit{};
      case Op::load_matrix:
        return load_matrix(i);
      case Op::async_copy:
        return async_copy(i);
      case Op::bulk_expect:
      case Op::bulk_copy:
      case Op::bulk_box:
      case Op::bulk_wait:
        return bulk(i);
      case Op::async_wait:
        return i.attr.imm < 0 ? fault("fewer than no groups") : Result<Unit>();
      case Op::while_loop:
        return same_list(i.results, i.args, 0, "the results");
      case Op::atomic_add:
      case Op::atomic_and:
      case Op::atomic_or:
        return arg(i, 1) == kI32 ? Result<Unit>() : fault("expected i32");
      case Op::fence:
      case Op::exit_if:
      case Op::barrier:
      case Op::barrier_subgroup:
      case Op::async_commit:
      case Op::launch_wait:
      case Op::matrix_publish:
      case Op::matrix_begin:
      case Op::matrix_commit:
        return Unit{};
      case Op::matrix_wait:
        return i.attr.imm < 0 ? fault("fewer than no groups") : Result<Unit>();
      case Op::mma_shared:
        return mma_shared(i);
      default:
        return same_types(i);
    }
  }

  Result<Unit> source(const Inst& i) {
    const Type& t = i.attr.type;
    if (i.op == Op::param) {
      if (t != kI64 && t != kI32 && t != kF32) return fault("a parameter is i64, i32 or f32");
      return i.attr.imm < 0 || i.attr.imm >= f_.param_slots ? fault("no such parameter slot") : Result<Unit>();
    }
    if (t != kI32) return fault("expected i32");
    return i.op == Op::group_id && (i.attr.imm < 0 || i.attr.imm > 2) ? fault("no such axis") : Result<Unit>();
  }

  Result<Unit> same_types(const Inst& i) {
    for (size_t a = 0; a < i.args.size(); a++) {
      if (arg(i, a) != arg(i, 0))
        return fault(fmt::format("operand {} is {}, operand 0 is {}", a, to_string(arg(i, a)), to_string(arg(i, 0))));
      if (arg(i, a).is_frag()) return fault("a fragment");
    }
    const bool bitwise = i.op == Op::band || i.op == Op::bor || i.op == Op::bxor || i.op == Op::bnot;
    return bitwise && is_float(arg(i, 0).scalar) ? fault("a float") : Result<Unit>();
  }

  Result<Unit> shift(const Inst& i) {
    const Type& count = arg(i, 1);
    if (count.scalar != Scalar::i32) return fault("the count is not i32");
    return count.lanes != 1 && count.lanes != arg(i, 0).lanes ? fault("the count has other lanes") : Result<Unit>();
  }

  Result<Unit> conversion(const Inst& i) {
    const Type &from = arg(i, 0), &to = i.attr.type;
    if (to.is_frag() || from.lanes != to.lanes) return fault("a conversion keeps the lanes");
    const bool gives_float = i.op == Op::fcvt || i.op == Op::s2f || i.op == Op::u2f;
    if (gives_float != is_float(to.scalar) || to.scalar == Scalar::b1) return fault("to " + to_string(to));
    const bool widens = bits(to.scalar) > bits(from.scalar), narrows = bits(to.scalar) < bits(from.scalar);
    if ((bool_extension(i) && !widens) || (i.op == Op::trunc && !narrows)) return fault("the width goes the other way");
    return Unit{};
  }

  Result<Unit> vector(const Inst& i) {
    const bool takes = i.op == Op::get;
    const Type& whole = takes ? arg(i, 0) : i.attr.type;
    if (whole.is_frag() || whole.lanes == 1) return fault("expected a vector");
    if (takes && i.attr.type != whole.with_lanes(1)) return fault("the result is no lane of the vector");
    if (takes) return i.attr.imm < 0 || i.attr.imm >= whole.lanes ? fault("no such lane") : Result<Unit>();
    if (i.args.size() != whole.lanes) return fault(fmt::format("{} lanes are given", i.args.size()));
    for (size_t a = 0; a < i.args.size(); a++)
      if (arg(i, a) != whole.with_lanes(1)) return fault(fmt::format("lane {} is {}", a, to_string(arg(i, a))));
    return Unit{};
  }

  Result<Unit> memory(const Inst& i) {
    const bool store = i.results.empty();
    const Type& t = store ? arg(i, 1) : i.attr.type;
    const bool narrow = t == kI8 || t == kI16 || t == kI64;
    if (t.is_frag() || (t.scalar != Scalar::i32 && !narrow))
      return fault("memory holds i8, i16, i32 (1, 2 or 4 lanes) and i64");
    TRY(offset(i));
    return info(i.op).operands[0] == 'o' ? in_array(i, t) : Result<Unit>();
  }
  Result<Unit> offset(const Inst& i) {
    return i.attr.imm < -kMaxOffset || i.attr.imm > kMaxOffset ? fault("an offset out of range") : Result<Unit>();
  }
  Result<Unit> async_copy(const Inst& i) {
    const Type& t = i.attr.type;
    TRY(offset(i));
    if (t != kI32 && t != kI32x2 && t != kI32x4) return fault("a copy is of 4, 8 or 16 bytes");
    return in_array(i, t);
  }
  Result<Unit> bulk(const Inst& i) {
    const bool copies = i.op == Op::bulk_copy || i.op == Op::bulk_box;
    for (size_t a = 0; a < i.args.size(); a++)
      if (const char c = info(i.op).operands[a]; (c == 'i' || c == 'o') && arg(i, a) != kI32)
        return fault("expected i32");
    TRY(barrier_exists(i.args[copies ? 1 : 0]));
    if (i.op == Op::bulk_wait) return Unit{};
    if (i.op == Op::bulk_box)
      return i.attr.imm < 0 || i.attr.imm >= static_cast<int64_t>(f_.boxes.size()) ? fault("no such box")
                                                                                   : array_exists(i);
    if (i.attr.imm <= 0 || i.attr.imm % 16 || i.attr.imm > kMaxSharedBytes) return fault("no multiple of 16 bytes");
    return copies ? array_exists(i) : Result<Unit>();
  }
  Result<Unit> barrier_exists(ValueId number) {
    if (f_.bulk_barriers < 1) return fault("there are no bulk barriers");
    const Inst* made = f_.def(number);
    if (made == nullptr || made->op != Op::constant) return Unit{};
    return made->attr.imm < 0 || made->attr.imm >= f_.bulk_barriers ? fault("no such bulk barrier") : Result<Unit>();
  }
  Result<Unit> box(const Box& b) {
    const bool rows = b.box_rows >= 8 && b.box_rows <= kMaxBoxRows && b.box_rows % 8 == 0;
    bool slots = b.address >= 0 && b.address < f_.param_slots;
    for (const Box::Number& n : {b.columns, b.rows, b.pitch}) slots = slots && n.slot < f_.param_slots && n.value >= 0;
    if (!rows || !slots) return internal_error(f_.name + ": a box of no shape or of no launch argument");
    return Unit{};
  }
  Result<Unit> load_matrix(const Inst& i) {
    const Type& t = i.attr.type;
    TRY(offset(i));
    if (t != kI32 && t != kI32x2 && t != kI32x4) return fault("1, 2 or 4 matrices are loaded");
    if (f_.subgroup_size != 32) return fault("subgroups are not of 32");
    return in_array(i, kI32x4);
  }
  Result<Unit> in_array(const Inst& i, const Type& t) {
    TRY(array_exists(i));
    const SharedArray& a = f_.shared[i.attr.index];
    const int bytes = total_bits(t) / 8;
    if (bytes % a.access_bytes) return fault(fmt::format("{} bytes, accesses are of {}", bytes, a.access_bytes));
    const Inst* base = f_.def(i.args[0]);
    if (base == nullptr || base->op != Op::constant) return Unit{};
    const int64_t offset = canonical_bits(Scalar::i32, base->attr.imm) + i.attr.imm;
    if (offset < 0 || offset + bytes > a.bytes) return fault(fmt::format("at byte {} of {}", offset, a.bytes));
    return offset % bytes ? fault(fmt::format("byte {} is not aligned to {}", offset, bytes)) : Result<Unit>();
  }
  Result<Unit> array_exists(const Inst& i) {
    return i.attr.index >= f_.shared.size() ? fault("no such shared array") : Result<Unit>();
  }

  Result<Unit> mma_shared(const Inst& i) {
    const Type &a = arg(i, 1), &c = arg(i, 2);
    if (a.use != Use::a || c.use != Use::c || a.rows != c.rows)
      return fault("not fragments a and c of one instruction");
    return array_exists(i);
  }

  Result<Unit> fragment(const Inst& i) {
    switch (i.op) {
      case Op::mma:
        return mma(i);
      case Op::frag_get:
        return frag_get(i);
      case Op::frag_length:
        return i.attr.type != kI32 ? fault("the length is not i32") : Result<Unit>();
      case Op::frag_store:
        return Unit{};
      case Op::frag_store_shared:
        return array_exists(i);
      default:
        break;
    }
    if (!i.attr.type.is_frag()) return fault("the result is no fragment");
    if (i.op == Op::frag_load_shared) return array_exists(i);
    if (i.op == Op::frag_load) return Unit{};
    const Type element{i.attr.type.scalar};
    if (i.op == Op::frag_fill) return arg(i, 0) != element ? fault("not a scalar of the fragment") : Result<Unit>();
    int lanes = 0;
    for (size_t a = 0; a < i.args.size(); a++) {
      if (arg(i, a) != element && arg(i, a) != element.with_lanes(2))
        return fault(fmt::format("element {} is {}", a, to_string(arg(i, a))));
      lanes += arg(i, a).lanes;
    }
    return lanes != i.attr.type.lanes ? fault(fmt::format("{} elements are given", lanes)) : Result<Unit>();
  }

  Result<Unit> frag_get(const Inst& i) {
    const Type &whole = arg(i, 0), &part = i.attr.type;
    if (part != Type{whole.scalar} && part != Type{whole.scalar, 2})
      return fault("not one or two elements of the fragment");
    return i.attr.imm < 0 || i.attr.imm > whole.lanes - part.lanes ? fault("no such element") : Result<Unit>();
  }

  Result<Unit> mma(const Inst& i) {
    const Type &a = arg(i, 0), &b = arg(i, 1), &c = arg(i, 2);
    if (a.use != Use::a || b.use != Use::b || c.use != Use::c) return fault("the fragments are not a, b, c");
    if (a.rows != c.rows || b.cols != c.cols || a.cols != b.rows) return fault("the fragments do not fit together");
    return i.attr.name.empty() ? fault("the instruction has no name") : Result<Unit>();
  }

  Result<Unit> loop(const Inst& i) {
    for (size_t a = 0; a < 3; a++)
      if (arg(i, a) != kI32) return fault("a bound is not i32");
    return same_list(i.results, i.args, 3, "the results");
  }
  Result<Unit> loop_params(const Inst& i) {
    const std::vector<ValueId>& params = f_.blocks[i.blocks[0]].params;
    if (params.empty() || type(params[0]) != kI32) return fault("the block has no i32 index");
    return same_list({params.begin() + 1, params.end()}, i.args, 3, "the parameters");
  }

  Result<Unit> yield(const Inst& i, const Inst& owner, BlockId b) {
    if (owner.op == Op::while_loop && b == owner.blocks[0])
      return i.args.size() == 1 && is_bool(arg(i, 0)) ? Result<Unit>() : fault("a condition is one bool");
    return same_list(owner.results, i.args, 0, "the results of the block's owner");
  }
  Result<Unit> same_list(const std::vector<ValueId>& left, const std::vector<ValueId>& right, size_t from,
                         std::string_view what) {
    if (left.size() + from != right.size())
      return fault(fmt::format("{} are {}, expected {}", what, left.size(), right.size() - from));
    for (size_t v = 0; v < left.size(); v++)
      if (type(left[v]) != type(right[v + from]))
        return fault(fmt::format("{}: {} is {}, expected {}", what, v, to_string(type(left[v])),
                                 to_string(type(right[v + from]))));
    return Unit{};
  }

  const Func& f_;
  std::vector<bool> seen_inst_, seen_block_, visible_, seen_value_;
  std::vector<ValueId> scope_;
  InstId at_ = kNone;
  int depth_ = 0;  ///< of blocks
};

}  // namespace

Result<Unit> verify(const Func& f) { return Verifier(f).run(); }

}  // namespace lathe::thread
