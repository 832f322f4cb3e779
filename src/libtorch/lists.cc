// Lists of tensors that are processed together, with one fused call for all.
#include "bridge.h"

#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

struct MlList {
  std::vector<at::Tensor> tensors;
};

int ml_list_new(MlTensor* const* tensors, size_t n, MlList** out) {
  return ml::guarded([&] {
    auto list = std::make_unique<MlList>();
    for (auto& t : ml::list(tensors, n)) list->tensors.push_back(t.detach());
    *out = list.release();
  });
}

void ml_list_free(MlList* list) { delete list; }

int ml_list_duplicate(const MlList* list, MlList** out) {
  return ml::guarded([&] {
    auto copy = std::make_unique<MlList>();
    for (auto& t : list->tensors) copy->tensors.push_back(at::empty_like(t).copy_(t));
    *out = copy.release();
  });
}

int ml_list_share(const MlList* list, MlList** out) {
  return ml::guarded([&] { *out = new MlList(*list); });
}

MlTensor* ml_list_get(const MlList* list, size_t i) {
  return i < list->tensors.size() ? new at::Tensor(list->tensors[i]) : nullptr;
}

int ml_list_copy(MlList* into, const MlList* from) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_copy_(into->tensors, from->tensors);
  });
}

int ml_list_lerp(MlList* list, const MlList* towards, double fraction) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_lerp_(list->tensors, towards->tensors, fraction);
  });
}

int ml_cast(MlTensor* const* tensors, size_t n, int kind, MlTensor** out) {
  return ml::guarded([&] {
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> from, into;
    for (auto& t : ml::list(tensors, n)) {
      from.push_back(t.detach());
      into.push_back(at::empty_like(from.back(), static_cast<at::ScalarType>(kind)));
    }
    at::_foreach_copy_(into, from);
    for (size_t i = 0; i < n; ++i) out[i] = new at::Tensor(into[i]);
  });
}
