// The runtime on every device of this machine that executes: buffers, launches, graphs, errors. The same tests on CUDA
// and on Vulkan; a device that is not there is named and why.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <random>
#include <spirv-tools/libspirv.hpp>
#include <thread>

#include "runtime/device.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

using namespace lathe::runtime;
namespace fs = std::filesystem;

namespace {

constexpr uint32_t kThreads = 64;

/// y[i] = x[i] * 2 + c for i < n, over u32; slots: x, y, n, c, loaded as %s0 .. %s3.
std::string spirv_text(bool in_push_constants) {
  std::string slots, block_members = "%ulong", offsets = "OpMemberDecorate %block 0 Offset 0\n";
  for (int i = 0; i < 4; ++i) {
    if (in_push_constants) {
      slots += fmt::format("%a{0} = OpAccessChain %ptr_push_ulong %push %c{0}\n%s{0} = OpLoad %ulong %a{0}\n", i);
      if (i) block_members += " %ulong", offsets += fmt::format("OpMemberDecorate %block {} Offset {}\n", i, i * 8);
    } else {
      if (i == 0) slots += "%ab = OpAccessChain %ptr_push_ulong %push %c0\n%base = OpLoad %ulong %ab\n";
      slots += fmt::format(
          "%b{0} = OpIAdd %ulong %base %off{0}\n%p{0} = OpConvertUToPtr %ptr_ulong %b{0}\n"
          "%s{0} = OpLoad %ulong %p{0} Aligned 8\n",
          i);
    }
  }
  return fmt::format(R"(
OpCapability Shader
OpCapability Int64
OpCapability PhysicalStorageBufferAddresses
OpCapability VulkanMemoryModel
OpMemoryModel PhysicalStorageBuffer64 Vulkan
OpEntryPoint GLCompute %main "scale" %push %id
OpExecutionMode %main LocalSize {} 1 1
OpDecorate %id BuiltIn GlobalInvocationId
OpDecorate %block Block
{}
%void = OpTypeVoid
%fn = OpTypeFunction %void
%bool = OpTypeBool
%uint = OpTypeInt 32 0
%ulong = OpTypeInt 64 0
%uint3 = OpTypeVector %uint 3
%block = OpTypeStruct {}
%ptr_push = OpTypePointer PushConstant %block
%ptr_push_ulong = OpTypePointer PushConstant %ulong
%ptr_in = OpTypePointer Input %uint3
%ptr_in_uint = OpTypePointer Input %uint
%ptr_uint = OpTypePointer PhysicalStorageBuffer %uint
%ptr_ulong = OpTypePointer PhysicalStorageBuffer %ulong
%push = OpVariable %ptr_push PushConstant
%id = OpVariable %ptr_in Input
%c0 = OpConstant %uint 0
%c1 = OpConstant %uint 1
%c2 = OpConstant %uint 2
%c3 = OpConstant %uint 3
%off0 = OpConstant %ulong 0
%off1 = OpConstant %ulong 8
%off2 = OpConstant %ulong 16
%off3 = OpConstant %ulong 24
%four = OpConstant %ulong 4
%main = OpFunction %void None %fn
%entry = OpLabel
{}
%pi = OpAccessChain %ptr_in_uint %id %c0
%i = OpLoad %uint %pi
%il = OpUConvert %ulong %i
%inside = OpULessThan %bool %il %s2
OpSelectionMerge %end None
OpBranchConditional %inside %body %end
%body = OpLabel
%off = OpIMul %ulong %il %four
%xa = OpIAdd %ulong %s0 %off
%ya = OpIAdd %ulong %s1 %off
%xp = OpConvertUToPtr %ptr_uint %xa
%yp = OpConvertUToPtr %ptr_uint %ya
%x = OpLoad %uint %xp Aligned 4
%x2 = OpIMul %uint %x %c2
%c = OpUConvert %uint %s3
%y = OpIAdd %uint %x2 %c
OpStore %yp %y Aligned 4
OpBranch %end
%end = OpLabel
OpReturn
OpFunctionEnd
)",
                     kThreads, offsets, block_members, slots);
}

