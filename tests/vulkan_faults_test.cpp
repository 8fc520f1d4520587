// Vulkan's failures, made by standing between the runtime and the driver: memory that runs out at each call that takes
// some, a device that is lost. One line says what failed, nothing is left behind, and other devices go on.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "engine/open.h"
#include "engine/target_of.h"
#include "engine/tile_run.h"
#include "runtime/vulkan/new_extensions.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

namespace lathe {
namespace {

const int kNoCache = setenv("LATHE_CACHE_DIR", "off", 1);

/// The calls that may fail for want of memory, and whether they make an object.
#define FOR_TAKING_CALLS(CALL)      \
  CALL(vkCreateBuffer, 1)           \
  CALL(vkAllocateMemory, 1)         \
  CALL(vkBindBufferMemory, 0)       \
  CALL(vkMapMemory, 0)              \
  CALL(vkCreateFence, 1)            \
  CALL(vkResetFences, 0)            \
  CALL(vkCreateCommandPool, 1)      \
  CALL(vkAllocateCommandBuffers, 0) \
  CALL(vkBeginCommandBuffer, 0)     \
  CALL(vkEndCommandBuffer, 0)       \
  CALL(vkQueueSubmit, 0)            \
  CALL(vkCreateQueryPool, 1)        \
  CALL(vkGetQueryPoolResults, 0)    \
  CALL(vkCreatePipelineCache, 1)    \
  CALL(vkCreateShaderModule, 1)     \
  CALL(vkCreatePipelineLayout, 1)   \
  CALL(vkCreateComputePipelines, 1)
/// Calls whose failure leaves it open whether the device still works.
#define FOR_WAITING_CALLS(CALL) CALL(vkWaitForFences)
#define FOR_FREEING_CALLS(CALL) \
  CALL(vkDestroyBuffer)         \
  CALL(vkFreeMemory)            \
  CALL(vkDestroyFence)          \
  CALL(vkDestroyCommandPool)    \
  CALL(vkDestroyQueryPool)      \
  CALL(vkDestroyPipelineCache)  \
  CALL(vkDestroyShaderModule)   \
  CALL(vkDestroyPipelineLayout) \
  CALL(vkDestroyPipeline)       \
  CALL(vkDestroyDevice)

/// Which call fails, and what is alive.
struct Plan {
  int fail_at = 0;              ///< the number, from 1, of the call that fails; 0: none does
  const char* fails = nullptr;  ///< only calls of this name are counted; null: all that take memory
  VkResult with = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  int calls = 0, live = 0;
  std::string failed;  ///< the name of the call that did

