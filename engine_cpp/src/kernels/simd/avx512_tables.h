// The words of kernels/tables in AVX-512 without VBMI.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

template <int C, int>
KTD_WORD Bytes spread(const uint8_t* groups) {
  const __m512i each = _mm512_cvtepu32_epi64(load32(groups));
  constexpr long long kFirst = C * 0x0101010101010101, kSecond = kFirst + 0x0808080808080808;
  return _mm512_shuffle_epi8(each, _mm512_broadcast_i32x4(_mm_set_epi64x(kSecond, kFirst)));
}
template <int C, int H>
KTD_WORD Bytes with_signs(Bytes raised, int raise, const uint8_t* signs) {
  const __m512i each = _mm512_set1_epi64(static_cast<long long>(0x8040201008040201));
  const __mmask64 minus = _mm512_test_epi8_mask(spread<C, H>(signs), each);
  return _mm512_mask_sub_epi8(raised, minus, _mm512_set1_epi8(static_cast<char>(2 * raise)), raised);
}
KTD_WORD Bytes add_bytes(Bytes a, Bytes b) {
  return _mm512_add_epi8(a, b);
}
KTD_WORD Bytes look_up16(const void* table, Bytes nibbles) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table)), nibbles);
}

KTD_WORD Bytes join(__m128i a, __m128i b, __m128i c, __m128i d) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(b, a)), _mm256_set_m128i(d, c), 1);
}
template <int C, int, class Point>
KTD_WORD Bytes points(Point point) {
  const auto two = [&](auto j)
                       KTD_INLINE { return two_points(point(4 * j.value + C), point(4 * j.value + 4 + C)); };
  return join(two(Constant<0>{}), two(Constant<2>{}), two(Constant<4>{}), two(Constant<6>{}));
}
template <int C, int, class First, class Second>
KTD_WORD Bytes half_points(First first, Second second) {
  const auto two = [&](auto j) KTD_INLINE {
    constexpr int g = 4 * j.value + C;
    return four_points(first(g), second(g), first(g + 4), second(g + 4));
  };
  return join(two(Constant<0>{}), two(Constant<2>{}), two(Constant<4>{}), two(Constant<6>{}));
}

KTD_WORD Bytes bits_of_quarters(Bytes x) {
  const auto quarter = [&](auto i) KTD_INLINE {
    return _mm512_and_si512(_mm512_srli_epi32(x, 2 * i.value), _mm512_set1_epi32(3 << (8 * i.value)));
  };
  return _mm512_or_si512(_mm512_or_si512(quarter(Constant<0>{}), quarter(Constant<1>{})),
                         _mm512_or_si512(quarter(Constant<2>{}), quarter(Constant<3>{})));
}
template <int I, int>
KTD_WORD Bytes eights_of_pairs(const uint8_t* even, const uint8_t* odd, size_t stride) {
  const auto lanes = [&](const uint8_t* p) KTD_INLINE {
    return join(load16(p), load16(p + stride), load16(p + 2 * stride), load16(p + 3 * stride));
  };
  return I == 0 ? _mm512_unpacklo_epi64(lanes(even), lanes(odd))
                : _mm512_unpackhi_epi64(lanes(even), lanes(odd));
}
template <int C, int>
KTD_WORD Bytes two_bytes_of_pairs(const uint8_t* even, const uint8_t* odd, size_t stride) {
  const auto two = [&](size_t i) KTD_INLINE {
    return _mm_set_epi64x(static_cast<long long>(quadword_at(odd + i * stride)),
                          static_cast<long long>(quadword_at(even + i * stride)));
  };
  constexpr long long kFirst = C * 0x0202020202020202 + 0x0101010100000000,
                      kSecond = kFirst + 0x0808080808080808;
  return _mm512_shuffle_epi8(join(two(0), two(1), two(2), two(3)),
                             _mm512_broadcast_i32x4(_mm_set_epi64x(kSecond, kFirst)));
}
KTD_WORD Sixteen sixteen_halves(__m256i x) {
  return {_mm512_cvtph_ps(x)};
}

}  // namespace
}  // namespace ktd::KTD_ISA
