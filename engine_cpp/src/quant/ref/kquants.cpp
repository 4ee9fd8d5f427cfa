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

float as_float(int q) {
  return static_cast<float>(q);
}

}  // namespace

// 32 bytes hold 128 weights in four planes of two bits; every half plane has its scale.

void decode(const BlockQ2_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int group = 0; group < 16; ++group, y += 16) {
    const uint8_t* qs = b.qs + group / 8 * 32 + group % 2 * 16;
    const int plane = group / 2 % 4 * 2;
    const float scale = d * as_float(b.scales[group] & 15), min = dmin * as_float(b.scales[group] >> 4);
    for (int i = 0; i < 16; ++i) y[i] = scale * as_float(qs[i] >> plane & 3) - min;
  }
}

void decode(const BlockQ3_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int group = 0; group < 16; ++group, y += 16) {
    const uint8_t* qs = b.qs + group / 8 * 32 + group % 2 * 16;
    const uint8_t* high = b.hmask + group % 2 * 16;
    const int plane = group / 2 % 4 * 2, bit = group / 2;
    const float scale = d * as_float(scale_q3(b.scales, group));
    for (int i = 0; i < 16; ++i)  // a third bit that is clear takes four away
      y[i] = scale * as_float((qs[i] >> plane & 3) - (4 - (high[i] >> bit & 1) * 4));
  }
}

// 32 bytes hold 64 weights, low nibbles first; every 32 weights have their scale and minimum.

void decode(const BlockQ4_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int group = 0; group < 8; ++group, y += 32) {
    const ScaleMin sm = scale_min(b.scales, group);
    const float scale = d * as_float(sm.scale), min = dmin * as_float(sm.min);
    const uint8_t* qs = b.qs + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) y[i] = scale * as_float(qs[i] >> shift & 15) - min;
  }
}

void decode(const BlockQ5_K& b, float* y) {
  const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
  for (int group = 0; group < 8; ++group, y += 32) {
    const ScaleMin sm = scale_min(b.scales, group);
    const float scale = d * as_float(sm.scale), min = dmin * as_float(sm.min);
    const uint8_t* qs = b.qs + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i)
      y[i] = scale * as_float((qs[i] >> shift & 15) | (b.qh[i] >> group & 1) << 4) - min;
  }
}

// 64 bytes hold the low nibbles of 128 weights, and 32 bytes their high two bits in four planes.

void decode(const BlockQ6_K& b, float* y) {
  const float d = half_to_float(b.d);
  for (int group = 0; group < 16; ++group, y += 16) {
    const uint8_t* low = b.ql + group / 8 * 64 + group % 4 * 16;
    const uint8_t* high = b.qh + group / 8 * 32 + group % 2 * 16;
    const int shift = group / 4 % 2 * 4, plane = group / 2 % 4 * 2;
    const float scale = d * as_float(b.scales[group]);
    for (int i = 0; i < 16; ++i)
      y[i] = scale * as_float(((low[i] >> shift & 15) | (high[i] >> plane & 3) << 4) - 32);
  }
}

void decode(const BlockQ8_K& b, float* y) {
  for (int i = 0; i < 256; ++i) y[i] = b.d * as_float(b.qs[i]);
}

}  // namespace ktd
