// The input of the stem: cells of 2x2 pixels as channels, so that the 7x7 convolution with stride 2 becomes
// one of 4x4 with stride 1.
//
// Pixel (2 i + py, 2 j + px) is in cell (i + 2, j + 2), and its colour c in channel 8 py + 4 px + c. Every
// fourth channel is zero, and so is the border: two cells before the image and one behind it.
#define STEM_THREADS 256

// images [num, height, width, 3] to cells [num, ceil(height / 2) + 3, ceil(width / 2) + 3, 16].
KERNEL(space_to_depth, STEM_THREADS, 4,
       (const A* images, S* cells, int num, int height, int width)) {
  int rows = (height + 1) / 2 + 3, columns = (width + 1) / 2 + 3;
  long long total = (long long)num * rows * columns * 2;
  for (long long i = (long long)blockIdx.x * STEM_THREADS + threadIdx.x; i < total;
       i += (long long)gridDim.x * STEM_THREADS) {
    // A thread writes one row of a cell.
    Place place = place_of(i, rows, columns, 16);
    int h = 2 * (place.h - 2) + place.channel / 8;
    A values[8];
#pragma unroll
    for (int px = 0; px < 2; px++) {
      int w = 2 * (place.w - 2) + px;
      bool is_inside = h >= 0 && h < height && w >= 0 && w < width;
      const A* pixel = images + (((long long)place.n * height + h) * width + w) * 3;
#pragma unroll
      for (int c = 0; c < 3; c++) values[4 * px + c] = is_inside ? pixel[c] : A(0);
      values[4 * px + 3] = 0;
    }
    store8(cells + i * 8, values);
  }
}
