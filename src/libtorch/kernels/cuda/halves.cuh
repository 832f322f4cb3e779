// Conversions of the 16-bit formats, which need no header of the toolkit.
#ifndef EMULATED
#if defined(STORAGE_BF16)
__device__ __forceinline__ unsigned int pack_pair(float low, float high) {
  unsigned int pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
#elif defined(STORAGE_FP16)
__device__ __forceinline__ unsigned int pack_pair(float low, float high) {
  unsigned int pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ float half_to_float(unsigned int bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((unsigned short)bits));
  return value;
}
#endif
#endif
