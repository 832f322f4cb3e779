// Batch norm over the rows of x [rows, channels] (Ioffe and Szegedy 2015, algorithm 1), and the
// passes that apply it. `statistics` is [4, channels]: scale, shift, mean, 1 / standard deviation.
#define APPLY_THREADS 256

DEVICE void store_statistics(A* statistics, int channels, int c, A weight, A bias, A mean, A rstd) {
  A scale = weight * rstd;
  statistics[c] = scale;
  statistics[channels + c] = bias - mean * scale;
  statistics[2 * channels + c] = mean;
  statistics[3 * channels + c] = rstd;
}

// Sums deviations from the first row, so that a mean far from zero costs no precision. Walks
// backwards: what the convolution wrote last is still in the L2 cache.
KERNEL(batch_statistics, REDUCE_THREADS, 2,
       (const S* x, int rows, int channels, A* partial, u32* counters, const A* weight, const A* bias,
        A* running_mean, A* running_var, A* statistics, double momentum, double eps)) {
  SHARED(A, shared, 16 * REDUCE_THREADS);
  Part part = part_of_thread(channels);
  A pivot[8], sums[16];
  load8(x + part.channel, pivot);
#pragma unroll
  for (int k = 0; k < 16; k++) sums[k] = 0;
  int stride = gridDim.x * part.rows_at_once;
  if (!part.is_idle) {
    for (int r = blockIdx.x * part.rows_at_once + part.row; r < rows; r += 4 * stride) {
      Packed packed[4];
#pragma unroll
      for (int u = 0; u < 4; u++)
        if (r + u * stride < rows)
          packed[u] = load(x + (long long)(rows - 1 - r - u * stride) * channels + part.channel);
#pragma unroll
      for (int u = 0; u < 4; u++) {
        if (r + u * stride >= rows) continue;
        A values[8];
        unpack(packed[u], values);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          A deviation = values[j] - pivot[j];
          sums[j] += deviation;
          sums[8 + j] += deviation * deviation;
        }
      }
    }
  }
  if (!sum_grid<2>(part, sums, shared, partial, counters, channels)) return;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    int c = part.channel + j;
    A deviation = shared[j * REDUCE_THREADS + part.lane] / rows;
    A squares = shared[(8 + j) * REDUCE_THREADS + part.lane] / rows;
    A variance = positive(squares - deviation * deviation), mean = pivot[j] + deviation;
    store_statistics(statistics, channels, c, weight[c], bias[c], mean, 1 / sqrt(variance + A(eps)));
    running_mean[c] += A(momentum) * (mean - running_mean[c]);
    running_var[c] += A(momentum) * (variance * (A(rows) / A(rows - 1)) - running_var[c]);
  }
}

// The statistics of evaluation.
KERNEL(running_statistics, APPLY_THREADS, 1,
       (const A* weight, const A* bias, const A* running_mean, const A* running_var, A* statistics,
        int channels, double eps)) {
  for (int c = blockIdx.x * APPLY_THREADS + threadIdx.x; c < channels;
       c += gridDim.x * APPLY_THREADS) {
    A rstd = 1 / sqrt(running_var[c] + A(eps));
    store_statistics(statistics, channels, c, weight[c], bias[c], running_mean[c], rstd);
  }
}

DEVICE void load_norm(const A* statistics, int channels, int channel, A* scale, A* shift) {
  load_channels(statistics + channel, scale);
  load_channels(statistics + channels + channel, shift);
}

// What is added to the batch norm before ReLU.
enum Addend { NOTHING, RESIDUAL, NORMED_RESIDUAL };

// Scale and shift of eight channels. They stay in registers if all vectors of a thread have the same
// channels.
struct Coefficients {
  A scale[8], shift[8], other_scale[8];

  template <int ADDEND>
  DEVICE void read(const A* statistics, const A* other, int channels, int channel) {
    load_norm(statistics, channels, channel, scale, shift);
    if (ADDEND != NORMED_RESIDUAL) return;
    alignas(16) A other_shift[8];
    load_norm(other, channels, channel, other_scale, other_shift);
#pragma unroll
    for (int j = 0; j < 8; j++) shift[j] += other_shift[j];
  }
};

// y = relu(bn(x) + addend). Bit j of a byte of `mask` says whether channel j of the vector passed.
template <int ADDEND>
DEVICE void apply_norm(const S* x, const A* statistics, const S* residual, const A* other, S* y,
                       u8* mask, long long vectors, int channels) {
  const int AT_ONCE = 4;
  int per_row = channels / 8, t = threadIdx.x;
  bool same_channels = APPLY_THREADS % per_row == 0;
  alignas(16) Coefficients coefficients;
  if (same_channels)
    coefficients.read<ADDEND>(statistics, other, channels, t % per_row * 8);
  for (long long first = (long long)blockIdx.x * APPLY_THREADS * AT_ONCE + t; first < vectors;
       first += (long long)gridDim.x * APPLY_THREADS * AT_ONCE) {
    Packed packed[AT_ONCE], added[AT_ONCE];
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      long long i = first + u * APPLY_THREADS;
      if (i >= vectors) continue;
      packed[u] = load(x + i * 8);
      if (ADDEND != NOTHING) added[u] = load(residual + i * 8);
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      long long i = first + u * APPLY_THREADS;
      if (i >= vectors) continue;
      if (!same_channels)
        coefficients.read<ADDEND>(statistics, other, channels, (int)(i % per_row) * 8);
      A values[8], addend[8];
      unpack(packed[u], values);
      if (ADDEND != NOTHING) unpack(added[u], addend);
      u32 passed = 0;
#pragma unroll
      for (int j = 0; j < 8; j++) {
        A value = multiply_add(values[j], coefficients.scale[j], coefficients.shift[j]);
        if (ADDEND == RESIDUAL) value += addend[j];
        if (ADDEND == NORMED_RESIDUAL) value += addend[j] * coefficients.other_scale[j];
        passed |= (value > 0 ? 1u : 0u) << j;
        values[j] = positive(value);
      }
      store8(y + i * 8, values);
      if (ADDEND != NOTHING) mask[i] = (u8)passed;
    }
  }
}

KERNEL(bn_relu, APPLY_THREADS, 4,
       (const S* x, const A* statistics, S* y, long long vectors, int channels)) {
  apply_norm<NOTHING>(x, statistics, 0, 0, y, 0, vectors, channels);
}

KERNEL(bn_add_relu, APPLY_THREADS, 3,
       (const S* x, const A* statistics, const S* residual, S* y, u8* mask, long long vectors,
        int channels)) {
  apply_norm<RESIDUAL>(x, statistics, residual, 0, y, mask, vectors, channels);
}

KERNEL(bn_bn_relu, APPLY_THREADS, 3,
       (const S* x, const A* statistics, const S* residual, const A* other, S* y, u8* mask,
        long long vectors, int channels)) {
  apply_norm<NORMED_RESIDUAL>(x, statistics, residual, other, y, mask, vectors, channels);
}
