// Optimizer steps for lists of tensors. All of them end in a fused kernel that leaves state and
// weights unchanged if found_inf is 1. LAMB and Muon let that kernel write their direction into a
// list of zeros, which then stays zero.
#include "params.h"

#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_clamp_max.h>
#include <ATen/ops/_foreach_clamp_min.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <map>
#include <memory>
#include <utility>

namespace {
// The quintic of Jordan (2024): steep at zero, and near one everywhere else.
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kLeastNorm = 1e-7;
using List = std::vector<at::Tensor>;

List zeros_like(const List& all) {
  List zeros;
  for (auto& t : all) zeros.push_back(at::zeros_like(t.detach()));
  return zeros;
}

std::optional<at::Tensor> optional(MlTensor* t) {
  return t ? std::optional<at::Tensor>(*t) : std::nullopt;
}

// 1, or 0 if found_inf is 1; [], on the device.
at::Tensor unless(MlTensor* found_inf) { return found_inf->squeeze().mul(-1.0).add(1.0); }

// `value` per tensor, or 1 if one of its two norms is 0; all [n], on the device.
at::Tensor trust_ratio(const at::Tensor& a, const at::Tensor& b, const at::Tensor& value) {
  return at::where(a.gt(0).logical_and(b.gt(0)), value, at::ones_like(value));
}

// Whether equal offsets in memory are equal places.
bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d)
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  return true;
}

at::Tensor norms(const List& all) { return at::stack(at::_foreach_norm(all)); }
}  // namespace

struct MlParams {
  List all_params, all_momenta, all_squares;
  // Of these, those that are trained now.
  List params, grads, momenta;
  List squares;            // second moments; empty for optimizers with one moment
  List updates;            // directions of LAMB and Muon
  at::Tensor num_updates;  // [], fp32; only with second moments
  bool first_step = true;

  // Collected in each step, because the Reducer turns gradients into views of its buckets.
  List& collect_grads() {
    for (size_t i = 0; i < params.size(); ++i) {
      grads[i] = params[i].grad();
      TORCH_CHECK(grads[i].defined(), "parameter ", i, " has no gradient");
    }
    return grads;
  }

  // Leaves out what needs no gradient.
  void select() {
    params.clear(), momenta.clear(), squares.clear();
    updates.clear();
    for (size_t i = 0; i < all_params.size(); ++i) {
      if (!all_params[i].requires_grad()) continue;
      params.push_back(all_params[i]);
      momenta.push_back(all_momenta[i]);
      if (!all_squares.empty()) squares.push_back(all_squares[i]);
    }
    grads.assign(params.size(), at::Tensor());
  }

  // The state before the first step is none. A replayed step does not run the code that counts.
  List state() const { return first_step ? List{} : full_state(); }

  List full_state() const {
    List all;
    all.insert(all.end(), all_momenta.begin(), all_momenta.end());
    all.insert(all.end(), all_squares.begin(), all_squares.end());
    if (num_updates.defined()) all.push_back(num_updates);
    return all;
  }

  List& fresh_updates() {
    if (updates.empty()) updates = zeros_like(params);
    at::_foreach_zero_(updates);
    return updates;
  }

  // target -= rate * direction of SGD; the rate is a number or a tensor [].
  template <class Rate>
  void fused_sgd(List& target, const MlSgd& s, const Rate& rate, MlTensor* found_inf) {
    static const List none;
    at::_fused_sgd_(target, grads, s.momentum == 0.0 ? none : momenta, s.weight_decay, s.momentum,
                    rate, s.dampening, s.nesterov != 0, /*maximize=*/false,
                    // A replayed step does not run this code, so it cannot know whether it is the first.
                    // Without dampening, a first step equals any other step, with zero momenta.
                    first_step && s.dampening != 0.0,
                    /*grad_scale=*/{}, optional(found_inf));
    first_step = false;
  }

  template <class Rate>
  void fused_adamw(List& target, const MlAdam& a, const Rate& rate, MlTensor* found_inf) {
    num_updates.add_(found_inf ? unless(found_inf) : at::ones_like(num_updates));
    const List steps(params.size(), num_updates);
    at::_fused_adamw_(target, grads, momenta, squares, {}, steps, rate, a.beta1, a.beta2,
                      a.weight_decay, a.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                      /*grad_scale=*/{}, optional(found_inf));
    first_step = false;
  }

