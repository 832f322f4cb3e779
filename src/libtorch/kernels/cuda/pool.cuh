// 3x3 max-pool of relu(bn(x)) with padding 1: at stride 2, or at stride 1 and then blurred to half the
// size. The maximum is over the values as they would be stored, and the first one of equals wins, as
// in libtorch. Its number in the window, row * 3 + column, is kept for the backward pass ("tap").
//
// [N, H, W] is the size of x, [N, OH, OW] that of the output, which is half of it, rounded up.
#define POOL_THREADS 256

struct Window {
  A best[8];
  u8 tap[8];

  DEVICE void clear() {
#pragma unroll
    for (int j = 0; j < 8; j++) {
      best[j] = -1;  // less than every output of ReLU
      tap[j] = 0;
    }
  }

  DEVICE void add(const A* values, int number) {
#pragma unroll
    for (int j = 0; j < 8; j++) {
      bool is_better = values[j] > best[j] || values[j] != values[j];  // NaN wins
      best[j] = is_better ? values[j] : best[j];
      tap[j] = is_better ? (u8)number : tap[j];
    }
  }

  DEVICE void store_taps(u8* taps) const {
#pragma unroll
    for (int part = 0; part < 2; part++) {
      u32 bytes = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) bytes |= (u32)tap[part * 4 + j] << (8 * j);
      ((u32*)taps)[part] = bytes;
    }
  }
};

// relu(bn(x)) as it would be stored.
DEVICE void normed(const S* x, const A* scale, const A* shift, A* values) {
  load8(x, values);
#pragma unroll
  for (int j = 0; j < 8; j++) values[j] = positive(multiply_add(values[j], scale[j], shift[j]));
  unpack(pack(values), values);
}

// The window around (h, w).
DEVICE void read_window(const S* image, int h, int w, int height, int width, int channels,
                        const A* scale, const A* shift, Window* window) {
  window->clear();
#pragma unroll
  for (int row = 0; row < 3; row++) {
#pragma unroll
    for (int column = 0; column < 3; column++) {
      int from_h = h + row - 1, from_w = w + column - 1;
      if (from_h < 0 || from_h >= height || from_w < 0 || from_w >= width) continue;
      A values[8];
      normed(image + ((long long)from_h * width + from_w) * channels, scale, shift, values);
      window->add(values, row * 3 + column);
    }
  }
}

// Stride 2. `taps` is [N, OH, OW, channels].
KERNEL(bn_relu_pool, POOL_THREADS, 4,
       (const S* x, const A* statistics, S* y, u8* taps, int num, int height, int width,
        int channels)) {
  int out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  long long total = (long long)num * out_height * out_width * (channels / 8);
  for (long long i = (long long)blockIdx.x * POOL_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * POOL_THREADS) {
    Place place = place_of(i, out_height, out_width, channels);
    alignas(16) A scale[8], shift[8];
    load_norm(statistics, channels, place.channel, scale, shift);
    const S* image = x + (long long)place.n * height * width * channels + place.channel;
    Window window;
    read_window(image, 2 * place.h, 2 * place.w, height, width, channels, scale, shift, &window);
    store8(y + i * 8, window.best);
    window.store_taps(taps + i * 8);
  }
}

