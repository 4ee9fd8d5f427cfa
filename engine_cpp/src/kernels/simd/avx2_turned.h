// The words of turned.inl and its formats in AVX2: a column of 256 weights is two vectors, of four blocks
// each.
#pragma once

#include <immintrin.h>

namespace ktd::avx2 {
namespace {

constexpr int kMostSigned = 0, kRaisedSigned = 0;  // of signed bytes: see dot_columns

// --- floats ---

KTD_WORD Eight load_eight(const float* p) {
  return load(p);
}
KTD_WORD Sixteen twice(Eight x) {
  const __m256 low = _mm256_permute2f128_ps(x, x, 0x00), high = _mm256_permute2f128_ps(x, x, 0x11);
  const __m256i lanes = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  return {_mm256_permutevar_ps(low, lanes), _mm256_permutevar_ps(high, lanes)};
}
KTD_WORD Sixteen firsts(Sixteen x) {
  return {_mm256_moveldup_ps(x.part[0]), _mm256_moveldup_ps(x.part[1])};
}
KTD_WORD Sixteen seconds(Sixteen x) {
  return {_mm256_movehdup_ps(x.part[0]), _mm256_movehdup_ps(x.part[1])};
}
KTD_WORD Sixteen unsigned_floats(Numbers x) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(x, 8)))};
}
KTD_WORD Sixteen signed_floats(Numbers x) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)))};
}

// --- columns ---

KTD_WORD Bytes quadwords(const uint8_t* p) {
  return _mm256_set1_epi64x(static_cast<long long>(quadword_at(p)));
}
template <int C, int H>
KTD_WORD Bytes pairs(const uint8_t* p) {
  return _mm256_blend_epi32(quadwords(p + 64 * H + 8 * C), quadwords(p + 64 * H + 32 + 8 * C), 0xf0);
}
template <int C, int H>
KTD_WORD Bytes alternate(const uint8_t* p) {
  return _mm256_blend_epi32(quadwords(p + 64 * H + 8 * C), quadwords(p + 64 * H + 32 + 8 * C), 0xcc);
}
template <int C, int H>
KTD_WORD Bytes fours(const uint8_t* p) {
  return quadwords(p + 32 * H + 8 * C);
}
template <int C, int>
KTD_WORD Bytes all(const uint8_t* p) {
  return quadwords(p + 8 * C);
}
template <int I, int H>
KTD_WORD Bytes eights(const void* p, size_t stride) {
  const auto* at = static_cast<const std::byte*>(p) + 4 * H * stride;
  const Bytes even = _mm256_set_m128i(load16(at + 2 * stride), load16(at));
  const Bytes odd = _mm256_set_m128i(load16(at + 3 * stride), load16(at + stride));
  return I == 0 ? _mm256_unpacklo_epi64(even, odd) : _mm256_unpackhi_epi64(even, odd);
}

template <int C, int H>
KTD_WORD Bytes quarters(const void* p, size_t stride) {
  const auto* at = static_cast<const std::byte*>(p) + 4 * H * stride;
  const auto two_blocks = [&](const std::byte* first) KTD_INLINE {  // quadwords C % 2 and C % 2 + 2
    const Bytes even = load_bytes(first), odd = load_bytes(first + stride);
    return C % 2 == 0 ? _mm256_unpacklo_epi64(even, odd) : _mm256_unpackhi_epi64(even, odd);
  };
  return _mm256_permute2x128_si256(two_blocks(at), two_blocks(at + 2 * stride), C / 2 == 0 ? 0x20 : 0x31);
}

// Right, then left: of both the part that a lane asks for. What a quadword loses so is never wanted.
template <class Move, int H>
KTD_WORD Bytes move(Bytes x) {
  constexpr auto right = [](int j) { return Move::by(4 * H + j) < 0 ? -Move::by(4 * H + j) : 0; };
  constexpr auto left = [](int j) { return Move::by(4 * H + j) > 0 ? Move::by(4 * H + j) : 0; };
  if constexpr (right(0) + right(1) + right(2) + right(3) != 0)
    x = _mm256_srlv_epi64(x, _mm256_setr_epi64x(right(0), right(1), right(2), right(3)));
  if constexpr (left(0) + left(1) + left(2) + left(3) != 0)
    x = _mm256_sllv_epi64(x, _mm256_setr_epi64x(left(0), left(1), left(2), left(3)));
  return x;
}
template <int Mask>
KTD_WORD Bytes bits(Bytes x) {
  return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(Mask)));
}
template <int Mask>
KTD_WORD Bytes merge(Bytes low, Bytes x) {
  return _mm256_or_si256(low, bits<Mask>(x));
}
// Moved: larger bytes would not fit into the sums of dot_columns.
template <class Move, int Mask, int H>
KTD_WORD Bytes in_place(Bytes x) {
  return bits<Mask>(move<Move, H>(x));
}
template <class Move>
KTD_WORD Sixteen in_place_scale(float d) {
  return sixteen(d);
}
KTD_WORD Bytes high_nibbles(Bytes x) {
  return bits<15>(_mm256_srli_epi16(x, 4));
}
KTD_WORD Bytes raise_signed(Bytes x) {
  return x;
}
template <int C>
KTD_WORD Bytes fifth_bits(Bytes low, Bytes words) {
  constexpr long long kSpread = C * 0x0101010101010101;
  const __m256i each = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i bytes = _mm256_shuffle_epi8(words, _mm256_setr_epi64x(kSpread, kSpread + 0x0808080808080808,
                                                                      kSpread, kSpread + 0x0808080808080808));
  return merge<16>(low, _mm256_cmpeq_epi8(_mm256_and_si256(bytes, each), each));
}

// Pairs of products are added in 16 bits, and pairs of as many columns as fit: bytes are at most `Most`,
// activations 127. Signed bytes (Most 0) lend their sign to the activation: |w| <= 128 keeps a pair within
// 32512.
template <int Most, int First, int Count>
KTD_WORD I dot_columns(const Bytes* w, const std::byte* t) {
  constexpr int kFit = Most == 0 ? 1 : 32767 / (2 * 127 * Most);
  static_assert(kFit > 0);
  const __m256i ones = _mm256_set1_epi16(1);
  I acc = _mm256_setzero_si256(), words = acc;
  unroll<Count>([&](auto i) KTD_INLINE {
    const Bytes weight = w[kHalves * (First + i.value)], act = load_bytes(t + 64 * (First + i.value));
    const I pair = Most == 0 ? _mm256_maddubs_epi16(_mm256_abs_epi8(weight), _mm256_sign_epi8(act, weight))
                             : _mm256_maddubs_epi16(weight, act);
    words = i.value % kFit == 0 ? pair : _mm256_add_epi16(words, pair);
    if (i.value % kFit == kFit - 1 || i.value == Count - 1) {
      const I sums = _mm256_madd_epi16(words, ones);
      acc = i.value < kFit ? sums : _mm256_add_epi32(acc, sums);
    }
  });
  return acc;
}

}  // namespace
}  // namespace ktd::avx2
