// Backward pass of batch norm with batch statistics, behind ReLU and a residual sum.
//
// With g the gradient of the normed values after the mask of ReLU, M rows and x' = (x - mean) rstd:
//   bias gradient    = sum g
//   weight gradient  = sum g x'
//   gradient of x    = weight rstd (g - (sum g) / M - x' (sum g x') / M) = a g + b x + c
// One pass over x and g computes the sums, the last block turns them into a, b and c for each
// channel ("terms", [3, channels]), and a second pass applies them.

// The gradient of a block's output, at one place.
enum Source {
  ONE,      // first
  SUM,      // first + second
  BLURRED,  // first + transpose of the blur with stride 2 of second
  MEAN,     // first / (height width), for all places of an image
};

// Images of height x width, and their halves.
struct Places {
  int height, width, half_height, half_width;
};

// Adds the transpose of the blur [1 2 1] x [1 2 1] / 16 with stride 2 and padding 1, at (n, h, w):
// at most four places of `half` reach it. `half` points to the thread's channels.
DEVICE void add_blurred(const S* half, int n, int h, int w, const Places& places, int channels, A* sum) {
  int rows = (h & 1) + 1, columns = (w & 1) + 1;
  A factor = A((h & 1) ? 0.25 : 0.5) * A((w & 1) ? 0.25 : 0.5);
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int from_h = h / 2 + i;
    if (i >= rows || from_h >= places.half_height) continue;
#pragma unroll
    for (int k = 0; k < 2; k++) {
      int from_w = w / 2 + k;
      if (k >= columns || from_w >= places.half_width) continue;
      A values[8];
      long long row = ((long long)n * places.half_height + from_h) * places.half_width + from_w;
      load8(half + row * channels, values);
#pragma unroll
      for (int j = 0; j < 8; j++) sum[j] += factor * values[j];
    }
  }
}

// Turns the sums of a channel into gradients and terms.
DEVICE void finish_channel(A sum, A product, int c, int channels, int rows, const A* statistics,
                           A* weight_gradient, A* bias_gradient, A* terms) {
  A scale = statistics[c], mean = statistics[2 * channels + c], rstd = statistics[3 * channels + c];
  A slope = -scale * rstd * rstd * product / rows;
  weight_gradient[c] = product * rstd;
  bias_gradient[c] = sum;
  terms[c] = scale;
  terms[channels + c] = slope;
  terms[2 * channels + c] = -scale * sum / rows - slope * mean;
}

