// The vector words of AVX-512 (F, BW, VL, DQ, VNNI): 16 floats, 64 bytes. simd.h says what each word means.
#pragma once

#include <immintrin.h>

// GCC 12 takes the deliberately undefined operands inside its own intrinsics for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "kernels/simd/x86.h"

namespace ktd::KTD_ISA {
namespace {

using F = __m512;
using I = __m512i;
using Bytes = __m512i;

constexpr int kF = 16;
constexpr int kFloatSums = 16;
constexpr int kIntegerSums = 8;
constexpr int kTokenTile = 4;
constexpr int kQueryRows = 6;
constexpr int kKeyVectors = 4;

KTD_WORD F set(float x) {
  return _mm512_set1_ps(x);
}
KTD_WORD F load(const float* p) {
  return _mm512_loadu_ps(p);
}
KTD_WORD void store(float* p, F x) {
  _mm512_storeu_ps(p, x);
}
KTD_WORD F fma(F a, F b, F c) {
  return _mm512_fmadd_ps(a, b, c);
}
KTD_WORD F fnma(F a, F b, F c) {
  return _mm512_fnmadd_ps(a, b, c);
}
KTD_WORD F max(F a, F b) {
  return _mm512_max_ps(a, b);
}
KTD_WORD F min(F a, F b) {
  return _mm512_min_ps(a, b);
}
KTD_WORD F abs(F x) {
  return _mm512_abs_ps(x);
}
KTD_WORD float sum(F x) {
  return _mm512_reduce_add_ps(x);
}
KTD_WORD __m128 fold(F x) {
  const __m256 eight = _mm512_castps512_ps256(x) + _mm512_extractf32x8_ps(x, 1);
  return _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
}
KTD_WORD void store_sums(float* p, F a, F b, F c, F d) {
  _mm_storeu_ps(p, four_sums(fold(a), fold(b), fold(c), fold(d)));
}
KTD_WORD float max_of(F x) {
  return _mm512_reduce_max_ps(x);
}

KTD_WORD I round(F x) {
  return _mm512_cvtps_epi32(x);
}
KTD_WORD F to_float(I x) {
  return _mm512_cvtepi32_ps(x);
}
KTD_WORD F pow2(I n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
KTD_WORD I half_of(I n) {
  return _mm512_srai_epi32(n, 1);
}
KTD_WORD I minus(I a, I b) {
  return _mm512_sub_epi32(a, b);
}
KTD_WORD int sum(I x) {
  return _mm512_reduce_add_epi32(x);
}

KTD_WORD F load_i8(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
KTD_WORD void store_i8(int8_t* p, I x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}
KTD_WORD F load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
KTD_WORD void store_f16(uint16_t* p, F x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
KTD_WORD F load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
KTD_WORD void store_bf16(uint16_t* p, F x) {
  const __m512i bits = _mm512_castps_si512(x), one = _mm512_set1_epi32(1);
  const __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}

// --- bytes ---

KTD_WORD Bytes load_bytes(const void* p) {
  return _mm512_loadu_si512(p);
}
KTD_WORD __m256i load32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

}  // namespace
}  // namespace ktd::KTD_ISA
