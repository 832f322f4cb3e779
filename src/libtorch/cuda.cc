// The code that requires libtorch_cuda. It is a separate library, embedded in mlperf-rank and
// loaded after libtorch_cuda, so that one program serves machines with and without GPUs.
#include "bridge.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <string>

namespace {
thread_local std::string last_error;

// Returns null, or the reason of the failure.
template <class F>
const char* outcome(F&& body) {
  return ml::guarded(body) ? last_error.c_str() : nullptr;
}

template <class F>
void quietly(F&& body) {
  try {
    body();
  } catch (...) {  // one of them may not have started, or has ended
  }
}

// Adds the cleanup after a failed capture: capture_end() cleans up only after the driver has
// accepted the capture. Without it, the allocator and the generator would stay in capture mode.
struct Graph : at::cuda::CUDAGraph {
  ~Graph() {
    if (capture_dev_ != UNDEFINED_DEVICE && !capture_ended_) abandon();
  }

  void abandon() {
    cudaStreamCaptureStatus status{};
    cudaStreamIsCapturing(capture_stream_.stream(), &status);
    cudaGraph_t unfinished = nullptr;
    if (status != cudaStreamCaptureStatusNone)
      cudaStreamEndCapture(capture_stream_.stream(), &unfinished);
    if (unfinished) cudaGraphDestroy(unfinished);
    cudaGetLastError();  // clear the error that has been reported, so that later calls succeed
    namespace allocator = c10::cuda::CUDACachingAllocator;
    auto* host = at::getHostAllocator(at::kCUDA);
    quietly([&] { allocator::endAllocateToPool(capture_dev_, mempool_id_); });
    quietly([&] { allocator::releasePool(capture_dev_, mempool_id_); });
    quietly([&] { host->end_allocate_to_pool(mempool_id_); });
    quietly([&] { host->release_pool(mempool_id_); });
    for (auto& [state, num_draws] : captured_generator_states_) state->capturing_ = false;
  }
};
}  // namespace

void ml::set_error(const char* message) { last_error = message; }

struct MlGraph {
  Graph graph;
};

namespace {
// Adds NCCL for tensors on GPU `device` and connects at once, so that a rank that cannot reach the
// others fails here and not during training.
const char* attach_nccl(MlGroup* group, const MlWorld* world, int device) {
  return outcome([&] {
    c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(gpu);
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    // The host's own waits time out first, with a message; this timeout aborts the process.
    options->timeout = std::chrono::milliseconds(world->timeout_ms) + std::chrono::minutes(1);
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::make_intrusive<c10d::PrefixStore>("nccl", group->store), world->rank,
        world->world_size, options);
    group->group->setBackend(c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
    nccl->eagerConnectSingleDevice(gpu);
  });
}

// Captures the current stream's work into a graph, with the memory pool of `pool_of` if given.
const char* graph_begin(const MlGraph* pool_of, MlGraph** out) {
  return outcome([&] {
    auto graph = std::make_unique<MlGraph>();
    auto pool = pool_of ? const_cast<MlGraph*>(pool_of)->graph.pool() : c10::MempoolId_t{0, 0};
    // Other threads, such as NCCL's watchdog, may continue to call the driver.
    graph->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    *out = graph.release();
  });
}

const char* graph_end(MlGraph* graph) {
  return outcome([&] { graph->graph.capture_end(); });
}

const char* graph_replay(MlGraph* graph) {
  return outcome([&] { graph->graph.replay(); });
}

void graph_free(MlGraph* graph) {
  outcome([&] { delete graph; });
}

const char* current_stream(int device, void** out) {
  return outcome([&] {
    *out = c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
  });
}
}  // namespace

extern "C" __attribute__((visibility("default"))) const MlCuda ml_cuda = {
    attach_nccl, graph_begin, graph_end, graph_replay, graph_free, current_stream};
