// What needs libtorch_cuda: a library of its own, carried inside mlperf-rank and loaded after
// libtorch_cuda, so that one program serves machines with and without GPUs.
#include "bridge.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <string>

namespace {
thread_local std::string last_error;
}

void ml::set_error(const char* message) { last_error = message; }

// Adds NCCL for tensors on GPU `device`, and connects at once: a rank that cannot reach the others
// says so here and not in the middle of training. Returns null, or the reason why not.
extern "C" const char* ml_cuda_attach_nccl(MlGroup* group, const MlWorld* world, int device) {
  int failed = ml::guarded([&] {
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
  return failed ? last_error.c_str() : nullptr;
}