constexpr const char* kPtx = R"(
.version 6.3
.target sm_75
.address_size 64
.visible .entry scale(.param .u64 px, .param .u64 py, .param .u64 pn, .param .u64 pc)
.reqntid 64, 1, 1
{
  .reg .pred %p;
  .reg .b32 %r<8>;
  .reg .b64 %d<8>;
  ld.param.u64 %d0, [px];
  ld.param.u64 %d1, [py];
  ld.param.u64 %d2, [pn];
  ld.param.u64 %d3, [pc];
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, %tid.x;
  mad.lo.u32 %r2, %r0, 64, %r1;
  cvt.u64.u32 %d4, %r2;
  setp.ge.u64 %p, %d4, %d2;
  @%p ret;
  shl.b64 %d5, %d4, 2;
  add.u64 %d6, %d0, %d5;
  add.u64 %d7, %d1, %d5;
  ld.global.u32 %r3, [%d6];
  cvt.u32.u64 %r4, %d3;
  mad.lo.u32 %r5, %r3, 2, %r4;
  st.global.u32 [%d7], %r5;
  ret;
}
)";

std::vector<std::byte> bytes_of(const void* data, size_t size) {
  const auto* p = static_cast<const std::byte*>(data);
  return {p, p + size};
}

std::vector<std::byte> assemble(const std::string& text) {
  spvtools::SpirvTools tools(SPV_ENV_VULKAN_1_2);
  std::string log;
  tools.SetMessageConsumer([&](spv_message_level_t, const char*, const spv_position_t& at, const char* message) {
    log += fmt::format("{}: {}\n", at.line, message);
  });
  std::vector<uint32_t> words;
  const bool valid = tools.Assemble(text, &words) && tools.Validate(words);
  REQUIRE_MESSAGE(valid, log);
  return bytes_of(words.data(), words.size() * 4);
}

std::vector<std::byte> scale_code(const Device& device, bool in_push_constants = true) {
  if (device.info().api == "cuda") return bytes_of(kPtx, std::strlen(kPtx));
  return assemble(spirv_text(in_push_constants));
}

ProgramInfo scale_info(bool in_push_constants = true) {
  return {.entry = "scale", .threads = kThreads, .param_slots = 4, .params_in_push_constants = in_push_constants};
}

DeviceOptions no_cache() { return {.cache = nullptr}; }

/// Every device here. A test without one says so, and fails where devices are required.
std::vector<std::string> device_ids() {
  std::vector<std::string> ids;
  for (const DeviceInfo& info : list_devices()) ids.push_back(info.id);
  if (ids.empty()) MESSAGE("SKIP: no device on this machine");
  if (std::getenv("LATHE_REQUIRE_DEVICES")) REQUIRE(!ids.empty());
  return ids;
}

template <class Test>
void on_each_device(Test test) {
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    auto device = open_device(id, no_cache());
    REQUIRE_MESSAGE(device, device.error().text);
    test(**device);
  }
}

template <class T>
T must(Result<T> r) {
  REQUIRE_MESSAGE(r, r.error().text);
  return std::move(*r);
}

template <class T>
Error error_of(Result<T> r) {
  REQUIRE_FALSE(r.has_value());
  CHECK_FALSE(r.error().text.empty());
  return r.error();
}

std::vector<uint32_t> count_up(size_t n) {
  std::vector<uint32_t> v(n);
  std::iota(v.begin(), v.end(), 1u);
  return v;
}

/// A buffer of u32 with these contents.
std::unique_ptr<Buffer> make_buffer(Device& device, std::span<const uint32_t> contents) {
  auto buffer = must(device.alloc(contents.size_bytes()));
  must(device.upload(*buffer, 0, std::as_bytes(contents)));
  return buffer;
}

std::vector<uint32_t> read(Device& device, const Buffer& buffer) {
  std::vector<uint32_t> v(buffer.bytes() / 4);
  must(device.download(buffer, 0, std::as_writable_bytes(std::span(v))));
  return v;
}

LaunchRecord scale(const Program& program, const Buffer& x, const Buffer& y, uint64_t c, bool ordered = true) {
  const uint64_t n = y.bytes() / 4;
  return {&program, {static_cast<uint32_t>((n + kThreads - 1) / kThreads)}, {x.address(), y.address(), n, c}, ordered};
}

}  // namespace

