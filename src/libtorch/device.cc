// Streams, memory, CUDA graphs and uploads of batches. Uses c10's generic interfaces; functions
// that only CUDA has come through the table that cuda.cc fills.
#include "bridge.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ATen/DeviceAccelerator.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>

namespace {
const MlCuda* cuda = nullptr;
std::chrono::milliseconds wait_limit{0};  // for GPUs; set by ml_use_gpu
constexpr std::chrono::microseconds kLook{50};

c10::Device gpu(int index) {
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

// Turns an error message of cuda.cc into this library's error.
int report(const char* problem) {
  if (problem) ml::set_error(problem);
  return problem != nullptr;
}
constexpr const char* kNotLoaded = "the CUDA bridge is not loaded";

// Waits for the device, with a timeout: no watchdog monitors the collectives in a CUDA graph, so
// one hanging rank would make this one hang too.
void wait_for(const c10::Event& event) {
  const auto start = std::chrono::steady_clock::now();
  while (!event.query()) {
    TORCH_CHECK(std::chrono::steady_clock::now() - start < wait_limit,
                "the GPU did not finish its work within ", wait_limit.count() / 1000,
                " s; look for the rank that hangs, or for the GPU that failed (dmesg, nvidia-smi)");
    std::this_thread::sleep_for(kLook);
  }
}
}  // namespace

int ml_load_library(const char* path) {
  return ml::guarded([&] {
    if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  });
}

int ml_load_cuda(const uint8_t* library, size_t n) {
  return ml::guarded([&] {
    int fd = memfd_create("mlperf-run-cuda", MFD_CLOEXEC);
    if (fd < 0) throw std::runtime_error("memfd_create failed");
    for (size_t done = 0; done < n;) {
      ssize_t wrote = write(fd, library + done, n - done);
      if (wrote <= 0) throw std::runtime_error("writing the CUDA bridge to memory failed");
      done += static_cast<size_t>(wrote);
    }
    void* handle = dlopen(("/proc/self/fd/" + std::to_string(fd)).c_str(), RTLD_NOW);
    close(fd);
    if (!handle) throw std::runtime_error(dlerror());
    cuda = static_cast<const MlCuda*>(dlsym(handle, "ml_cuda"));
    if (!cuda) throw std::runtime_error("the CUDA bridge lacks its table");
  });
}

int ml_group_attach_nccl(MlGroup* group, const MlWorld* world, int device) {
  return report(cuda ? cuda->attach_nccl(group, world, device) : kNotLoaded);
}

int ml_use_gpu(int index, uint64_t timeout_ms) {
  return ml::guarded([&] {
    wait_limit = std::chrono::milliseconds(timeout_ms);
    // The default stream cannot be captured, and autograd's per-stream state must be created on the
    // captured stream. So everything runs on a separate stream from the first operation on.
    c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.setDevice(gpu(index));
    guard.exchangeStream(guard.getStreamFromGlobalPool(gpu(index), /*isHighPriority=*/false));
  });
}

int ml_current_stream(int index, void** out) {
  return report(cuda ? cuda->current_stream(index, out) : kNotLoaded);
}

int ml_peak_bytes(int index, uint64_t* out) {
  return ml::guarded([&] {
    const auto stats = at::accelerator::getDeviceStats(gpu(index).index());
    *out = static_cast<uint64_t>(stats.reserved_bytes[0].peak);
  });
}

int ml_graph_begin(int index, const MlGraph* pool_of, MlGraph** out) {
  return ml::guarded([&] {
    if (!cuda) throw std::runtime_error(kNotLoaded);
    // A graph keeps its own memory, so cached memory of others is released first.
    at::accelerator::synchronizeDevice(gpu(index).index());
    at::accelerator::emptyCache();
    if (const char* problem = cuda->graph_begin(pool_of, out)) throw std::runtime_error(problem);
  });
}

int ml_graph_end(MlGraph* graph) { return report(cuda->graph_end(graph)); }
int ml_graph_replay(MlGraph* graph) { return report(cuda->graph_replay(graph)); }
void ml_graph_free(MlGraph* graph) { cuda->graph_free(graph); }

struct MlRing {
  struct Slot {
    at::Tensor host, device;  // uint8 [capacity]; the same tensor on the CPU
    c10::Event copied, used;
  };
  size_t capacity;
  std::optional<c10::Stream> copies;  // only on GPUs
  std::vector<Slot> slots;
  size_t num_uploads = 0;

