// The words of panels.inl in AVX-512 VNNI: 16 weight rows side by side, four weights of each in a 32-bit
// lane.
#pragma once

#include <immintrin.h>

namespace ktd::KTD_ISA {
namespace {

constexpr int kPanelTokens = 12;  // 12 integer and 12 float sums, and what they are made of, in 32 registers

// acc + products of 4 unsigned weights of each row with 4 activations, the same for all rows.
KTD_WORD I dot_rows(I acc, Bytes w, const int8_t* act) {
  int32_t four;
  __builtin_memcpy(&four, act, 4);
  return _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(four));
}

// 16 rows of 64 bytes, `stride` apart, to 16 groups of four columns, `apart` bytes from each other: the j-th
// holds bytes 4j..4j+3 of every row.
KTD_WORD void turn(const uint8_t* rows, size_t stride, uint8_t* to, size_t apart) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(rows + static_cast<size_t>(i) * stride);
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
      a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
    }
  }
  // a[4q + c] holds column c + 4 * lane of rows 4q..4q+3, one 128-bit lane for each.
  for (size_t c = 0; c < 4; ++c) {
    const __m512i p = _mm512_shuffle_i32x4(a[c], a[c + 4], 0x88),
                  q = _mm512_shuffle_i32x4(a[c], a[c + 4], 0xdd);
    const __m512i r = _mm512_shuffle_i32x4(a[c + 8], a[c + 12], 0x88);
    const __m512i s = _mm512_shuffle_i32x4(a[c + 8], a[c + 12], 0xdd);
    _mm512_storeu_si512(to + c * apart, _mm512_shuffle_i32x4(p, r, 0x88));
    _mm512_storeu_si512(to + (c + 4) * apart, _mm512_shuffle_i32x4(q, s, 0x88));
    _mm512_storeu_si512(to + (c + 8) * apart, _mm512_shuffle_i32x4(p, r, 0xdd));
    _mm512_storeu_si512(to + (c + 12) * apart, _mm512_shuffle_i32x4(q, s, 0xdd));
  }
}

KTD_WORD void turn(const uint8_t* rows, size_t stride, uint8_t (*to)[64]) {
  turn(rows, stride, to[0], sizeof to[0]);
}

KTD_WORD void turn_floats(const float* rows, size_t stride, float* to, size_t apart) {
  turn(reinterpret_cast<const uint8_t*>(rows), stride * sizeof(float), reinterpret_cast<uint8_t*>(to),
       apart * sizeof(float));
}

}  // namespace
}  // namespace ktd::KTD_ISA
