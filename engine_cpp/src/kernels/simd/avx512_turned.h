// The words of turned.inl and its formats in AVX-512 with VNNI: one vector holds a column of 256 weights.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

constexpr int kMostSigned = 255, kRaisedSigned = 128;

KTD_WORD void store_bytes(void* p, Bytes x) {
  _mm512_store_si512(p, x);
}

// --- floats ---

KTD_WORD Eight load_eight(const float* p) {
  return _mm256_loadu_ps(p);
}
KTD_WORD Sixteen twice(Eight x) {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  return {_mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(x))};
}
KTD_WORD Sixteen firsts(Sixteen x) {
  return {_mm512_moveldup_ps(x.part[0])};
}
KTD_WORD Sixteen seconds(Sixteen x) {
  return {_mm512_movehdup_ps(x.part[0])};
}
KTD_WORD Sixteen unsigned_floats(Numbers x) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(x))};
}
KTD_WORD Sixteen signed_floats(Numbers x) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x))};
}
// Even lanes of a and odd lanes of b.
KTD_WORD F interleave(F a, F b) {
  return _mm512_mask_mov_ps(a, 0xaaaa, b);
}

// --- columns ---

template <int C, int>
KTD_WORD Bytes pairs(const uint8_t* p) {
  const __m512i from = _mm512_setr_epi64(C, C, 4 + C, 4 + C, 8 + C, 8 + C, 12 + C, 12 + C);
  return _mm512_permutex2var_epi64(load_bytes(p), from, load_bytes(p + 64));
}
template <int C, int>
KTD_WORD Bytes alternate(const uint8_t* p) {
  const __m512i from = _mm512_setr_epi64(C, 4 + C, C, 4 + C, 8 + C, 12 + C, 8 + C, 12 + C);
  return _mm512_permutex2var_epi64(load_bytes(p), from, load_bytes(p + 64));
}
template <int C, int>
KTD_WORD Bytes fours(const uint8_t* p) {
  const __m512i from = _mm512_setr_epi64(C, C, C, C, 4 + C, 4 + C, 4 + C, 4 + C);
  return _mm512_permutexvar_epi64(from, load_bytes(p));
}
template <int C, int>
KTD_WORD Bytes all(const uint8_t* p) {
  return _mm512_set1_epi64(static_cast<long long>(quadword_at(p + 8 * C)));
}

KTD_WORD __m256i two16(const std::byte* p, size_t apart) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p)), load16(p + apart), 1);
}
KTD_WORD Bytes two32(const std::byte* p, size_t apart) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(load32(p)), load32(p + apart), 1);
}
template <int I, int>
KTD_WORD Bytes eights(const void* p, size_t stride) {
  const auto* at = static_cast<const std::byte*>(p);
  const auto every_second = [&](const std::byte* first) KTD_INLINE {
    return _mm512_inserti64x4(_mm512_castsi256_si512(two16(first, 2 * stride)),
                              two16(first + 4 * stride, 2 * stride), 1);
  };
  const Bytes even = every_second(at), odd = every_second(at + stride);
  return I == 0 ? _mm512_unpacklo_epi64(even, odd) : _mm512_unpackhi_epi64(even, odd);
}
template <int C, int>
KTD_WORD Bytes quarters(const void* p, size_t stride) {
  const auto* at = static_cast<const std::byte*>(p);
  const auto four_blocks = [&](const std::byte* first) KTD_INLINE {  // quadwords C % 2 and C % 2 + 2
    const Bytes even = two32(first, 2 * stride), odd = two32(first + stride, 2 * stride);
    return C % 2 == 0 ? _mm512_unpacklo_epi64(even, odd) : _mm512_unpackhi_epi64(even, odd);
  };
  return _mm512_shuffle_i64x2(four_blocks(at), four_blocks(at + 4 * stride), C / 2 == 0 ? 0x88 : 0xdd);
}

template <class Move, int>
KTD_WORD Bytes move(Bytes x) {
  return _mm512_rolv_epi64(
      x, _mm512_setr_epi64(Move::by(0) & 63, Move::by(1) & 63, Move::by(2) & 63, Move::by(3) & 63,
                           Move::by(4) & 63, Move::by(5) & 63, Move::by(6) & 63, Move::by(7) & 63));
}
template <int Mask>
KTD_WORD Bytes bits(Bytes x) {
  return _mm512_and_si512(x, _mm512_set1_epi8(static_cast<char>(Mask)));
}
template <int Mask>
KTD_WORD Bytes merge(Bytes low, Bytes x) {
  return _mm512_ternarylogic_epi64(low, x, _mm512_set1_epi8(static_cast<char>(Mask)), 0xf8);
}
// Without moving them: a byte is unsigned, so that the bits may stay where they are, 2^-by(j) times too
// large.
template <class Move, int Mask, int>
KTD_WORD Bytes in_place(Bytes x) {
  constexpr auto mask = [](int j) { return 0x0101010101010101 * (Mask << -Move::by(j)); };
  return _mm512_and_si512(
      x, _mm512_setr_epi64(mask(0), mask(1), mask(2), mask(3), mask(4), mask(5), mask(6), mask(7)));
}
template <class Move>
KTD_WORD Sixteen in_place_scale(float d) {
  constexpr auto unit = [](int j) { return 1.0f / static_cast<float>(1 << -Move::by(j)); };
  return {set(d) * _mm512_setr_ps(unit(0), unit(0), unit(1), unit(1), unit(2), unit(2), unit(3), unit(3),
                                  unit(4), unit(4), unit(5), unit(5), unit(6), unit(6), unit(7), unit(7))};
}
KTD_WORD Bytes high_nibbles(Bytes x) {
  return bits<15>(_mm512_srli_epi16(x, 4));
}
KTD_WORD Bytes raise_signed(Bytes x) {
  return _mm512_xor_si512(x, _mm512_set1_epi8(-128));
}
template <int C>
KTD_WORD Bytes fifth_bits(Bytes low, Bytes words) {
  constexpr long long kSpread = C * 0x0101010101010101;
  const __m512i bytes = _mm512_shuffle_epi8(
      words, _mm512_broadcast_i32x4(_mm_set_epi64x(kSpread + 0x0808080808080808, kSpread)));
  const __mmask64 set =
      _mm512_test_epi8_mask(bytes, _mm512_set1_epi64(static_cast<long long>(0x8040201008040201)));
  return _mm512_mask_add_epi8(low, set, low, _mm512_set1_epi8(16));
}

template <int, int First, int Count>
KTD_WORD I dot_columns(const Bytes* w, const std::byte* t) {
  I acc = _mm512_setzero_si512();
  unroll<Count>([&](auto i) KTD_INLINE {
    acc = _mm512_dpbusd_epi32(acc, w[First + i.value], load_bytes(t + 64 * (First + i.value)));
  });
  return acc;
}

}  // namespace
}  // namespace ktd::KTD_ISA