// Stride 1 and blur. `taps` is [N, H, W, channels]. A thread walks down the columns of its 3x3 pooled
// places, and keeps the row maxima of the last three rows of x.
KERNEL(bn_relu_pool_blur, POOL_THREADS, 1,
       (const S* x, const A* statistics, S* y, u8* taps, int num, int height, int width,
        int channels)) {
  int out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  long long total = (long long)num * out_height * out_width * (channels / 8);
  for (long long i = (long long)blockIdx.x * POOL_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * POOL_THREADS) {
    Place place = place_of(i, out_height, out_width, channels);
    alignas(16) A scale[8], shift[8];
    load_norm(statistics, channels, place.channel, scale, shift);
    long long offset = (long long)place.n * height * width * channels + place.channel;
    const S* image = x + offset;
    A sum[8];
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] = 0;
    // rows[k][c]: the maximum over the three columns around pooled column c of one row of x.
    Window rows[3][3];
#pragma unroll
    for (int r = 0; r < 5; r++) {
      int from_h = 2 * place.h + r - 2;
#pragma unroll
      for (int c = 0; c < 3; c++) rows[r % 3][c].clear();
#pragma unroll
      for (int e = 0; e < 5; e++) {
        int from_w = 2 * place.w + e - 2;
        if (from_h < 0 || from_h >= height || from_w < 0 || from_w >= width) continue;
        A values[8];
        normed(image + ((long long)from_h * width + from_w) * channels, scale, shift, values);
#pragma unroll
        for (int c = 0; c < 3; c++)
          if (e >= c && e <= c + 2) rows[r % 3][c].add(values, e - c);
      }
      if (r < 2) continue;
      int pooled_row = r - 2, pooled_h = 2 * place.h + pooled_row - 1;
#pragma unroll
      for (int c = 0; c < 3; c++) {
        int pooled_w = 2 * place.w + c - 1;
        if (pooled_h < 0 || pooled_h >= height || pooled_w < 0 || pooled_w >= width) continue;
        Window window;
        window.clear();
#pragma unroll
        for (int k = 0; k < 3; k++) {
          const Window& row = rows[(pooled_row + k) % 3][c];
#pragma unroll
          for (int j = 0; j < 8; j++) {
            bool is_better = row.best[j] > window.best[j] || row.best[j] != row.best[j];
            window.best[j] = is_better ? row.best[j] : window.best[j];
            window.tap[j] = is_better ? (u8)(k * 3 + row.tap[j]) : window.tap[j];
          }
        }
        A factor = A(pooled_row == 1 ? 0.5 : 0.25) * A(c == 1 ? 0.5 : 0.25);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] += factor * window.best[j];
        // Every pooled place belongs to one thread: the one of its quad.
        if (pooled_row > 0 && c > 0)
          window.store_taps(taps + offset + ((long long)pooled_h * width + pooled_w) * channels);
      }
    }
    store8(y + i * 8, sum);
  }
}

// Adds the gradient of pooled place (h, w) to the places of a quad of x that it may have come from.
// (quad_h, quad_w) is the quad's first place.
DEVICE void add_to_quad(const A* gradient, const u8* taps, int h, int w, int quad_h, int quad_w,
                        A (*quad)[8]) {
  u32 bytes[2] = {((const u32*)taps)[0], ((const u32*)taps)[1]};
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int row = quad_h + k / 2 - h + 1, column = quad_w + k % 2 - w + 1;
    if (row < 0 || row > 2 || column < 0 || column > 2) continue;
    u32 number = row * 3 + column;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      u32 tap = (bytes[j / 4] >> (8 * (j % 4))) & 255u;
      quad[k][j] += tap == number ? gradient[j] : A(0);
    }
  }
}

// The gradients of relu(bn(x)) at the places (2 qh, 2 qw) to (2 qh + 1, 2 qw + 1) of an image.
template <bool IS_BLURRED>
DEVICE void quad_gradient(const S* dy, const u8* taps, int qh, int qw, int height, int width,
                          int channels, A (*quad)[8]) {
  int out_height = (height + 1) / 2, out_width = (width + 1) / 2;
#pragma unroll
  for (int k = 0; k < 4; k++) {
#pragma unroll
    for (int j = 0; j < 8; j++) quad[k][j] = 0;
  }
  if (!IS_BLURRED) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      int h = qh + k / 2, w = qw + k % 2;
      if (h >= out_height || w >= out_width) continue;
      long long at = ((long long)h * out_width + w) * channels;
      A gradient[8];
      load8(dy + at, gradient);
      add_to_quad(gradient, taps + at, 2 * h, 2 * w, 2 * qh, 2 * qw, quad);
    }
    return;
  }
  Places places{height, width, out_height, out_width};
#pragma unroll
  for (int r = -1; r <= 2; r++) {
#pragma unroll
    for (int e = -1; e <= 2; e++) {
      int h = 2 * qh + r, w = 2 * qw + e;
      if (h < 0 || h >= height || w < 0 || w >= width) continue;
      A gradient[8];
#pragma unroll
      for (int j = 0; j < 8; j++) gradient[j] = 0;
      add_blurred(dy, 0, h, w, places, channels, gradient);
      add_to_quad(gradient, taps + ((long long)h * width + w) * channels, h, w, 2 * qh, 2 * qw, quad);
    }
  }
}

// Reads the quad of vector i and leaves the gradients that pass ReLU in `quad`, x in `values`, and
// where each of the four places is in x, or -1.
template <bool IS_BLURRED>
DEVICE int read_quad(const S* dy, const u8* taps, const S* x, const A* statistics, long long i,
                     int height, int width, int channels, A (*quad)[8], A (*values)[8],
                     long long* at) {
  int out_height = (height + 1) / 2, out_width = (width + 1) / 2;
  Place place = place_of(i, out_height, out_width, channels);
  long long pooled = (long long)place.n * channels *
                     (IS_BLURRED ? height * width : out_height * out_width);
  quad_gradient<IS_BLURRED>(
      dy + (long long)place.n * out_height * out_width * channels + place.channel,
      taps + pooled + place.channel, place.h, place.w, height, width, channels, quad);
  alignas(16) A scale[8], shift[8];
  load_norm(statistics, channels, place.channel, scale, shift);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int h = 2 * place.h + k / 2, w = 2 * place.w + k % 2;
    at[k] = -1;
    if (h >= height || w >= width) continue;
    at[k] = (((long long)place.n * height + h) * width + w) * channels + place.channel;
    load8(x + at[k], values[k]);
#pragma unroll
    for (int j = 0; j < 8; j++)
      quad[k][j] = multiply_add(values[k][j], scale[j], shift[j]) > 0 ? quad[k][j] : A(0);
  }
  return place.channel;
}

