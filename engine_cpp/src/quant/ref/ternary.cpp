// Weights of -1, 0 and 1 with one half scale per 256.
#include "base/half.h"
#include "quant/ref/decode.h"

namespace ktd {
namespace {

// Digit `place` (0 the first) of a byte that holds ceil(256 * n / 243) for the five-digit base-3 number n:
// multiplying by a power of three pushes the digits before it out at the top.
int digit(uint8_t byte, int place) {
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const auto rest = static_cast<uint8_t>(byte * kPowers[place]);
  return rest * 3 >> 8;
}

// `digits` weights from each of `bytes` bytes, one plane of `bytes` weights per digit.
float* planes(const uint8_t* q, int bytes, int digits, float d, float* y) {
  for (int place = 0; place < digits; ++place)
    for (int i = 0; i < bytes; ++i) *y++ = d * static_cast<float>(digit(q[i], place) - 1);
  return y;
}

}  // namespace

void decode(const BlockTQ1_0& b, float* y) {
  const float d = half_to_float(b.d);
  y = planes(b.qs, 32, 5, d, y);
  y = planes(b.qs + 32, 16, 5, d, y);
  planes(b.qh, 4, 4, d, y);
}

void decode(const BlockTQ2_0& b, float* y) {
  const float d = half_to_float(b.d);
  for (int i = 0; i < 256; ++i) {
    const int q = b.qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    y[i] = d * static_cast<float>(q - 1);
  }
}

}  // namespace ktd