  // weights *= 1 - shrink * lr
  void shrink(double shrink, const at::Tensor& lr, MlTensor* found_inf) {
    if (shrink == 0.0) return;
    auto loss = lr.mul(-shrink);
    if (found_inf) loss = loss * unless(found_inf);
    at::_foreach_mul_(params, loss.add(1.0));
  }
};

int ml_params_new(MlTensor* const* params, size_t n, int num_moments, MlParams** out) {
  return ml::guarded([&] {
    auto p = std::make_unique<MlParams>();
    p->all_params = ml::list(params, n);
    p->all_momenta = zeros_like(p->all_params);
    if (num_moments == 2 && n > 0) {
      p->all_squares = zeros_like(p->all_params);
      p->num_updates = at::zeros({}, p->all_params[0].options().dtype(at::kFloat));
    }
    p->select();
    *out = p.release();
  });
}

void ml_params_free(MlParams* params) { delete params; }

int ml_params_select(MlParams* p, size_t* num) {
  return ml::guarded([&] {
    p->select();
    *num = p->params.size();
  });
}

int ml_params_drop_grads(MlParams* p) {
  return ml::guarded([&] {
    for (auto& t : p->params) t.mutable_grad().reset();
    for (auto& g : p->grads) g.reset();
  });
}

int ml_params_unscale_grads(MlParams* p, MlTensor* inv_scale, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_amp_foreach_non_finite_check_and_unscale_(p->collect_grads(), *found_inf, *inv_scale);
  });
}

int ml_params_grad_norm(MlParams* p, MlTensor** out) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    *out = new at::Tensor(at::linalg_vector_norm(norms(p->collect_grads())));
  });
}

int ml_params_scale_grads(MlParams* p, MlTensor* factor) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(p->collect_grads(), *factor);
  });
}

int ml_params_clamp_grads(MlParams* p, double most) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_clamp_max_(p->collect_grads(), most);
    at::_foreach_clamp_min_(p->grads, -most);
  });
}

int ml_params_ascend(MlParams* p, MlTensor* factor) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(p->collect_grads(), *factor);
    at::_foreach_add_(p->params, p->grads);
  });
}

int ml_params_state(MlParams* p, size_t i, MlTensor** out) {
  return ml::guarded([&] {
    auto all = p->state();
    *out = i < all.size() ? new at::Tensor(all[i]) : nullptr;
  });
}

int ml_params_full_state(MlParams* p, size_t i, MlTensor** out) {
  return ml::guarded([&] {
    auto all = p->full_state();
    *out = i < all.size() ? new at::Tensor(all[i]) : nullptr;
  });
}

int ml_params_set_state(MlParams* p, MlTensor* const* state, size_t n) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    p->first_step = false;
    auto all = p->state();
    TORCH_CHECK(n == 0 || n == all.size(), "a state of ", n, " tensors for a rule with ",
                all.size());
    for (size_t i = 0; i < all.size(); ++i) n == 0 ? all[i].zero_() : all[i].copy_(*state[i]);
    p->first_step = n == 0;
  });
}

int ml_params_memory(MlParams* p, MlParameterMemory* out) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& grads = p->collect_grads();
    for (size_t i = 0; i < grads.size(); ++i) {
      auto& weight = p->params[i];
      TORCH_CHECK(grads[i].scalar_type() == weight.scalar_type(), "gradient ", i, " has another kind");
      if (!same_layout(grads[i], weight)) grads[i] = at::empty_like(weight).copy_(grads[i]);
      out[i] = {weight.data_ptr(), grads[i].data_ptr(), p->momenta[i].data_ptr(),
                static_cast<uint64_t>(weight.numel())};
    }
    p->first_step = false;
  });
}

int ml_params_sgd(MlParams* p, const MlSgd* sgd, MlTensor* lr, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    p->collect_grads();
    p->shrink(sgd->shrink, *lr, found_inf);
    p->fused_sgd(p->params, *sgd, *lr, found_inf);
  });
}