  c10::Stream work() const { return c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(copies->device()); }
};

int ml_ring_new(int index, size_t capacity, size_t num_slots, MlRing** out) {
  return ml::guarded([&] {
    const bool on_gpu = index >= 0;
    const auto device = on_gpu ? gpu(index) : c10::Device(c10::kCPU);
    const auto bytes = at::TensorOptions().dtype(at::kByte);
    const auto size = static_cast<int64_t>(capacity);
    auto ring = std::make_unique<MlRing>();
    ring->capacity = capacity;
    if (on_gpu)
      ring->copies = c10::impl::VirtualGuardImpl(c10::kCUDA).getStreamFromGlobalPool(device, true);
    for (size_t i = 0; i < num_slots; ++i) {
      auto host = at::empty({size}, bytes.pinned_memory(on_gpu));
      auto there = on_gpu ? at::empty({size}, bytes.device(device)) : host;
      ring->slots.push_back({host, there, c10::Event(device.type()), c10::Event(device.type())});
    }
    *out = ring.release();
  });
}

void ml_ring_free(MlRing* ring) {
  ml::guarded([&] { delete ring; });
}

int ml_ring_upload(MlRing* ring, const MlBytes* parts, size_t n, MlTensor** out) {
  return ml::guarded([&] {
    size_t size = 0;
    for (size_t i = 0; i < n; ++i) size += parts[i].size;
    TORCH_CHECK(size <= ring->capacity, "a batch of ", size, " bytes for ", ring->capacity);
    auto& slots = ring->slots;
    auto& slot = slots[ring->num_uploads % slots.size()];
    if (ring->copies) {
      // By now, all work on the previous upload has been queued.
      if (ring->num_uploads > 0)
        slots[(ring->num_uploads - 1) % slots.size()].used.record(ring->work());
      // The host may be at most one ring ahead of the copies.
      wait_for(slot.copied);
    }
    auto* to = slot.host.data_ptr<uint8_t>();
    for (size_t i = 0; i < n; to += parts[i].size, ++i)
      std::memcpy(to, parts[i].bytes, parts[i].size);
    auto there = slot.device.narrow(0, 0, static_cast<int64_t>(size));
    if (ring->copies) {
      slot.used.block(*ring->copies);
      {
        c10::StreamGuard on_copies(*ring->copies);
        there.copy_(slot.host.narrow(0, 0, static_cast<int64_t>(size)), /*non_blocking=*/true);
      }
      slot.copied.record(*ring->copies);
      slot.copied.block(ring->work());
    }
    ++ring->num_uploads;
    *out = new at::Tensor(there);
  });
}

struct MlReadout {
  at::Tensor host;  // pinned if the number is on a GPU
  c10::Event copied;
};

int ml_readout_new(const MlTensor* number, MlReadout** out) {
  return ml::guarded([&] {
    const auto device = number->device();
    auto host = number->to(at::kCPU, number->scalar_type(), /*non_blocking=*/true, /*copy=*/true);
    auto readout = std::make_unique<MlReadout>(MlReadout{host, c10::Event(device.type())});
    if (device.is_cuda())
      readout->copied.record(c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(device));
    *out = readout.release();
  });
}

void ml_readout_free(MlReadout* readout) {
  ml::guarded([&] { delete readout; });
}

int ml_readout_get(MlReadout* readout, double* out, size_t n) {
  return ml::guarded([&] {
    wait_for(readout->copied);
    auto numbers = readout->host.to(at::kDouble).contiguous();
    TORCH_CHECK(numbers.numel() == static_cast<int64_t>(n), "a readout has ", numbers.numel(), " numbers");
    std::copy_n(numbers.const_data_ptr<double>(), n, out);
  });
}