// Computes g at every place, and the sums of g and of g (x - mean). In a block, ReLU's mask is read and
// g is stored. With NORMS = 2, the second batch norm is that of the shortcut, with input `other_x`.
template <int SOURCE, int NORMS, bool IS_BLOCK>
DEVICE void reduce_norm(const S* first, const S* second, const u8* mask, const S* x,
                        const A* statistics, const S* other_x, const A* other_statistics, S* masked,
                        int rows, int channels, const Places& places, A* partial, u32* counters,
                        A* weight_gradient, A* bias_gradient, A* terms, A* other_weight_gradient,
                        A* other_bias_gradient, A* other_terms) {
  const int AT_ONCE = 2;
  SHARED(A, shared, (NORMS + 1) * 8 * REDUCE_THREADS);
  Part part = part_of_thread(channels);
  alignas(16) A scale[8], shift[8], mean[8], other_mean[8];
  A sums[(NORMS + 1) * 8];
  load_channels(statistics + 2 * channels + part.channel, mean);
  if (!IS_BLOCK) load_norm(statistics, channels, part.channel, scale, shift);
  if (NORMS == 2) load_channels(other_statistics + 2 * channels + part.channel, other_mean);
#pragma unroll
  for (int k = 0; k < (NORMS + 1) * 8; k++) sums[k] = 0;
  int stride = gridDim.x * part.rows_at_once, area = places.height * places.width;
  for (int r = blockIdx.x * part.rows_at_once + part.row; r < rows && !part.is_idle;
       r += AT_ONCE * stride) {
    Packed packed[AT_ONCE], packed_second[AT_ONCE], packed_x[AT_ONCE], packed_other[AT_ONCE];
    u32 passed[AT_ONCE];
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      if (r + u * stride >= rows) continue;
      int row = rows - 1 - r - u * stride;
      long long at = (long long)row * channels + part.channel;
      packed[u] = load(first + (SOURCE == MEAN ? (long long)(row / area) * channels + part.channel : at));
      if (SOURCE == SUM) packed_second[u] = load(second + at);
      if (IS_BLOCK) passed[u] = mask[at / 8];
      packed_x[u] = load(x + at);
      if (NORMS == 2) packed_other[u] = load(other_x + at);
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      if (r + u * stride >= rows) continue;
      int row = rows - 1 - r - u * stride;
      A g[8], values[8];
      unpack(packed[u], g);
      if (SOURCE == SUM) {
        unpack(packed_second[u], values);
#pragma unroll
        for (int j = 0; j < 8; j++) g[j] += values[j];
      }
      if (SOURCE == BLURRED)
        add_blurred(second + part.channel, row / area, row / places.width % places.height,
                    row % places.width, places, channels, g);
      if (SOURCE == MEAN) {
#pragma unroll
        for (int j = 0; j < 8; j++) g[j] /= area;
      }
      unpack(packed_x[u], values);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        bool passes = IS_BLOCK ? (passed[u] >> j) & 1u
                               : multiply_add(values[j], scale[j], shift[j]) > 0;
        g[j] = passes ? g[j] : A(0);
      }
      if (IS_BLOCK) {
        // The sums are those of what is stored, because the second pass reads that.
        store8(masked + (long long)row * channels + part.channel, g);
        unpack(pack(g), g);
      }
#pragma unroll
      for (int j = 0; j < 8; j++) {
        sums[j] += g[j];
        sums[8 + j] += g[j] * (values[j] - mean[j]);
      }
      if (NORMS == 2) {
        unpack(packed_other[u], values);
#pragma unroll
        for (int j = 0; j < 8; j++) sums[NORMS * 8 + j] += g[j] * (values[j] - other_mean[j]);
      }
    }
  }
  if (!sum_grid<NORMS + 1>(part, sums, shared, partial, counters, channels)) return;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    A sum = shared[j * REDUCE_THREADS + part.lane];
    int c = part.channel + j;
    finish_channel(sum, shared[(8 + j) * REDUCE_THREADS + part.lane], c, channels, rows, statistics,
                   weight_gradient, bias_gradient, terms);
    if (NORMS == 2)
      finish_channel(sum, shared[(NORMS * 8 + j) * REDUCE_THREADS + part.lane], c, channels, rows,
                     other_statistics, other_weight_gradient, other_bias_gradient, other_terms);
  }
}

// Of relu(bn(x)): the mask is computed again.
KERNEL(reduce_relu, REDUCE_THREADS, 3,
       (const S* dy, const S* x, const A* statistics, int rows, int channels, A* partial,
        u32* counters, A* weight_gradient, A* bias_gradient, A* terms)) {
  reduce_norm<ONE, 1, false>(dy, 0, 0, x, statistics, 0, 0, 0, rows, channels, Places{1, 1, 1, 1},
                             partial, counters, weight_gradient, bias_gradient, terms, 0, 0, 0);
}

// Of relu(bn(x) + residual), for each source of the gradient. `masked` is the residual's gradient.
#define REDUCE_ADD(name, source)                                                                  \
  KERNEL(name, REDUCE_THREADS, 3,                                                                 \
         (const S* first, const S* second, const u8* mask, const S* x, const A* statistics,       \
          S* masked, int rows, int channels, int height, int width, int half_height,              \
          int half_width, A* partial, u32* counters, A* weight_gradient, A* bias_gradient,        \
          A* terms)) {                                                                            \
    reduce_norm<source, 1, true>(first, second, mask, x, statistics, 0, 0, masked, rows, channels, \
                                 Places{height, width, half_height, half_width}, partial,         \
                                 counters, weight_gradient, bias_gradient, terms, 0, 0, 0);       \
  }
