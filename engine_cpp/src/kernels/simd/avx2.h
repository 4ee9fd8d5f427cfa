// The vector words of AVX2 with FMA and F16C: 8 floats, 32 bytes. simd.h says what each word means.
#pragma once

#include <immintrin.h>

#include "kernels/simd/x86.h"

namespace ktd::avx2 {
namespace {

using F = __m256;
using I = __m256i;
using Bytes = __m256i;

constexpr int kF = 8;
constexpr int kFloatSums = 8;
constexpr int kIntegerSums = 4;
constexpr int kTokenTile = 4;
constexpr int kQueryRows = 6;
constexpr int kKeyVectors = 2;

KTD_WORD F set(float x) {
  return _mm256_set1_ps(x);
}
KTD_WORD F load(const float* p) {
  return _mm256_loadu_ps(p);
}
KTD_WORD void store(float* p, F x) {
  _mm256_storeu_ps(p, x);
}
KTD_WORD F fma(F a, F b, F c) {
  return _mm256_fmadd_ps(a, b, c);
}
KTD_WORD F fnma(F a, F b, F c) {
  return _mm256_fnmadd_ps(a, b, c);
}
KTD_WORD F max(F a, F b) {
  return _mm256_max_ps(a, b);
}
KTD_WORD F min(F a, F b) {
  return _mm256_min_ps(a, b);
}
KTD_WORD F abs(F x) {
  return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}
KTD_WORD __m128 fold(F x) {
  return _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1);
}
KTD_WORD void store_sums(float* p, F a, F b, F c, F d) {
  _mm_storeu_ps(p, four_sums(fold(a), fold(b), fold(c), fold(d)));
}
KTD_WORD float sum(F x) {
  const __m128 four = fold(x);
  const __m128 two = four + _mm_movehl_ps(four, four);
  return _mm_cvtss_f32(two) + _mm_cvtss_f32(_mm_movehdup_ps(two));
}
KTD_WORD float max_of(F x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

KTD_WORD I round(F x) {
  return _mm256_cvtps_epi32(x);
}
KTD_WORD F to_float(I x) {
  return _mm256_cvtepi32_ps(x);
}
KTD_WORD F pow2(I n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
KTD_WORD I half_of(I n) {
  return _mm256_srai_epi32(n, 1);
}
KTD_WORD I minus(I a, I b) {
  return _mm256_sub_epi32(a, b);
}
KTD_WORD int sum(I x) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

KTD_WORD F load_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
KTD_WORD void store_i8(int8_t* p, I x) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
KTD_WORD F load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
KTD_WORD void store_f16(uint16_t* p, F x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
KTD_WORD F load_bf16(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
KTD_WORD void store_bf16(uint16_t* p, F x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
  const __m256 kept = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), _mm256_castsi256_ps(quiet), nan);
  const __m256i high = _mm256_srli_epi32(_mm256_castps_si256(kept), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}

KTD_WORD void turn_floats(const float* rows, size_t stride, float* to, size_t apart) {
  __m256 a[8], b[8];
  for (size_t i = 0; i < 8; ++i) a[i] = load(rows + i * stride);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {  // a[i + c] holds column c and c + 4 of rows i..i+3
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
  for (size_t c = 0; c < 4; ++c) {
    store(to + c * apart, _mm256_permute2f128_ps(a[c], a[c + 4], 0x20));
    store(to + (c + 4) * apart, _mm256_permute2f128_ps(a[c], a[c + 4], 0x31));
  }
}

// --- bytes ---

KTD_WORD Bytes load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

}  // namespace
}  // namespace ktd::avx2
