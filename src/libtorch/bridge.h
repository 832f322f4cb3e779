// The C interface to the parts of libtorch's C++ that training needs and tch lacks.
//
// Every function returns 0, or 1 after setting a message for ml_last_error(). Tensors are passed as
// `at::Tensor*`, borrowed for the call. Handles are created and freed here.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <ATen/core/Tensor.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

// Shared with cuda.cc, which adds the NCCL backend to the same group.
struct MlGroup {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroup> group;
};
typedef at::Tensor MlTensor;

namespace ml {
void set_error(const char* message);
template <class F>
int guarded(F&& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {  // c10::Error's backtrace starts on its second line
    set_error(e.what());
  } catch (...) {
    set_error("an exception of unknown type");
  }
  return 1;
}
inline std::vector<at::Tensor> list(MlTensor* const* tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; ++i) out.push_back(*tensors[i]);
  return out;
}
}  // namespace ml
extern "C" {
#else
typedef struct MlGroup MlGroup;
typedef struct MlTensor MlTensor;
#endif
typedef struct MlReducer MlReducer;
typedef struct MlAutocast MlAutocast;
typedef struct MlList MlList;
typedef struct MlGraph MlGraph;
typedef struct MlRing MlRing;
typedef struct MlReadout MlReadout;

typedef struct {
  const char* host;
  uint16_t port;
  int rank;
  int world_size;
  uint64_t join_timeout_ms;
  uint64_t timeout_ms;
  const char* store_name;
} MlWorld;

const char* ml_last_error(void);
const char* ml_torch_version(void);

// Process groups (c10d): one TCPStore, Gloo for CPU tensors.
int ml_group_new(const MlWorld* world, MlGroup** out);
void ml_group_free(MlGroup* group);
int ml_group_sum(MlGroup* group, MlTensor* tensor);
// Travels as `ml_reducer_new` says.
int ml_group_mean(MlGroup* group, MlTensor* const* tensors, size_t n, uint8_t compression);
int ml_group_broadcast(MlGroup* group, MlTensor* const* tensors, size_t n);
int ml_group_barrier(MlGroup* group);

// c10d::Reducer: averages gradients over ranks during the backward pass.
// Gradients are all-reduced as they are (compression 0), in fp16 (1) or in bf16 (2).
int ml_reducer_new(MlGroup* group, MlTensor* const* params, size_t n, size_t bucket_bytes,
                   uint8_t compression,
                   MlReducer** out);
void ml_reducer_free(MlReducer* reducer);
int ml_reducer_before_forward(MlReducer* reducer);
int ml_reducer_before_backward(MlReducer* reducer);

// Tensors that are processed together.
int ml_list_new(MlTensor* const* tensors, size_t n, MlList** out);
void ml_list_free(MlList* list);
int ml_list_duplicate(const MlList* list, MlList** out);
int ml_list_share(const MlList* list, MlList** out);
MlTensor* ml_list_get(const MlList* list, size_t i);  // null past the end
int ml_list_copy(MlList* into, const MlList* from);
int ml_list_lerp(MlList* list, const MlList* towards, double fraction);
// Copies in at::ScalarType `kind`, with the strides of the originals. `out` takes n.
int ml_cast(MlTensor* const* tensors, size_t n, int kind, MlTensor** out);

// An autograd node from `inputs` to `outputs`, which must not have a history yet. `run` gets the
// gradients of the outputs (null where there is none) and sets those of the inputs (or leaves null).
// It consumes `state`, as does `drop`; exactly one of them is called, on any thread.
typedef struct {
  int (*run)(void* state, MlTensor* const* gradients, size_t n, MlTensor** out, size_t num_out);
  void (*drop)(void* state);
  void* state;
} MlBackward;
int ml_node_attach(MlTensor* const* outputs, size_t num_outputs, MlTensor* const* inputs,
                   size_t num_inputs, MlBackward backward);

// The gradients of a convolution's input (if `with_input`) and weight.
typedef struct {
  const MlTensor* gradient;
  const MlTensor* input;
  const MlTensor* weight;
  int64_t stride;
  int64_t padding;
  uint8_t with_input;
} MlConvBackward;
int ml_conv_backward(const MlConvBackward* conv, MlTensor** input_gradient,
                     MlTensor** weight_gradient);

// Memory format, autocast, random state.
int ml_set_channels_last(MlTensor* tensor);
int ml_is_channels_last(MlTensor* tensor, uint8_t* out);
int ml_set_math(uint8_t tf32, uint8_t benchmark, uint8_t deterministic);
int ml_autocast_enter(uint8_t cuda, uint8_t bf16, MlAutocast** out);
void ml_autocast_exit(MlAutocast* guard);
int ml_rng_state(MlTensor* device_of, MlTensor** out);
int ml_set_rng_state(MlTensor* device_of, MlTensor* state);

// For libtorch_cuda, if it exists. `cuda.cc` is a separate library, loaded after it, that provides
// this table. Its functions return null, or the reason of the failure.
typedef struct {
  const char* (*attach_nccl)(MlGroup* group, const MlWorld* world, int device);
  const char* (*graph_begin)(const MlGraph* pool_of, MlGraph** out);
  const char* (*graph_end)(MlGraph* graph);
  const char* (*graph_replay)(MlGraph* graph);
  void (*graph_free)(MlGraph* graph);
  const char* (*current_stream)(int device, void** out);
} MlCuda;
int ml_load_library(const char* path);
int ml_load_cuda(const uint8_t* library, size_t n);
int ml_group_attach_nccl(MlGroup* group, const MlWorld* world, int device);

// Makes this thread use GPU `index`, on a separate stream, with a timeout for waits; and returns
// the peak memory.
int ml_use_gpu(int index, uint64_t timeout_ms);
int ml_peak_bytes(int index, uint64_t* out);

// The CUDA stream (cudaStream_t) that this thread uses on GPU `index`.
int ml_current_stream(int index, void** out);

// CUDA graphs: work that is captured once and then replayed. pool_of may be null.
int ml_graph_begin(int index, const MlGraph* pool_of, MlGraph** out);
int ml_graph_end(MlGraph* graph);
int ml_graph_replay(MlGraph* graph);
void ml_graph_free(MlGraph* graph);

// Uploads batches to GPU `index` (or the CPU for -1) through pinned memory, on a separate stream. A
// returned tensor is valid until num_slots uploads later.
typedef struct {
  const uint8_t* bytes;
  size_t size;
} MlBytes;
int ml_ring_new(int index, size_t capacity, size_t num_slots, MlRing** out);
void ml_ring_free(MlRing* ring);
int ml_ring_upload(MlRing* ring, const MlBytes* parts, size_t n, MlTensor** out);

// Copies a number to the host. Getting the number waits for the work that was queued before.
int ml_readout_new(const MlTensor* number, MlReadout** out);
void ml_readout_free(MlReadout* readout);
int ml_readout_get(MlReadout* readout, double* out, size_t n);
#ifdef __cplusplus
}
#endif
