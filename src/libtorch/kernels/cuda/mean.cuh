// The mean over H and W: x [N, area, channels] to [N, channels].
#define MEAN_THREADS 128

KERNEL(spatial_mean, MEAN_THREADS, 4, (const S* x, S* y, int num, int area, int channels)) {
  long long total = (long long)num * (channels / 8);
  for (long long i = (long long)blockIdx.x * MEAN_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * MEAN_THREADS) {
    const S* image = x + i / (channels / 8) * area * channels + i % (channels / 8) * 8;
    A sum[8];
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] = 0;
    for (int place = 0; place < area; place++) {
      A values[8];
      load8(image + (long long)place * channels, values);
#pragma unroll
      for (int j = 0; j < 8; j++) sum[j] += values[j];
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] /= area;
    store8(y + i * 8, sum);
  }
}
