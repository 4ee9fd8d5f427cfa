// The words of turned.inl and its formats in AVX-512 with VBMI, BITALG and GFNI. The 32 groups of 8 weights
// of 256 are 32 words of a vector, group 4 j + c in word c of quadword j: a column is the same word of every
// quadword, which a multishift spreads over the bytes of the quadword.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

// A vector that `byte(i)` says byte by byte.
struct Pattern {
  alignas(64) uint8_t at[64];
};
template <class Byte>
consteval Pattern pattern(Byte byte) {
  Pattern p{};
  for (int i = 0; i < 64; ++i) p.at[i] = static_cast<uint8_t>(byte(i));
  return p;
}
KTD_WORD I load(const Pattern& p) {
  return _mm512_load_si512(p.at);
}
// For each quadword: its bits from the eight offsets on, as eight bytes.
KTD_WORD I multishift(const Pattern& offsets, I x) {
  return _mm512_multishift_epi64_epi8(load(offsets), x);
}
KTD_WORD I shuffle(I x, const Pattern& p) {
  return _mm512_shuffle_epi8(x, load(p));
}
// mask ? a : b, bit by bit.
KTD_WORD I choose(I mask, I a, I b) {
  return _mm512_ternarylogic_epi64(mask, a, b, 0xca);
}
// Table entries by the low six bits of each byte.
KTD_WORD I look_up(const Pattern& table, I index) {
  return _mm512_permutexvar_epi8(index, load(table));
}

// The bytes of the first 64 from `a`, or of the 64 from `b`, that `from` names.
KTD_WORD I gather_bytes(const Pattern& from, const void* a, const void* b) {
  return _mm512_permutex2var_epi8(load_bytes(a), load(from), load_bytes(b));
}
// The four bits at 4 j of a word, for both lanes of block j.
KTD_WORD I nibbles_of(uint32_t word) {
  const I shifts = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
  return _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32(static_cast<int>(word)), shifts),
                          _mm512_set1_epi32(15));
}
// --- codebooks in registers ---

// Words of a table of 64 N entries.
template <int N>
KTD_WORD I look_up_words(const uint16_t* table, I index) {
  if constexpr (N == 1) {
    return _mm512_permutex2var_epi16(load_bytes(table), index, load_bytes(table + 32));
  } else {
    const I low = look_up_words<N / 2>(table, index), high = look_up_words<N / 2>(table + 32 * N, index);
    return _mm512_mask_mov_epi16(low, _mm512_test_epi16_mask(index, _mm512_set1_epi16(32 * N)), high);
  }
}
// Bytes of a table of 128 entries.
KTD_WORD I look_up_bytes(const uint8_t* table, I index) {
  return _mm512_permutex2var_epi8(load_bytes(table), index, load_bytes(table + 64));
}

// --- codebooks in memory ---

// Indices to memory, whence scalar loads take them: the compiler must not pick them out of the register
// instead, a shuffle each.
KTD_WORD void spill(uint16_t (&to)[32], I words) {
  _mm512_store_si512(to, words);
  __asm__("" : "+m"(to));
}

// Eight points, one for each quadword: those of column C.
template <int C>
KTD_WORD I points(const uint64_t* table, const uint16_t* index) {
  const auto two = [&](int j) KTD_INLINE {
    const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(table + index[4 * j + C]));
    return _mm_castpd_si128(
        _mm_loadh_pd(_mm_castsi128_pd(low), reinterpret_cast<const double*>(table + index[4 * j + 4 + C])));
  };
  const __m256i low = _mm256_set_m128i(two(2), two(0)), high = _mm256_set_m128i(two(6), two(4));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

}  // namespace
}  // namespace ktd::KTD_ISA
