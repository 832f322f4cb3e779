// Parameters that share an optimizer step, and their optimizer state. Each step is one call for the
// whole list, uses fused or foreach operations and never synchronizes with the device.
#pragma once
#include "bridge.h"

#ifdef __cplusplus
extern "C" {
#endif
typedef struct MlParams MlParams;

typedef struct {
  double momentum;
  double weight_decay;
  double dampening;
  double shrink;  // decoupled decay: first, weights *= 1 - lr * shrink
  uint8_t nesterov;
} MlSgd;

typedef struct {
  double momentum;
  double weight_decay;
  double eta;
  double epsilon;
  uint8_t trusted;    // 0: trust ratio 1
  uint8_t lr_inside;  // the momentum accumulates steps, not directions
} MlLars;

typedef struct {
  double beta1;
  double beta2;
  double weight_decay;
  double epsilon;
  uint8_t trusted;  // LAMB only; 0: trust ratio 1
} MlAdam;

typedef struct {
  double momentum;
  double weight_decay;
  uint32_t ns_steps;
  uint8_t nesterov;
  uint8_t match_rms_adamw;
} MlMuon;

// num_moments: 1, or 2 for Adam and its variants.
int ml_params_new(MlTensor* const* params, size_t n, int num_moments, MlParams** out);
void ml_params_free(MlParams* params);
// Restricts all that follows to the parameters that need gradients, and counts them. The state keeps all.
int ml_params_select(MlParams* params, size_t* num);
int ml_params_drop_grads(MlParams* params);
int ml_params_unscale_grads(MlParams* params, MlTensor* inv_scale, MlTensor* found_inf);
// The i-th state tensor, shared; *out is null past the last one and before the first step.
int ml_params_grad_norm(MlParams* params, MlTensor** out);
int ml_params_scale_grads(MlParams* params, MlTensor* factor);
int ml_params_clamp_grads(MlParams* params, double most);
int ml_params_ascend(MlParams* params, MlTensor* factor);
int ml_params_state(MlParams* params, size_t i, MlTensor** out);
int ml_params_full_state(MlParams* params, size_t i, MlTensor** out);
// n = 0 restores the state before the first step.
int ml_params_set_state(MlParams* params, MlTensor* const* state, size_t n);

// Memory of the parameters, their gradients and their momenta, with equal layouts, for a kernel that makes the
// step; `out` takes all of them.
typedef struct {
  void* weight;
  const void* gradient;
  void* momentum;
  uint64_t num;
} MlParameterMemory;
int ml_params_memory(MlParams* params, MlParameterMemory* out);

// Steps. The learning rate is [], on the parameters' device, so that a replayed step uses its
// current value. found_inf may be null; if it is 1, nothing changes. Gradients may be overwritten.
int ml_params_sgd(MlParams* params, const MlSgd* sgd, MlTensor* lr, MlTensor* found_inf);
int ml_params_lars(MlParams* params, const MlLars* lars, MlTensor* lr, MlTensor* found_inf);
int ml_params_adamw(MlParams* params, const MlAdam* adam, MlTensor* lr, MlTensor* found_inf);
int ml_params_lamb(MlParams* params, const MlAdam* lamb, MlTensor* lr, MlTensor* found_inf);
int ml_params_muon(MlParams* params, const MlMuon* muon, MlTensor* lr, MlTensor* found_inf);
#ifdef __cplusplus
}
#endif
