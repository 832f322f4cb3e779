// The number formats of a program, and eight channels as the unit of memory access.
//
// S is the format in memory and A that of the arithmetic. The compiler gets one of STORAGE_BF16,
// STORAGE_FP16, STORAGE_FP32 and STORAGE_FP64. Activations are channels last, and their number of
// channels is a multiple of 8, so that a thread reads and writes eight neighbours at once.
typedef unsigned int u32;
typedef unsigned char u8;

#ifndef EMULATED
// Numbers of 4 bytes need twice the registers, so that fewer blocks share a multiprocessor.
#if defined(STORAGE_BF16) || defined(STORAGE_FP16)
#define BLOCKS_PER_SM(blocks) (blocks)
#else
#define BLOCKS_PER_SM(blocks) (((blocks) + 1) / 2)
#endif
#define DEVICE __device__ __forceinline__
#define KERNEL(name, threads, blocks_per_sm, parameters) \
  extern "C" __global__ void __launch_bounds__(threads, BLOCKS_PER_SM(blocks_per_sm)) name parameters
#define SHARED(type, name, count) __shared__ type name[count]
#endif

#if defined(STORAGE_FP64)
typedef double S;
typedef double A;
#elif defined(STORAGE_FP32)
typedef float S;
typedef float A;
#else
typedef unsigned short S;  // the bits of a bf16 or fp16
typedef float A;
#endif

struct alignas(16) Bytes16 {
  u32 part[4];
};
// Eight values as they are in memory.
struct Packed {
  Bytes16 bytes[sizeof(S) / 2];
};

DEVICE Packed load(const S* from) {
  Packed packed;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(S) / 2); i++) packed.bytes[i] = ((const Bytes16*)from)[i];
  return packed;
}

DEVICE void unpack(const Packed& packed, A* values) {
#if defined(STORAGE_BF16)
#pragma unroll
  for (int i = 0; i < 4; i++) {
    values[2 * i] = __uint_as_float(packed.bytes[0].part[i] << 16);
    values[2 * i + 1] = __uint_as_float(packed.bytes[0].part[i] & 0xffff0000u);
  }
#elif defined(STORAGE_FP16)
#pragma unroll
  for (int i = 0; i < 4; i++) {
    values[2 * i] = half_to_float(packed.bytes[0].part[i] & 0xffffu);
    values[2 * i + 1] = half_to_float(packed.bytes[0].part[i] >> 16);
  }
#else
  const S* in_memory = (const S*)&packed;
#pragma unroll
  for (int i = 0; i < 8; i++) values[i] = in_memory[i];
#endif
}

// Rounds to nearest, ties to even.
DEVICE Packed pack(const A* values) {
  Packed packed;
#if defined(STORAGE_BF16) || defined(STORAGE_FP16)
#pragma unroll
  for (int i = 0; i < 4; i++) packed.bytes[0].part[i] = pack_pair(values[2 * i], values[2 * i + 1]);
#else
  S* in_memory = (S*)&packed;
#pragma unroll
  for (int i = 0; i < 8; i++) in_memory[i] = values[i];
#endif
  return packed;
}

DEVICE void load8(const S* from, A* values) { unpack(load(from), values); }

DEVICE void store8(S* to, const A* values) {
  Packed packed = pack(values);
#pragma unroll
  for (int i = 0; i < (int)(sizeof(S) / 2); i++) ((Bytes16*)to)[i] = packed.bytes[i];
}

// Eight neighbours of a tensor of the arithmetic, such as statistics.
DEVICE void load_channels(const A* from, A* values) {
#pragma unroll
  for (int i = 0; i < (int)(sizeof(A) / 2); i++) ((Bytes16*)values)[i] = ((const Bytes16*)from)[i];
}

// ReLU. NaN stays NaN, so that a diverged run is noticed.
DEVICE A positive(A value) { return value < 0 ? A(0) : value; }

// a b + c. The forward and the backward pass must round alike where both compute the mask of ReLU.
#ifdef EMULATED
DEVICE A multiply_add(A a, A b, A c) { return a * b + c; }
#else
DEVICE float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE double multiply_add(double a, double b, double c) { return fma(a, b, c); }
#endif