TEST_CASE("a listed device says what it is") {
  std::vector<std::string> absent;
  const std::vector<DeviceInfo> devices = list_devices(&absent);
  for (const std::string& why : absent) MESSAGE("not tested: ", why);
  for (const DeviceInfo& info : devices) {
    MESSAGE("tested: ", info.id, ": ", info.name, ", ", info.driver);
    CAPTURE(info.id);
    CHECK(info.id.starts_with(info.api + ":"));
    CHECK_FALSE(info.name.empty());
    CHECK_FALSE(info.driver.empty());
    CHECK(info.memory_bytes > 0);
    CHECK(info.facts.subgroup_size > 0);
    CHECK(info.facts.max_threads >= 128);
    CHECK(info.facts.shared_bytes >= 16384);
    CHECK(info.facts.max_grid.x >= 65535);
    if (info.api == "vulkan") {
      const VulkanFacts& v = info.facts.vulkan;
      CHECK(v.device_address);
      CHECK(v.subgroup_size_min <= info.facts.subgroup_size);
      CHECK(info.facts.subgroup_size <= v.subgroup_size_max);
      CHECK(v.pipeline_cache_uuid.size() == 32);
      CHECK(v.cooperative_matrix == !v.matrices.empty());
    } else {
      CHECK(info.facts.cuda.major >= 3);
    }
  }
}

TEST_CASE("an unknown device is named") {
  for (const char* id : {"", "vulkan", "vulkan:", "vulkan:x", "vulkan:99", "vulkan:99999", "cuda:99", "metal:0"}) {
    const Error e = error_of(open_device(id));
    CHECK(e.code == Error::Code::no_device);
  }
}

TEST_CASE("buffers hold what was uploaded, at any offset and size") {
  on_each_device([](Device& device) {
    std::vector<std::byte> model(100'003);
    for (size_t i = 0; i < model.size(); ++i) model[i] = static_cast<std::byte>(i * 7 + (i >> 8));
    auto buffer = must(device.alloc(model.size()));
    CHECK(buffer->address() % 256 == 0);
    CHECK(buffer->bytes() == model.size());
    must(device.upload(*buffer, 0, model));
    const auto put = [&](size_t at, size_t n, std::byte value) {
      const std::vector<std::byte> part(n, value);
      must(device.upload(*buffer, at, part));
      std::ranges::copy(part, model.begin() + static_cast<std::ptrdiff_t>(at));
    };
    const auto fill = [&](size_t at, size_t n, std::byte value) {
      must(device.fill(*buffer, at, n, value));
      std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(at), n, value);
    };
    put(1, 1, std::byte{0xA1}), put(4097, 333, std::byte{0xA2}), put(model.size() - 3, 3, std::byte{0xA3}),
        put(17, 0, {});
    for (size_t at = 200; at < 204; ++at)
      for (size_t n = 0; n < 9; ++n) fill(at + 20 * n, n, static_cast<std::byte>(0x40 + n));
    fill(50'001, 40'000, std::byte{0xEE});
    std::vector<std::byte> back(model.size());
    must(device.download(*buffer, 0, back));
    CHECK(back == model);
    std::vector<std::byte> some(1001);
    must(device.download(*buffer, 4001, some));
    CHECK(std::equal(some.begin(), some.end(), model.begin() + 4001));
  });
}

TEST_CASE("a copy larger than the staging buffer arrives whole") {
  on_each_device([](Device& device) {
    const std::vector<uint32_t> v = count_up((64 << 20) / 4 + 4097);
    const auto buffer = make_buffer(device, v);
    CHECK(read(device, *buffer) == v);
  });
}

TEST_CASE("a buffer of no bytes has an address and takes copies of no bytes") {
  on_each_device([](Device& device) {
    auto buffer = must(device.alloc(0));
    CHECK(buffer->address() != 0);
    must(device.upload(*buffer, 0, {}));
    must(device.fill(*buffer, 0, 0, {}));
    CHECK(error_of(device.fill(*buffer, 0, 1, {})).code == Error::Code::bad_input);
  });
}

TEST_CASE("a launch reads its parameters from push constants or from memory") {
  on_each_device([](Device& device) {
    for (bool in_push_constants : {true, false}) {
      CAPTURE(in_push_constants);
      const auto program = must(device.load(scale_code(device, in_push_constants), scale_info(in_push_constants)));
      const std::vector<uint32_t> in = count_up(1001);
      const auto x = make_buffer(device, in), y = make_buffer(device, std::vector<uint32_t>(1003, 9));
      auto queue = must(device.queue());
      const uint64_t params[] = {x->address(), y->address(), 1001, 5};
      must(queue->launch(*program, {16}, params));
      must(queue->sync());
      const std::vector<uint32_t> out = read(device, *y);
      for (size_t i = 0; i < 1001; ++i) REQUIRE(out[i] == in[i] * 2 + 5);
      CHECK(out[1001] == 9);
      CHECK(program->stats().max_threads >= static_cast<int>(kThreads));
    }
  });
}

