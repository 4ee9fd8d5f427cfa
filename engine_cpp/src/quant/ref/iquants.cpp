// Groups of 4 or 8 weights named by an index into a codebook, with signs apart.
#include "base/half.h"
#include "quant/codebooks.h"
#include "quant/ref/decode.h"

namespace ktd {
namespace {

constexpr float kMagnitudes2[4] = {8, 25, 43, 0};  // no grid point uses the fourth
constexpr float kMagnitudes3[8] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr float kMagnitudes3S[8] = {1, 3, 5, 7, 9, 11, 13, 15};
constexpr float kTernary[4] = {-1, 0, 1, 0};
constexpr int8_t kIQ4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr float kShift = 0.125f;  // by which IQ1 moves its ternary values, up or down

int nibble(const uint8_t* p, int i) {
  return p[i / 2] >> (i % 2 * 4) & 15;
}

// Seven sign bits and an eighth that makes their number even.
uint8_t even_signs(uint32_t seven) {
  uint32_t parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return static_cast<uint8_t>(seven | (parity & 1u) << 7);
}

float signed_by(float x, uint8_t signs, int i) {
  return (signs >> i & 1) != 0 ? -x : x;
}

// 8 weights of a 2-bit grid.
void group8(uint16_t point, uint8_t signs, float scale, float* y) {
  for (int i = 0; i < 8; ++i) y[i] = signed_by(scale * kMagnitudes2[point >> (2 * i) & 3], signs, i);
}

// 8 weights of two points of a 3-bit grid.
void group4x2(uint16_t first, uint16_t second, const float* magnitudes, uint8_t signs, float scale,
              float* y) {
  for (int i = 0; i < 4; ++i) {
    y[i] = signed_by(scale * magnitudes[first >> (3 * i) & 7], signs, i);
    y[i + 4] = signed_by(scale * magnitudes[second >> (3 * i) & 7], signs, i + 4);
  }
}

void group_ternary(uint16_t point, float shift, float scale, float* y) {
  for (int i = 0; i < 8; ++i) y[i] = scale * (kTernary[point >> (2 * i) & 3] + shift);
}

}  // namespace

void decode(const BlockIQ2_XXS& b, float* y) {
  const float d = half_to_float(b.d);
  for (const auto& group : b.groups) {
    const float scale = d * (0.5f + static_cast<float>(group.signs >> 28)) * 0.25f;
    for (int i = 0; i < 4; ++i, y += 8)
      group8(kGridIQ2_XXS[group.index[i]], even_signs(group.signs >> (7 * i) & 127), scale, y);
  }
}

void decode(const BlockIQ2_XS& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i, y += 8) {
    const float scale = d * (0.5f + static_cast<float>(nibble(b.scales, i / 2))) * 0.25f;
    group8(kGridIQ2_XS[b.qs[i] & 511], even_signs(b.qs[i] >> 9), scale, y);
  }
}

void decode(const BlockIQ2_S& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i, y += 8) {
    const float scale = d * (0.5f + static_cast<float>(nibble(b.scales, i / 2))) * 0.25f;
    const int high = b.qh[i / 4] >> (i % 4 * 2) & 3;
    group8(kGridIQ2_S[b.qs[i] | high << 8], b.signs[i], scale, y);
  }
}

void decode(const BlockIQ3_XXS& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i, y += 8) {
    const uint32_t signs = b.signs[i / 4];
    const float scale = d * (0.5f + static_cast<float>(signs >> 28)) * 0.5f;
    group4x2(kGridIQ3_XXS[b.qs[2 * i]], kGridIQ3_XXS[b.qs[2 * i + 1]], kMagnitudes3,
             even_signs(signs >> (i % 4 * 7) & 127), scale, y);
  }
}

void decode(const BlockIQ3_S& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i, y += 8) {
    const float scale = d * static_cast<float>(1 + 2 * nibble(b.scales, i / 4));
    const int high = b.qh[i / 4] >> (i % 4 * 2);
    group4x2(kGridIQ3_S[b.qs[2 * i] | (high & 1) << 8], kGridIQ3_S[b.qs[2 * i + 1] | (high & 2) << 7],
             kMagnitudes3S, b.signs[i], scale, y);
  }
}

void decode(const BlockIQ1_S& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 32; ++i, y += 8) {
    const int high = b.qh[i / 4];
    const float scale = d * static_cast<float>(2 * (high >> 12 & 7) + 1);
    const float shift = (high & 0x8000) != 0 ? -kShift : kShift;
    group_ternary(kGridIQ1[b.qs[i] | (high >> (i % 4 * 3) & 7) << 8], shift, scale, y);
  }
}

void decode(const BlockIQ1_M& b, float* y) {
  const int bits =
      b.scales[0] >> 12 | (b.scales[1] >> 12) << 4 | (b.scales[2] >> 12) << 8 | (b.scales[3] >> 12) << 12;
  const float d = half_to_float(static_cast<uint16_t>(bits));
  for (int i = 0; i < 32; ++i, y += 8) {
    const int high = b.qh[i / 2] >> (i % 2 * 4);
    const int scale = b.scales[i / 8] >> (i / 2 % 4 * 3) & 7;
    const float shift = (high & 8) != 0 ? -kShift : kShift;
    group_ternary(kGridIQ1[b.qs[i] | (high & 7) << 8], shift, d * static_cast<float>(2 * scale + 1), y);
  }
}

void decode(const BlockIQ4_NL& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(kIQ4[b.qs[i] & 15]);
    y[i + 16] = d * static_cast<float>(kIQ4[b.qs[i] >> 4]);
  }
}

void decode(const BlockIQ4_XS& b, float* y) {
  const float d = half_to_float(b.d);
  for (int group = 0; group < 8; ++group, y += 32) {
    const int high = b.scales_h >> (2 * group) & 3;
    const float scale = d * static_cast<float>((nibble(b.scales_l, group) | high << 4) - 32);
    for (int i = 0; i < 16; ++i) {
      y[i] = scale * static_cast<float>(kIQ4[b.qs[group * 16 + i] & 15]);
      y[i + 16] = scale * static_cast<float>(kIQ4[b.qs[group * 16 + i] >> 4]);
    }
  }
}

}  // namespace ktd
