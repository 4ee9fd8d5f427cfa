// Words that AVX2 and AVX-512 say alike, in 128 bits; compiled for each in its own namespace.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

KTD_WORD float half(uint16_t bits) {
  return _cvtsh_ss(bits);
}

// The sum of each, in the order of sum().
KTD_WORD __m128 four_sums(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 ab = _mm_unpacklo_ps(a, b) + _mm_unpackhi_ps(a, b);
  const __m128 cd = _mm_unpacklo_ps(c, d) + _mm_unpackhi_ps(c, d);
  return _mm_movelh_ps(ab, cd) + _mm_movehl_ps(cd, ab);
}

KTD_WORD __m128i load16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

KTD_WORD uint16_t halfword_at(const void* p) {
  uint16_t halfword;
  __builtin_memcpy(&halfword, p, sizeof halfword);
  return halfword;
}
KTD_WORD uint32_t word_at(const void* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

KTD_WORD uint64_t quadword_at(const void* p) {
  uint64_t quadword;
  __builtin_memcpy(&quadword, p, sizeof quadword);
  return quadword;
}

// Eight halves, `stride` bytes apart.
using Eight = __m256;
KTD_WORD Eight eight_halves(const uint16_t* p, size_t stride) {
  const auto* at = reinterpret_cast<const std::byte*>(p);
  __m128i low = _mm_cvtsi32_si128(halfword_at(at)), high = _mm_cvtsi32_si128(halfword_at(at + 4 * stride));
  low = _mm_insert_epi16(low, halfword_at(at + stride), 1);
  high = _mm_insert_epi16(high, halfword_at(at + 5 * stride), 1);
  low = _mm_insert_epi16(low, halfword_at(at + 2 * stride), 2);
  high = _mm_insert_epi16(high, halfword_at(at + 6 * stride), 2);
  low = _mm_insert_epi16(low, halfword_at(at + 3 * stride), 3);
  high = _mm_insert_epi16(high, halfword_at(at + 7 * stride), 3);
  return _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high));
}

// Points of a codebook, from memory: two of eight bytes, four of four.
KTD_WORD __m128i two_points(const uint64_t* first, const uint64_t* second) {
  const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(first));
  return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(low), reinterpret_cast<const double*>(second)));
}
KTD_WORD __m128i four_points(const uint32_t* a, const uint32_t* b, const uint32_t* c, const uint32_t* d) {
  return _mm_setr_epi32(static_cast<int>(*a), static_cast<int>(*b), static_cast<int>(*c),
                        static_cast<int>(*d));
}

// 16 small integers, a byte each.
using Numbers = __m128i;

KTD_WORD Numbers numbers_at(const void* p) {
  return load16(p);
}
KTD_WORD Numbers low_four(Numbers x) {
  return _mm_and_si128(x, _mm_set1_epi8(15));
}
KTD_WORD Numbers high_four(Numbers x) {
  return low_four(_mm_srli_epi16(x, 4));
}
// The first eight numbers, each twice, and the last eight.
KTD_WORD Numbers first_twice(Numbers x) {
  return _mm_unpacklo_epi8(x, x);
}
KTD_WORD Numbers last_twice(Numbers x) {
  return _mm_unpackhi_epi8(x, x);
}

// The first 16 bytes of a Q4_K or Q5_K block hold two halves and twelve bytes of 6-bit numbers: the scales
// 0-3 in bytes 4-7 and the minima 0-3 in 8-11, whose top two bits belong to the scales and minima 4-7; the
// low nibbles of these share bytes 12-15. Returns the eight scales, then the eight minima.
KTD_WORD Numbers scales_and_minima(const void* block) {
  const __m128i head = load16(block);
  const __m128i low =
      _mm_shuffle_epi8(head, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m128i high =
      _mm_shuffle_epi8(head, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m128i placed = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
  const __m128i mask = _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
  const __m128i top = _mm_and_si128(_mm_srli_epi32(high, 2), _mm_set1_epi8(0x30));
  return _mm_or_si128(_mm_and_si128(placed, mask), top);
}

// The sixteen 6-bit scales of a Q3_K block, less 32: low nibbles of eight bytes are scales 0-7, high ones
// 8-15, and four bytes hold the top two bits of scales i, 4 + i, 8 + i, 12 + i. `end` is where the twelve
// bytes end; the four before them are read and not used.
KTD_WORD Numbers six_bit_scales(const void* end) {
  const __m128i twelve = load16(static_cast<const std::byte*>(end) - 16);
  const __m128i low =
      _mm_shuffle_epi8(twelve, _mm_setr_epi8(4, 5, 6, 7, 8, 9, 10, 11, 4, 5, 6, 7, 8, 9, 10, 11));
  const __m128i nibbles = low_four(_mm_srlv_epi64(low, _mm_set_epi64x(4, 0)));
  const __m128i high = _mm_srlv_epi32(_mm_shuffle_epi32(twelve, 0xff), _mm_setr_epi32(0, 2, 4, 6));
  const __m128i top = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
  return _mm_sub_epi8(_mm_or_si128(nibbles, top), _mm_set1_epi8(32));
}

}  // namespace
}  // namespace ktd::KTD_ISA