TEST_CASE("a queue keeps order over many launches, and goes on after sync") {
  on_each_device([](Device& device) {
    for (bool in_push_constants : {true, false}) {
      const auto program = must(device.load(scale_code(device, in_push_constants), scale_info(in_push_constants)));
      const auto a = make_buffer(device, std::vector<uint32_t>(300, 1)), b = must(device.alloc(1200));
      auto queue = must(device.queue());
      uint32_t expected = 1;
      for (uint32_t i = 0; i < 5000; ++i) {
        const LaunchRecord l = i % 2 ? scale(*program, *b, *a, i) : scale(*program, *a, *b, i);
        must(queue->launch(*program, l.grid, l.params));
        expected = expected * 2 + i;
        if (i == 99) must(queue->sync());
      }
      must(queue->sync());
      CHECK(read(device, *a) == std::vector<uint32_t>(300, expected));
    }
  });
}

TEST_CASE("a queue that is dropped waits for its launches") {
  on_each_device([](Device& device) {
    const auto x = make_buffer(device, count_up(64)), y = must(device.alloc(256));
    {
      const auto program = must(device.load(scale_code(device), scale_info()));
      auto queue = must(device.queue());
      must(queue->launch(*program, {1}, scale(*program, *x, *y, 1).params));
    }
    CHECK(read(device, *y)[63] == 129);
  });
}

TEST_CASE("a recorded list keeps its order, repeats, and is timed") {
  on_each_device([](Device& device) {
    for (bool in_push_constants : {true, false}) {
      const auto program = must(device.load(scale_code(device, in_push_constants), scale_info(in_push_constants)));
      const size_t n = 1 << 20;
      const auto x = make_buffer(device, count_up(n)), y = must(device.alloc(n * 4)), z = must(device.alloc(n * 4)),
                 w = must(device.alloc(n * 4));
      // y = 2x + 1 beside z = 2x + 3; then w = 2z + 1; then x = 2w, which the next replay starts from.
      const LaunchRecord list[] = {scale(*program, *x, *y, 1), scale(*program, *x, *z, 3, false),
                                   scale(*program, *z, *w, 1), scale(*program, *w, *x, 0)};
      auto graph = must(device.record(list));
      CHECK(must(graph->replay()) > 0);
      CHECK(read(device, *y)[4] == 2 * 5 + 1);
      CHECK(read(device, *w)[n - 1] == 2 * (2 * static_cast<uint32_t>(n) + 3) + 1);
      const std::vector<double> us = must(graph->time_us(5));
      REQUIRE(us.size() == 5);
      for (double t : us) CHECK(t > 0);
      uint32_t first = 1;
      for (int i = 0; i < 6; ++i) first = 2 * (2 * (2 * first + 3) + 1);
      CHECK(read(device, *x)[0] == first);
      CHECK(must(graph->time_us(2)).size() == 2);
      CHECK(error_of(graph->time_us(0)).code == Error::Code::bad_input);
      CHECK(must(device.run_timed(list)) > 0);
    }
  });
}

TEST_CASE("two threads share a device, each with its own queue") {
  on_each_device([](Device& device) {
    const auto program = must(device.load(scale_code(device), scale_info()));
    std::array<std::vector<uint32_t>, 2> out;
    std::array<bool, 2> worked{};
    const auto work = [&](size_t t) {  // doctest's assertions are kept out of the threads
      auto x = device.alloc(4096), y = device.alloc(4096);
      auto queue = device.queue();
      if (!x || !y || !queue) return;
      out[t].assign(1024, 0);
      for (uint64_t i = 0; i < 20; ++i) {
        const LaunchRecord l = scale(*program, **x, **y, i + t);
        if (!device.fill(**x, 0, 4096, static_cast<std::byte>(t)) ||
            !queue->get()->launch(*program, l.grid, l.params) || !queue->get()->sync() ||
            !device.download(**y, 0, std::as_writable_bytes(std::span(out[t]))))
          return;
      }
      worked[t] = true;
    };
    std::thread other(work, 1);
    work(0);
    other.join();
    for (uint32_t t : {0u, 1u}) {
      REQUIRE(worked[t]);
      CHECK(out[t] == std::vector<uint32_t>(1024, 2 * (t * 0x01010101u) + 19 + t));
    }
  });
}

