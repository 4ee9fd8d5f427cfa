// Super-blocks of 256 weights: small integer scales (and minima), themselves scaled by halves.
#include "base/half.h"
#include "quant/ref/decode.h"

namespace ktd {
namespace {

struct ScaleMin {
  int scale, min;
};

// Scale and minimum j of 8, six bits each, as Q4_K and Q5_K pack them: the first four of both have a byte
// each and lend its top two bits to the last four, whose low nibbles share the third group of bytes.
ScaleMin scale_min(const uint8_t* p, int j) {
  if (j < 4) return {p[j] & 63, p[j + 4] & 63};
  return {(p[j + 4] & 15) | (p[j - 4] >> 6 << 4), (p[j + 4] >> 4) | (p[j] >> 6 << 4)};
}

// Scale j of 16 in Q3_K: a nibble in the first eight bytes, two high bits in the last four.
int scale_q3(const uint8_t* p, int j) {
  const int low = j < 8 ? p[j] & 15 : p[j - 8] >> 4;
  const int high = p[8 + j % 4] >> (2 * (j / 4)) & 3;
  return (low | high << 4) - 32;
}

// Two bits of weight i: 32 bytes hold 128 weights, in four planes of 32.
int two_bits(const uint8_t* qs, int i) {
  return qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

// Four bits of weight i: 32 bytes hold 64 weights, low nibbles first.
int four_bits(const uint8_t* qs, int i) {
  return qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

}  // namespace

void decode(const BlockQ2_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(b.scales[i / 16] & 15);
    const float min = dmin * static_cast<float>(b.scales[i / 16] >> 4);
    y[i] = scale * static_cast<float>(two_bits(b.qs, i)) - min;
  }
}

void decode(const BlockQ3_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(scale_q3(b.scales, i / 16));
    const int high = b.hmask[i % 32] >> (i / 32) & 1;
    y[i] = scale * static_cast<float>(two_bits(b.qs, i) - (high != 0 ? 0 : 4));
  }
}

void decode(const BlockQ4_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const ScaleMin sm = scale_min(b.scales, i / 32);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    y[i] = scale * static_cast<float>(four_bits(b.qs, i)) - min;
  }
}

void decode(const BlockQ5_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int i = 0; i < 256; ++i) {
    const ScaleMin sm = scale_min(b.scales, i / 32);
    const float scale = d * static_cast<float>(sm.scale), min = dmin * static_cast<float>(sm.min);
    const int fifth = (b.qh[i % 32] >> (i / 32) & 1) << 4;
    y[i] = scale * static_cast<float>(four_bits(b.qs, i) | fifth) - min;
  }
}

void decode(const BlockQ6_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(b.scales[i / 16]);
    const int low = b.ql[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
    y[i] = scale * static_cast<float>((low | two_bits(b.qh, i) << 4) - 32);
  }
}

void decode(const BlockQ8_K& b, float* y) {
  for (int i = 0; i < 256; ++i) y[i] = b.d * static_cast<float>(b.qs[i]);
}

}  // namespace ktd