int ml_params_lars(MlParams* p, const MlLars* lars, MlTensor* lr, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    auto& grads = p->collect_grads();
    at::Tensor trust;
    if (lars->trusted) {
      auto w = norms(p->params), g = norms(grads);
      auto layerwise = w * lars->eta / (g + w * lars->weight_decay + lars->epsilon);
      trust = trust_ratio(w, g, layerwise);
      if (lars->lr_inside) trust = trust * *lr;
    }
    if (lars->weight_decay != 0.0) at::_foreach_add_(grads, p->params, lars->weight_decay);
    if (lars->trusted) {
      at::_foreach_mul_(grads, trust.unbind());
    } else if (lars->lr_inside) {
      at::_foreach_mul_(grads, *lr);
    }
    MlSgd sgd{lars->momentum, 0.0, 0.0, 0.0, 0};
    if (lars->lr_inside) {
      p->fused_sgd(p->params, sgd, 1.0, found_inf);
    } else {
      p->fused_sgd(p->params, sgd, *lr, found_inf);
    }
  });
}

int ml_params_adamw(MlParams* p, const MlAdam* adam, MlTensor* lr, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    p->collect_grads();
    p->fused_adamw(p->params, *adam, *lr, found_inf);
  });
}

int ml_params_lamb(MlParams* p, const MlAdam* lamb, MlTensor* lr, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    p->collect_grads();
    auto& updates = p->fresh_updates();
    MlAdam direction = *lamb;
    direction.weight_decay = 0.0;
    p->fused_adamw(updates, direction, 1.0, found_inf);  // -direction
    if (lamb->weight_decay != 0.0) at::_foreach_add_(updates, p->params, -lamb->weight_decay);
    auto step = found_inf ? *lr * unless(found_inf) : *lr;
    if (lamb->trusted) {
      auto w = norms(p->params), r = norms(updates);
      at::_foreach_mul_(updates, (trust_ratio(w, r, w / r) * step).unbind());
    } else {
      at::_foreach_mul_(updates, step);
    }
    at::_foreach_add_(p->params, updates);
  });
}

namespace {
// The matrices x [b, rows, cols] with all singular values moved to about 1. Computed in bf16,
// except for doubles, because the iteration tolerates its own rounding errors.
at::Tensor orthogonal(at::Tensor x, uint32_t ns_steps) {
  const bool tall = x.size(1) > x.size(2);
  if (tall) x = x.transpose(1, 2);
  x = x / at::linalg_vector_norm(x, 2, {1, 2}, /*keepdim=*/true).clamp_min(kLeastNorm);
  if (x.scalar_type() != at::kDouble) x = x.to(at::kBFloat16);
  for (uint32_t i = 0; i < ns_steps; ++i) {
    auto gram = at::bmm(x, x.transpose(1, 2));
    auto update = at::baddbmm(gram, gram, gram, kB, kC);
    x = at::baddbmm(x, update, x, kA, 1.0);
  }
  return tall ? x.transpose(1, 2) : x;
}
}  // namespace

int ml_params_muon(MlParams* p, const MlMuon* muon, MlTensor* lr, MlTensor* found_inf) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    p->collect_grads();
    auto& updates = p->fresh_updates();
    // Zero momenta are equivalent to none, and a skipped first step leaves them zero.
    p->first_step = false;
    MlSgd sgd{muon->momentum, 0.0, 0.0, 0.0, muon->nesterov};
    p->fused_sgd(updates, sgd, 1.0, found_inf);  // -direction
    p->shrink(muon->weight_decay, *lr, found_inf);
    // Matrices of equal shape are iterated together.
    std::map<std::pair<int64_t, int64_t>, std::vector<size_t>> by_shape;
    for (size_t i = 0; i < updates.size(); ++i) {
      const int64_t rows = updates[i].size(0);
      by_shape[{rows, updates[i].numel() / rows}].push_back(i);
    }
    for (auto& [shape, members] : by_shape) {
      const double rows = shape.first, cols = shape.second;
      const double adjust = muon->match_rms_adamw ? 0.2 * std::sqrt(std::max(rows, cols))
                                                  : std::sqrt(std::max(1.0, rows / cols));
      List matrices, weights, steps;
      for (auto i : members) matrices.push_back(updates[i].flatten(1));
      auto x = orthogonal(at::stack(matrices), muon->ns_steps).to(updates[members[0]].scalar_type());
      x = x * (*lr * adjust);
      for (size_t k = 0; k < members.size(); ++k) {
        weights.push_back(p->params[members[k]]);
        steps.push_back(x[k].reshape(weights[k].sizes()));
      }
      at::_foreach_add_(weights, steps);
    }
  });
}