TEST_CASE("objects outlive the device object they came from") {
  for (const std::string& id : device_ids()) {
    auto device = must(open_device(id, no_cache()));
    const auto x = make_buffer(*device, count_up(64)), y = must(device->alloc(256));
    auto program = must(device->load(scale_code(*device), scale_info()));
    const LaunchRecord list[] = {scale(*program, *x, *y, 0)};
    auto graph = must(device->record(list));
    device.reset();
    program.reset();
    CHECK(must(graph->replay()) > 0);
  }
}

TEST_CASE("work that does not end in time gives up the device, and nothing after it crashes") {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler leaks;  // the objects of a device that was given up are never destroyed
#endif
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    auto device = must(open_device(id, {.timeout_s = 1e-6, .cache = nullptr}));
    const auto y = must(device->alloc(4 << 20));
    const auto program = must(device->load(scale_code(*device), scale_info()));
    auto graph = must(device->record(std::vector<LaunchRecord>(100, scale(*program, *y, *y, 1))));
    CHECK(error_of(graph->replay()).code == Error::Code::timeout);
    CHECK(error_of(graph->replay()).code == Error::Code::device_lost);
    CHECK(error_of(device->alloc(16)).code == Error::Code::device_lost);
    CHECK(error_of(device->queue()).code == Error::Code::device_lost);
    CHECK(error_of(device->load(scale_code(*device), scale_info())).code == Error::Code::device_lost);
    CHECK(error_of(device->fill(*y, 0, 16, {})).code == Error::Code::device_lost);
    CHECK(error_of(device->record({})).text.find("did not end within") != std::string::npos);
  }
}

TEST_CASE("the driver's binary is kept on disk, and a damaged one is made again") {
  const fs::path folder = fs::temp_directory_path() / fmt::format("lathe-runtime-test-{:08x}", std::random_device{}());
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    const auto cache = std::make_shared<const DiskCache>(folder / id);
    const auto result = [&] {
      const auto device = must(open_device(id, {.cache = cache}));
      const auto program = must(device->load(scale_code(*device), scale_info()));
      const auto x = make_buffer(*device, count_up(64)), y = must(device->alloc(256));
      const LaunchRecord list[] = {scale(*program, *x, *y, 7)};
      must(device->run(list));
      return read(*device, *y)[63];
    };
    const auto entries = [&] { return std::vector<fs::path>(fs::directory_iterator(cache->folder()), {}); };
    CHECK(result() == 64 * 2 + 7);
    REQUIRE(entries().size() == 1);
    const fs::path entry = entries().front();
    const auto kept = cache->get(entry.filename().string());
    REQUIRE(kept.has_value());
    CHECK(result() == 64 * 2 + 7);
    fs::resize_file(entry, fs::file_size(entry) / 2);
    CHECK(result() == 64 * 2 + 7);
    CHECK(cache->get(entry.filename().string()).has_value());
    // An entry that is whole but holds another driver's bytes, or none at all.
    cache->put(entry.filename().string(), bytes_of("not a driver's binary, whatever its length may be", 49));
    CHECK(result() == 64 * 2 + 7);
    CHECK(cache->get(entry.filename().string()) !=
          std::optional(bytes_of("not a driver's binary, whatever its length may be", 49)));
    CHECK(entries().size() == 1);
  }
  fs::remove_all(folder);
}

TEST_CASE("errors of loading name what is wrong") {
  on_each_device([](Device& device) {
    const std::vector<std::byte> good = scale_code(device);
    const auto refused = [&](std::span<const std::byte> code, const ProgramInfo& info) {
      return error_of(device.load(code, info)).code;
    };
    CHECK(refused({}, scale_info()) == Error::Code::bad_input);
    CHECK(refused(std::span(good).first(good.size() / 2 + 1), scale_info()) == Error::Code::bad_input);
    ProgramInfo info = scale_info();
    info.entry = "scales";
    CHECK(refused(good, info) == Error::Code::bad_input);
    info = scale_info(), info.threads = 0;
    CHECK(refused(good, info) == Error::Code::bad_input);
    info = scale_info(), info.threads = 1 << 20;
    CHECK(refused(good, info) == Error::Code::unsupported);
    info = scale_info(), info.param_slots = 100'000;
    CHECK(refused(good, info) == Error::Code::unsupported);
    if (device.info().api == "vulkan") {
      CHECK(refused(std::span(good).first(18), scale_info()) == Error::Code::bad_input);
      CHECK(refused(std::span(good).first(good.size() - 4 * 3), scale_info()) == Error::Code::bad_input);
      info = scale_info(), info.shared_bytes = 64;
      CHECK(refused(good, info) == Error::Code::bad_input);
    } else {
      CHECK(error_of(device.load(bytes_of("garbage", 7), scale_info())).text.find("CUDA_ERROR") != std::string::npos);
    }
  });
}

