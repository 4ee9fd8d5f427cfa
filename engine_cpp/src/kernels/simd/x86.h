// Words that AVX2 and AVX-512 say alike, in 128 bits; compiled for each in its own namespace.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

KTD_WORD float half(uint16_t bits) {
  return _cvtsh_ss(bits);
}

KTD_WORD __m128i load16(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
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

// The first 16 bytes of a Q4_K or Q5_K block hold two halves and twelve bytes of 6-bit numbers: the scales
// 0-3 in bytes 4-7 and the minima 0-3 in 8-11, whose top two bits belong to the scales and minima 4-7; the
// low nibbles of these share bytes 12-15. Returns the eight scales, then the eight minima, a byte each.
KTD_WORD __m128i six_bit_numbers(__m128i head) {
  const __m128i low =
      _mm_shuffle_epi8(head, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m128i high =
      _mm_shuffle_epi8(head, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m128i placed = _mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4));
  const __m128i mask = _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
  const __m128i top = _mm_and_si128(_mm_srli_epi32(high, 2), _mm_set1_epi8(0x30));
  return _mm_or_si128(_mm_and_si128(placed, mask), top);
}

}  // namespace
}  // namespace ktd::KTD_ISA