REDUCE_ADD(reduce_add_one, ONE)
REDUCE_ADD(reduce_add_sum, SUM)
REDUCE_ADD(reduce_add_blurred, BLURRED)
REDUCE_ADD(reduce_add_mean, MEAN)

// Of relu(bn(x) + bn(other_x)).
#define REDUCE_PAIR(name, source)                                                                 \
  KERNEL(name, REDUCE_THREADS, 2,                                                                 \
         (const S* first, const S* second, const u8* mask, const S* x, const A* statistics,       \
          const S* other_x, const A* other_statistics, S* masked, int rows, int channels,         \
          int height, int width, int half_height, int half_width, A* partial, u32* counters,      \
          A* weight_gradient, A* bias_gradient, A* terms, A* other_weight_gradient,               \
          A* other_bias_gradient, A* other_terms)) {                                              \
    reduce_norm<source, 2, true>(first, second, mask, x, statistics, other_x, other_statistics,   \
                                 masked, rows, channels,                                          \
                                 Places{height, width, half_height, half_width}, partial,         \
                                 counters, weight_gradient, bias_gradient, terms,                 \
                                 other_weight_gradient, other_bias_gradient, other_terms);        \
  }
REDUCE_PAIR(reduce_pair_one, ONE)
REDUCE_PAIR(reduce_pair_sum, SUM)
REDUCE_PAIR(reduce_pair_blurred, BLURRED)
REDUCE_PAIR(reduce_pair_mean, MEAN)

// dx = a g + b x + c. Without a stored mask, g is dy where relu(bn(x)) passed.
template <bool HAS_MASKED>
DEVICE void apply_terms(const S* g, const S* x, const A* terms, const A* statistics, S* dx,
                        long long vectors, int channels) {
  const int AT_ONCE = 4;
  int per_row = channels / 8, t = threadIdx.x;
  bool same_channels = APPLY_THREADS % per_row == 0;
  alignas(16) A a[8], b[8], c[8], shift[8];
  for (long long first = (long long)blockIdx.x * APPLY_THREADS * AT_ONCE + t; first < vectors;
       first += (long long)gridDim.x * APPLY_THREADS * AT_ONCE) {
    Packed packed[AT_ONCE], packed_x[AT_ONCE];
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      long long i = first + u * APPLY_THREADS;
      if (i >= vectors) continue;
      packed[u] = load(g + i * 8);
      packed_x[u] = load(x + i * 8);
    }
#pragma unroll
    for (int u = 0; u < AT_ONCE; u++) {
      long long i = first + u * APPLY_THREADS;
      if (i >= vectors) continue;
      if (u == 0 || !same_channels) {
        int channel = (int)(i % per_row) * 8;
        load_channels(terms + channel, a);
        load_channels(terms + channels + channel, b);
        load_channels(terms + 2 * channels + channel, c);
        if (!HAS_MASKED) load_channels(statistics + channels + channel, shift);
      }
      A values[8], x_values[8];
      unpack(packed[u], values);
      unpack(packed_x[u], x_values);
#pragma unroll
      for (int j = 0; j < 8; j++) {
        bool passes = HAS_MASKED || multiply_add(x_values[j], a[j], shift[j]) > 0;  // a is the scale
        values[j] = a[j] * (passes ? values[j] : A(0)) + b[j] * x_values[j] + c[j];
      }
      store8(dx + i * 8, values);
    }
  }
}

KERNEL(apply_relu, APPLY_THREADS, 2,
       (const S* dy, const S* x, const A* terms, const A* statistics, S* dx, long long vectors,
        int channels)) {
  apply_terms<false>(dy, x, terms, statistics, dx, vectors, channels);
}

KERNEL(apply_masked, APPLY_THREADS, 3,
       (const S* g, const S* x, const A* terms, S* dx, long long vectors, int channels)) {
  apply_terms<true>(g, x, terms, 0, dx, vectors, channels);
}