TEST_CASE("a required subgroup size is honoured or refused") {
  on_each_device([](Device& device) {
    const std::vector<std::byte> code = scale_code(device);
    const Facts& facts = device.info().facts;
    const uint32_t lowest = facts.vulkan.subgroup_size_min, highest = facts.vulkan.subgroup_size_max;
    for (uint32_t size : {1u, 2u, 4u, 8u, 16u, 32u, 64u}) {
      CAPTURE(size);
      ProgramInfo info = scale_info();
      info.subgroup_size = size;
      const bool allowed =
          device.info().api == "cuda"
              ? size == facts.subgroup_size
              : size >= lowest && size <= highest && (facts.vulkan.can_require_subgroup_size || lowest == highest);
      const auto program = device.load(code, info);
      CHECK(program.has_value() == allowed);
      if (!program) CHECK(program.error().code == Error::Code::unsupported);
    }
    ProgramInfo uneven = scale_info();
    uneven.threads = facts.subgroup_size + 1;
    uneven.subgroup_size = facts.subgroup_size;
    CHECK(error_of(device.load(code, uneven)).code == Error::Code::bad_input);
  });
}

TEST_CASE("a program's figures come from the driver, or are unknown") {
  on_each_device([](Device& device) {
    ProgramInfo info = scale_info();
    info.statistics = true;
    const auto program = must(device.load(scale_code(device), info));
    const ProgramStats& stats = program->stats();
    std::string names;
    for (const auto& [name, value] : stats.driver) names += fmt::format("{} = {}; ", name, value);
    CAPTURE(names);
    const bool told = device.info().api == "cuda" || device.info().facts.vulkan.pipeline_statistics;
    CHECK((stats.registers > 0) == told);
    CHECK(stats.spills == (told ? 0 : -1));
    CHECK(stats.driver.empty() == !device.info().facts.vulkan.pipeline_statistics);
  });
}

TEST_CASE("errors of memory and of launching name what is wrong") {
  on_each_device([](Device& device) {
    CHECK(error_of(device.alloc(uint64_t{1} << 60)).code == Error::Code::out_of_memory);
    CHECK(error_of(device.alloc(UINT64_MAX)).code == Error::Code::out_of_memory);
    const auto program = must(device.load(scale_code(device), scale_info()));
    const auto x = make_buffer(device, count_up(64));
    std::array<std::byte, 8> some{};
    CHECK(error_of(device.upload(*x, 249, some)).code == Error::Code::bad_input);
    CHECK(error_of(device.download(*x, UINT64_MAX, some)).code == Error::Code::bad_input);
    auto queue = must(device.queue());
    const std::vector<uint64_t> params = scale(*program, *x, *x, 0).params;
    CHECK(error_of(queue->launch(*program, {1}, std::span(params).first(3))).code == Error::Code::bad_input);
    CHECK(error_of(queue->launch(*program, {0}, params)).code == Error::Code::bad_input);
    CHECK(error_of(queue->launch(*program, {1, UINT32_MAX}, params)).code == Error::Code::bad_input);
    CHECK(error_of(device.record({})).code == Error::Code::bad_input);
    const LaunchRecord none[] = {{}};
    CHECK(error_of(device.record(none)).code == Error::Code::bad_input);
    auto other = must(open_device(device.info().id, no_cache()));
    const auto foreign = must(other->load(scale_code(device), scale_info()));
    CHECK(error_of(queue->launch(*foreign, {1}, params)).code == Error::Code::bad_input);
    CHECK(error_of(other->upload(*x, 0, some)).code == Error::Code::bad_input);
    must(queue->launch(*program, {1}, params));
    must(queue->sync());
    CHECK(read(device, *x)[63] == 128);
  });
}
