// Small blocks with one half scale, and sometimes a minimum.
#include "base/half.h"
#include "quant/ref/decode.h"

namespace ktd {
namespace {

float as_float(int q) {
  return static_cast<float>(q);
}

// Bit i of a word, moved to bit 4.
int fifth(uint32_t qh, int i) {
  return static_cast<int>(qh >> i << 4) & 16;
}

}  // namespace

// 16 bytes hold weights 0-15 in their low halves and 16-31 in their high ones.

void decode(const BlockQ4_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * as_float((b.qs[i] & 15) - 8);
    y[i + 16] = d * as_float((b.qs[i] >> 4) - 8);
  }
}

void decode(const BlockQ4_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * as_float(b.qs[i] & 15) + m;
    y[i + 16] = d * as_float(b.qs[i] >> 4) + m;
  }
}

void decode(const BlockQ5_0& b, float* y) {
  const float d = half_to_float(b.d);
  const uint32_t qh = b.qh;
  for (int i = 0; i < 16; ++i) {
    y[i] = d * as_float(((b.qs[i] & 15) | fifth(qh, i)) - 16);
    y[i + 16] = d * as_float((b.qs[i] >> 4 | fifth(qh, i + 16)) - 16);
  }
}

void decode(const BlockQ5_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  const uint32_t qh = b.qh;
  for (int i = 0; i < 16; ++i) {
    y[i] = d * as_float((b.qs[i] & 15) | fifth(qh, i)) + m;
    y[i + 16] = d * as_float(b.qs[i] >> 4 | fifth(qh, i + 16)) + m;
  }
}

void decode(const BlockQ8_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * as_float(b.qs[i]);
}

void decode(const BlockQ8_1& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * as_float(b.qs[i]);
}

void decode(const BlockQ1_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 128; ++i) y[i] = (b.qs[i / 8] >> (i % 8) & 1) != 0 ? d : -d;
}

void decode(const BlockQ2_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 64; ++i) y[i] = d * as_float((b.qs[i / 4] >> (2 * (i % 4)) & 3) - 1);
}

}  // namespace ktd