// The sums of reduce_norm. Each group of channels (blockIdx.y) has its own blocks.
template <bool IS_BLURRED>
DEVICE void reduce_pool(const S* dy, const u8* taps, const S* x, const A* statistics, int num,
                        int height, int width, int channels, A* partial, u32* counters,
                        A* weight_gradient, A* bias_gradient, A* terms) {
  SHARED(A, shared, 16 * REDUCE_THREADS);
  Part part = part_of_thread(channels);
  alignas(16) A mean[8];
  load_channels(statistics + 2 * channels + part.channel, mean);
  A sums[16];
#pragma unroll
  for (int k = 0; k < 16; k++) sums[k] = 0;
  int quads = num * ((height + 1) / 2) * ((width + 1) / 2), stride = gridDim.x * part.rows_at_once;
  for (int q = blockIdx.x * part.rows_at_once + part.row; q < quads && !part.is_idle; q += stride) {
    A quad[4][8], values[4][8];
    long long at[4], i = (long long)q * (channels / 8) + part.channel / 8;
    read_quad<IS_BLURRED>(dy, taps, x, statistics, i, height, width, channels, quad, values, at);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (at[k] < 0) continue;
#pragma unroll
      for (int j = 0; j < 8; j++) {
        sums[j] += quad[k][j];
        sums[8 + j] += quad[k][j] * (values[k][j] - mean[j]);
      }
    }
  }
  if (!sum_grid<2>(part, sums, shared, partial, counters, channels)) return;
#pragma unroll
  for (int j = 0; j < 8; j++)
    finish_channel(shared[j * REDUCE_THREADS + part.lane],
                   shared[(8 + j) * REDUCE_THREADS + part.lane], part.channel + j, channels,
                   num * height * width, statistics, weight_gradient, bias_gradient, terms);
}

// dx = a g + b x + c, see norm_backward.cuh.
template <bool IS_BLURRED>
DEVICE void apply_pool(const S* dy, const u8* taps, const S* x, const A* terms, const A* statistics,
                       S* dx, int num, int height, int width, int channels) {
  long long total = (long long)num * ((height + 1) / 2) * ((width + 1) / 2) * (channels / 8);
  for (long long i = (long long)blockIdx.x * POOL_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * POOL_THREADS) {
    A quad[4][8], values[4][8];
    long long at[4];
    int channel = read_quad<IS_BLURRED>(dy, taps, x, statistics, i, height, width, channels, quad,
                                        values, at);
    alignas(16) A a[8], b[8], c[8];
    load_channels(terms + channel, a);
    load_channels(terms + channels + channel, b);
    load_channels(terms + 2 * channels + channel, c);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (at[k] < 0) continue;
#pragma unroll
      for (int j = 0; j < 8; j++) values[k][j] = a[j] * quad[k][j] + b[j] * values[k][j] + c[j];
      store8(dx + at[k], values[k]);
    }
  }
}

#define POOL_BACKWARD(reduce_name, apply_name, is_blurred)                                       \
  KERNEL(reduce_name, REDUCE_THREADS, 1,                                                         \
         (const S* dy, const u8* taps, const S* x, const A* statistics, int num, int height,     \
          int width, int channels, A* partial, u32* counters, A* weight_gradient,                \
          A* bias_gradient, A* terms)) {                                                         \
    reduce_pool<is_blurred>(dy, taps, x, statistics, num, height, width, channels, partial,      \
                            counters, weight_gradient, bias_gradient, terms);                    \
  }                                                                                              \
  KERNEL(apply_name, POOL_THREADS, 2,                                                            \
         (const S* dy, const u8* taps, const S* x, const A* terms, const A* statistics, S* dx,   \
          int num, int height, int width, int channels)) {                                       \
    apply_pool<is_blurred>(dy, taps, x, terms, statistics, dx, num, height, width, channels);    \
  }
POOL_BACKWARD(reduce_pool_stride2, apply_pool_stride2, false)
POOL_BACKWARD(reduce_pool_blurred, apply_pool_blurred, true)
