// Microscaling formats (OCP MX 1.0, NVFP4): 4-bit floats with an 8-bit float scale.
#include <bit>

#include "quant/ref/decode.h"

namespace ktd {
namespace {

// E2M1 doubled, so that all are whole; the scales below are halved to match.
constexpr int8_t kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of 2^(e - 127); the two smallest are subnormal floats.
float half_e8m0(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23;
  return std::bit_cast<float>(bits);
}

// Half of an unsigned E4M3 with bias 7. 0x7f is its NaN, taken as 0 as writers of these files do.
float half_ue4m3(uint8_t x) {
  if (x == 0x7f) return 0.0f;
  const int exponent = x >> 3 & 15, mantissa = x & 7;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
  const uint32_t power = static_cast<uint32_t>(exponent - 8 + 127) << 23;
  return (1.0f + static_cast<float>(mantissa) / 8.0f) * std::bit_cast<float>(power);
}

}  // namespace

void decode(const BlockMXFP4& b, float* y) {
  const float d = half_e8m0(b.e);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(kE2M1[b.qs[i] & 15]);
    y[i + 16] = d * static_cast<float>(kE2M1[b.qs[i] >> 4]);
  }
}

void decode(const BlockNVFP4& b, float* y) {
  for (int group = 0; group < 4; ++group, y += 16) {
    const float d = half_ue4m3(b.d[group]);
    for (int i = 0; i < 8; ++i) {
      const uint8_t pair = b.qs[group * 8 + i];
      y[i] = d * static_cast<float>(kE2M1[pair & 15]);
      y[i + 8] = d * static_cast<float>(kE2M1[pair >> 4]);
    }
  }
}

}  // namespace ktd
