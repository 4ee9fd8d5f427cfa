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
using Eight = __m256;

constexpr int kF = 16;
constexpr int kFloatSums = 16;
constexpr int kIntegerSums = 8;
constexpr int kTokenTile = 8;

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

KTD_WORD Bytes blocks32(const void* p, size_t stride) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(load32(p)),
                            load32(static_cast<const std::byte*>(p) + stride), 1);
}
KTD_WORD Bytes nibbles16(const uint8_t* p, size_t stride) {
  const __m512i first = _mm512_broadcast_i32x4(load16(p));
  const __m512i both = _mm512_mask_broadcast_i32x4(first, 0xff00, load16(p + stride));
  const __m512i shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
  return _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi8(15));
}

// The multiplier takes unsigned by signed bytes: activations are raised by 128, and `fix` takes that back.
struct Signed {
  Bytes w;
  I fix;
};
KTD_WORD Signed prepare(Bytes w) {
  const __m512i zero = _mm512_setzero_si512();
  return {w, _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, _mm512_set1_epi8(-128), w))};
}
KTD_WORD I dot(const Signed& s, Bytes act) {
  return _mm512_dpbusd_epi32(s.fix, _mm512_xor_si512(act, _mm512_set1_epi8(-128)), s.w);
}
KTD_WORD I dot(Bytes w, Bytes act) {
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, act);
}

// --- super-blocks ---

struct Sixteen {
  F all;
};

KTD_WORD Eight load_eight(const float* p) {
  return _mm256_loadu_ps(p);
}
KTD_WORD Eight set_eight(float x) {
  return _mm256_set1_ps(x);
}
KTD_WORD Eight eight_halves(uint64_t low, uint64_t high) {
  return _mm256_cvtph_ps(_mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low)));
}
KTD_WORD Sixteen twice(Eight x) {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(x))};
}
KTD_WORD Sixteen sixteen(const int8_t* p) {
  return {load_i8(p)};
}
KTD_WORD Sixteen load_sixteen(const float* p) {
  return {load(p)};
}
KTD_WORD Sixteen operator*(Sixteen a, Sixteen b) {
  return {a.all * b.all};
}
KTD_WORD Sixteen operator*(Sixteen a, float b) {
  return {a.all * set(b)};
}
KTD_WORD F subtract(F acc, Sixteen a, Sixteen b) {
  return fnma(a.all, b.all, acc);
}

template <int V>
KTD_WORD F spread32(Eight x) {
  constexpr int a = 2 * V, b = 2 * V + 1;
  const __m512i lanes = _mm512_setr_epi32(a, a, a, a, a, a, a, a, b, b, b, b, b, b, b, b);
  return _mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(x));
}
template <int V>
KTD_WORD F spread16(Sixteen x) {
  constexpr int a = 4 * V, b = a + 1, c = a + 2, d = a + 3;
  const __m512i lanes = _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
  return _mm512_permutexvar_ps(lanes, x.all);
}

struct ScalesMins {
  Eight scale;
  Sixteen min;
};

// High nibbles stay where they are, sixteen times too large: an operation less, for which these scales make
// up.
KTD_WORD ScalesMins scales_mins(const void* block) {
  const __m128i head = load16(block), numbers = six_bit_numbers(head);
  const __m128 halves = _mm_cvtph_ps(head);
  const __m256 units = _mm256_setr_ps(1, 0x1p-4f, 1, 0x1p-4f, 1, 0x1p-4f, 1, 0x1p-4f);
  const __m512 dmin = _mm512_broadcastss_ps(_mm_movehdup_ps(halves));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(numbers)) * (_mm256_broadcastss_ps(halves) * units),
          {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpackhi_epi8(numbers, numbers))) * dmin}};
}
template <int V>
KTD_WORD Bytes nibbles(const uint8_t* qs) {
  const __m512i mask = _mm512_inserti64x4(_mm512_set1_epi8(15), _mm256_set1_epi8(-16), 1);
  return _mm512_and_si512(_mm512_broadcast_i64x4(load32(qs + 32 * V)), mask);
}
template <int V>
KTD_WORD Bytes six_bits(const uint8_t* ql, const uint8_t* qh) {
  const __m512i packed = load_bytes(ql + 64 * (V / 2));
  const __m512i two = _mm512_broadcast_i64x4(load32(qh + 32 * (V / 2)));
  const __m512i low =
      _mm512_and_si512(V % 2 == 0 ? packed : _mm512_srli_epi16(packed, 4), _mm512_set1_epi8(15));
  const __m512i shifts = _mm512_inserti64x4(_mm512_set1_epi16(V % 2 == 0 ? 4 : 0), _mm256_set1_epi16(2), 1);
  const __m512i moved = V % 2 == 0 ? _mm512_sllv_epi16(two, shifts) : _mm512_srlv_epi16(two, shifts);
  return _mm512_ternarylogic_epi64(low, moved, _mm512_set1_epi8(48), 0xf8);  // low | (moved & 48)
}

}  // namespace
}  // namespace ktd::KTD_ISA
