// The words of kernels/tables in AVX2.
#pragma once

#include <immintrin.h>

namespace ktd::avx2 {
namespace {

// A byte for each group of 8, from 32 of them, over the bytes of its group in half H of column C.
template <int C, int H>
KTD_WORD Bytes spread(const uint8_t* groups) {
  const __m256i each = _mm256_cvtepu32_epi64(load16(groups + 16 * H));
  constexpr long long kFirst = C * 0x0101010101010101, kSecond = kFirst + 0x0808080808080808;
  return _mm256_shuffle_epi8(each, _mm256_setr_epi64x(kFirst, kSecond, kFirst, kSecond));
}
// Weights raised by `raise`, those of either sign by a bit of `signs`.
template <int C, int H>
KTD_WORD Bytes with_signs(Bytes raised, int raise, const uint8_t* signs) {
  const __m256i each = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i minus = _mm256_cmpeq_epi8(_mm256_and_si256(spread<C, H>(signs), each), each);
  const __m256i twice = _mm256_and_si256(minus, _mm256_set1_epi8(static_cast<char>(2 * raise + 1)));
  return _mm256_add_epi8(_mm256_xor_si256(raised, minus), twice);
}
KTD_WORD Bytes add_bytes(Bytes a, Bytes b) {
  return _mm256_add_epi8(a, b);
}
// Of 16 bytes those that nibbles name.
KTD_WORD Bytes look_up16(const void* table, Bytes nibbles) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load16(table)), nibbles);
}

// Eight weights for each group g of half H of column C: at point(g).
template <int C, int H, class Point>
KTD_WORD Bytes points(Point point) {
  const auto two = [&](auto q) KTD_INLINE {
    return two_points(point(4 * (4 * H + q.value) + C), point(4 * (4 * H + q.value) + 4 + C));
  };
  return _mm256_set_m128i(two(Constant<2>{}), two(Constant<0>{}));
}
// Twice four weights: at first(g) and second(g).
template <int C, int H, class First, class Second>
KTD_WORD Bytes half_points(First first, Second second) {
  const auto two = [&](auto q) KTD_INLINE {
    constexpr int g = 4 * (4 * H + q.value) + C;
    return four_points(first(g), second(g), first(g + 4), second(g + 4));
  };
  return _mm256_set_m128i(two(Constant<2>{}), two(Constant<0>{}));
}

// Quarter i % 4 of byte i.
KTD_WORD Bytes bits_of_quarters(Bytes x) {
  const auto quarter = [&](auto i) KTD_INLINE {
    return _mm256_and_si256(_mm256_srli_epi32(x, 2 * i.value), _mm256_set1_epi32(3 << (8 * i.value)));
  };
  return _mm256_or_si256(_mm256_or_si256(quarter(Constant<0>{}), quarter(Constant<1>{})),
                         _mm256_or_si256(quarter(Constant<2>{}), quarter(Constant<3>{})));
}
// As eights, of which every other one is at `odd`.
template <int I, int H>
KTD_WORD Bytes eights_of_pairs(const uint8_t* even, const uint8_t* odd, size_t stride) {
  even += 2 * H * stride, odd += 2 * H * stride;
  const Bytes a = _mm256_set_m128i(load16(even + stride), load16(even));
  const Bytes b = _mm256_set_m128i(load16(odd + stride), load16(odd));
  return I == 0 ? _mm256_unpacklo_epi64(a, b) : _mm256_unpackhi_epi64(a, b);
}
// Bytes 2 C and 2 C + 1 of the eight of each block, four times each; every other block is at `odd`.
template <int C, int H>
KTD_WORD Bytes two_bytes_of_pairs(const uint8_t* even, const uint8_t* odd, size_t stride) {
  even += 2 * H * stride, odd += 2 * H * stride;
  const Bytes eight = _mm256_setr_epi64x(
      static_cast<long long>(quadword_at(even)), static_cast<long long>(quadword_at(odd)),
      static_cast<long long>(quadword_at(even + stride)), static_cast<long long>(quadword_at(odd + stride)));
  constexpr long long kFirst = C * 0x0202020202020202 + 0x0101010100000000,
                      kSecond = kFirst + 0x0808080808080808;
  return _mm256_shuffle_epi8(eight, _mm256_setr_epi64x(kFirst, kSecond, kFirst, kSecond));
}
KTD_WORD Sixteen sixteen_halves(__m256i x) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(x)), _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1))};
}

}  // namespace
}  // namespace ktd::avx2
