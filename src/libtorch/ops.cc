// Memory format, autocast, random state.
#include "bridge.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <mutex>

struct MlAutocast {
  c10::DeviceType device;
  bool enabled;
  at::ScalarType dtype;
};

int ml_set_math(uint8_t tf32, uint8_t benchmark, uint8_t deterministic) {
  return ml::guarded([&] {
    auto& context = at::globalContext();
    context.setAllowTF32CuBLAS(tf32 != 0);
    context.setAllowTF32CuDNN(tf32 != 0);
    context.setBenchmarkCuDNN(benchmark != 0 && deterministic == 0);
    context.setDeterministicCuDNN(deterministic != 0);
    // Operations without a deterministic algorithm (such as max-pool backward on GPUs) only warn.
    context.setDeterministicAlgorithms(deterministic != 0, /*warn_only=*/true);
    // Every kernel of ours writes its whole output.
    context.setDeterministicFillUninitializedMemory(false);
  });
}

int ml_set_channels_last(MlTensor* t) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    // contiguous() would leave 1x1 weights unchanged, and their gradients would then have other
    // strides than the Reducer's buckets.
    auto converted = at::empty_like(t->detach(), at::MemoryFormat::ChannelsLast);
    converted.copy_(t->detach());
    t->set_data(converted);
  });
}

int ml_is_channels_last(MlTensor* t, uint8_t* out) {
  return ml::guarded([&] { *out = t->is_contiguous(at::MemoryFormat::ChannelsLast); });
}

int ml_autocast_enter(uint8_t cuda, uint8_t bf16, MlAutocast** out) {
  return ml::guarded([&] {
    auto device = cuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU;
    *out = new MlAutocast{device, at::autocast::is_autocast_enabled(device),
                          at::autocast::get_autocast_dtype(device)};
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, bf16 ? at::kBFloat16 : at::kHalf);
    at::autocast::increment_nesting();
  });
}

void ml_autocast_exit(MlAutocast* guard) {
  ml::guarded([&] {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(guard->device, guard->enabled);
    at::autocast::set_autocast_dtype(guard->device, guard->dtype);
    delete guard;
  });
}

int ml_rng_state(MlTensor* device_of, MlTensor** out) {
  return ml::guarded([&] {
    auto generator = at::globalContext().defaultGenerator(device_of->device());
    std::lock_guard<std::mutex> lock(generator.mutex());
    *out = new at::Tensor(generator.get_state());
  });
}

int ml_set_rng_state(MlTensor* device_of, MlTensor* state) {
  return ml::guarded([&] {
    auto generator = at::globalContext().defaultGenerator(device_of->device());
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}