  bool now(const char* name, bool waits) {
    if (fails ? std::strcmp(name, fails) != 0 : waits) return false;
    if (++calls != fail_at) return false;
    failed = name;
    return true;
  }
};
Plan plan;

#define DEFINE_TAKING(name, makes)                           \
  PFN_##name real_##name = nullptr;                          \
  template <class... A>                                      \
  VKAPI_ATTR VkResult VKAPI_CALL failing_##name(A... args) { \
    if (plan.now(#name, false)) return plan.with;            \
    const VkResult r = real_##name(args...);                 \
    if (r == VK_SUCCESS) plan.live += makes;                 \
    return r;                                                \
  }
// After the work has ended: a device that is lost does none.
#define DEFINE_WAITING(name)                                 \
  PFN_##name real_##name = nullptr;                          \
  template <class... A>                                      \
  VKAPI_ATTR VkResult VKAPI_CALL failing_##name(A... args) { \
    const VkResult r = real_##name(args...);                 \
    return plan.now(#name, true) ? plan.with : r;            \
  }
#define DEFINE_FREEING(name)                             \
  PFN_##name real_##name = nullptr;                      \
  template <class... A>                                  \
  VKAPI_ATTR void VKAPI_CALL failing_##name(A... args) { \
    plan.live--;                                         \
    real_##name(args...);                                \
  }
FOR_TAKING_CALLS(DEFINE_TAKING)
FOR_WAITING_CALLS(DEFINE_WAITING)
FOR_FREEING_CALLS(DEFINE_FREEING)
DEFINE_TAKING(vkCreateDevice, 1)

PFN_vkGetDeviceProcAddr real_lookup = nullptr;

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL lookup(VkDevice device, const char* name) {
  const PFN_vkVoidFunction real = real_lookup(device, name);
#define REPLACE(call, ...)                             \
  if (std::strcmp(name, #call) == 0) {                 \
    real_##call = reinterpret_cast<PFN_##call>(real);  \
    const PFN_##call ours = failing_##call;            \
    return reinterpret_cast<PFN_vkVoidFunction>(ours); \
  }
  FOR_TAKING_CALLS(REPLACE)
  FOR_WAITING_CALLS(REPLACE)
  FOR_FREEING_CALLS(REPLACE)
  return real;
}

/// Every device opened while it lives is asked through `lookup`.
class Between {
 public:
  Between() {
    plan = {};
    real_lookup = vkGetDeviceProcAddr;
    real_vkCreateDevice = vkCreateDevice;
    vkGetDeviceProcAddr = lookup;
    const PFN_vkCreateDevice ours = failing_vkCreateDevice;
    vkCreateDevice = ours;
  }
  ~Between() {
    vkGetDeviceProcAddr = real_lookup;
    vkCreateDevice = real_vkCreateDevice;
  }
  Between(const Between&) = delete;
};

std::vector<std::string> device_ids() {
  std::vector<std::string> ids;
  for (const auto& info : runtime::list_devices())
    if (info.api == "vulkan") ids.push_back(info.id);
  if (ids.empty()) MESSAGE("SKIPPED: no Vulkan device here");
  return ids;
}

constexpr const char* kProgram = R"(kernel sums(x: i32[M, N], y: i32[M, N]) grid [ceildiv(M, 8)] subgroups 2 {
  t = load(x[group_id(0) * 8, 0], [8, 32])
  store(y[group_id(0) * 8, 0], t + broadcast(reduce(t, 1, sum), [8, 32]))
}
)";

struct Opened {
  std::unique_ptr<runtime::Device> device;
  Target target;
};
Result<Opened> open(const std::string& id) {
  Opened o;
  TRY_ASSIGN(o.device, open_device(id, {.timeout_s = 60, .cache = nullptr}));
  TRY_ASSIGN(o.target, target_of(*o.device));
  return o;
}

/// A program by a graph that is timed, and by a queue; "" if both gave what the interpreter gives.
Result<std::string> work(runtime::Device& device, const Target& target) {
  TRY_ASSIGN(const tile::Func f, tile::parse(kProgram, "sums.tile"));
  HostTensors want;
  for (const char* name : {"x", "y"}) want[name] = {types::i32, {21, 30}, std::vector<uint64_t>(21 * 30)};
  for (size_t i = 0; i < want["x"].raw.size(); i++) want["x"].raw[i] = i * i % 1009;
  HostTensors got = want;
  TRY(tile::interpret(f, want));
  TRY_ASSIGN(TileRun run, TileRun::build(device, target, f, got, {}));
  for (const bool queued : {false, true}) {
    TRY(run.upload(got));
    TRY_ASSIGN(const runtime::LaunchRecord launch, run.launch());
    if (queued) {
      TRY_ASSIGN(const auto queue, lift(device.queue()));
      TRY(lift(queue->launch(*launch.program, launch.grid, launch.params)));
      TRY(lift(queue->sync()));
    } else {
      TRY(lift(device.run_timed({&launch, 1})));
    }
    TRY(run.download(got));
    if (got["y"].raw != want["y"].raw) return std::string("wrong numbers");
    got["y"].raw.assign(got["y"].raw.size(), 0);
  }
  return std::string();
}

Result<std::string> work(const Opened& o) { return work(*o.device, o.target); }
Result<std::string> measure_and_work(runtime::Device& device) {
  TRY_ASSIGN(const Target target, target_of(device));
  return work(device, target);
}

Result<std::string> open_and_work(const std::string& id) {
  TRY_ASSIGN(const Opened o, open(id));
  return work(o);
}

std::string text_of(const Result<std::string>& r) { return r ? *r : r.error().text; }

}  // namespace

TEST_CASE("memory runs out at each call in turn: one line, nothing left, and the next try works") {
  REQUIRE(kNoCache == 0);
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    const Between between;
    int failures = 0;
    for (int n = 1;; n++) {
      plan.calls = 0, plan.fail_at = n, plan.failed.clear();
      plan.with = n % 2 ? VK_ERROR_OUT_OF_DEVICE_MEMORY : VK_ERROR_OUT_OF_HOST_MEMORY;
      const std::string text = text_of(open_and_work(id));
      CHECK(plan.live == 0);
      if (plan.failed.empty()) {
        CHECK(text == "");
        break;
      }
      failures++;
      CAPTURE(plan.failed);
      CHECK_MESSAGE(text.find("MEMORY") != std::string::npos, text);
      CHECK_MESSAGE(text.find(plan.failed) != std::string::npos, text);
      CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
      REQUIRE(n < 10'000);
    }
    MESSAGE(id << ": " << failures << " calls failed, one in each run");
    CHECK(failures > 40);
  }
}

