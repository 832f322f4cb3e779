// The blur [1 2 1] x [1 2 1] / 16 with zero padding 1 (Zhang 2019), at stride 1 and 2.
//
// Images are [N, H, W, channels]. A thread computes eight channels of one place of the output.
#define BLUR_THREADS 256

struct Place {
  int channel, w, h, n;
};

// The place of vector i of images of this size.
DEVICE Place place_of(long long i, int height, int width, int channels) {
  Place place;
  int per_row = channels / 8;
  place.channel = (int)(i % per_row) * 8;
  i /= per_row;
  place.w = (int)(i % width);
  i /= width;
  place.h = (int)(i % height);
  place.n = (int)(i / height);
  return place;
}

// Eight channels of relu(bn(x)), or of x, at (h, w) of an image; zero outside of it.
template <bool IS_NORMED>
DEVICE void read_place(const S* image, int h, int w, int height, int width, int channels,
                       const A* scale, const A* shift, A* values) {
  if (h < 0 || h >= height || w < 0 || w >= width) {
#pragma unroll
    for (int j = 0; j < 8; j++) values[j] = 0;
    return;
  }
  load8(image + ((long long)h * width + w) * channels, values);
  if (IS_NORMED) {
#pragma unroll
    for (int j = 0; j < 8; j++) values[j] = positive(multiply_add(values[j], scale[j], shift[j]));
  }
}

// One row of the blur: (left + 2 centre + right) / 4 around column w.
template <bool IS_NORMED>
DEVICE void blur_row(const S* image, int h, int w, int height, int width, int channels,
                     const A* scale, const A* shift, A* row) {
#pragma unroll
  for (int j = 0; j < 8; j++) row[j] = 0;
#pragma unroll
  for (int d = -1; d <= 1; d++) {
    A values[8];
    read_place<IS_NORMED>(image, h, w + d, height, width, channels, scale, shift, values);
#pragma unroll
    for (int j = 0; j < 8; j++) row[j] += A(d == 0 ? 0.5 : 0.25) * values[j];
  }
}

// Stride 1. A thread walks down a strip of `strip` rows and keeps three of them, blurred along W, in
// registers.
template <bool IS_NORMED>
DEVICE void blur_strips(const S* x, const A* statistics, S* y, int num, int height, int width,
                        int channels, int strip) {
  int strips = (height + strip - 1) / strip, per_row = channels / 8;
  long long total = (long long)num * strips * width * per_row;
  for (long long i = (long long)blockIdx.x * BLUR_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * BLUR_THREADS) {
    Place place = place_of(i, strips, width, channels);
    alignas(16) A scale[8], shift[8];
    if (IS_NORMED) load_norm(statistics, channels, place.channel, scale, shift);
    long long offset = (long long)place.n * height * width * channels + place.channel;
    const S* image = x + offset;
    int first = place.h * strip, end = min(first + strip, height);
    A above[8], here[8], below[8];
    blur_row<IS_NORMED>(image, first - 1, place.w, height, width, channels, scale, shift, above);
    blur_row<IS_NORMED>(image, first, place.w, height, width, channels, scale, shift, here);
    for (int h = first; h < end; h++) {
      blur_row<IS_NORMED>(image, h + 1, place.w, height, width, channels, scale, shift, below);
      A values[8];
#pragma unroll
      for (int j = 0; j < 8; j++) {
        values[j] = A(0.25) * (above[j] + below[j]) + A(0.5) * here[j];
        above[j] = here[j];
        here[j] = below[j];
      }
      store8(y + offset + ((long long)h * width + place.w) * channels, values);
    }
  }
}

KERNEL(blur, BLUR_THREADS, 3,
       (const S* x, S* y, int num, int height, int width, int channels, int strip)) {
  blur_strips<false>(x, 0, y, num, height, width, channels, strip);
}

KERNEL(bn_relu_blur, BLUR_THREADS, 2,
       (const S* x, const A* statistics, S* y, int num, int height, int width, int channels,
        int strip)) {
  blur_strips<true>(x, statistics, y, num, height, width, channels, strip);
}

// Stride 2: [N, H, W] to [N, ceil(H / 2), ceil(W / 2)].
KERNEL(blur_halve, BLUR_THREADS, 4,
       (const S* x, S* y, int num, int height, int width, int channels)) {
  int half_height = (height + 1) / 2, half_width = (width + 1) / 2;
  long long total = (long long)num * half_height * half_width * (channels / 8);
  for (long long i = (long long)blockIdx.x * BLUR_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * BLUR_THREADS) {
    Place place = place_of(i, half_height, half_width, channels);
    const S* image = x + (long long)place.n * height * width * channels + place.channel;
    A values[8];
#pragma unroll
    for (int j = 0; j < 8; j++) values[j] = 0;
#pragma unroll
    for (int d = -1; d <= 1; d++) {
      A row[8];
      blur_row<false>(image, 2 * place.h + d, 2 * place.w, height, width, channels, 0, 0, row);
#pragma unroll
      for (int j = 0; j < 8; j++) values[j] += A(d == 0 ? 0.5 : 0.25) * row[j];
    }
    store8(y + i * 8, values);
  }
}
