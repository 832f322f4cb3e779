// Sums over the rows of a matrix [rows, channels], the same bits in every run: no atomic adds of
// floating-point numbers, and a fixed order of additions.
//
// A block owns a group of at most 32 vectors of 8 channels (blockIdx.y). Its threads form a grid of
// `rows_at_once` by `lanes`, and each adds up its rows for its 8 channels. The block that finishes
// last adds up the partial sums of all blocks.
#if defined(STORAGE_FP64)
#define REDUCE_THREADS 128
#else
#define REDUCE_THREADS 256
#endif

// The part of the matrix that a thread sums.
struct Part {
  int lanes, rows_at_once, lane, row;
  int channel;    // the first of the thread's eight
  bool is_idle;  // there may be more threads than `lanes` divides
};

DEVICE Part part_of_thread(int channels) {
  Part part;
  int vectors = channels / 8, first = blockIdx.y * 32;
  part.lanes = min(32, vectors - first);
  part.rows_at_once = REDUCE_THREADS / part.lanes;
  part.lane = threadIdx.x % part.lanes;
  part.row = threadIdx.x / part.lanes;
  part.channel = (first + part.lane) * 8;
  part.is_idle = part.row >= part.rows_at_once;
  return part;
}

// Adds up `sums` over the rows of threads. Row 0 has the result in `shared[k * REDUCE_THREADS + lane]`.
template <int COUNT>
DEVICE void sum_block(const Part& part, const A* sums, A* shared) {
  int t = threadIdx.x;
#pragma unroll
  for (int k = 0; k < COUNT; k++) shared[k * REDUCE_THREADS + t] = sums[k];
  __syncthreads();
  for (int rows = part.rows_at_once; rows > 1;) {
    int half = (rows + 1) / 2;
    if (part.row + half < rows) {
#pragma unroll
      for (int k = 0; k < COUNT; k++)
        shared[k * REDUCE_THREADS + t] += shared[k * REDUCE_THREADS + t + half * part.lanes];
    }
    rows = half;
    __syncthreads();
  }
}

// Adds up NUM sums of eight channels over all threads and blocks. Returns true in the one block that
// has the result, in `shared` as above: sum s of channel j of a lane is number s * 8 + j. `partial` is
// [gridDim.x, NUM, channels]. `counters` has a zero for each group of channels, before and after.
template <int NUM>
DEVICE bool sum_grid(const Part& part, A* sums, A* shared, A* partial, u32* counters, int channels) {
  SHARED(int, is_last, 1);
  sum_block<NUM * 8>(part, sums, shared);
  if (part.row == 0) {
#pragma unroll
    for (int s = 0; s < NUM; s++) {
#pragma unroll
      for (int j = 0; j < 8; j++)
        partial[((long long)blockIdx.x * NUM + s) * channels + part.channel + j] =
            shared[(s * 8 + j) * REDUCE_THREADS + part.lane];
    }
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last[0] = atomicAdd(&counters[blockIdx.y], 1u) == gridDim.x - 1;
  __syncthreads();
  if (!is_last[0]) return false;
  if (threadIdx.x == 0) counters[blockIdx.y] = 0;
  __threadfence();
#pragma unroll
  for (int k = 0; k < NUM * 8; k++) sums[k] = 0;
  if (!part.is_idle) {
    for (int block = part.row; block < (int)gridDim.x; block += part.rows_at_once) {
#pragma unroll
      for (int s = 0; s < NUM; s++) {
        const A* from = partial + ((long long)block * NUM + s) * channels + part.channel;
#pragma unroll
        for (int j = 0; j < 8; j++) sums[s * 8 + j] += __ldcg(from + j);
      }
    }
  }
  sum_block<NUM * 8>(part, sums, shared);
  return part.row == 0;
}
