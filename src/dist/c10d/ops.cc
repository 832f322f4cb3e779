// Optimizer steps over lists of tensors, memory format, autocast, random state.
#include "bridge.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <mutex>

struct MlParams {
  std::vector<at::Tensor> params, momenta, grads;
  bool first_step = true;

  // Collected anew each step: the Reducer makes gradients views of its buckets.
  std::vector<at::Tensor>& collect_grads() {
    for (size_t i = 0; i < params.size(); ++i) {
      grads[i] = params[i].grad();
      TORCH_CHECK(grads[i].defined(), "parameter ", i, " has no gradient");
    }
    return grads;
  }
};

struct MlAutocast {
  c10::DeviceType device;
  bool enabled;
  at::ScalarType dtype;
};

int ml_params_new(MlTensor* const* params, size_t n, MlParams** out) {
  return ml::guarded([&] {
    auto p = std::make_unique<MlParams>();
    p->params = ml::list(params, n);
    p->grads.resize(n);
    for (auto& t : p->params) {
      auto momentum = at::zeros_like(t.detach());
      p->momenta.push_back(momentum);
    }
    *out = p.release();
  });
}

void ml_params_free(MlParams* params) { delete params; }

int ml_params_sgd(MlParams* p, const MlSgd* sgd, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    if (found_inf) {
      // 1 - (1 - shrink) (1 - found_inf), on the device: the host must not wait for found_inf.
      auto factor = found_inf->squeeze().mul(1.0 - sgd->shrink).add(sgd->shrink);
      if (sgd->shrink != 1.0) at::_foreach_mul_(p->params, factor);
    } else if (sgd->shrink != 1.0) {
      at::_foreach_mul_(p->params, sgd->shrink);
    }
    static const std::vector<at::Tensor> none;
    at::_fused_sgd_(p->params, p->collect_grads(), sgd->momentum == 0.0 ? none : p->momenta,
                    sgd->weight_decay, sgd->momentum, sgd->lr, sgd->dampening, sgd->nesterov != 0,
                    /*maximize=*/false, p->first_step, /*grad_scale=*/{},
                    found_inf ? std::optional<at::Tensor>(*found_inf) : std::nullopt);
    p->first_step = false;
  });
}

int ml_params_drop_grads(MlParams* p) {
  return ml::guarded([&] {
    for (auto& t : p->params) t.mutable_grad().reset();
    for (auto& g : p->grads) g.reset();
  });
}

int ml_params_momentum(MlParams* p, size_t i, MlTensor** out) {
  return ml::guarded([&] { *out = p->first_step ? nullptr : new at::Tensor(p->momenta.at(i)); });
}

int ml_params_set_momentum(MlParams* p, MlTensor* const* momenta, size_t n) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    for (size_t i = 0; i < n; ++i) p->momenta.at(i).copy_(*momenta[i]);
    p->first_step = n == 0;
  });
}

int ml_params_unscale_grads(MlParams* p, MlTensor* inv_scale, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_amp_foreach_non_finite_check_and_unscale_(p->collect_grads(), *found_inf, *inv_scale);
  });
}

int ml_set_channels_last(MlTensor* t) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    // Not contiguous(): that leaves 1x1 weights as they are, and then gradients come with other
    // strides than the Reducer's buckets have.
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
