// The update of SGD and LARS. One launch updates many tensors and reads and writes each number once.
//
// A block has a chunk of one tensor. Layouts do not matter: a weight, its gradient and its momentum have the
// same one. Nothing changes if found_inf is 1.
#define UPDATE_THREADS 256
#define MAX_TENSORS 110  // the arguments of a launch are limited to 4 KB
#define CHUNK 8192

struct Tensors {
  A* weight[MAX_TENSORS];
  const A* gradient[MAX_TENSORS];
  A* momentum[MAX_TENSORS];
  u32 end[MAX_TENSORS];   // chunks of this tensor and of those before it
  u32 size[MAX_TENSORS];  // numbers
  u32 count;
};

struct Chunk {
  int tensor;
  u32 begin, end;
};

DEVICE Chunk chunk_of_block(const Tensors& tensors) {
  u32 block = blockIdx.x;
  int low = 0, high = (int)tensors.count - 1;
  while (low < high) {
    int middle = (low + high) / 2;
    if (tensors.end[middle] > block)
      high = middle;
    else
      low = middle + 1;
  }
  Chunk chunk;
  chunk.tensor = low;
  chunk.begin = (block - (low == 0 ? 0 : tensors.end[low - 1])) * CHUNK;
  chunk.end = min(chunk.begin + CHUNK, tensors.size[low]);
  return chunk;
}

// Adds up two sums over the threads of a block; thread 0 has the results in shared[0] and shared[1].
DEVICE void sum_pair(A first, A second, A* shared) {
  shared[2 * threadIdx.x] = first;
  shared[2 * threadIdx.x + 1] = second;
  __syncthreads();
  for (int half = UPDATE_THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      shared[2 * threadIdx.x] += shared[2 * (threadIdx.x + half)];
      shared[2 * threadIdx.x + 1] += shared[2 * (threadIdx.x + half) + 1];
    }
    __syncthreads();
  }
}

// Sums of squares of weight and gradient, by chunk: [chunks, 2].
KERNEL(square_sums, UPDATE_THREADS, 4, (const Tensors tensors, A* sums)) {
  SHARED(A, shared, 2 * UPDATE_THREADS);
  Chunk chunk = chunk_of_block(tensors);
  const A *weight = tensors.weight[chunk.tensor], *gradient = tensors.gradient[chunk.tensor];
  A of_weight = 0, of_gradient = 0;
#pragma unroll 4
  for (u32 i = chunk.begin + threadIdx.x; i < chunk.end; i += UPDATE_THREADS) {
    of_weight += weight[i] * weight[i];
    of_gradient += gradient[i] * gradient[i];
  }
  sum_pair(of_weight, of_gradient, shared);
  if (threadIdx.x == 0) {
    sums[2 * blockIdx.x] = shared[0];
    sums[2 * blockIdx.x + 1] = shared[1];
  }
}

// The trust ratio of each tensor (You et al. 2017, algorithm 1), one block a tensor.
KERNEL(trust_ratios, UPDATE_THREADS, 4,
       (const Tensors tensors, const A* sums, A* trust, double eta, double decay, double epsilon)) {
  SHARED(A, shared, 2 * UPDATE_THREADS);
  u32 first = blockIdx.x == 0 ? 0 : tensors.end[blockIdx.x - 1];
  A of_weight = 0, of_gradient = 0;
  for (u32 i = first + threadIdx.x; i < tensors.end[blockIdx.x]; i += UPDATE_THREADS) {
    of_weight += sums[2 * i];
    of_gradient += sums[2 * i + 1];
  }
  sum_pair(of_weight, of_gradient, shared);
  if (threadIdx.x != 0) return;
  A weight = sqrt(shared[0]), gradient = sqrt(shared[1]);
  trust[blockIdx.x] = weight > 0 && gradient > 0
                          ? A(eta) * weight / (gradient + A(decay) * weight + A(epsilon))
                          : A(1);
}

// weight = (1 - rate shrink) weight, direction = inner (gradient + decay weight),
// momentum = factor momentum + direction, weight -= outer (direction + factor momentum, or momentum).
//
// `rate` is a number on the device. `inner` is the trust ratio, times the rate if is_rate_inside, and `outer`
// is the rate unless it is inside. `trust` and `found_inf` may be null.
KERNEL(update_weights, UPDATE_THREADS, 4,
       (const Tensors tensors, const A* trust, const A* rate, const float* found_inf, double factor,
        double decay, double shrink, int is_nesterov, int is_rate_inside)) {
  if (found_inf && *found_inf == 1) return;
  Chunk chunk = chunk_of_block(tensors);
  A* weight = tensors.weight[chunk.tensor];
  const A* gradient = tensors.gradient[chunk.tensor];
  A* momentum = tensors.momentum[chunk.tensor];
  A inner = trust ? trust[chunk.tensor] : A(1);
  if (is_rate_inside) inner *= *rate;
  A outer = is_rate_inside ? A(1) : *rate, kept = A(1) - A(shrink) * *rate;
#pragma unroll 4
  for (u32 i = chunk.begin + threadIdx.x; i < chunk.end; i += UPDATE_THREADS) {
    A value = weight[i] * kept;
    A direction = inner * (gradient[i] + A(decay) * value);
    A moved = A(factor) * momentum[i] + direction;
    momentum[i] = moved;
    weight[i] = value - outer * (is_nesterov ? direction + A(factor) * moved : moved);
  }
}
