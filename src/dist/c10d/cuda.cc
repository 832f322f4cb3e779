// What needs libtorch_cuda: a library of its own, carried inside mlperf-rank and loaded after
// libtorch_cuda, so that one program serves machines with and without GPUs.
#include "bridge.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <string>

namespace {
thread_local std::string last_error;

// Null, or the reason why not.
template <class F>
const char* outcome(F&& body) {
  return ml::guarded(body) ? last_error.c_str() : nullptr;
}
}  // namespace

void ml::set_error(const char* message) { last_error = message; }

struct MlGraph {
  at::cuda::CUDAGraph graph;
  bool recording = false;
};

namespace {
// Adds NCCL for tensors on GPU `device`, and connects at once: a rank that cannot reach the others
// says so here and not in the middle of training.
const char* attach_nccl(MlGroup* group, const MlWorld* world, int device) {
  return outcome([&] {
    c10::Device gpu(c10::kCUDA, static_cast<c10::DeviceIndex>(device));
    c10::impl::VirtualGuardImpl(c10::kCUDA).setDevice(gpu);
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    options->timeout = std::chrono::milliseconds(world->timeout_ms);
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::make_intrusive<c10d::PrefixStore>("nccl", group->store), world->rank,
        world->world_size, options);
    group->group->setBackend(c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
    nccl->eagerConnectSingleDevice(gpu);
  });
}

// Records the current stream's work instead of doing it, in the memory pool of `pool_of` if given.
const char* graph_begin(const MlGraph* pool_of, MlGraph** out) {
  return outcome([&] {
    auto graph = std::make_unique<MlGraph>();
    auto pool = pool_of ? const_cast<MlGraph*>(pool_of)->graph.pool() : c10::MempoolId_t{0, 0};
    // Other threads, such as NCCL's watchdog, may go on asking the driver.
    graph->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
    graph->recording = true;
    *out = graph.release();
  });
}

const char* graph_end(MlGraph* graph) {
  return outcome([&] {
    graph->recording = false;
    graph->graph.capture_end();
  });
}

const char* graph_replay(MlGraph* graph) {
  return outcome([&] { graph->graph.replay(); });
}

// A recording that failed half-way is ended, or the stream could do nothing else.
void graph_free(MlGraph* graph) {
  if (graph->recording) graph_end(graph);
  outcome([&] { delete graph; });
}
}  // namespace

extern "C" __attribute__((visibility("default"))) const MlCuda ml_cuda = {
    attach_nccl, graph_begin, graph_end, graph_replay, graph_free};