TEST_CASE("a device goes on after memory ran out") {
  for (const std::string& id : device_ids()) {
    CAPTURE(id);
    const Between between;
    {
      const auto o = open(id);
      REQUIRE_MESSAGE(o, o.error().text);
      REQUIRE(text_of(work(*o)) == "");  // what is made at the first use is there then
      plan.calls = 0;
      REQUIRE(text_of(work(*o)) == "");
      const int calls = plan.calls;
      for (int n = 1; n <= calls; n++) {
        plan.calls = 0, plan.fail_at = n;
        const std::string text = text_of(work(*o));
        CHECK_MESSAGE(text.find("MEMORY") != std::string::npos, text);
        plan.fail_at = 0;
        CHECK_MESSAGE(text_of(work(*o)) == "", plan.failed);
      }
    }
    CHECK(plan.live == 0);
  }
}

TEST_CASE("a lost device says so once, then refuses; another goes on in the same process") {
#ifdef __SANITIZE_ADDRESS__
  const __lsan::ScopedDisabler leaks;  // the objects of a device that was given up are never destroyed
#endif
  struct Loss {
    const char* call;
    VkResult with;
    bool destroyed;  ///< whether its objects may be: nobody works with them any more
  };
  for (const Loss& loss :
       {Loss{"vkQueueSubmit", VK_ERROR_DEVICE_LOST, true}, Loss{"vkWaitForFences", VK_ERROR_DEVICE_LOST, true},
        Loss{"vkWaitForFences", VK_ERROR_OUT_OF_HOST_MEMORY, false}})
    for (const std::string& id : device_ids()) {
      CAPTURE(id);
      CAPTURE(std::string(loss.call));
      const Between between;
      const auto other = open(id);
      REQUIRE_MESSAGE(other, other.error().text);
      REQUIRE(text_of(work(*other)) == "");
      const int others = plan.live;
      {
        const auto lost = open(id);
        REQUIRE_MESSAGE(lost, lost.error().text);
        REQUIRE(text_of(work(*lost)) == "");
        plan.fails = loss.call, plan.with = loss.with, plan.calls = 0, plan.fail_at = 2;
        const std::string text = text_of(work(*lost));
        CHECK_MESSAGE(text.find(loss.call) != std::string::npos, text);
        CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
        plan.fail_at = 0;
        for (int again = 0; again < 2; again++)
          CHECK_MESSAGE(text_of(work(*lost)).starts_with("the device was lost earlier: "), text_of(work(*lost)));
        CHECK(text_of(work(*other)) == "");
      }
      if (loss.destroyed) CHECK(plan.live == others);
      CHECK(text_of(work(*other)) == "");
      CHECK(text_of(open_and_work(id)) == "");
    }
}

// Where a driver itself loses its device: a null device of Mesa's beside a working one.
TEST_CASE("each device here works, or is lost and refuses, whatever the others do") {
  std::vector<std::unique_ptr<runtime::Device>> all;
  for (const std::string& id : device_ids()) {
    auto device = open_device(id, {.timeout_s = 60, .cache = nullptr});
    REQUIRE_MESSAGE(device, device.error().text);
    all.push_back(std::move(*device));
  }
  std::map<std::string, std::string> lost;  // and why
  for (int round = 0; round < 3; round++)
    for (const auto& device : all) {
      const std::string id = device->info().id, text = text_of(measure_and_work(*device));
      CAPTURE(id);
      CHECK_MESSAGE(text.find('\n') == std::string::npos, text);
      if (lost.contains(id)) CHECK_MESSAGE(text.starts_with("the device was lost earlier: "), text);
      if (text.empty() || lost.contains(id)) continue;
      CHECK_MESSAGE(text.find("LOST") != std::string::npos, text);
      CHECK(round == 0);
      lost[id] = text;
      MESSAGE(id << ": " << text);
    }
  MESSAGE(all.size() << " devices, " << lost.size() << " of them lost");
}

}  // namespace lathe
