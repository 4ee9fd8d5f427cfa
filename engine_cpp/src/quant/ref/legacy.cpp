// Small blocks with one half scale, and sometimes a minimum.
#include "base/half.h"
#include "quant/ref/decode.h"

namespace ktd {
namespace {

// Nibble i of 16 bytes that hold weights 0-15 in their low halves and 16-31 in their high ones.
int nibble(const uint8_t* qs, int i) {
  return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

int fifth(uint32_t qh, int i) {
  return static_cast<int>(qh >> i & 1u) << 4;
}

}  // namespace

void decode(const BlockQ4_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(nibble(b.qs, i) - 8);
}

void decode(const BlockQ4_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(nibble(b.qs, i)) + m;
}

void decode(const BlockQ5_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>((nibble(b.qs, i) | fifth(b.qh, i)) - 16);
}

void decode(const BlockQ5_1& b, float* y) {
  const float d = half_to_float(b.d), m = half_to_float(b.m);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(nibble(b.qs, i) | fifth(b.qh, i)) + m;
}

void decode(const BlockQ8_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(b.qs[i]);
}

void decode(const BlockQ8_1& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(b.qs[i]);
}

void decode(const BlockQ1_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 128; ++i) y[i] = (b.qs[i / 8] >> (i % 8) & 1) != 0 ? d : -d;
}

void decode(const BlockQ2_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 64; ++i) y[i] = d * static_cast<float>((b.qs[i / 4] >> (2 * (i % 4)) & 3) - 1);
}

}  // namespace ktd
