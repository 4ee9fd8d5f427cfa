// The few words in which CUDA C++ and the host harness of the tests differ; kernels include nothing else.
// Under NVRTC no header of the toolkit is needed.
#pragma once

#ifdef __CUDACC_RTC__

using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;

#define DEVICE __device__ __forceinline__

namespace ktd {

constexpr unsigned kAllLanes = 0xffffffffu;

DEVICE float half_to_float(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

DEVICE uint16_t float_to_half(float value) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// d += a . b of a warp on tensor cores: a is 16 x 16, b 16 x 8 of bf16; see mma.m16n8k16 of the PTX manual.
DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace ktd

#else
#include "host_simt.h"
#endif

namespace ktd {

DEVICE float bf16_to_float(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

// To the nearest, ties to even; NaN stays NaN.
DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

DEVICE uint32_t bf16_pair(float low, float high) {
  return float_to_bf16(low) | static_cast<uint32_t>(float_to_bf16(high)) << 16;
}

// Of `lanes` neighbours (a power of two, at most 32), in every one of them.
DEVICE float sum_of_lanes(float value, int lanes) {
  for (int other = lanes / 2; other > 0; other /= 2) value += __shfl_xor_sync(kAllLanes, value, other);
  return value;
}

DEVICE float max_of_lanes(float value, int lanes) {
  for (int other = lanes / 2; other > 0; other /= 2)
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, other));
  return value;
}

}  // namespace ktd
